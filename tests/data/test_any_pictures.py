"""Whatever picture lies under an image's or a mask's name: it is read by the definition, or refused in one line."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from adbench.data.images import open_image, open_mask, stored_size
from adbench.data.label_maps import open_labels
from adbench.data.reading import Reading, own_reading
from adbench.data.sample import Sample
from adbench.errors import UserError
from damage import damaged_bytes

SIDES = st.tuples(st.integers(1, 6), st.integers(1, 6))
GREY = ("1", "L", "I;16")
CHANNELS = {"LA": 2, "RGB": 3, "RGBA": 4}
LOSSLESS = {  # what PIL writes of each mode without loss
    "1": ("PNG", "TIFF", "BMP"),
    "L": ("PNG", "TIFF", "BMP"),
    "I;16": ("PNG", "TIFF"),
    "P": ("PNG", "TIFF", "BMP"),  # a GIF is written with another palette
    "LA": ("PNG",),
    "RGB": ("PNG", "TIFF", "BMP"),
    "RGBA": ("PNG", "TIFF"),
}


def levels(most):
    """Masks as they are drawn, small label numbers, any values."""
    return st.one_of(st.sampled_from([0, most]), st.integers(0, 3), st.integers(0, most))


@st.composite
def pictures(draw, modes=tuple(LOSSLESS)):
    """A picture, the values that it stores (H, W) or (H, W, C), and its file's bytes."""
    mode, (height, width) = draw(st.sampled_from(modes)), draw(SIDES)
    if mode in CHANNELS:
        shape = (height, width, CHANNELS[mode])
        values = draw(arrays.arrays(np.uint8, shape, elements=levels(255)))
        for channel in range(CHANNELS[mode]):
            if draw(st.booleans()):  # the same everywhere, as transparency or colour often is
                values[..., channel] = values[0, 0, channel]
        image = Image.fromarray(values, mode)
    elif mode == "P":
        values = draw(arrays.arrays(np.uint8, (height, width), elements=levels(7)))
        image = Image.fromarray(values, "P")
        palette = draw(st.lists(st.tuples(*3 * [st.integers(0, 255)]), min_size=8, max_size=8, unique=True))
        image.putpalette([number for colour in palette for number in colour])
    else:
        kind, most = {"1": (np.bool_, 1), "L": (np.uint8, 255), "I;16": (np.uint16, 65535)}[mode]
        elements = st.booleans() if mode == "1" else levels(most)
        values = draw(arrays.arrays(kind, (height, width), elements=elements))
        image = Image.fromarray(values)
    stored = io.BytesIO()
    image.save(stored, draw(st.sampled_from(LOSSLESS[mode])))
    return mode, values, stored.getvalue()


def marked(mode, values):
    """Where a mask marks a defect, None where it has no meaning."""
    if mode in ("LA", "RGBA"):
        colours, alpha = values[..., :-1], values[..., -1]
        if (alpha == alpha[0, 0]).all():
            return colours.any(axis=2)
        return alpha > 0 if (colours == colours[0, 0]).all() else None
    return values.any(axis=2) if mode == "RGB" else values > 0


def refusal(read):
    """The line that says why something is not read, None if it is."""
    try:
        read()
    except UserError as error:
        return str(error)
    return None


def mask_sample(path, reading):
    return Sample(path.with_name("a.png"), "a.png", "bolt", 1, path, "test", "cut", "own", reading)


@given(pictures(), st.booleans())
def test_a_mask_marks_what_is_not_zero_or_is_refused(tmp_path, picture, inverted):
    mode, values, stored = picture
    (tmp_path / "m.png").write_bytes(stored)
    sample = mask_sample(tmp_path / "m.png", Reading(inverted=inverted))
    size = (values.shape[1], values.shape[0])
    if line := refusal(lambda: open_mask(sample, size)):
        assert "m.png" in line
        assert mode not in GREY, "grey masks have one meaning"
        return
    found = np.asarray(open_mask(sample, size))
    expected = marked(mode, values)
    assert expected is not None
    np.testing.assert_array_equal(found, np.where(expected ^ inverted, 255, 0))
    with pytest.raises(UserError, match=f"{size[0]}x{size[1]}"):
        open_mask(sample, (size[0] + 1, size[1]))


@given(pictures(("L", "I;16", "P", "RGB", "RGBA")))
def test_an_image_is_its_pixels(tmp_path, picture):
    mode, values, stored = picture
    (tmp_path / "a.png").write_bytes(stored)
    found = open_image(tmp_path / "a.png")
    assert stored_size(tmp_path / "a.png") == values.shape[:2] == (found.height, found.width)
    assert mode in (found.mode, "I;16")
    np.testing.assert_array_equal(np.asarray(found), values >> 8 if mode == "I;16" else values)


@st.composite
def damaged(draw):
    """Bytes of a picture in any format, cut, overwritten or with something put in between."""
    array = draw(arrays.arrays(np.uint8, (8, 8, 3)))
    stored = io.BytesIO()
    Image.fromarray(array).save(stored, draw(st.sampled_from(["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM"])))
    content = stored.getvalue()
    for _ in range(draw(st.integers(1, 4))):
        content = damaged_bytes(draw, content)
    return content


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(st.one_of(damaged(), st.binary(max_size=64)))
def test_damaged_files_are_pictures_or_one_line(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    sample = Sample(path, "a.png", "bolt", 1, path, "test", "cut", "own", own_reading(), label_ids={0: 0, 1: 1})
    for read in (
        lambda: open_image(path, own_reading()),
        lambda: open_mask(sample, (8, 8)),
        lambda: open_labels(sample, (8, 8)),
        lambda: stored_size(path),
    ):
        line = refusal(read)
        assert line is None or ("a.png" in line and line.isprintable())
