from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.data.images import open_image, open_mask
from adbench.data.loading import load_batch
from adbench.data.reading import AS_PUBLISHED, Reading
from adbench.data.sample import Sample
from adbench.data.transforms import ClipTransform
from adbench.errors import UserError


def sample(path: Path, mask: Path | None, *, label: int = 1, reading: Reading = AS_PUBLISHED) -> Sample:
    return Sample(path, path.name, "bolt", label, mask, "test", "scratch", "widgets", reading)


def save(path: Path, array: np.ndarray) -> Path:
    Image.fromarray(array).save(path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_images_lose_the_low_byte(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 255, 256], [4095, 32768, 65535]], np.uint16)
    image = open_image(save(tmp_path / f"deep{suffix}", values))
    assert image.mode == "L"
    np.testing.assert_array_equal(np.asarray(image), values >> 8)


def test_eight_bit_tif_files_come_out_as_they_were_stored(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(open_image(save(tmp_path / "a.tif", colours))), colours)
    indexed = Image.fromarray(colours).quantize(8)
    indexed.save(tmp_path / "p.tif")
    np.testing.assert_array_equal(
        np.asarray(open_image(tmp_path / "p.tif").convert("RGB")), np.asarray(indexed.convert("RGB"))
    )


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
def test_images_keep_their_stored_mode(tmp_path: Path, draw: Callable[..., Path], mode: str) -> None:
    assert open_image(draw(tmp_path / "a.png", mode=mode)).mode == mode


def test_exif_orientation_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (8, 4)).save(tmp_path / "turned.jpg", exif=exif)
    assert open_image(tmp_path / "turned.jpg").size == (8, 4)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_a_truncated_image_is_named(tmp_path: Path, draw: Callable[..., Path], suffix: str) -> None:
    path = draw(tmp_path / f"cut{suffix}", size=(64, 64))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=f"cut{suffix}"):
        open_image(path)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n garbage"])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.png").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be read.*odd\.png"):
        open_image(tmp_path / "odd.png")


def test_missing_and_floating_point_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing.*gone\.png"):
        open_image(tmp_path / "gone.png")
    with pytest.raises(UserError, match="floating-point"):
        open_image(save(tmp_path / "float.tif", np.ones((3, 3), np.float32)))


@pytest.mark.parametrize(
    "stored",
    [
        np.array([[0, 1], [3, 0]], np.uint8),
        np.array([[0, 1], [300, 0]], np.uint16),
        np.array([[False, True], [True, False]]),
        np.array([[0, 9], [200, 0]], np.uint8)[..., None].repeat(3, axis=2),
    ],
    ids=["label numbers", "16 bits", "1 bit", "colours"],
)
def test_everything_above_zero_is_anomalous(tmp_path: Path, stored: np.ndarray) -> None:
    mask = open_mask(sample(tmp_path / "a.png", save(tmp_path / "m.png", stored)), (2, 2))
    np.testing.assert_array_equal(np.asarray(mask), [[0, 255], [255, 0]])


def test_inverted_masks_mark_the_defect_by_zero(tmp_path: Path) -> None:
    path = save(tmp_path / "m.bmp", np.array([[False, True, True]]))
    mask = open_mask(sample(tmp_path / "a.bmp", path, reading=Reading(inverted=True)), (3, 1))
    np.testing.assert_array_equal(np.asarray(mask), [[255, 0, 0]])


def test_normal_images_and_images_without_mask_have_zeros_of_the_right_shape(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_text("never opened")
    for entry in (sample(tmp_path / "a.png", None), sample(tmp_path / "a.png", broken, label=0)):
        mask = open_mask(entry, (7, 3))
        assert mask.size == (7, 3)
        assert not np.asarray(mask).any()


def test_a_mask_of_another_size_names_both_sizes(tmp_path: Path, draw: Callable[..., Path]) -> None:
    mask = draw(tmp_path / "m.png", size=(12, 10), mode="L", value=255)
    with pytest.raises(UserError, match=r"mask is 12x10 .*image 10x12.*m\.png.*a\.png"):
        open_mask(sample(tmp_path / "a.png", mask), (10, 12))


def test_a_missing_or_broken_mask_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mask file is missing.*gone\.png.*a\.png"):
        open_mask(sample(tmp_path / "a.png", tmp_path / "gone.png"), (2, 2))
    (tmp_path / "bad.png").write_bytes(b"no")
    with pytest.raises(UserError, match=r"mask file cannot be read.*bad\.png"):
        open_mask(sample(tmp_path / "a.png", tmp_path / "bad.png"), (2, 2))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "I;16", "CMYK"])
def test_pictures_of_every_kind_reach_the_method_as_three_channels(tmp_path: Path, mode: str) -> None:
    grey = np.full((6, 8), 64, np.uint8)
    if mode == "I;16":
        path = save(tmp_path / "a.png", grey.astype(np.uint16) << 8)
    else:
        path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
        picture = Image.fromarray(grey)
        picture = (picture if mode == "P" else picture.convert("RGB")).convert(mode)  # P: with a palette of 256 greys
        if mode in ("LA", "RGBA"):
            picture.putalpha(7)  # nearly transparent: alpha is dropped, as it is by the papers' loaders
        picture.save(path)
    transform = ClipTransform(image_size=4, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    batch = load_batch([sample(path, None, label=0)], transform)
    np.testing.assert_allclose(batch.images.numpy(), np.full((1, 3, 4, 4), 64 / 255), atol=0.02)
