"""The commands on road sets in their published layouts."""

from __future__ import annotations

from pathlib import Path

import pytest

from adbench.cli.main import main
from adbench.report.results import read_results
from road_trees import write_all


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("roads"))


def run(*words: str) -> int:
    return main([*words])


def test_the_road_benchmark_reads_every_raw_layout(data_dir: Path, tmp_path: Path, capsys) -> None:
    words = [
        "eval",
        "method=median_colour",
        "clip=demo",
        "data=road",
        f"data_dir={data_dir}",
        f"out={tmp_path / 'run'}",
    ]
    assert run(*words, "eval.batch_size=4") == 0, capsys.readouterr().err
    _, rows = read_results(tmp_path / "run")
    found = {row["dataset"]: row for row in rows if row["class_name"] == "road"}
    assert {name: row["n_images"] for name, row in found.items()} == {
        "road_anomaly19": 2,
        "smiyc_ra21": 1,
        "smiyc_ro21": 1,
        "fs_lostandfound": 2,
        "fs_static": 2,
    }
    assert all(0 <= row["pixel_ap"] <= 1 and 0 <= row["pixel_fpr95"] <= 1 for row in found.values())
    notes = {name: " ".join(row["notes"]) for name, row in found.items()}
    assert [name for name, text in notes.items() if "validation figures" in text] == [*found][1:]
    assert "data.version=2" in notes["fs_static"]


def test_a_split_without_labels_is_scored_and_not_measured(data_dir: Path, tmp_path: Path) -> None:
    words = ["eval", "method=median_colour", "clip=demo", "data=smiyc_ra21", f"data_dir={data_dir}", "data.split=test"]
    assert run(*words, f"out={tmp_path / 'run'}", "eval.heat_maps=1") == 0
    _, rows = read_results(tmp_path / "run")
    assert rows[0]["n_images"] == 1
    assert rows[0]["n_anomalous"] is None
    assert rows[0]["pixel_ap"] != rows[0]["pixel_ap"]
    assert "held back" in rows[0]["notes"][0]
    assert [path.name for path in (tmp_path / "run/heatmaps/smiyc_ra21/road").iterdir()] == [
        "00_unlabelled_zebra0000.png"
    ]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["train", "method=adaclip", "clip=demo", "data=cityscapes"], "learns from labels and masks of anomalies"),
        (["train", "method=adaclip", "clip=demo", "data=fs_static"], "data set fs_static is for evaluation only"),
        (["eval", "method=median_colour", "clip=demo", "data=cityscapes"], "holds no anomalies to be found"),
        (["eval", "method=median_colour", "clip=demo", "data=fs_static", "data.version=3"], "version 3 of Fishyscapes"),
        (["eval", "method=median_colour", "clip=demo", "data=smiyc_ro21", "data.split=valid"], "Did you mean 'val'"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(
    data_dir: Path, tmp_path: Path, capsys, words: list[str], text: str
) -> None:
    assert run(*words, f"data_dir={data_dir}", f"outputs={tmp_path / 'out'}") == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["road_anomaly19", "smiyc_ra21", "fs_static"])
def test_a_check_knows_what_is_missing_of_the_published_numbers(data_dir: Path, capsys, name: str) -> None:
    assert run("data", "check", name, f"data_dir={data_dir}", "decode=true") == 1
    shown = capsys.readouterr().out
    assert "published:" in shown
    assert "1 problem" in shown
