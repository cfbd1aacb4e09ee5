"""AA-CLIP's random changes of training images: which, how often, how far, in what order; beside torchvision's."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as reference

from adbench.data.episodes import Episode
from adbench.data.loading import make_episode_loader
from adbench.data.transforms import ClipTransform
from adbench.methods import build
from adbench.methods.aaclip.transform import AaClipTransform
from engine.tiny_engine import write_dataset
from tiny import make_tiny_clip

SIDE = 40
PLAIN = ClipTransform(SIDE, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), resize="squash", rgb="before")
CHANGING = AaClipTransform(PLAIN.image_size, PLAIN.mean, PLAIN.std, mask_rule="nearest")
NO = 0.999


@dataclass
class Script:
    """Draws as they are written down; how far along its range each `uniform` lies say `shares`."""

    draws: list[float]
    shares: tuple[float, ...] = ()
    ranges: list[tuple[float, float]] = field(default_factory=list)

    def random(self):
        return self.draws.pop(0)

    def uniform(self, low, high):
        self.ranges.append((low, high))
        return low + self.shares[len(self.ranges) - 1] * (high - low)


def picture(seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def moved(draws, shares=()):
    marked = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 7 == 0
    mask = Image.fromarray(marked.astype(np.uint8))
    script = Script(list(draws), shares)
    tensor, changed = CHANGING.augmented_pair(picture(), mask, script)
    assert not script.draws
    return tensor, changed, torch.from_numpy(marked), script.ranges


def test_masks_are_resized_to_the_nearest_stored_pixel_and_count_where_not_0():
    drawn = np.zeros((97, 61), np.uint8)
    drawn[20:70, 11:40] = np.random.default_rng(1).integers(0, 4, (50, 29))
    rows, columns = (((np.arange(SIDE) + 0.5) * n / SIDE).astype(int) for n in drawn.shape)
    mask = CHANGING.mask(Image.fromarray(drawn))
    assert np.array_equal(mask.numpy(), drawn[np.ix_(rows, columns)] != 0)


def test_flips_are_horizontal_first_then_vertical_each_half_of_the_time():
    plain = PLAIN.image(picture())
    for draws, axes in [((0.49, NO), [2]), ((NO, 0.49), [1]), ((0.0, 0.0), [1, 2]), ((0.5, 0.5), [])]:
        tensor, changed, mask, _ = moved([NO, NO, *draws])
        assert torch.equal(tensor, plain.flip(axes))
        assert torch.equal(changed, mask.flip([axis - 1 for axis in axes]))


@pytest.mark.parametrize(("shares", "right_down"), [((1.0, 0.0), [6, -6]), ((0.0, 0.75), [-6, 3])])
def test_shifts_reach_15_percent_of_the_side_and_leave_the_mean_colour(shares, right_down):
    tensor, changed, mask, ranges = moved([NO, 0.49, NO, NO], shares)
    assert ranges == [(-0.15, 0.15)] * 2
    plain = PLAIN.image(picture())
    assert torch.equal(tensor, reference.affine(plain, angle=0, translate=right_down, scale=1, shear=[0, 0], fill=0.0))
    assert torch.equal(changed, reference.affine(mask[None].float(), 0, right_down, 1, [0, 0])[0] > 0.5)


@pytest.mark.parametrize("share", [0.0, 0.8])
def test_rotations_reach_30_degrees_and_leave_the_mean_colour(share):
    tensor, changed, mask, ranges = moved([0.49, NO, NO, NO], (share,))
    (span,) = ranges
    assert span == (-30.0, 30.0)
    angle = span[0] + share * 60
    plain = PLAIN.image(picture())
    ways = [reference.rotate(plain, sign * angle, v2.InterpolationMode.NEAREST, fill=0.0) for sign in (1, -1)]
    agreement = [float((tensor == way).all(dim=0).float().mean()) for way in ways]
    assert max(agreement) > 0.98  # either way round: the range is symmetric
    sign = 1 if agreement[0] > agreement[1] else -1
    turned = reference.rotate(mask[None].float(), sign * angle, v2.InterpolationMode.NEAREST)[0] > 0.5
    assert float((turned == changed).float().mean()) > 0.98
    assert (tensor == 0).all(dim=0)[0, 0]


def test_colours_are_brightness_contrast_saturation_each_by_itself_of_the_picture_before_resizing():
    image = picture().resize((23, 31))
    changes = [reference.adjust_brightness, reference.adjust_contrast, reference.adjust_saturation]
    chances = [(True, False, False), (False, True, False), (False, False, True), (True, True, True), (False,) * 3]
    for acting in chances:
        script = Script([0.69 if acts else 0.7 for acts in acting] + [NO] * 4, (0.2,) * 3)
        tensor, mask = replace(CHANGING, colours=True).augmented_pair(image, None, script)
        expected = image
        for acts, change in zip(acting, changes, strict=True):
            expected = change(expected, 0.7) if acts else expected
        assert mask is None
        assert script.ranges == [(0.5, 1.5)] * sum(acting)
        assert_close(tensor, PLAIN.image(expected), atol=0, rtol=0)


def test_images_that_are_augmented_stay_as_they_are(tmp_path):
    samples, method = write_dataset(tmp_path), build("aaclip", make_tiny_clip())
    loaders = [
        make_episode_loader(samples, method.transform, [Episode((0, 1))], as_pixels=as_pixels)
        for as_pixels in (False, True)
    ]
    plain, asked = (next(iter(loader)).images for loader in loaders)
    assert torch.equal(plain, asked)
