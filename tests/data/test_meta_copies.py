"""What real copies have in their meta.json: taken where it can only mean one thing, else refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adbench.data.catalogue import survey_dataset
from adbench.errors import UserError
from data.test_real_copies import index

Tree = Callable[..., Path]


def record(image: str, anomaly: Any = 0, mask: Any = "", name: Any = "a", kind: Any = "x") -> dict[str, Any]:
    return {"img_path": image, "mask_path": mask, "cls_name": name, "specie_name": kind, "anomaly": anomaly}


def listed(root: Path, *test: Any, train: list[Any] | None = None) -> Path:
    (root / "meta.json").write_text(json.dumps({"train": {"a": train or []}, "test": {"a": list(test)}}))
    return root


@pytest.fixture
def pictures(tmp_path: Path, tree: Tree) -> Path:
    return tree(tmp_path / "set", ["c/1.png", "c/2.png", "c/3.png", "c/2_mask.png"])


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ([record("c/1.png"), record("c/1.png")], "listed twice"),
        ([record("c/1.png"), record("./c/1.png")], "listed twice"),
        ([record("c/1.png"), record("c/1.png", 1)], "both as normal and as anomalous"),
        ([record("c/2.png", 1, "c/2_mask.png"), record("c/3.png", 1)], r"anomalous image has no mask .*3\.png"),
        ([record("c/1.png", 2)], "anomaly is 2 "),
        ([record("c/1.png", None)], "anomaly is null"),
        ([record("c/1.png", [1])], r"anomaly is \[1\]"),
        ([record("c/1.png", "yes")], 'anomaly is "yes"'),
        ([record("c/1.png", name=["a"])], r'cls_name is \["a"\]'),
        ([record("c/1.png", name=True)], "cls_name is true"),
        ([record("c/1.png", name=1.5)], r"cls_name is 1\.5"),
        ([record("c/1.png", 1, kind={})], r"specie_name is \{\}"),
        ([record("c/1.png", 1, mask=["c/2_mask.png"])], "mask_path is"),
        ([record("")], 'img_path is ""'),
        ([record(7)], "img_path is 7"),  # type: ignore[arg-type]
        ([[]], r"record is \[\]"),
        ([record("c%2F1.png")], r"Write '1\.png' in the list: its name is written with escapes"),
    ],
)
def test_contradictions_and_wrong_types_in_a_meta_json(pictures: Path, test: list[Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        index("meta", listed(pictures, *test))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("anomaly", "label"), [(1, 1), (True, 1), (1.0, 1), ("1", 1), ("0", 0), (False, 0), (0.0, 0)])
def test_what_can_only_mean_0_or_1_does(pictures: Path, anomaly: Any, label: int) -> None:
    (sample,) = index("meta", listed(pictures, record("c/1.png", anomaly, name=4711)))
    assert (sample.label, sample.class_name) == (label, "4711")


def test_keys_that_are_there_twice_are_refused(pictures: Path) -> None:
    (pictures / "meta.json").write_text('{"test": {"a": [], "a": []}}')
    with pytest.raises(UserError, match="the key 'a' is there twice"):
        index("meta", pictures)


def test_training_records_without_an_image_are_left_out(pictures: Path) -> None:
    root = listed(pictures, record("c/1.png"), train=[record("")])
    _, found = survey_dataset("meta", root=root)
    assert [s.key for s in found.samples] == ["c/1.png"]
    assert "1 training records" in found.notes[0].text


@pytest.mark.parametrize("prefix", ["/mnt/other machine/", "D:\\data\\", "../elsewhere/"])
def test_paths_of_another_machine(pictures: Path, prefix: str) -> None:
    (sample,) = index("meta", listed(pictures, record(f"{prefix}c/2.png", 1, f"{prefix}c/2_mask.png")))
    assert (sample.key, sample.mask_path) == ("c/2.png", pictures / "c/2_mask.png")


def test_an_image_in_both_splits_and_a_shared_mask_are_noted(pictures: Path) -> None:
    root = listed(
        pictures,
        *(record("c/1.png"), record("c/2.png", 1, "c/2_mask.png"), record("c/3.png", 1, "c/2_mask.png")),
        train=[record("c/1.png")],
    )
    noted = [note.text for note in survey_dataset("meta", root=root)[1].notes if note.in_rows]
    assert "1 images are in the train and in the test split" in noted[0]
    assert "1 masks serve several images" in noted[1]


def test_duplicates_are_left_out_on_request(pictures: Path) -> None:
    entries = [record("c/1.png"), record("c/1.png"), record("c/2.png"), record("c/2.png", 1), record("c/3.png", 1)]
    assert [s.key for s in index("meta", listed(pictures, *entries), broken="skip")] == ["c/1.png", "c/3.png"]
