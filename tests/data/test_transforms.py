from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as reference

from adbench.data.items import _mask
from adbench.data.pixels import _values, normalised
from adbench.data.transforms import ClipTransform
from adbench.errors import UserError

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
CASE = Path(__file__).parents[1] / "fixtures" / "parity" / "faprompt" / "preprocess"


def picture(mode: str, width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 4), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def official_image(tensors: dict[str, np.ndarray], number: int, mode: str) -> Image.Image:
    image = Image.fromarray(tensors[f"input/image_{number}"].astype(np.uint8))
    if mode == "P":
        indexed = Image.frombytes("P", image.size, image.tobytes())
        indexed.putpalette(tensors[f"input/palette_{number}"].astype(np.uint8).tobytes())
        return indexed
    assert image.mode == mode
    return image


def test_official_preprocessing_of_images_and_masks_in_every_stored_mode() -> None:
    case = json.loads((CASE / "case.json").read_text())
    tensors = dict(np.load(CASE / "tensors.npz"))
    transform = ClipTransform(case["image_size"], MEAN, STD, rgb="after")
    for number, mode in enumerate(case["pil_modes"]):
        image = official_image(tensors, number, mode)
        np.testing.assert_allclose(transform.image(image), tensors["expected/images"][number], rtol=0, atol=1e-5)
        if case["labels"][number]:
            mask = Image.fromarray(tensors[f"input/mask_{number}"].astype(np.uint8))
            np.testing.assert_array_equal(transform.mask(mask), tensors["expected/masks"][number, 0].astype(bool))


@pytest.mark.parametrize(("width", "height"), [(91, 40), (40, 91), (64, 64), (33, 32), (31, 47)])
def test_short_side_matches_torchvision_with_rgb_after(width: int, height: int) -> None:
    image = picture("RGB", width, height)
    chain = reference.Compose(
        [
            reference.Resize(28, interpolation=reference.InterpolationMode.BICUBIC),
            reference.CenterCrop(28),
            reference.ToTensor(),
            reference.Normalize(MEAN, STD),
        ]
    )
    ours = ClipTransform(28, MEAN, STD, resize="short_side", rgb="after").image(image)
    torch.testing.assert_close(ours, chain(image), rtol=0, atol=1e-6)


def test_the_order_of_resize_and_rgb_matters_for_palette_images_only() -> None:
    before, after = (ClipTransform(16, MEAN, STD, rgb=rgb) for rgb in ("before", "after"))
    for mode, equal in (("RGB", True), ("L", True), ("P", False)):
        image = picture(mode, 50, 40)
        assert torch.equal(before.image(image), after.image(image)) is equal


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "1", "CMYK"])
@pytest.mark.parametrize("rgb", ["before", "after"])
def test_every_mode_gives_a_normalised_float_tensor(mode: str, rgb: str) -> None:
    tensor = ClipTransform(14, MEAN, STD, rgb=rgb).image(picture(mode, 30, 20))
    assert tensor.shape == (3, 14, 14)
    assert tensor.dtype == torch.float32
    restored = tensor * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    assert -1e-6 <= restored.min() <= restored.max() <= 1 + 1e-6


def test_masks_count_label_numbers_and_use_a_strict_half() -> None:
    labels = np.zeros((8, 8), np.uint8)
    labels[:4] = 3  # a label number, not 255
    mask = ClipTransform(8, MEAN, STD).mask(Image.fromarray(labels))
    assert mask.dtype == torch.bool
    assert mask.sum() == 32
    column = Image.fromarray(np.array([[255, 0]], np.uint8))
    assert ClipTransform(1, MEAN, STD).mask(column).item() == (round(255 / 2) / 255 > 0.5)


def test_masks_follow_the_images_crop_at_their_own_size() -> None:
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 255
    transform = ClipTransform(28, MEAN, STD, resize="short_side", map_size=10)
    assert transform.mask(Image.fromarray(wide)).shape == (10, 10)
    assert transform.mask(Image.fromarray(wide)).all()
    assert transform.describe()["map_size"] == 10


def test_it_travels_to_workers_and_into_records() -> None:
    transform = ClipTransform(28, MEAN, STD)
    assert pickle.loads(pickle.dumps(transform)) == transform
    assert json.loads(json.dumps(transform.describe()))["resize"] == "squash"


@pytest.mark.parametrize("wrong", [{"resize": "stretch"}, {"rgb": "never"}, {"image_size": 0}, {"map_size": -1}])
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        ClipTransform(**{"image_size": 28, "mean": MEAN, "std": STD, **wrong})


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_images_are_bit_equal_to_plain_arithmetic_on_the_resized_picture(mode: str) -> None:
    image = picture(mode, 61, 47)
    resized = image.convert("RGB").resize((35, 35), Image.Resampling.BICUBIC)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    plain = torch.from_numpy(np.array(resized)).permute(2, 0, 1).to(torch.float32).div_(255).sub_(mean).div_(std)

    assert torch.equal(ClipTransform(35, MEAN, STD).image(image), plain)


def test_every_value_that_pixels_can_have_is_normalised_as_looked_up() -> None:
    levels = torch.arange(256, dtype=torch.uint8).expand(3, 2, 256)
    table = _values(MEAN, STD, torch.device("cpu")).view(3, 1, 256).expand(3, 2, 256)

    assert torch.equal(normalised(levels, MEAN, STD), table)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_pixels_are_normalised_to_the_same_bits_on_a_gpu() -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 40, 50), dtype=np.uint8))

    assert torch.equal(normalised(pixels.cuda(), MEAN, STD).cpu(), normalised(pixels, MEAN, STD))


@pytest.mark.parametrize("transform", [ClipTransform(20, MEAN, STD, map_size=9), ClipTransform(20, MEAN, STD)])
def test_masks_that_mark_nothing_have_the_size_of_those_that_do(transform: ClipTransform) -> None:
    empty = Image.new("L", (30, 17))

    assert torch.equal(_mask(transform, empty), transform.mask(empty))
