# ruff: noqa: E501 - the table of names reads best with one case a line
from __future__ import annotations

import string
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adbench.data.masks import nearest, pair_masks, split_off_masks
from adbench.errors import UserError

HERE = Path("ground_truth")
ACCENT = "caf\u00e9"
SPLIT_ACCENT = unicodedata.normalize("NFD", ACCENT)

# what: images, masks, the masks of each image in their order; None: the image has none
PAIRS: dict[str, tuple[list[str], list[str], list[str | None]]] = {
    "the same stem": (["b.JPG", "a.png"], ["a.bmp", "b.png"], ["b.png", "a.bmp"]),
    "a suffix": (["1.png", "2.png"], ["2_mask.png", "1_mask.png"], ["1_mask.png", "2_mask.png"]),
    "a suffix in capitals": (["1.png", "2.png"], ["2_GT.png", "1_GT.png"], ["1_GT.png", "2_GT.png"]),
    "a suffix of ISIC": (["ISIC_1.jpg"], ["ISIC_1_Segmentation.png"], ["ISIC_1_Segmentation.png"]),
    "a prefix": (["1.png", "2.png"], ["mask_1.png", "mask_2.png"], ["mask_1.png", "mask_2.png"]),
    "different suffixes": (["1.png", "2.png"], ["1_mask.png", "2-label.png"], ["1_mask.png", "2-label.png"]),
    "case": (["A.png"], ["a.PNG"], ["a.PNG"]),
    "composed and decomposed": ([f"{ACCENT}.png"], [f"{SPLIT_ACCENT}_mask.png"], [f"{SPLIT_ACCENT}_mask.png"]),
    "decomposed and composed": ([f"{SPLIT_ACCENT}.png"], [f"{ACCENT}.png"], [f"{ACCENT}.png"]),
    "doubled extensions": (["001.png.png"], ["001.jpg.png"], ["001.jpg.png"]),
    "a doubled extension and a word": (["001.png"], ["001.png.mask.png"], ["001.png.mask.png"]),
    "blanks": (["1 .png", " 2.png"], ["1.png", "2.png"], ["1.png", "2.png"]),
    "separators": (["0012-R.png", "0013 L.png"], ["0012_R.png", "0013_L.png"], ["0012_R.png", "0013_L.png"]),
    "zeros before the masks' numbers": (
        ["1.png", "2.png", "10.png"],
        ["mask_001.png", "mask_002.png", "mask_010.png"],
        ["mask_001.png", "mask_002.png", "mask_010.png"],
    ),
    "zeros before the images' numbers": (["a_01_1.bmp", "a_01_10.bmp"], ["a_1_1.bmp", "a_1_10.bmp"], ["a_1_1.bmp", "a_1_10.bmp"]),
    "one word for another": (["1_rgb.png", "2_rgb.png"], ["1_x.png", "2_x.png"], ["1_x.png", "2_x.png"]),
    "a word within": (["a_D_01_1.bmp", "a_D_01_2.bmp"], ["a_GT_1_1.bmp", "a_GT_1_2.bmp"], ["a_GT_1_1.bmp", "a_GT_1_2.bmp"]),
    "words before numbers": (["img_7.png", "img_8.png"], ["mask_07.png", "mask_08.png"], ["mask_07.png", "mask_08.png"]),
    "a word for masks before the number": (
        ["part_1.png", "part_2.png"],
        ["part_mask_1.png", "part_mask_2.png"],
        ["part_mask_1.png", "part_mask_2.png"],
    ),
    "equal numbers alone": (["bolt (7).jpg", "bolt (8).jpg"], ["x-08-y.png", "x-07-y.png"], ["x-07-y.png", "x-08-y.png"]),
    "numbered masks": (["7.png", "8.png"], ["7_mask2.png", "7_mask1.png", "8_mask.png"], ["7_mask1.png 7_mask2.png", "8_mask.png"]),
    "numbered masks beside an unnumbered one": (["7.png"], ["7_mask.png", "7_mask_2.png"], ["7_mask.png 7_mask_2.png"]),
    "a folder for each image": (["0.png", "1.png"], ["0/0.png", "0/1.png", "1/0.png"], ["0/0.png 0/1.png", "1/0.png"]),
    "masks left over": (["1.png"], ["0.png", "1.png", "2.png"], ["1.png"]),
    "the exact name wins": (["1.png"], ["1.png", "1_mask.png"], ["1.png"]),
    "one mask is missing": (["1.png", "2.png"], ["1_gt.png"], ["1_gt.png", None]),
    "one is missing and one is extra": (["1.png", "2.png", "3.png"], ["1.png", "2.png", "4.png"], ["1.png", "2.png", None]),
    "shifted numbers": (["000.png", "001.png"], ["020.png", "021.png"], [None, None]),
    "shifted numbers behind words": (["x1.png", "x2.png"], ["y2.png", "y3.png"], [None, None]),
    "foreign names in equal number": (["b.png", "a.png"], ["x2.png", "x1.png"], [None, None]),
    "one image and one mask of foreign names": (["foo.png"], ["bar.png"], [None]),
    "one image and one mask of other numbers": (["5.png"], ["6.png"], [None]),
    "some numbers, one too many": (["1.png", "2.png"], ["m1.png", "m2.png", "m3.png"], [None, None]),
    "no masks": (["a.png"], [], [None]),
}  # fmt: skip


@pytest.mark.parametrize("what", PAIRS)
def test_pairs(what: str) -> None:
    images, masks, expected = PAIRS[what]
    found = pair_masks(images, masks, where=HERE)
    assert list(found) == sorted(images, key=list(found).index)
    for image, own in zip(images, expected, strict=True):
        if own is None:  # a name that no file has: the survey finds it missing
            assert set(found[image]).isdisjoint(masks)
        else:
            assert found[image] == tuple(own.split(" "))


@pytest.mark.parametrize(
    ("images", "masks", "said"),
    [
        (["a.png"], ["a.png", "a.bmp"], r"two masks have the same stem: 'a\.bmp' and 'a\.png'"),
        (["a.png"], ["a.png", "A.png"], r"two masks have the same stem: 'A\.png' and 'a\.png'"),
        (["a.png"], ["a.PNG", "a.png"], r"two masks have the same stem"),
        ([f"{ACCENT}.png"], [f"{ACCENT}.png", f"{SPLIT_ACCENT}.png"], r"two masks have the same stem"),
        (["a.png"], ["a.png", "a.png.png"], r"two masks have the same stem"),
        (["1.png"], ["1.png", "01.png"], r"not clear which mask.*'1\.png' or '01\.png'"),
        (["1.png"], ["mask_1.png", "mask_01.png"], r"not clear which mask.*'mask_1\.png' or 'mask_01\.png'"),
        (["1.png", "01.png"], ["mask_1.png", "x.png"], r"two images differ in zeros .* alone: '1\.png' and '01\.png'"),
        (["7.png"], ["7.png", "7_mask_2.png"], r"not clear which mask.*'7\.png' or '7_mask_2\.png'"),
    ],
)
def test_what_is_not_clear_is_refused_by_naming_both(images: list[str], masks: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        pair_masks(images, masks, where=HERE)


def test_images_and_masks_side_by_side_are_told_apart() -> None:
    names = ["1.jpg", "1_label.bmp", "2.jpg", "2_label.bmp", "gas_mask.jpg"]
    assert split_off_masks(names) == (["1.jpg", "2.jpg", "gas_mask.jpg"], ["1_label.bmp", "2_label.bmp"])
    assert split_off_masks(["1.png", "1_mask_1.png", "1_mask_2.png"]) == (["1.png"], ["1_mask_1.png", "1_mask_2.png"])
    assert split_off_masks(["img_1.png", "mask_01.png"]) == (["img_1.png"], ["mask_01.png"])
    assert split_off_masks(["gas_mask.jpg", "b.jpg"]) == (["gas_mask.jpg", "b.jpg"], [])


def test_the_nearest_name() -> None:
    assert nearest("a_07.png", ["b.png", "a_7_mask.png", "a_8.png"]) == "a_7_mask.png"
    assert nearest("a.png", []) is None


NAMES = st.text(string.ascii_letters[:6] + "0123_- .\u00e9", min_size=1, max_size=6).map(lambda stem: f"{stem}.png")


@settings(max_examples=150, deadline=None)
@given(st.lists(NAMES, unique=True, max_size=5), st.lists(NAMES, unique=True, max_size=5))
def test_whatever_the_names_no_mask_serves_two_images_and_order_does_not_matter(
    images: list[str], masks: list[str]
) -> None:
    def paired(images: list[str], masks: list[str]) -> dict[str, set[str]] | None:
        try:
            return {image: set(own) & set(masks) for image, own in pair_masks(images, masks, where=HERE).items()}
        except UserError:
            return None

    found = paired(images, masks)
    assert found == paired(images[::-1], masks[::-1])
    if found is not None:
        assert set(found) == set(images)
        used = [mask for own in found.values() for mask in own]
        assert len(used) == len(set(used))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 2000), unique=True, min_size=1, max_size=8),
    st.sampled_from(["{}", "{:04d}", "a_{:03d}", "img{}", "a-{}-b"]),
    st.sampled_from(["{}_mask", "{:05d}_gt", "mask_{:03d}", "a_{}", "seg.{}", "x{}"]),
)
def test_equal_numbers_are_paired_whatever_stands_around_them_or_not_at_all(
    numbers: list[int], image: str, mask: str
) -> None:
    pairs = pair_masks(
        [f"{image.format(n)}.png" for n in numbers], [f"{mask.format(n)}.png" for n in numbers], where=HERE
    )
    for number in numbers:
        assert pairs[f"{image.format(number)}.png"] == (f"{mask.format(number)}.png",)
