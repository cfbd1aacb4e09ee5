"""MVTec AD 2: splits with labels and without, masks within the public test set, scenes under several lights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adbench.api.dataset import Dataset
from adbench.data import catalogue
from adbench.data.check import check_dataset
from adbench.data.counts import Counts, count_images
from adbench.errors import UserError
from trees import Tree, check_tree

SPEC = catalogue.get("mvtec_ad2")


def ad2(validation: str = "validation", place: str = "can") -> Tree:
    return Tree(
        what="MVTec AD 2",
        name="mvtec_ad2",
        images=[
            f"{place}/train/good/000_regular.png",
            f"{place}/{validation}/good/000_regular.png",
            *(f"{place}/test_public/good/000_{light}.png" for light in ("regular", "shift_1")),
            *(f"{place}/test_public/bad/000_{light}.png" for light in ("overexposed", "regular")),
            f"{place}/test_private/000_regular.png",
            f"{place}/test_private_mixed/000_mixed.png",
        ],
        masks=[f"{place}/test_public/ground_truth/bad/000_{light}_mask.png" for light in ("overexposed", "regular")],
        expected=[
            f"train can 0 {place}/train/good/000_regular.png",
            f"test_private can -1 {place}/test_private/000_regular.png",
            f"test_private_mixed can -1 {place}/test_private_mixed/000_mixed.png",
            *(
                f"test_public can 1 {place}/test_public/bad/000_{light}.png "
                f"{place}/test_public/ground_truth/bad/000_{light}_mask.png"
                for light in ("overexposed", "regular")
            ),
            *(f"test_public can 0 {place}/test_public/good/000_{light}.png" for light in ("regular", "shift_1")),
            f"validation can 0 {place}/{validation}/good/000_regular.png",
        ],
    )


@pytest.mark.parametrize("case", [ad2(), ad2("validate"), ad2(place="can/can")], ids=["plain", "validate", "nested"])
@pytest.mark.parametrize("below", ["", "mvtec_ad_2"])
def test_what_is_read(tmp_path: Path, draw: Callable[..., Path], case: Tree, below: str) -> None:
    samples = check_tree(case, tmp_path, below, draw)
    opened = Dataset(SPEC, samples)
    assert [sample.split for sample in opened.test] == ["test_public"] * 4
    assert [sample.split for sample in opened.validation] == ["validation"]
    assert [sample.split for sample in opened.train] == ["train"]
    assert opened.auxiliary().samples == opened.test
    assert count_images(samples)["can"] == Counts(train=1, validation=1, normal=2, anomalous=2)
    assert [sample.key.split("/")[-1] for sample in Dataset(SPEC, samples, "test_private_mixed").test] == [
        "000_mixed.png"
    ]


def test_numbers_of_images_without_labels_are_checked_too(tmp_path: Path, draw: Callable[..., Path]) -> None:
    samples = check_tree(ad2(), tmp_path, "", draw)
    assert SPEC.deviations(samples) == [
        "mvtec_ad2/can has 1 training, 1 validation, 2 normal and 2 anomalous test images; published: 412 training, 46 "
        "validation, 72 normal and 90 anomalous test",
        "mvtec_ad2/can has 1 images in test_private; published: 321",
        "mvtec_ad2/can has 1 images in test_private_mixed; published: 321",
    ]
    problems = [str(problem) for problem in check_dataset(SPEC, tmp_path).problems]
    assert sum("published" in line for line in problems) == 3
    assert sum("is missing" in line for line in problems) == 7  # classes


def test_a_mask_that_is_missing_is_named(tmp_path: Path, draw: Callable[..., Path]) -> None:
    check_tree(ad2(), tmp_path, "", draw)
    (tmp_path / "can/test_public/ground_truth/bad/000_regular_mask.png").unlink()
    with pytest.raises(
        UserError, match=r"1 of 2 anomalous images have no mask among 1 files, first '000_regular\.png'"
    ):
        SPEC.index(tmp_path)


def test_a_test_folder_of_another_name_is_not_guessed_at(tmp_path: Path, draw: Callable[..., Path]) -> None:
    for name in ("train/good/000_regular.png", "test/good/000_regular.png"):
        draw(tmp_path / "can" / name)
    with pytest.raises(UserError, match="does not hold data set mvtec_ad2"):
        SPEC.index(tmp_path)


def test_pictures_of_one_scene_are_one_unit() -> None:
    assert SPEC.unit_of is not None
    keys = [f"can/test_public/bad/007_{light}.png" for light in ("regular", "shift_1", "underexposed")]
    assert {SPEC.unit_of(key) for key in keys} == {"can/test_public/bad/007"}
    assert SPEC.unit_of("can/test_public/good/007_regular.png") != SPEC.unit_of(keys[0])


def test_published_totals() -> None:
    assert SPEC.n_published == 2528 + 302 + 379 + 705
    assert [sum(numbers.values()) for numbers in SPEC.held_back.values()] == [2045, 2045]
