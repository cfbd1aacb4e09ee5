"""A method over a benchmark of industrial and medical sets, and over one set of it, for the tests of each method."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adbench.cli.main import main
from cli.tiny_sets import DATA, write_sets


def rows_of_a_set_alone(method: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> list[dict]:
    """The rows of mvtec alone, which must be those that it has within zeroshot14.

    Classes have five normal and five anomalous test images: what scoring a class together takes of sets with anomalous
    ones alone.
    """
    write_sets(folder / "sets", n_test=5)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ADBENCH_DATA", str(folder / "sets"))
    command = ["eval", f"method={method}", "clip=demo", "clip.image_size=48", *words]

    def rows(data: str, out: str) -> list[dict]:
        assert main([*command, data, f"out={out}", "eval.feature_cache=true", "eval.batch_size=4"]) == 0
        return json.loads(Path(out, "results.json").read_text())["rows"]

    of_all, alone = rows("benchmark=zeroshot14", "all"), rows("data=mvtec", "alone")

    assert list(dict.fromkeys(row["dataset"] for row in of_all)) == [*DATA, "mean:industrial", "mean:medical", "mean"]
    assert [row["class_name"] for row in alone] == ["bottle", "screw", "mean"]
    keys = ("dataset", "class_name", "n_images", "image_auroc", "pixel_auroc", "pixel_aupro", "notes")
    assert [{key: row[key] for key in keys} for row in alone] == [{key: row[key] for key in keys} for row in of_all[:3]]
    return alone
