"""What masks as they are found in real copies mark."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.data.images import open_mask
from adbench.data.mask_values import read_mask
from adbench.data.reading import AS_PUBLISHED, Reading, own_reading
from adbench.data.sample import Sample
from adbench.errors import UserError

DEFECT = np.zeros((24, 32), bool)
DEFECT[6:12, 8:20] = True
HERE = DEFECT.astype(np.uint8)
OWN = own_reading()


def marked(path: Path, reading: Reading = AS_PUBLISHED) -> np.ndarray:
    return read_mask(path, reading=reading).marked(reading)


def stack(*channels: np.ndarray | int) -> np.ndarray:
    return np.stack([np.broadcast_to(channel, HERE.shape) for channel in channels], axis=-1).astype(np.uint8)


def palette(indices: np.ndarray, colours: list[int], **info: object) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8), "L").convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(colours + [0] * (768 - len(colours)))
    image.info.update(info)
    return image


MASKS = {
    "small label in red": Image.fromarray(stack(HERE, 0, 0)),
    "small label in blue": Image.fromarray(stack(0, 0, 3 * HERE)),
    "one colour on black": Image.fromarray(stack(200 * HERE, 30 * HERE, 0)),
    "alpha on white": Image.fromarray(stack(255, 255, 255, 255 * HERE)),
    "alpha on black": Image.fromarray(stack(0, 0, 0, 7 * HERE)),
    "alpha on grey": Image.fromarray(stack(90, 255 * HERE)),
    "colour, opaque": Image.fromarray(stack(255 * HERE, 255 * HERE, 255 * HERE, 255)),
    "palette, second entry dark": palette(HERE, [0, 0, 0, 0, 0, 1]),
    "palette, all black": palette(HERE, []),
    "palette, black defect on white": palette(HERE, [255, 255, 255, 0, 0, 0]),
    "palette, one colour, transparent background": palette(HERE, [9] * 6, transparency=0),
    "palette, one colour, transparency by entry": palette(1 - HERE, [9] * 6, transparency=b"\xff\x00"),
    "16 bits": Image.fromarray(HERE.astype(np.uint16)),
    "32 bits": Image.fromarray(70000 * HERE.astype(np.int32)),
    "floating point": Image.fromarray(0.25 * HERE.astype(np.float32)),
    "1 bit": Image.fromarray(DEFECT),
    "cmyk": Image.fromarray(stack(0, 0, 0, 255 - 255 * HERE), "CMYK"),
}


@pytest.mark.parametrize("what", MASKS)
@pytest.mark.parametrize("reading", [AS_PUBLISHED, OWN], ids=["published", "own"])
def test_what_is_not_zero_is_a_defect(tmp_path: Path, what: str, reading: Reading) -> None:
    image = MASKS[what]
    path = tmp_path / ("m.tif" if image.mode in ("I", "F", "CMYK") else "m.png")
    image.save(path, **({"transparency": image.info["transparency"]} if "transparency" in image.info else {}))
    np.testing.assert_array_equal(marked(path, reading), DEFECT)


NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
DRAWN = np.where(DEFECT[..., None], np.uint8([255, 0, 0]), NOISE // 8 + 100)
SOFT = np.linspace(0, 1, 24 * 32, dtype=np.float32).reshape(24, 32)
REFUSED = {
    "photograph": (Image.fromarray(NOISE), "with 768 colours: a photograph"),
    "drawing on a photograph": (Image.fromarray(DRAWN.astype(np.uint8)), "a photograph, or drawn on one"),
    "red on white": (Image.fromarray(stack(255, 255 - 255 * HERE, 255 - 255 * HERE)), "background that is not black"),
    "rgba, both vary": (
        Image.fromarray(np.dstack([NOISE, 255 * HERE])),
        r"colours and transparency \(alpha\) both vary",
    ),
    "photograph with a palette": (Image.fromarray(NOISE).quantize(64), "with 64 colours: a photograph"),
    "la, both vary": (Image.fromarray(np.dstack([NOISE[..., 0], 255 * HERE])), "LA picture.*both vary"),
    "soft floating point": (Image.fromarray(SOFT), "floating-point values of more than two kinds"),
    "palette, background is 1": (palette(1 - HERE, [255, 0, 0, 0, 0, 0]), "commonest index of the mask's palette is 1"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_certain_meaning_is_refused_in_one_line(tmp_path: Path, what: str) -> None:
    image, said = REFUSED[what]
    path = tmp_path / ("m.tif" if image.mode == "F" else "m.png")
    image.save(path)
    with pytest.raises(UserError, match=said) as caught:
        marked(path)
    assert str(path) in str(caught.value)
    assert "one grey channel, 0 and 255" in str(caught.value)


def test_a_photograph_as_jpeg_is_refused_and_a_drawing_is_not(tmp_path: Path) -> None:
    Image.fromarray(NOISE).resize((320, 240), Image.Resampling.BICUBIC).save(tmp_path / "photo.jpg")
    with pytest.raises(UserError, match="photograph"):
        marked(tmp_path / "photo.jpg", OWN)
    big = DEFECT.repeat(8, axis=0).repeat(8, axis=1)
    Image.fromarray(np.where(big[..., None], np.uint8([255, 0, 40]), np.uint8(0))).save(tmp_path / "drawn.jpg")
    assert np.mean(marked(tmp_path / "drawn.jpg", OWN) != big) < 0.01


def test_large_defects_on_a_black_palette_entry_are_no_inversion(tmp_path: Path) -> None:
    large = np.ones((24, 32), np.uint8)
    large[0] = 0
    palette(large, [0, 0, 0, 255, 255, 255]).save(tmp_path / "m.png")
    assert marked(tmp_path / "m.png").mean() == pytest.approx(23 / 24)


def test_resized_grey_masks_stay_legal(tmp_path: Path) -> None:
    soft = Image.fromarray(255 * HERE).resize((99, 77), Image.Resampling.BICUBIC)
    for mode in ("L", "RGB"):
        soft.convert(mode).save(tmp_path / f"{mode}.png")
        stored = np.asarray(soft)
        np.testing.assert_array_equal(marked(tmp_path / f"{mode}.png", OWN), stored > 0)
        np.testing.assert_array_equal(marked(tmp_path / f"{mode}.png", own_reading(mask_threshold=127)), stored > 127)
        assert read_mask(tmp_path / f"{mode}.png").faint == np.mean((stored > 0) & (stored < 128)) > 0.01


@pytest.mark.parametrize("form", [{"quality": 40}, {"lossless": False, "quality": 40}], ids=["jpg", "webp"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_lossy_masks_are_cut_at_half_scale_in_folders_of_ones_own(tmp_path: Path, form: dict, mode: str) -> None:
    path = tmp_path / ("m.webp" if "lossless" in form else "m.jpg")
    slanted = np.add.outer(np.arange(96), np.arange(128)) % 90 < 30
    Image.fromarray(slanted.astype(np.uint8) * 255).convert(mode).save(path, **form)
    values = np.asarray(Image.open(path)).reshape(96, 128, -1).max(axis=2)
    assert np.mean((values > 0) & (values <= 127)) > 0.02  # ringing
    assert np.mean(marked(path, OWN) != slanted) < 0.01
    for reading, bound in ((AS_PUBLISHED, 0), (OWN, 127), (own_reading(mask_threshold=0), 0)):
        np.testing.assert_array_equal(marked(path, reading), values > bound)


def test_lossless_webp_and_label_numbers_are_not_cut(tmp_path: Path) -> None:
    Image.fromarray(stack(HERE, 0, 0)).save(tmp_path / "m.webp", lossless=True, exif=Image.Exif().tobytes())
    np.testing.assert_array_equal(marked(tmp_path / "m.webp", OWN), DEFECT)


@pytest.mark.parametrize("mode", ["1", "P", "I;16"])
def test_a_threshold_is_a_share_of_full_scale(tmp_path: Path, mode: str) -> None:
    images = {"1": Image.fromarray(DEFECT), "P": palette(HERE, [0, 0, 0, 1, 1, 1])}
    images["I;16"] = Image.fromarray(np.where(DEFECT, 40000, 20000).astype(np.uint16))
    images[mode].save(tmp_path / "m.png")
    np.testing.assert_array_equal(marked(tmp_path / "m.png", own_reading(mask_threshold=127)), DEFECT)


def test_sixteen_bit_colours_are_read_only_where_the_lower_bits_cannot_matter(tmp_path: Path) -> None:
    for name, high in (("extreme", 255), ("labels", 0)):
        sixteen = np.zeros((2, 2, 6), np.uint8)  # big endian, red green blue
        sixteen[0, 0] = (high, 255, 0, 0, 0, 0)
        rows = b"".join(b"\0" + row.tobytes() for row in sixteen)
        write_png(tmp_path / f"{name}.png", rows)
    np.testing.assert_array_equal(marked(tmp_path / "extreme.png"), [[True, False], [False, False]])
    with pytest.raises(UserError, match="16 bits per colour"):
        marked(tmp_path / "labels.png")


def write_png(path: Path, rows: bytes) -> None:
    """A PNG of 2x2 pixels in 16-bit colours, which Pillow cannot write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def test_swapped_sides_are_said(tmp_path: Path) -> None:
    Image.new("RGB", (10, 12)).save(tmp_path / "a.png")
    Image.new("L", (12, 10)).save(tmp_path / "m.png")
    sample = Sample(tmp_path / "a.png", "a.png", "bolt", 1, tmp_path / "m.png", "test", "scratch", "widgets")
    with pytest.raises(UserError, match="mask is 12x10 pixels but its image 10x12: width and height are swapped"):
        open_mask(sample, (10, 12))
