"""Sweeps: a run folder per job, finished ones skipped, failed ones named, one summary."""

from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path

import pytest
import yaml

from adbench.cli import sweep
from adbench.cli.main import main
from adbench.cli.override_parser import as_sweep
from adbench.cli.sweep import objective
from adbench.errors import UserError
from adbench.interrupts import with_advice
from cli.tiny_sets import write_sets

WORDS = ["eval", "-m", "method=median_colour", "clip=demo", "data=mvtec", "device=cpu"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_sets(tmp_path / "sets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADBENCH_DATA", str(tmp_path / "sets"))
    return tmp_path


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "sweep.csv").read_text().splitlines()))


def test_every_combination_is_a_run_and_a_row(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS, "seed=1,2", "data.classes=[bottle],[bottle,screw]"]
    assert main(words) == 0
    (folder,) = (here / "outputs" / "sweep" / "eval").iterdir()
    assert "4 jobs, 4 of them run now, 0 failed" in capsys.readouterr().out
    jobs = sorted(path.parent for path in folder.glob("*/results.json"))
    assert len(jobs) == 4
    rows = table(folder)
    assert [row["seed"] for row in rows] == ["1", "1", "2", "2", "mean", "mean"]
    assert {row["data.classes"] for row in rows} == {"[bottle]", "[bottle,screw]"}
    one = [row for row in rows if row["data.classes"] == "[bottle]"]
    values = [float(row["pixel_auroc"]) for row in one if row["seed"] != "mean"]
    (mean,) = (row for row in one if row["seed"] == "mean")
    assert float(mean["pixel_auroc"]) == pytest.approx(statistics.fmean(values))
    assert float(mean["pixel_auroc_std"]) == pytest.approx(statistics.stdev(values))
    results = json.loads((jobs[0] / "results.json").read_text())["rows"]
    assert values[0] in [row.get("pixel_auroc") for row in results]
    assert " ± " in (folder / "sweep.md").read_text()

    assert main(words) == 0  # the same sweep: its jobs have finished
    assert "4 jobs, 0 of them run now, 0 failed" in capsys.readouterr().out


def test_a_job_whose_file_was_edited_runs_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = here / "mine.yaml"
    file.write_text("data: [mvtec]\n")
    words = [*WORDS[:-2], f"benchmark={file}", "seed=1"]
    for content, fresh in ((None, 1), (None, 0), ("data: [mvtec]\nsupport: {seed: 1}\n", 1)):
        if content is not None:
            file.write_text(content)
        assert main(words) == 0
        assert f"1 jobs, {fresh} of them run now" in capsys.readouterr().out
    assert main([*words[:-1], "seed=1,2", "out=both"]) == 0
    file.write_text("data: [mvtec]\n")
    assert main([*words[:-1], "seed=3,4", "out=both"]) == 0
    assert {row["seed"] for row in table(here / "both")} == {"3", "4", "mean"}


def test_jobs_with_other_settings_in_the_folder_are_in_no_mean(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seeds, size in (("1,2", "1"), ("3,4", "2"), ("5,6", "2")):
        assert main([*WORDS, f"seed={seeds}", "out=it's all", f"eval.batch_size={size}"]) == 0
    told = capsys.readouterr()

    assert "left out     2 jobs" in told.err
    assert "4 jobs, 2 of them run now, 0 failed" in told.out
    assert [row["seed"] for row in table(here / "it's all")] == ["3", "4", "5", "6", "mean"]


def test_shown_settings_of_every_job_run_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS, "seed=1,2", "data.classes=[bottle],[bottle,screw]", "hydra/launcher=joblib"]
    assert main([*words, "--show"]) == 0
    shown = list(yaml.safe_load_all(capsys.readouterr().out))
    jobs = [(settings["seed"], settings["data"]["mvtec"]["classes"]) for settings in shown]
    assert jobs == [(seed, classes) for seed in (1, 2) for classes in (["bottle"], ["bottle", "screw"])]
    assert not (here / "outputs").exists()

    assert main([*WORDS, "seed=interval(1,5)", "--show"]) == 2
    assert "only a sweeper knows these values (seed=interval(1,5))" in capsys.readouterr().err


def test_a_failed_job_stops_no_other(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS[:-2], "data=mvtec,visa,btad", "out=swept"]) == 1
    said = capsys.readouterr().out
    assert "failed: data=visa: the folder of data set visa is missing" in said
    assert "3 jobs, 3 of them run now, 1 failed" in said
    status = {row["data"]: row["status"] for row in table(here / "swept")}
    assert status["mvtec"] == status["btad"] == "finished"
    assert status["visa"].startswith("the folder of data set visa is missing")
    (here / "sets" / "visa").mkdir()  # mended in vain: still no data, the others are not run again
    assert main([*WORDS[:-2], "data=mvtec,visa,btad", "out=swept"]) == 1
    assert "3 jobs, 1 of them run now, 1 failed" in capsys.readouterr().out


def test_an_interrupted_sweep_says_how_all_of_it_goes_on(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise with_advice(KeyboardInterrupt(), "Go on with one job")

    monkeypatch.setattr(sweep, "run_job", interrupted)
    assert main([*WORDS, "seed=1,2", "out=it's"]) == 130
    words = "eval -m method=median_colour clip=demo data=mvtec device=cpu seed=1,2 'out=it'\"'\"'s'"
    assert f"What is finished is kept. Go on with: python -m adbench {words}\n" in capsys.readouterr().err


def test_commas_need_the_option(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "method=median_colour", "clip=demo", "data=mvtec", "seed=1,2"]) == 2
    assert "add -m for a run each" in capsys.readouterr().err.lower()


def test_paths_and_lists_in_a_sweep() -> None:
    found = as_sweep(["checkpoint=a b/c,d", "support.k=1,2", "data.classes=[a,b],[c]", "seed=3"], "eval")
    assert {key: (one.text, one.is_sweep) for key, one in found.items()} == {
        "checkpoint": ("'a b/c','d'", True),
        "support.k": ("1,2", True),
        "data.classes": ("[a,b],[c]", True),
        "seed": ("3", False),
    }
    with pytest.raises(UserError, match="cannot read the setting"):
        as_sweep(["seed=[1"], "eval")


def test_jobs_side_by_side_by_joblib(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = [*WORDS, "seed=1,2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "out=side"]
    assert main(words) == 0
    assert "2 jobs, 2 of them run now, 0 failed" in capsys.readouterr().out
    records = [json.loads(path.read_text()) for path in (here / "side").glob("*/job.json")]
    assert {record["swept"]["seed"] for record in records} == {"1", "2"}


@pytest.mark.slow
def test_jobs_by_submitits_local_executor(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    assert main([*WORDS, "seed=1,2", "hydra/launcher=submitit_local", "out=local"]) == 0
    assert "2 jobs, 2 of them run now, 0 failed" in capsys.readouterr().out


def test_damaged_records_are_run_again_or_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS, "seed=1,2", "out=swept"]
    assert main(words) == 0
    first, second = sorted((here / "swept").glob("*/job.json"))
    second.write_text("{}")
    capsys.readouterr()
    assert main(words) == 0
    assert "2 jobs, 1 of them run now, 0 failed" in capsys.readouterr().out
    (here / "swept" / "foreign").mkdir()
    record = {**json.loads(first.read_text()), "rows": 3}
    (here / "swept" / "foreign" / "job.json").write_text(json.dumps(record))
    assert main(words) == 2
    assert "foreign/job.json.rows" in capsys.readouterr().err


def test_what_an_optimising_sweeper_is_told() -> None:
    rows = [{"image_auroc": 0.1}, {"image_auroc": None, "pixel_auroc": 0.75}]
    assert objective(rows) == 0.75
    assert objective([{"image_auroc": 0.25, "pixel_auroc": 0.75}]) == 0.25
    assert objective([]) is None  # a failed job
    assert objective([{"image_auroc": None}]) is None
