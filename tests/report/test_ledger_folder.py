"""A folder of collected runs and its site: what is no reproduction never looks like one."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from adbench.errors import UserError
from adbench.report.ledger_folder import add_run, read_entries, write_site
from report.visa_run import run_of


def add(ledger: Path, *, changes: tuple[str, ...] = (), **values: Any) -> Path:
    run = run_of(**values)
    provenance = {**run.run, "command": ["adbench", "eval", "data_dir=/home/somebody"], "adbench": "0.1.0"}
    return add_run(ledger, run.rows, provenance, sha256=run.sha256, changes=list(changes), checks="3 hold")


def standings(ledger: Path) -> list[str]:
    write_site(ledger)
    return [line["standing"] for line in csv.DictReader((ledger / "runs.csv").read_text().splitlines())]


def test_a_run_as_the_paper_has_it_is_held_against_its_figures(tmp_path: Path) -> None:
    entry = add(tmp_path, image_auroc=0.821)
    assert standings(tmp_path) == ["reproduces 2 of 2 figures"]  # the paper's table, and the authors' log
    assert "/home/somebody" not in entry.read_text()
    html = (tmp_path / "index.html").read_text()
    for said in ("reproduces 2 of 2 figures", "own table", "authors&#39; log", entry.stem):
        assert said in html
    lines = list(csv.DictReader((tmp_path / "ledger.csv").read_text().splitlines()))
    assert {line["verdict"] for line in lines if line["ours"] and line["class_name"] == "mean"} == {"reproduced"}
    assert (tmp_path / "ledger.md").read_text().startswith("# Ledger: runs")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"selected_on_test": True, "notes": ["not held out: the class was used to select"]}, "not held out"),
        ({"zero_shot": False}, "not zero-shot"),
        ({"notes": ["transductive: scored together with 200 images"]}, "transductive"),
        ({"backbone": "ViT-B-16"}, "other backbone: ViT-B-16 instead of ViT-L-14-336"),
        ({"trained_on": None, "zero_shot": None}, "it is unknown what the weights were trained on"),
        ({"changes": ("other settings: trainer.epochs=1 instead of 15",)}, "other settings: trainer.epochs=1"),
    ],
)
def test_what_is_no_reproduction_never_looks_like_one(values: dict[str, Any], why: str, tmp_path: Path) -> None:
    add(tmp_path, image_auroc=0.821, **values)
    (standing,) = standings(tmp_path)
    assert standing.startswith("not comparable: ")
    assert why in standing
    lines = csv.DictReader((tmp_path / "ledger.csv").read_text().splitlines())
    assert {line["verdict"] for line in lines if line["class_name"] == "mean"} == {"not comparable"}
    assert "reproduces" not in (tmp_path / "index.html").read_text()


def test_why_a_run_does_not_compare_stands_below_the_table(tmp_path: Path) -> None:
    entry = add(tmp_path, zero_shot=False)
    assert standings(tmp_path)[0].startswith("not comparable: not zero-shot")
    html = (tmp_path / "index.html").read_text()
    assert '<td class="text">not comparable</td>' in html
    assert f'<p class="note">{entry.stem}, visa: not comparable: not zero-shot' in html


@pytest.mark.parametrize("several", [False, True])
def test_a_plug_in_is_told_without_its_place(several: bool, tmp_path: Path) -> None:
    run = run_of(image_auroc=0.821)
    plugin = {"place": "/home/somebody/mine.py", "sha256": "d" * 64}
    part = {**run.run, "plugin": plugin}
    data = [{**run.run["data"][0], "plugin": plugin}]
    provenance = {"parts": [{**part, "evaluated": ["visa"]}], "data": data} if several else {**part, "data": data}
    entry = add_run(tmp_path, run.rows, provenance, sha256=run.sha256, changes=[], checks="3 hold")
    assert standings(tmp_path) == ["not comparable: the method is a plug-in; the data set is a plug-in"]
    assert "/home/somebody" not in entry.read_text()
    assert "d" * 64 in entry.read_text()


def test_the_same_entries_give_the_same_site_and_a_run_added_again_is_one_run(tmp_path: Path) -> None:
    first = add(tmp_path)
    before = [file.read_bytes() for file in write_site(tmp_path)]
    assert add(tmp_path) == first
    assert [file.read_bytes() for file in write_site(tmp_path)] == before
    assert len(read_entries(tmp_path)) == 1


def test_a_damaged_entry_is_named(tmp_path: Path) -> None:
    entry = add(tmp_path)
    entry.write_text(json.dumps({**json.loads(entry.read_text()), "rows": 3}))
    with pytest.raises(UserError, match=r"no entry of a ledger.*anomalyclip_visa"):
        write_site(tmp_path)
