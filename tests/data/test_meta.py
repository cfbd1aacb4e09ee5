from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adbench.data import catalogue
from adbench.data.meta import read_meta
from adbench.errors import UserError

Tree = Callable[..., Path]


def record(image: str, mask: str = "", *, anomaly: int = 0, kind: str = "good", name: str = "skin") -> dict[str, Any]:
    return {"img_path": image, "mask_path": mask, "cls_name": name, "specie_name": kind, "anomaly": anomaly}


def write(root: Path, test: list[dict[str, Any]], *, keys: tuple[str, str] = ("train", "test")) -> Path:
    content = {keys[0]: {"skin": []}, keys[1]: {"skin": test}}
    (root / "meta.json").write_text(json.dumps(content, indent=4))
    return root


@pytest.fixture
def root(tmp_path: Path, tree: Tree) -> Path:
    return tree(tmp_path / "ISIC", ["images/1.png", "images/2.png", "truth/1_mask.png", "truth/2_mask.png"])


def test_records_become_samples(root: Path) -> None:
    write(root, [record("images/1.png", "truth/1_mask.png", anomaly=1, kind="melanoma"), record("images/2.png")])
    one, two = read_meta(root, dataset="isic")
    assert (one.key, one.label, one.split, one.defect, one.class_name) == (
        "images/1.png",
        1,
        "test",
        "melanoma",
        "skin",
    )
    assert one.mask_path == root / "truth/1_mask.png"
    assert (two.label, two.defect, two.mask_path, two.dataset) == (0, "good", None, "isic")


def test_capitalised_splits_and_masks_of_normal_images(root: Path) -> None:
    write(root, [record("images/1.png", "truth/1_mask.png")], keys=("Train", "Test"))
    (sample,) = read_meta(root, dataset="dagm")
    assert sample.split == "test"
    assert sample.mask_path is None


@pytest.mark.parametrize(
    "prefix", ["{root}/", "../data/ISIC/", "ISIC/", "./", "/home/someone/data/ISIC/", "..\\data\\ISIC\\"]
)
def test_paths_that_hold_the_root_already(root: Path, prefix: str) -> None:
    prefix = prefix.format(root=root)
    write(root, [record(f"{prefix}images/1.png", f"{prefix}truth/1_mask.png", anomaly=1)])
    (sample,) = read_meta(root, dataset="meta")
    assert sample.key == "images/1.png"
    assert sample.path == root / "images/1.png"
    assert sample.mask_path == root / "truth/1_mask.png"


def test_absolute_paths_elsewhere(root: Path, tmp_path: Path, tree: Tree) -> None:
    other = tree(tmp_path / "other", ["9.png"])
    write(root, [record(str(other / "9.png"))])
    (sample,) = read_meta(root, dataset="meta")
    assert sample.path == other / "9.png"


@pytest.mark.parametrize("mask", ["", "truth", "."])
def test_no_mask_or_a_folder_as_mask(root: Path, mask: str) -> None:
    write(root, [record("images/1.png", mask, anomaly=1)])
    (sample,) = read_meta(root, dataset="meta")
    assert (sample.label, sample.mask_path) == (1, None)


def test_missing_files_are_counted_and_the_first_is_named(root: Path) -> None:
    write(root, [record("images/1.png"), record("images/8.png"), record("pics/9.png")])
    with pytest.raises(
        UserError, match=r"2 of 3 files are missing, first 'images/8\.png'; nearest is '[12]\.png' \(looked for"
    ):
        catalogue.get("meta").index(root)
    write(root, [record("images/1.png", "truth/7_mask.png", anomaly=1)])
    with pytest.raises(UserError, match=r"1 of 1 anomalous images have no mask .*truth/7_mask\.png"):
        catalogue.get("meta").index(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "holds no splits"),
        ('{"valid": {}}', "has the key 'valid'"),
        ('{"test": []}', "has the key 'test'"),
        ('{"test": {"skin": {}}}', "'skin' is no list"),
        ('{"test": {"skin": [1]}}', r"record is 1 .*record 0"),
        ('{"test": {"skin": [{"img_path": "images/1.png"}]}}', "anomaly is null"),
        ('{"test": {"skin": []}}', "holds no images"),
    ],
)
def test_malformed_files_are_refused(root: Path, content: str, message: str) -> None:
    (root / "meta.json").write_text(content)
    with pytest.raises(UserError, match=message):
        catalogue.get("meta").index(root)


def test_it_serves_any_set_whose_folder_has_not_the_raw_layout(root: Path, tree: Tree) -> None:
    write(root, [record("images/1.png", name="bottle"), record("images/2.png", name="screw")])
    samples = catalogue.get("mvtec").index(root, ["screw"])
    assert [(sample.dataset, sample.class_name) for sample in samples] == [("mvtec", "screw")]
    tree(root, ["bottle/test/good/000.png"])
    assert [sample.key for sample in catalogue.get("mvtec").index(root)] == ["bottle/test/good/000.png"]


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"meta\.json is missing"):
        catalogue.get("meta").index(tmp_path)
