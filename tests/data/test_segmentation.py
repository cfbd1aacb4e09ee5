"""Preprocessing of road scenes: resize, padding, joint augmentation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from adbench.data.segmentation import Augmentation, SegmentationTransform, jittered, resized
from adbench.data.transforms import SceneTransform
from adbench.errors import UserError

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
SMALL = Augmentation(short_sides=(20, 24, 40), long_side=70, crop=(16, 32))


def transform(**settings: object) -> SegmentationTransform:
    return SegmentationTransform(**{"mean": MEAN, "std": STD, "short_side": 24, "long_side": 60, **settings})


def picture(height: int = 30, width: int = 50, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def normalised(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy((pixels / 255 - MEAN) / STD).permute(2, 0, 1).float()


@pytest.mark.parametrize(
    ("size", "content"),
    [
        ((1024, 2048), (1024, 2048)),
        ((720, 1280), (1024, 1820)),
        ((1080, 1920), (1024, 1820)),
        ((1280, 720), (1820, 1024)),
        ((100, 1000), (256, 2560)),
        ((512, 512), (1024, 1024)),
    ],
)
def test_the_short_side_is_resized_unless_the_long_one_grows_too_long(size, content) -> None:
    full = SegmentationTransform(mean=MEAN, std=STD)
    assert full.content_size(*size) == content
    assert resized(*size, 1024, 2560) == content


def test_an_image_is_resized_bilinearly_and_padded_after_normalisation() -> None:
    image = picture()
    tensor = transform().image(image)
    assert transform().content_size(30, 50) == (24, 40)
    assert tensor.shape == (3, 32, 64)
    expected = normalised(np.asarray(image.resize((40, 24), Image.Resampling.BILINEAR)))
    torch.testing.assert_close(tensor[:, :24, :40], expected)
    assert not tensor[:, 24:].any()
    assert not tensor[:, :, 40:].any()
    assert tensor.dtype == torch.float32


def test_grey_and_palette_pictures_become_three_channels() -> None:
    assert transform().image(picture().convert("L")).shape == (3, 32, 64)
    assert torch.equal(
        transform().image(picture().convert("P")), transform().image(picture().convert("P").convert("RGB"))
    )


def test_image_and_labels_are_augmented_together() -> None:
    """A picture that is its own label map stays it: crop, scale and mirror hit both alike."""
    labels = np.repeat(np.repeat(np.arange(8 * 12, dtype=np.uint8).reshape(8, 12), 10, 0), 10, 1)  # blocks of 10 px
    image = Image.fromarray(np.repeat(labels[..., None], 3, 2))
    plan = Augmentation(short_sides=(80, 160), long_side=400, crop=(64, 96), jitter=False)
    made = transform(augmentation=plan)
    mirrored = set()
    for seed in range(12):
        tensor, target = made.augmented(image, labels, np.random.default_rng(seed))
        assert tensor.shape == (3, 64, 96)
        assert target.shape == (64, 96)
        assert target.dtype == torch.int64
        values = ((tensor[0] * STD[0] + MEAN[0]) * 255).round().long()
        assert (values == target).float().mean() > 0.6  # borders of blocks are blurred in the picture
        inner = torch.nn.functional.max_pool2d(target[None].float(), 5, 1)[0]
        flat = inner == -torch.nn.functional.max_pool2d(-target[None].float(), 5, 1)[0]  # 5x5 px of one label
        assert (values[2:-2, 2:-2][flat] == target[2:-2, 2:-2][flat]).all()
        row = target[0].tolist()
        mirrored.add(row == sorted(row, reverse=True))
    assert mirrored == {True, False}


def test_small_pictures_are_padded_to_the_crop() -> None:
    plan = Augmentation(short_sides=(10,), long_side=400, crop=(16, 32))
    tensor, target = transform(augmentation=plan, multiple=24).augmented(
        picture(20, 40), np.full((20, 40), 3, np.uint8), np.random.default_rng(0)
    )
    assert tensor.shape == (3, 24, 48)  # the crop, up to the multiple
    assert target.shape == (24, 48)
    assert (target[:10, :20] == 3).all()
    assert (target[10:] == 255).all()
    assert (target[:, 20:] == 255).all()
    assert not tensor[:, 10:].any()
    assert tensor[:, :10, :20].abs().amin(0).mean() > 0


def test_the_same_generator_state_gives_the_same_pair() -> None:
    made, labels = transform(augmentation=SMALL), np.zeros((30, 50), np.uint8)
    pairs = [made.augmented(picture(), labels, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert torch.equal(pairs[0][0], pairs[1][0])
    assert torch.equal(pairs[0][1], pairs[1][1])
    assert not torch.equal(pairs[0][0], pairs[2][0])


def test_without_augmentation_training_sees_what_evaluation_sees() -> None:
    labels = np.arange(30, dtype=np.uint8)[:, None].repeat(50, 1)
    tensor, target = transform().augmented(picture(), labels, np.random.default_rng(0))
    assert torch.equal(tensor, transform().image(picture()))
    assert (target[24:] == 255).all()
    assert set(target[:24, :40].unique().tolist()) <= set(range(30))


def test_the_recipe_of_cityscapes() -> None:
    assert Augmentation().short_sides == (
        *(512, 614, 716, 819, 921, 1024, 1126, 1228, 1331, 1433, 1536, 1638, 1740, 1843, 1945, 2048),
    )
    assert Augmentation().crop == (512, 1024)


def test_jitter_keeps_to_its_ranges() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)
    seen = [int(jittered(grey, np.random.default_rng(seed))[0, 0, 0]) for seed in range(200)]
    assert min(seen) >= (100 - 32) * 0.5 - 1
    assert max(seen) <= (100 + 32) * 1.5
    assert min(seen) < 60
    assert max(seen) > 140
    assert 100 in seen  # some are left alone
    colour = np.full((2, 2, 3), (200, 40, 40), np.uint8)
    tones = {tuple(jittered(colour, np.random.default_rng(seed))[0, 0].tolist()) for seed in range(40)}
    assert any(green > blue + 10 for _, green, blue in tones)  # the hue turns both ways
    assert any(blue > green + 10 for _, green, blue in tones)
    assert all(red >= max(green, blue) for red, green, blue in tones)  # by 36 degrees at most


def test_masks_stay_at_their_own_size_and_settings_are_recorded() -> None:
    mask = Image.fromarray(np.eye(7, 9, dtype=np.uint8) * 3)
    assert transform().mask(mask).shape == (7, 9)
    assert int(transform().mask(mask).sum()) == 7
    described = transform(augmentation=SMALL).describe()
    assert described["short_side"] == 24
    assert described["augmentation"]["crop"] == (16, 32)
    assert isinstance(transform(), SceneTransform)


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="short_side is 0"):
        transform(short_side=0)
    with pytest.raises(UserError, match="below 1 pixel"):
        Augmentation(crop=(0, 32))
    with pytest.raises(UserError, match="mirroring is 2"):
        Augmentation(flip=2)
