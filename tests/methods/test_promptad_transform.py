"""PromptAD's preprocessing: 8-bit arithmetic to the bit, both resizes, masks, exchanged channels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from adbench.methods.promptad.transform import (
    PromptAdTransform,
    exchange_red_and_blue,
    resize_bilinear_8bit,
    resize_nearest,
)

MEAN, STD = (0.48, 0.45, 0.4), (0.26, 0.25, 0.27)


def by_hand(pixels, row, column, side):
    """One pixel of the specification's formulas in exact whole numbers."""

    def source(i, size):
        position = np.float32((i + 0.5) * (size / side) - 0.5)
        lower = math.floor(position)
        return lower, np.float32(position - lower)

    def weights(fraction):
        return round(float((1 - fraction) * np.float32(2048))), round(float(fraction * np.float32(2048)))

    height, width = len(pixels), len(pixels[0])
    x, fx = source(column, width)
    if x < 0 or x >= width - 1:
        x, fx = min(max(x, 0), width - 1), np.float32(0)
    c0, c1 = weights(fx)
    y, fy = source(row, height)
    d0, d1 = weights(fy)
    sums = []
    for line in (y, y + 1):
        values = pixels[min(max(line, 0), height - 1)]
        sums.append(c0 * int(values[x]) + c1 * int(values[min(x + 1, width - 1)]))
    return (((d0 * (sums[0] >> 4)) >> 16) + ((d1 * (sums[1] >> 4)) >> 16) + 2) >> 2


@pytest.mark.parametrize("size", [(5, 3), (1, 1), (40, 61), (100, 64), (64, 128)])
def test_bilinear_is_exact_up_and_down(size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 2), dtype=np.uint8)
    resized = resize_bilinear_8bit(pixels, 64)
    for channel in range(2):
        plane = pixels[..., channel].tolist()
        expected = [[by_hand(plane, row, column, 64) for column in range(64)] for row in range(64)]
        assert np.array_equal(resized[..., channel], expected)


def test_same_size_changes_nothing():
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(resize_bilinear_8bit(pixels, 64), pixels)


def test_pil_is_not_opencv():
    pixels = np.random.default_rng(2).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    by_pil = np.asarray(Image.fromarray(pixels).resize((128, 128), Image.Resampling.BILINEAR))
    assert (by_pil != resize_bilinear_8bit(pixels, 128)).mean() > 0.05


def test_nearest_misses_a_whole_number_where_opencv_does():
    """Recorded from OpenCV 4.10 and 5.0: column 512 of 1024 is column 420 of 840 on paper and 419 in float64."""
    columns = np.arange(840)[None].repeat(840, axis=0)
    resized = resize_nearest(columns, 1024)[0]
    exact = np.arange(1024) * 840 // 1024
    assert set(np.unique(exact - resized)) == {0, 1}
    assert np.array_equal(resize_nearest(np.arange(1024)[None].repeat(2, axis=0), 400)[0], np.arange(400) * 1024 // 400)


def test_image_and_mask():
    transform = PromptAdTransform(32, 40, 24, MEAN, STD)
    image = Image.fromarray(np.random.default_rng(3).integers(0, 256, (50, 30, 3), dtype=np.uint8))
    mask = np.zeros((50, 30), dtype=np.uint8)
    mask[10:20, 5:15] = 1
    tensor, found = transform.image(image), transform.mask(Image.fromarray(mask))
    assert (tensor.shape, tensor.dtype) == ((3, 32, 32), torch.float32)
    assert (found.shape, found.dtype) == ((24, 24), torch.bool)
    assert found[6:8, 6:8].all()
    assert abs(float(found.float().mean()) - 100 / 1500) < 0.02
    levels = (tensor * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)) * 255
    assert_close(levels, levels.round(), atol=1e-3, rtol=0)
    assert transform.describe()["map_size"] == 24


def test_grey_images_have_three_equal_channels():
    grey = Image.fromarray(np.random.default_rng(4).integers(0, 256, (20, 20), dtype=np.uint8))
    tensor = PromptAdTransform(16, 16, 16, (0.5,) * 3, (0.5,) * 3).image(grey)
    assert torch.equal(tensor[0], tensor[1])
    assert torch.equal(tensor[0], tensor[2])


def test_exchange_keeps_the_statistics():
    transform = PromptAdTransform(16, 16, 16, MEAN, STD)
    pixels = np.random.default_rng(5).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    rgb, bgr = (transform.image(Image.fromarray(np.ascontiguousarray(p))) for p in (pixels, pixels[..., ::-1]))
    assert_close(exchange_red_and_blue(rgb[None], MEAN, STD)[0], bgr, atol=1e-5, rtol=0)
    assert_close(exchange_red_and_blue(bgr[None], MEAN, STD)[0], rgb, atol=1e-5, rtol=0)
