"""Shared pieces against SciPy and against formulas written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.testing import assert_close

from adbench.methods.losses import dice, focal, known_masks, score_focal
from adbench.methods.maps import patch_maps, resize_bilinear, smooth, smoothed_patch_maps, to_grid
from tiny import make_batch


@pytest.mark.parametrize(
    ("shape", "sigma"), [((40, 40), 4.0), ((7, 23), 4.0), ((5, 5), 10.0), ((1, 9), 1.5), ((64, 64), 0.6)]
)
def test_smoothing_equals_scipy(shape, sigma):
    maps = np.random.default_rng(0).random((3, *shape), dtype=np.float32)
    expected = np.stack([gaussian_filter(one, sigma) for one in maps])
    np.testing.assert_allclose(smooth(torch.from_numpy(maps), sigma).numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("side", "size", "sigma"), [(37, 518, 4.0), (7, 20, 1.3), (12, 12, 2.0), (9, 30, 0.0)])
def test_upsampling_and_smoothing_as_one_product_equal_one_after_the_other(side, size, sigma, align_corners):
    values = torch.rand(2, side * side, generator=torch.Generator().manual_seed(side))
    plain = smooth(patch_maps(values[:, None], size, align_corners=align_corners)[:, 0], sigma)

    maps = smoothed_patch_maps(values, size, sigma, align_corners=align_corners)

    torch.testing.assert_close(maps, plain, atol=2e-6, rtol=0)


def test_sigma_zero_is_no_filter():
    maps = torch.rand(1, 4, 4)
    assert smooth(maps, 0) is maps


def test_grid_is_row_major():
    patches = torch.arange(12.0).reshape(1, 6, 2)[:, :4]
    assert to_grid(patches, 2).tolist() == [[[[0, 2], [4, 6]], [[1, 3], [5, 7]]]]


def test_resize_aligns_corners_when_asked():
    grid = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    expected = torch.tensor([[0, 0.5, 1], [1, 1.5, 2], [2, 2.5, 3]])
    assert_close(resize_bilinear(grid, 3, align_corners=True)[0, 0], expected)


def test_focal_is_the_written_formula():
    generator = torch.Generator().manual_seed(0)
    abnormal = torch.rand(2, 3, 4, generator=generator, dtype=torch.float64)
    target = (torch.rand(2, 3, 4, generator=generator) > 0.5).double()
    probability = torch.stack([1 - abnormal, abnormal], 1)
    onehot = torch.stack([1 - target, target], 1).clamp(1e-5, 1 - 1e-5)
    hit = (onehot * probability).sum(1) + 1e-5
    expected = (-((1 - hit) ** 2) * hit.log()).flatten(1).mean(1)
    assert_close(focal(1 - abnormal, abnormal, target), expected, rtol=1e-9, atol=0)  # the 1e-5 count too


def test_focal_stays_finite_at_certainty():
    sure = torch.tensor([[0.0, 1.0]])
    assert focal(1 - sure, sure, torch.tensor([[1.0, 0.0]])).isfinite().all()


def test_dice_over_images_and_over_rows():
    p = torch.tensor([[[0.5, 0.25], [1.0, 0.0]]])
    g = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
    whole = 1 - (2 * 1.5 + 1) / (1.75 + 3 + 1)
    rows = ((1 - (2 * 0.5 + 1) / (0.75 + 1 + 1)) + (1 - (2 * 1 + 1) / (1 + 2 + 1))) / 2
    assert_close(dice(p, g), torch.tensor([whole]))
    assert_close(dice(p, g, rows=True), torch.tensor([rows]))


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_score_focal_is_the_written_formula(gamma):
    scores, labels = torch.tensor([0.1, 0.6, 0.9], dtype=torch.float64), torch.tensor([0, 0, 1])
    for logits, p in ((False, scores), (True, scores.sigmoid())):
        of_label = torch.stack([1 - p[0], 1 - p[1], p[2]])
        expected = ((1 - of_label) ** gamma * -of_label.log()).mean()
        assert_close(score_focal(scores, labels, logits=logits, gamma=gamma), expected, rtol=1e-9, atol=0)


def test_score_focal_takes_probabilities_under_autocast_and_a_little_beyond_one():
    scores = torch.tensor([1.0 + 1e-6, 0.25])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = score_focal(scores, torch.tensor([1, 0]), logits=False, gamma=0)
    assert_close(found, -torch.tensor(0.75).log() / 2)


@pytest.mark.parametrize(
    ("annotated", "known"),
    [(None, [0, 1, 2, 3]), ([True] * 4, [0, 1, 2, 3]), ([True, False, False, True], [0, 3]), ([False] * 4, None)],
)
def test_known_masks_are_those_of_annotated_images(annotated, known):
    batch = replace(make_batch(4), annotated=annotated)
    found = known_masks(batch)
    assert (found is None) == (known is None)
    if found is not None:
        rows, masks = found
        assert torch.arange(4)[rows].tolist() == known
        assert torch.equal(masks, batch.masks[known])
    assert known_masks(replace(batch, masks=None)) is None
