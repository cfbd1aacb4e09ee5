"""Connected regions against scikit-image's labelling."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import label

from adbench.metrics.regions import find_regions
from metrics.reference import random_masks


def areas_by_labelling(masks):
    """Area of each anomalous pixel's region, in scan order, and the number of regions."""
    labelled = [label(mask, connectivity=2) for mask in masks]
    areas = [np.bincount(one.ravel())[one[mask]] for one, mask in zip(labelled, masks, strict=True)]
    return np.concatenate(areas) if areas else np.zeros(0), sum(one.max() for one in labelled)


def check(masks):
    pixels, areas, n_regions = find_regions(masks)
    expected, expected_number = areas_by_labelling(masks)
    np.testing.assert_array_equal(pixels, np.flatnonzero(masks))
    np.testing.assert_array_equal(areas, expected)
    assert n_regions == expected_number


@pytest.mark.parametrize("seed", range(30))
def test_equal_labelling_of_noise(seed):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, (5, 14, 14))
    check(rng.random(shape) < rng.uniform(0.05, 0.95))


@pytest.mark.parametrize("seed", range(5))
def test_equal_labelling_of_blobs(seed):
    check(random_masks(np.random.default_rng(seed), 4, 30, 41))


def test_a_winding_region_is_one():
    path = np.zeros((1, 61, 61), bool)
    path[0, ::4] = True
    path[0, 2::8, -1] = path[0, 6::8, 0] = True  # from row to row, at the right and at the left in turn
    path[0, 1::8, -1] = path[0, 3::8, -1] = path[0, 5::8, 0] = path[0, 7::8, 0] = True
    check(path)
    check(path.transpose(0, 2, 1))
    assert find_regions(path).n_regions == 1


def test_diagonal_neighbours_are_one_region():
    assert find_regions(np.eye(4, dtype=bool)[None]).n_regions == 1
    assert find_regions(np.eye(4, dtype=bool)[None, ::-1]).n_regions == 1


def test_regions_do_not_wrap_round_the_border():
    mask = np.zeros((1, 3, 5), bool)
    mask[0, 0, 4] = mask[0, 1, 0] = True  # neighbours in memory only

    assert find_regions(mask).n_regions == 2


def test_regions_do_not_reach_into_the_next_image():
    masks = np.zeros((2, 3, 3), bool)
    masks[0, 2], masks[1, 0] = True, True

    assert find_regions(masks).n_regions == 2


def test_no_anomalous_pixel():
    pixels, areas, n_regions = find_regions(np.zeros((2, 3, 3), bool))

    assert (len(pixels), len(areas), n_regions) == (0, 0, 0)
