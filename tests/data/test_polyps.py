"""CVC-ColonDB and CVC-ClinicDB in the layouts that people have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adbench.data import catalogue
from adbench.errors import UserError

Tree = Callable[..., Path]


@pytest.mark.parametrize("name", ["colondb", "clinicdb"])
def test_image_and_mask_folders_are_paired_by_name(tmp_path: Path, tree: Tree, name: str) -> None:
    root = tree(tmp_path, ["images/2.png", "images/10.png", "masks/10.png", "masks/2.png", "masks/.DS_Store"])
    samples = catalogue.get(name).index(root)
    assert [(s.key, s.mask_path.name if s.mask_path else None) for s in samples] == [
        ("images/10.png", "10.png"),
        ("images/2.png", "2.png"),
    ]
    assert {(s.label, s.split, s.dataset, s.class_name.lower()) for s in samples} == {(1, "test", name, name)}


def test_clinicdb_archive_with_spaces_and_two_formats(tmp_path: Path, tree: Tree) -> None:
    folders = [f"{kind}/{part}" for kind in ("PNG", "TIF") for part in ("Original", "Ground Truth")]
    root = tree(tmp_path, [f"{folder}/1.{folder[:3].lower()}" for folder in folders])
    (sample,) = catalogue.get("clinicdb").index(root)
    assert sample.key == "PNG/Original/1.png"
    assert sample.mask_path == root / "PNG" / "Ground Truth" / "1.png"


def test_adaclip_arrangement(tmp_path: Path, tree: Tree) -> None:
    root = tree(
        tmp_path,
        ["ColonDB/test/defect/7.png", "ColonDB/ground_truth/defect/7.png", "ColonDB/test/good/8.png"],
    )
    samples = catalogue.get("colondb").index(root)
    assert [(s.key, s.label) for s in samples] == [("ColonDB/test/defect/7.png", 1), ("ColonDB/test/good/8.png", 0)]


def test_an_image_without_mask_is_an_error(tmp_path: Path, tree: Tree) -> None:
    root = tree(tmp_path, ["images/1.png", "images/2.png", "masks/1.png"])
    with pytest.raises(UserError, match=r"1 of 2 anomalous images have no mask"):
        catalogue.get("colondb").index(root)


def test_images_without_mask_folder_say_what_is_expected(tmp_path: Path, tree: Tree) -> None:
    root = tree(tmp_path, ["images/1.png"])
    with pytest.raises(UserError, match=r"images \+ masks"):
        catalogue.get("colondb").index(root)
