"""What the user of a folder says about its files: EXIF, bits, the masks' threshold, the largest picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from adbench.data import catalogue
from adbench.data.images import PEAK, TURNED, open_image, open_mask, stored_size
from adbench.data.loading import load_batch
from adbench.data.probe import probe_image
from adbench.data.reading import AS_PUBLISHED, Reading, own_reading
from adbench.data.sample import Sample
from adbench.data.transforms import ClipTransform
from adbench.errors import UserError

RAW = own_reading(exif=False)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("inverted_masks", "no"),
        ("mask_threshold", 255),
        ("mask_threshold", -1),
        ("mask_threshold", 0.5),
        ("mask_threshold", True),
        ("exif", 1),
        ("bits", 14),
        ("bits", "12"),
        ("max_pixels", 0),
        ("max_pixels", "all"),
    ],
)
@pytest.mark.parametrize("name", ["folder", "meta"])
def test_options_of_another_type_or_range_are_refused(tmp_path: Path, name: str, option: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"{option} is .*\. Give|unknown value") as caught:
        catalogue.get(name).index(tmp_path, options={option: value})
    assert f"data.{option}" in str(caught.value)


def test_options_reach_every_sample_and_its_fingerprint(tmp_path: Path) -> None:
    for place in ("good", "bad", "masks"):
        (tmp_path / place).mkdir()
        Image.new("L", (4, 4)).save(tmp_path / place / "1.png")
    record = {"img_path": "bad/1.png", "mask_path": "masks/1.png", "anomaly": 1}
    (tmp_path / "meta.json").write_text(json.dumps({"test": {"bolt": [record]}}))
    options = {"inverted_masks": True, "mask_threshold": 9, "exif": False, "bits": 12, "max_pixels": 50}
    for name in ("folder", "meta"):
        samples = catalogue.get(name).index(tmp_path, options=options)
        assert {sample.reading for sample in samples} == {Reading(True, 9, 9, False, 12)}
        assert {sample.reading.max_megapixels for sample in samples} == {50}
        assert {sample.reading for sample in catalogue.get(name).index(tmp_path)} == {Reading(False, 0, 127, True, 16)}


def turned(path: Path, orientation: int, size: tuple[int, int] = (8, 4)) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.arange(size[0] * size[1], dtype=np.uint8).reshape(size[1], size[0]) * 7
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def sample(image: Path, mask: Path | None, reading: Reading = AS_PUBLISHED) -> Sample:
    return Sample(image, image.name, "bolt", 1, mask, "test", "scratch", "folder", reading)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["png", "webp", "jpg"])
def test_images_of_a_users_folder_are_turned_upright(tmp_path: Path, orientation: int, form: str) -> None:
    path = turned(tmp_path / f"a.{form}", orientation)
    stored = Image.open(path)
    upright = ImageOps.exif_transpose(stored)
    for reading, expected in ((own_reading(), upright), (RAW, stored), (AS_PUBLISHED, stored)):
        np.testing.assert_array_equal(np.asarray(open_image(path, reading)), np.asarray(expected))
        assert stored_size(path, reading) == (expected.height, expected.width)
        assert probe_image(path, reading).size == (expected.height, expected.width)


def test_a_mask_is_turned_by_its_own_orientation_only(tmp_path: Path) -> None:
    image = turned(tmp_path / "a.png", 6)  # upright: 4x8
    upright = np.zeros((8, 4), np.uint8)
    upright[0, 1:3] = 255
    Image.fromarray(upright).save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "stored.png", exif=exif)
    for name in ("upright.png", "stored.png"):
        mask = open_mask(sample(image, tmp_path / name, own_reading()), (4, 8))
        np.testing.assert_array_equal(np.asarray(mask), upright)


def test_masks_that_fit_the_other_way_round_name_exif(tmp_path: Path) -> None:
    image = turned(tmp_path / "a.png", 6)
    Image.new("L", (8, 4)).save(tmp_path / "stored.png")
    Image.new("L", (4, 8)).save(tmp_path / "upright.png")
    with pytest.raises(UserError, match=r"swapped by the image's EXIF orientation 6.*data\.exif=false"):
        open_mask(sample(image, tmp_path / "stored.png", own_reading()), (4, 8))
    for reading in (AS_PUBLISHED, RAW):
        with pytest.raises(UserError, match="EXIF orientation 6, and its mask is drawn on the turned picture"):
            open_mask(sample(image, tmp_path / "upright.png", reading), (8, 4))
        assert open_mask(sample(image, tmp_path / "stored.png", reading), (8, 4)).size == (8, 4)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_the_upper_eight_of_the_stated_bits_are_kept(tmp_path: Path, bits: int) -> None:
    values = np.array([[0, 1, 2 ** (bits - 1), 2**bits - 1]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    image = open_image(tmp_path / "a.png", own_reading(bits=bits))
    np.testing.assert_array_equal(np.asarray(image), values >> (bits - 8))
    assert np.asarray(image)[0, -1] == 255
    assert image.info[PEAK] == 1


def test_sixteen_bit_images_are_turned_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    values = np.arange(8, dtype=np.uint16).reshape(2, 4) << 8
    Image.fromarray(values).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(open_image(tmp_path / "a.png", own_reading())), np.rot90(values >> 8, -1))


def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path: Path) -> None:
    image = open_image(turned(tmp_path / "a.png", 9, size=(4, 4)), own_reading())
    assert TURNED not in image.info


def test_values_above_the_stated_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[4096]], np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"image holds the value 4096, and 12 bits end at 4095.*a\.png.*data\.bits=16"):
        open_image(tmp_path / "a.png", own_reading(bits=12))
    Image.fromarray(np.array([[70000]], np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match="70000, and 16 bits end at 65535"):
        open_image(tmp_path / "a.tif")


def test_eight_bit_images_do_not_care_for_bits(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 200]], np.uint8)).save(tmp_path / "a.png")
    image = open_image(tmp_path / "a.png", own_reading(bits=12))
    assert np.asarray(image).tolist() == [[0, 200]]
    assert PEAK not in image.info


def test_batches_say_what_was_seen(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 6553, np.uint16)).save(tmp_path / "deep.png")
    turned(tmp_path / "turned.png", 3)
    half = np.repeat(np.uint8([0, 255]), 2)[None].repeat(4, axis=0)
    Image.fromarray(half).save(tmp_path / "half.png")
    Image.new("L", (8, 4), 1).save(tmp_path / "full.png")
    samples = [
        sample(tmp_path / "deep.png", tmp_path / "half.png", own_reading()),
        sample(tmp_path / "turned.png", tmp_path / "full.png", own_reading()),
        sample(tmp_path / "turned.png", None, AS_PUBLISHED),
    ]
    batch = load_batch(samples, ClipTransform(image_size=4, mean=(0.0,) * 3, std=(1.0,) * 3))
    assert batch.contents is not None
    deep, upright, raw = batch.contents
    assert (deep.marked, deep.peak, deep.turned) == (0.5, 6553 / 65535, False)
    assert (upright.marked, upright.peak, upright.turned) == (1.0, None, True)
    assert (raw.marked, raw.peak, raw.turned) == (None, None, False)
