from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import adbench
from adbench.data import catalogue
from adbench.data.images import open_mask
from adbench.data.sample import Sample
from adbench.errors import UserError
from adbench.typed import Written

Tree = Callable[..., Path]


def index(root: Path, **options: object) -> list[Sample]:
    return adbench.open_dataset("folder", root=root, **options).samples


def rows(samples: list[Sample], root: Path) -> list[tuple[str, int, str, str, str | None]]:
    """(key, label, split, defect, mask) of each sample."""
    return [
        (s.key, s.label, s.split, s.defect, s.mask_path.relative_to(root).as_posix() if s.mask_path else None)
        for s in samples
    ]


@pytest.mark.parametrize(
    ("normal", "abnormal"),
    [("good", "bad"), ("OK", "NG"), ("normal", "Anomaly"), ("no", "yes"), ("0", "1"), ("NoDefects", "Defects")],
)
def test_two_folders_with_telling_names(tmp_path: Path, tree: Tree, normal: str, abnormal: str) -> None:
    root = tree(tmp_path / "bolts", [f"{normal}/1.png", f"{normal}/2.png", f"{abnormal}/1.png", "notes.txt"])
    samples = index(root)
    assert sorted((s.key, s.label, s.split) for s in samples) == sorted(
        [(f"{normal}/1.png", 0, "test"), (f"{normal}/2.png", 0, "test"), (f"{abnormal}/1.png", 1, "test")]
    )
    assert {s.class_name for s in samples} == {"bolts"}
    assert {s.dataset for s in samples} == {"folder"}
    assert all(s.mask_path is None for s in samples)


@pytest.mark.parametrize(
    "masks", ["ground_truth", "masks", "Mask", "gt", "annotations", "bad/masks", "ground_truth/bad"]
)
def test_masks_in_a_folder_beside_or_below(tmp_path: Path, tree: Tree, draw: Callable[..., Path], masks: str) -> None:
    root = tree(tmp_path, ["good/1.png", "bad/1.png", "bad/2.png"])
    for number in (1, 2):
        draw(root / masks / f"{number}_mask.bmp", mode="L", value=1)
    assert rows(index(root), root) == [
        ("bad/1.png", 1, "test", "bad", f"{masks}/1_mask.bmp"),
        ("bad/2.png", 1, "test", "bad", f"{masks}/2_mask.bmp"),
        ("good/1.png", 0, "test", "good", None),
    ]


def test_masks_in_the_folder_of_the_images(tmp_path: Path, tree: Tree) -> None:
    root = tree(tmp_path, ["ok/1.png", "ng/1.png", "ng/1_label.png"])
    assert rows(index(root), root) == [
        ("ng/1.png", 1, "test", "ng", "ng/1_label.png"),
        ("ok/1.png", 0, "test", "good", None),
    ]


def test_several_folders_of_defects_beside_the_normal_one(tmp_path: Path, tree: Tree) -> None:
    root = tree(
        tmp_path,
        ["good/1.png", "scratch/1.png", "hole/1.png", "masks/scratch/1.png", "masks/hole/1.png"],
    )
    assert rows(index(root), root) == [
        ("good/1.png", 0, "test", "good", None),
        ("hole/1.png", 1, "test", "hole", "masks/hole/1.png"),
        ("scratch/1.png", 1, "test", "scratch", "masks/scratch/1.png"),
    ]


def test_kinds_of_defects_within_the_abnormal_folder_and_training_images(tmp_path: Path, tree: Tree) -> None:
    root = tree(
        tmp_path,
        ["train/9.png", "normal/day 1/1.png", "normal/2.png", "abnormal/tief/Öl/1.png", "masks/tief/Öl/1_mask.png"],
    )
    assert rows(index(root), root) == [
        ("train/9.png", 0, "train", "good", None),
        ("abnormal/tief/Öl/1.png", 1, "test", "Öl", "masks/tief/Öl/1_mask.png"),
        ("normal/2.png", 0, "test", "good", None),
        ("normal/day 1/1.png", 0, "test", "good", None),
    ]


@pytest.mark.parametrize("below", ["", "bolt", "large nut"])
def test_the_layout_of_mvtec_for_one_class_or_several(tmp_path: Path, tree: Tree, below: str) -> None:
    root = tmp_path / "set"
    tree(root / below, ["train/good/0.png", "test/good/0.png", "test/crack/0.png", "ground_truth/crack/0_mask.png"])
    samples = index(root)
    prefix = f"{below}/" if below else ""
    assert rows(samples, root) == [
        (f"{prefix}train/good/0.png", 0, "train", "good", None),
        (f"{prefix}test/crack/0.png", 1, "test", "crack", f"{prefix}ground_truth/crack/0_mask.png"),
        (f"{prefix}test/good/0.png", 0, "test", "good", None),
    ]
    assert samples[0].class_name == (below or "set")


def test_training_images_may_lie_directly_in_train_and_train_may_be_empty(tmp_path: Path, tree: Tree) -> None:
    root = tree(tmp_path, ["a/train/0.png", "a/test/good/0.png", "b/test/ok/0.png", "b/test/ko/0.png"])
    (root / "b/train").mkdir()
    samples = index(root)
    assert [(s.class_name, s.split, s.label) for s in samples] == [
        ("a", "train", 0),
        ("a", "test", 0),
        ("b", "test", 1),
        ("b", "test", 0),
    ]
    assert {s.class_name for s in catalogue.get("folder").index(root, ["b"])} == {"b"}
    with pytest.raises(UserError, match=r"unknown class 'c'.*nown: a, b"):
        catalogue.get("folder").index(root, ["c"])


def test_folders_that_the_user_names(tmp_path: Path, tree: Tree) -> None:
    root = tree(tmp_path / "lot 7", ["a/1.png", "b/1.png", "c/x/1.png", "m/b/1.png", "m/c/x/1.png", "t/5.png"])
    samples = index(
        root, normal_dir="a", abnormal_dir=["b", "c"], mask_dir=["m/b", "m/c"], train_dir=["t"], class_name="bolt"
    )
    assert rows(samples, root) == [
        ("t/5.png", 0, "train", "good", None),
        ("a/1.png", 0, "test", "good", None),
        ("b/1.png", 1, "test", "b", "m/b/1.png"),
        ("c/x/1.png", 1, "test", "x", "m/c/x/1.png"),
    ]
    assert samples[0].class_name == "bolt"
    with pytest.raises(UserError, match=r"'d' is missing .*data\.normal_dir"):
        index(root, normal_dir="d")
    with pytest.raises(UserError, match="below"):
        index(root, normal_dir="../elsewhere")
    with pytest.raises(UserError, match="3 mask folders for 2"):
        index(root, abnormal_dir=["b", "c"], mask_dir=["m", "m/b", "m/c"])


def test_folders_may_be_called_by_numbers(tmp_path: Path, tree: Tree) -> None:
    root = tree(tmp_path, ["3/1.png", "4/1.png"])
    assert [s.label for s in index(root, normal_dir=Written(3, "3"), abnormal_dir=[Written(4, "4")])] == [0, 1]


def test_inverted_masks_on_request(tmp_path: Path, draw: Callable[..., Path], tree: Tree) -> None:
    root = tree(tmp_path, ["good/1.png", "bad/1.png"])
    draw(root / "masks/1.png", mode="L", value=255)
    plain, inverted = (index(root, inverted_masks=flag)[0] for flag in (False, True))
    shares = [np.asarray(open_mask(sample, (12, 10))).mean() / 255 for sample in (plain, inverted)]
    assert shares == pytest.approx([1 / 6, 5 / 6])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1.png", "2.png"], r"cannot tell normal from abnormal.*no folders and 2 images"),
        (["red/1.png", "blue/1.png"], r"found the folders blue, red"),
        (["good/1.png", "bad/1.png", "odd/1.png"], r"whether folder 'odd' beside 'bad', 'good' is normal"),
        (["good/1.png", "images/1.png"], r"whether folder 'images'"),
        (["good/1.png", "bad/1.png", "3.png"], r"whether 1 images"),
        (["test/good/1.png", "test/2.png"], r"whether 1 images"),
        (["good/1.png", "bad/1.png", "bad/2.png", "masks/1.png"], r"1 of 2 anomalous images have no mask"),
        (["good/1.png", "a/1.png", "b/1.png", "masks/1.png"], r"two images share one mask"),
        (["good/1.png", "a/1.png", "b/1.png", "masks/a/1.png"], r"none for the images in 'b'"),
        (["x/good/1.png", "x/bad/1.png", "y/1.png"], r"folder 'y' holds images but is not arranged"),
    ],
)
def test_an_unclear_layout_is_one_clear_error(tmp_path: Path, tree: Tree, names: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        index(tree(tmp_path, names))
    assert "\n" not in str(caught.value)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folders and 0 images"):
        index(tmp_path)


def test_a_name_for_several_classes_is_refused(tmp_path: Path, tree: Tree) -> None:
    root = tree(tmp_path, ["x/good/1.png", "y/good/1.png"])
    with pytest.raises(UserError, match="2 classes"):
        index(root, class_name="bolt")


def test_a_meta_json_is_read_where_nothing_is_recognised(tmp_path: Path, tree: Tree) -> None:
    root = tree(tmp_path, ["pictures/1.png"])
    record = '{"img_path": "pictures/1.png", "mask_path": "", "cls_name": "bolt", "specie_name": "", "anomaly": 0}'
    (root / "meta.json").write_text('{"train": {}, "test": {"bolt": [' + record + "]}}")
    assert [sample.key for sample in index(root)] == ["pictures/1.png"]
