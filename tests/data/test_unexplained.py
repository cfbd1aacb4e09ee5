"""Image files that no rule explains are mentioned by a check, not dropped in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from adbench.data import catalogue
from adbench.data.check import check_dataset
from adbench.errors import UserError

Tree = Callable[[Path, Iterable[str]], Path]

CLASS = ["train/good/0.png", "test/good/1.png", "test/hole/2.png", "ground_truth/hole/2_mask.png"]


def told(root: Path) -> list[str]:
    notes = check_dataset(catalogue.get("mvtec"), root).notes
    return [note for note in notes if "no part of the layout" in note or "no extension" in note or "not read" in note]


def test_a_whole_set_has_none(tmp_path: Path, tree: Tree) -> None:
    root = tree(tmp_path, [f"bottle/{name}" for name in CLASS] + ["bottle/readme.txt", ".cache/x.png"])
    assert told(root) == []


def test_strange_images_and_ones_without_extension_are_counted(tmp_path: Path, tree: Tree) -> None:
    root = tree(tmp_path, [f"bottle/{name}" for name in CLASS] + ["bottle/preview/a.png", "bottle/preview/b.png"])
    (root / "bottle" / "train" / "good" / "7").write_bytes((root / "bottle/train/good/0.png").read_bytes())
    (root / "bottle" / "LICENSE").write_text("words")
    assert told(root) == [
        "2 image files are no part of the layout, first bottle/preview/a.png",
        "1 images have no extension and are not read, first bottle/train/good/7",
    ]


def test_masks_of_normal_images_are_left_alone(tmp_path: Path, tree: Tree) -> None:
    root = tree(tmp_path, [f"bottle/{name}" for name in CLASS] + ["bottle/ground_truth/good/1_mask.png"])
    assert told(root) == []


def test_pictures_of_formats_that_are_not_read_are_counted(tmp_path: Path, tree: Tree) -> None:
    root = tree(tmp_path, [f"bottle/{name}" for name in CLASS])
    (root / "bottle" / "train" / "good" / "7.HEIC").write_bytes(b"x")
    assert told(root) == [
        "1 picture is of a format that is not read (.heic; save them as PNG or JPEG), first bottle/train/good/7.HEIC"
    ]
    notes = check_dataset(catalogue.get("folder"), root).notes
    assert [note for note in notes if "not read" in note] == told(root)


def test_a_folder_of_nothing_else_says_so(tmp_path: Path) -> None:
    for side in ("good", "bad"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "0.tga").write_bytes(b"x")
    with pytest.raises(UserError, match=r"2 pictures are of formats that are not read \(\.tga"):
        catalogue.get("folder").survey(tmp_path)
