"""Files that lie under an image's name and are something else, or too large, or damaged anywhere."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.data.containers import content_sha256
from adbench.data.decoding import opened
from adbench.data.images import open_image
from adbench.data.label_maps import open_labels
from adbench.data.mask_values import read_mask
from adbench.data.probe import probe_image
from adbench.data.reading import AS_PUBLISHED, own_reading
from adbench.data.sample import Sample
from adbench.errors import UserError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (POINTER, r"Git LFS pointer.*Run git lfs pull"),
        (b"\n<!DOCTYPE html><html><body>quota", "HTML page"),
        (b"\xef\xbb\xbf<html>", "HTML page"),
        (b"", r"empty \(0 bytes\)"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "no image of a known format"),
        (b"no picture at all", "no image of a known format"),
    ],
)
def test_what_is_no_image_is_named_as_what_it_is(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    sample = Sample(path, "a.png", "road", -1, path, "test", "", "roads", label_ids={0: 0})
    for read in (open_image, read_mask, lambda path: open_labels(sample, (2, 2))):
        with pytest.raises(UserError, match=rf"cannot be read: it is .*{said}") as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert probe_image(path).error is not None


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    for read in (open_image, read_mask, content_sha256):
        with pytest.raises(UserError, match=r"is not a file but a FIFO"):
            read(tmp_path / "a.png")
    with pytest.raises(UserError, match="not a file but a device"):
        open_image(Path("/dev/null"))
    (tmp_path / "b.png").mkdir()
    with pytest.raises(UserError, match="not a file but a folder"):
        open_image(tmp_path / "b.png")


def test_a_broken_link_names_its_target(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("/nowhere/b.png")
    with pytest.raises(UserError, match=r"image file is missing: it is a link to /nowhere/b\.png"):
        open_image(tmp_path / "a.png")


@pytest.mark.parametrize("form", ["tif", "gif", "png", "webp"])
def test_several_pages_are_refused(tmp_path: Path, form: str) -> None:
    pages = [Image.new("RGB", (6, 4), colour) for colour in ("red", "green", "blue")]
    path = tmp_path / f"a.{form}"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    for read in (open_image, read_mask):
        with pytest.raises(UserError, match=r"holds 3 pictures \(pages or frames\)"):
            read(path)
    assert "3 pictures" in str(probe_image(path).error)


def test_the_preview_behind_a_phones_picture_is_no_second_page(tmp_path: Path) -> None:
    picture, preview = Image.new("RGB", (16, 8), "red"), Image.new("RGB", (4, 2), "red")
    picture.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    assert open_image(tmp_path / "a.jpg").size == (16, 8)


@pytest.fixture
def small_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's guard and ours for pictures of 3 megapixels."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_500_000)
    monkeypatch.setattr("adbench.data.decoding._LIMIT", 3_000_000)


@pytest.mark.usefixtures("small_guard")
@pytest.mark.parametrize("form", ["png", "tif", "jpg", "bmp"])
def test_line_scans_beyond_pillows_guard_are_read_where_a_user_gives_them(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"line.{form}"
    Image.new("L", (4000, 1000), 77).save(path)
    image = open_image(path, own_reading())
    assert image.size == (4000, 1000)
    assert image.getextrema() == (77, 77)
    assert read_mask(path, reading=own_reading(mask_threshold=0)).values.shape == (1000, 4000)
    assert probe_image(path, own_reading()).size == (1000, 4000)
    with pytest.raises(UserError, match=r"4000x1000 pixels, 4\.0 megapixels, and 3 are allowed") as caught:
        open_image(path)
    assert "data.max_pixels" not in str(caught.value)
    with pytest.raises(UserError, match=r"4000x1000 pixels.*say data\.max_pixels=4"):
        open_image(path, own_reading(max_pixels=2))
    assert "truncated" not in str(caught.value)
    assert Image.MAX_IMAGE_PIXELS == 1_500_000


def test_185_megapixels_are_allowed_by_default(tmp_path: Path) -> None:
    head = io.BytesIO()
    Image.new("1", (8, 8)).save(head, format="PNG")
    content = bytearray(head.getvalue())
    content[16:24] = (16384).to_bytes(4, "big") + (11264).to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "line.png").write_bytes(content)
    with opened(tmp_path / "line.png", max_megapixels=own_reading().max_megapixels) as image:
        assert image.size == (16384, 11264)
    with pytest.raises(UserError, match=r"184\.5 megapixels, and 179 are allowed"):
        open_image(tmp_path / "line.png")


def stored(form: str, random: np.random.Generator) -> bytes:
    pixels = random.integers(0, 256, (9, 11, 3), dtype=np.uint8)
    content = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = int(random.integers(1, 9))
    mode = random.choice(["RGB", "L", "P", "RGBA"] if form in ("PNG", "TIFF", "WEBP") else ["RGB", "L"])
    extra = {} if form in ("BMP", "GIF", "PPM") else {"exif": exif}
    if form == "TIFF":
        extra = {"compression": str(random.choice(["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate"]))}
    Image.fromarray(pixels).convert(mode).save(content, format=form, **extra)
    return content.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM"])
@pytest.mark.filterwarnings("ignore")
def test_damage_anywhere_is_one_clear_error_or_a_picture(tmp_path: Path, form: str) -> None:
    random = np.random.default_rng(sum(form.encode()))
    path = tmp_path / "a.png"
    own = own_reading()
    n_refused = 0
    for number in range(150):
        content = bytearray(stored(form, random))
        if number % 3 == 0:
            del content[int(random.integers(len(content))) :]
        for _ in range(int(random.integers(1, 6))):
            if content:
                # Headers are where decoders trip.
                at = int(random.integers(len(content) if number % 2 else min(len(content), 120)))
                content[at] = int(random.integers(256))
        path.write_bytes(content)
        for read in (
            lambda: open_image(path),
            lambda: open_image(path, own),
            lambda: read_mask(path, reading=own).marked(own),
            lambda: read_mask(path).marked(AS_PUBLISHED),
        ):
            try:
                read()
            except UserError as error:
                n_refused += 1
                assert "\n" not in str(error)  # noqa: PT017
        probe_image(path, own)
    assert n_refused > 100
