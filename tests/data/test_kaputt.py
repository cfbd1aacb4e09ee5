"""Kaputt: classes by material, pictures by tables, masks of items left alone."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from adbench.api.dataset import Dataset
from adbench.data import catalogue
from adbench.errors import UserError

SPEC = catalogue.get("kaputt")
LABELS = {"train": (False, True), "test": (False, True, None)}


def write(root: Path, draw: Callable[..., Path], *, tables: str = "", prefix: str = "", **changes: Any) -> Path:
    """Two materials in a training and in a test table, the pictures that they name, and masks of items."""
    for split, labels in LABELS.items():
        rows = []
        for number, defect in enumerate(labels):
            paths = {
                kind: f"data/{split}/query-data/{kind}/{split}{number}.{ending}"
                for kind, ending in (("image", "jpg"), ("crop", "jpg"), ("mask", "png"))
            }
            for kind, path in paths.items():
                draw(root / (f"query-{kind}/{path}" if prefix else path))
            row = {f"query_{kind}": path for kind, path in paths.items()}
            row |= {"item_material": "paper" if number else "cardboard", "defect": defect}
            rows.append({**row, "defect_types": "spillage" if defect else None, **changes})
        (root / tables).mkdir(exist_ok=True)
        parquet.write_table(pyarrow.Table.from_pylist(rows), root / tables / f"query-{split}.parquet")
    return root


@pytest.mark.parametrize(("tables", "prefix"), [("", ""), ("datasets", "query-crop/")])
def test_what_is_read(tmp_path: Path, draw: Callable[..., Path], tables: str, prefix: str) -> None:
    samples = SPEC.index(write(tmp_path, draw, tables=tables, prefix=prefix))
    crops = f"{prefix}data/{{split}}/query-data/crop/{{split}}{{number}}.jpg"
    assert [(s.class_name, s.split, s.label, s.defect, s.key) for s in samples] == [
        ("cardboard", "train", 0, "good", crops.format(split="train", number=0)),
        ("cardboard", "test", 0, "good", crops.format(split="test", number=0)),
        ("paper", "train", 1, "spillage", crops.format(split="train", number=1)),
        ("paper", "test", 1, "spillage", crops.format(split="test", number=1)),
        ("paper", "test", -1, "unknown", crops.format(split="test", number=2)),
    ]
    assert all(sample.mask_path is None and sample.path == tmp_path / sample.key for sample in samples)
    assert [sample.class_name for sample in Dataset(SPEC, samples).train] == ["cardboard"]


def test_whole_pictures_and_a_part_of_the_classes(tmp_path: Path, draw: Callable[..., Path]) -> None:
    samples = SPEC.index(write(tmp_path, draw), ["paper"], options={"pictures": "image"})
    assert {sample.class_name for sample in samples} == {"paper"}
    assert all("/query-data/image/" in sample.key for sample in samples)


def test_minor_defects_are_left_out_where_major_ones_are_asked_for(tmp_path: Path, draw: Callable[..., Path]) -> None:
    root = write(tmp_path, draw, major_defect=False)
    found = SPEC.survey(root, options={"severity": "major"})
    assert [(s.class_name, s.split, s.label) for s in found.samples] == [
        ("cardboard", "train", 0),
        ("cardboard", "test", 0),
        ("paper", "test", -1),
    ]
    assert [(note.text, note.in_rows) for note in found.notes] == [("images of minor defects are left out", True)]
    write(tmp_path, draw, major_defect=True)
    assert [s.label for s in SPEC.index(root, options={"severity": "major"})] == [0, 0, 1, 1, -1]
    write(tmp_path, draw)
    with pytest.raises(UserError, match="the table lacks major_defect"):
        SPEC.index(root, options={"severity": "major"})


def test_what_is_wrong_is_one_line(tmp_path: Path, draw: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path, draw, item_material="glass")
    with pytest.raises(UserError, match=r"an item is of 'glass' .*row 0"):
        SPEC.index(root)
    (write(tmp_path, draw) / "query-test.parquet").write_bytes(b"no table")
    with pytest.raises(UserError, match=r"the table cannot be read: .*query-test\.parquet"):
        SPEC.index(root)
    rows = pyarrow.Table.from_pylist([{"query_crop": "a.jpg"}])
    parquet.write_table(rows, root / "query-test.parquet")
    with pytest.raises(UserError, match="the table lacks item_material"):
        SPEC.index(root)

    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(
        UserError, match=r"takes pyarrow, which is not installed .*pip install 'adbench-clip\[kaputt\]'"
    ):
        SPEC.index(root)
