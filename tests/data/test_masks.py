from __future__ import annotations

from pathlib import Path

import pytest

from adbench.data.masks import pair_masks, split_off_masks
from adbench.errors import UserError

HERE = Path("ground_truth")


@pytest.mark.parametrize("form", ["{}.png", "{}_mask.png", "{}_label.bmp", "{}_gt.PNG", "{}_GT.png", "{}-mask.tif"])
def test_masks_go_by_stem_with_or_without_suffix(form: str) -> None:
    images = ["002.bmp", "000.JPG", "001.png"]
    masks = [form.format(stem) for stem in ("001", "000", "002")]
    expected = {image: form.format(image[:3]) for image in images}
    assert pair_masks(images, masks, where=HERE) == expected


def test_left_over_masks_do_not_matter() -> None:
    assert pair_masks(["1.png"], ["0.png", "1.png", "2.png"], where=HERE) == {"1.png": "1.png"}


def test_foreign_names_are_paired_in_order_if_the_numbers_agree() -> None:
    assert pair_masks(["b.png", "a.png"], ["x2.png", "x1.png"], where=HERE) == {"a.png": "x1.png", "b.png": "x2.png"}


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["a.png", "b.png"], ["x1.png"]),
        (["a.png", "b.png"], ["x1.png", "x2.png", "x3.png"]),
        (["a.png", "b.png"], ["a.png", "x.png"]),  # one pair by name: order would be a guess
        (["a.png"], []),
    ],
)
def test_anything_else_is_refused(images: list[str], masks: list[str]) -> None:
    with pytest.raises(UserError, match=r"no mask among \d files, first '[ab]\.png'"):
        pair_masks(images, masks, where=HERE)


def test_two_masks_of_one_stem_are_refused() -> None:
    with pytest.raises(UserError, match="same stem"):
        pair_masks(["a.png"], ["a.png", "a.bmp"], where=HERE)


def test_images_and_masks_side_by_side_are_told_apart() -> None:
    names = ["1.jpg", "1_label.bmp", "2.jpg", "2_label.bmp", "gas_mask.jpg"]
    assert split_off_masks(names) == (["1.jpg", "2.jpg", "gas_mask.jpg"], ["1_label.bmp", "2_label.bmp"])
