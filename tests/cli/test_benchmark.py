"""Benchmarks: what is there is evaluated, by the weights that serve it, into one table, and on after a kill."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from adbench.cli.benchmark import load_benchmark
from adbench.cli.main import main
from adbench.cli.override_parser import choices
from adbench.cli.overrides import Overrides
from adbench.cli.plan import make_plan, preview
from adbench.data import catalogue
from cli.few_pictures import TRAIN
from cli.tiny_sets import DATA, write_sets

CLIP = ["method=clip_zeroshot", "clip=demo"]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder. Not to be changed."""
    folder = tmp_path_factory.mktemp("sets")
    write_sets(folder)
    return folder


@pytest.fixture
def evaluate(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[dict, str]]:
    """Run `eval` in an empty folder; gives results.json and what was said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADBENCH_DATA", str(sets))
    number = iter(range(100))

    def run(*words: str) -> tuple[dict, str]:
        out = tmp_path / f"out{next(number)}"
        assert main(["eval", *words, f"out={out}"]) == 0, capsys.readouterr().err
        captured = capsys.readouterr()
        return json.loads((out / "results.json").read_text()), captured.err + captured.out

    return run


def means(results: dict) -> dict[str, dict]:
    return {row["dataset"]: row for row in results["rows"] if row["class_name"] == "mean"}


@pytest.mark.parametrize("name", choices("benchmark"))
def test_a_shipped_benchmark_names_data_sets_that_there_are(name: str) -> None:
    benchmark = load_benchmark(name, "")
    assert set(benchmark.data) <= set(catalogue.names())
    assert preview(Overrides("eval", [f"benchmark={name}", "method=adaclip"])).benchmark == name
    assert [data.name for data in preview(Overrides("eval", [f"data={name}", "method=adaclip"])).data] == list(
        benchmark.data
    )


def test_the_shipped_benchmarks_are_those_of_the_papers() -> None:
    names = {name: load_benchmark(name, "").data for name in choices("benchmark")}
    assert set(names) == {"zeroshot14", "zeroshot17", "fewshot", "generalist", "loco", "medical", "mvtec2", "road"}
    assert len(names["zeroshot14"]) == 14
    assert len(names["zeroshot17"]) == 17
    assert set(names["zeroshot17"]) - set(names["zeroshot14"]) == {"covid_cxr", "kvasir", "endo"}
    assert {catalogue.get(name).domain for name in names["medical"]} == {"medical"}
    assert load_benchmark("loco", "").eval == {"metrics": ["pixel_auspro"]}
    assert names["fewshot"] == ("mvtec", "visa")
    assert len(names["generalist"]) == 9
    assert names["road"] == ("road_anomaly19", "smiyc_ra21", "smiyc_ro21", "fs_lostandfound", "fs_static")
    assert load_benchmark("fewshot", "").support == {"k": [1, 2, 4], "seed": [0, 1, 2]}


def test_what_is_there_is_evaluated_into_one_table(evaluate: Callable[..., tuple[dict, str]], sets: Path) -> None:
    results, said = evaluate("benchmark=zeroshot14", *CLIP)
    rows = results["rows"]
    assert list(dict.fromkeys(row["dataset"] for row in rows)) == [*DATA, "mean:industrial", "mean:medical", "mean"]
    assert [row["class_name"] for row in rows if row["dataset"] == "mvtec"] == ["bottle", "screw", "mean"]
    assert f"not there    visa: looked for {sets / 'visa'}" in said
    assert results["run"]["benchmark"]["left_out"]["tn3k"] == f"looked for {sets / 'tn3k'}"
    found = means(results)
    assert found["mean:industrial"]["n_images"] == 12
    assert found["mean:industrial"]["n_datasets"] == 2
    for metric in ("image_auroc", "pixel_ap"):
        values = [found[name][metric] for name in ("mvtec", "btad")]
        assert found["mean:industrial"][metric] == pytest.approx(sum(values) / 2)
    of_all = [found[name]["pixel_auroc"] for name in ("mvtec", "btad", "colondb")]
    assert found["mean"]["pixel_auroc"] == pytest.approx(sum(of_all) / 3)
    assert found["colondb"]["image_auroc"] is None
    assert any("image metrics: mean of 3 of 4 data sets" in note for note in found["mean"]["notes"])


def test_every_rendering_has_the_means(evaluate: Callable[..., tuple[dict, str]], tmp_path: Path) -> None:
    evaluate("benchmark=zeroshot14", *CLIP)
    assert "**mean:medical** | **mean" in (tmp_path / "out0" / "results.md").read_text()
    table = csv.DictReader((tmp_path / "out0" / "results.csv").read_text().splitlines())
    assert [row["class_name"] for row in table if row["dataset"] == "mean:medical"] == ["mean"]
    page = (tmp_path / "out0" / "report.html").read_text()
    assert "Means over classes and over data sets" in page
    assert "clip_zeroshot on mvtec, btad, brain_mri, colondb</h1>" in page
    assert "on mean" not in page


def test_a_benchmarks_name_may_stand_for_its_data(evaluate: Callable[..., tuple[dict, str]]) -> None:
    results, _ = evaluate("data=fewshot", "method=median_colour", "clip=demo")
    assert list(means(results)) == ["mvtec", "mean:industrial", "mean"]
    assert {row["shots"] for row in results["rows"]} == {0}


def test_a_part_of_a_benchmark(evaluate: Callable[..., tuple[dict, str]]) -> None:
    results, said = evaluate("benchmark=zeroshot14", "data=[btad]", *CLIP)
    assert list(means(results)) == ["btad", "mean:industrial", "mean"]
    assert "not there" not in said


def test_support_sets_for_methods_that_take_them(evaluate: Callable[..., tuple[dict, str]]) -> None:
    words = ["data=fewshot", "method=winclip", "clip=demo", "support.k=1,2", "support.seed=0,1"]
    rows = evaluate(*words)[0]["rows"]
    over = {(row["shots"], row["support_seed"]): row for row in rows if row["dataset"] == "mean"}
    assert set(over) == {(1, 0), (1, 1), (2, 0), (2, 1), (1, "mean"), (2, "mean")}
    seeds = [over[1, seed]["pixel_auroc"] for seed in (0, 1)]
    assert over[1, "mean"]["pixel_auroc"] == pytest.approx(sum(seeds) / 2)
    assert over[1, "mean"]["pixel_auroc_std"] == pytest.approx(abs(seeds[0] - seeds[1]) / math.sqrt(2))


def test_a_set_without_enough_support_images_is_left_out_by_name(evaluate: Callable[..., tuple[dict, str]]) -> None:
    results, said = evaluate("benchmark=zeroshot14", "method=winclip", "clip=demo", "support.k=2")
    assert "left out     brain_mri: class brain_mri has 0 normal training images" in said
    assert "brain_mri" in results["run"]["benchmark"]["left_out"]
    assert {"mvtec", "btad"} <= set(means(results))
    assert "brain_mri" not in means(results)


def test_a_file_of_ones_own(evaluate: Callable[..., tuple[dict, str]], tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("data: [btad, colondb]\n")
    results, _ = evaluate("benchmark=mine.yaml", *CLIP)
    assert list(means(results)) == ["btad", "colondb", "mean:industrial", "mean:medical", "mean"]
    assert results["run"]["benchmark"]["name"] == "mine"


def test_missing_data_of_a_single_set_is_an_error_unless_asked(
    evaluate: Callable[..., tuple[dict, str]], capsys: pytest.CaptureFixture[str], sets: Path
) -> None:
    assert main(["eval", *CLIP, "data=[mvtec,visa]"]) == 2
    assert str(sets / "visa") in capsys.readouterr().err
    assert main(["eval", *CLIP, "data=[mvtec,visa,mpdd]"]) == 2
    assert "2 of 3 data sets are not there: visa, mpdd" in capsys.readouterr().err
    assert main(["eval", *CLIP, "benchmark=zeroshot14", "missing=error"]) == 2
    line = capsys.readouterr().err
    assert "10 of 14 data sets are not there: visa, mpdd, sdd, dagm," in line
    assert str(sets / "tn3k") in line
    assert line.count("\n") == 1
    results, said = evaluate(*CLIP, "data=[btad,visa]", "missing=skip")
    assert "not there    visa" in said
    assert list(means(results)) == ["btad"]


@pytest.fixture
def two_runs(trained: Path, tmp_path: Path, sets: Path) -> tuple[Path, Path]:
    """A run trained on pictures, and one trained on the miniature of MVTec AD."""
    (first,) = (trained / "outputs" / "train" / "adaclip" / "folder").iterdir()
    words = [word for word in TRAIN if not word.startswith("data")]
    second = tmp_path / "on mvtec"
    assert main(["train", *words, "data=mvtec", f"data_dir={sets}", f"out={second}"]) == 0
    return first, second


def test_several_checkpoints_each_for_its_data(
    evaluate: Callable[..., tuple[dict, str]], two_runs: tuple[Path, Path], tmp_path: Path
) -> None:
    first, second = two_runs
    results, _ = evaluate("benchmark=zeroshot14", f"checkpoint={{mvtec: {first}, default: {second}}}")
    sha = [json.loads((run / "weights.json").read_text())["sha256"] for run in two_runs]
    rows = means(results)
    assert {name: rows[name]["weights"] for name in DATA} == {"mvtec": sha[0], **dict.fromkeys(DATA[1:], sha[1])}
    assert rows["btad"]["trained_on"] == ["mvtec"]
    assert all(rows[name]["zero_shot"] for name in DATA)
    assert rows["mean"]["n_datasets"] == 4
    assert [part["evaluated"] for part in results["run"]["parts"]] == [["mvtec"], DATA[1:]]
    assert len(yaml.safe_load((tmp_path / "out0" / "config.yaml").read_text())["parts"]) == 2


def test_a_set_that_was_trained_on_is_marked_and_left_out_of_means(
    evaluate: Callable[..., tuple[dict, str]], two_runs: tuple[Path, Path]
) -> None:
    rows = means(evaluate("benchmark=zeroshot14", f"checkpoint={two_runs[1]}")[0])
    assert rows["mvtec"]["zero_shot"] is False
    assert rows["mean:industrial"]["n_datasets"] == 1
    assert rows["mean:industrial"]["image_auroc"] == rows["btad"]["image_auroc"]
    assert "without mvtec: trained on" in rows["mean"]["notes"]


def test_eval_alone_takes_the_latest_run_and_all_sets(
    trained: Path, sets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained)
    monkeypatch.setenv("ADBENCH_DATA", str(sets))
    assert main(["eval"]) == 0
    said = capsys.readouterr()
    (run,) = (trained / "outputs" / "eval" / "adaclip" / "zeroshot14").iterdir()
    rows = means(json.loads((run / "results.json").read_text()))
    assert set(DATA) <= set(rows)
    assert rows["mvtec"]["backbone"] == "demo"
    assert yaml.safe_load((run / "config.yaml").read_text())["method"]["k_clusters"] == 3
    assert "method       adaclip" in said.err
    assert "weights      the newest finished training below outputs: adaclip on folder, epoch 1" in said.err


def test_eval_alone_says_what_it_lacks(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ADBENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["eval"]) == 2
    line = capsys.readouterr().err
    assert "no finished train run (outputs)" in line
    assert "python -m adbench train" in line
    monkeypatch.chdir(trained)
    assert main(["eval"]) == 2
    line = capsys.readouterr().err
    assert "none of the 14 data sets of benchmark zeroshot14 is there: mvtec, visa" in line
    assert "(looked for them in data)" in line
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["benchmark=zeroshot4", *CLIP], "Did you mean 'zeroshot14'?"),
        (["data=zeroshot4", *CLIP], "Did you mean 'zeroshot14'?"),
        (["benchmark=no.yaml", *CLIP], "no.yaml"),
        (["benchmark=fewshot", "data=btad", *CLIP], "unknown data set of benchmark fewshot 'btad'"),
        (["benchmark=fewshot", "data.root=x", *CLIP], "data.mvtec.root="),
        (["benchmark=fewshot", "missing=ignore", *CLIP], "Known: error, skip"),
        (["benchmrk=fewshot", "data=demo", *CLIP], "Did you mean benchmark?"),
        (["data=[mvtec,visa]", "method=adaclip", "checkpoint={mvtek: a, default: b}"], "'mvtek'"),
        (["data=[mvtec,visa]", "method=adaclip", "checkpoint={mvtec: untrained}"], "no checkpoint serves visa"),
        (["data=[mvtec,visa]", "method=adaclip", "checkpoint={mvtec:untrained}"], "blanks behind the colons"),
    ],
)
def test_bad_input_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", *words]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data: [mvtek]", "mvtec"),
        ("other: 1", "names no data sets"),
        ("data: [mvtec]\nsuport: {}", "support"),
        ("a: [", ""),
    ],
)
def test_a_faulty_file_of_ones_own(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    assert main(["eval", f"benchmark={tmp_path / 'mine.yaml'}", *CLIP]) == 2
    assert said in capsys.readouterr().err


def test_the_checkpoints_of_a_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("data: [btad, mvtec]\ncheckpoint: {btad: a b.pth, default: 'c''d'}\n")
    config = preview(Overrides("eval", [f"benchmark={tmp_path / 'mine.yaml'}", "method=adaclip"]))
    assert config.checkpoint == {"btad": "a b.pth", "default": "c'd"}


def test_the_run_remembers_its_shots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sets: Path) -> None:
    run = tmp_path / "run"
    words = ["method=inctrl", "clip=demo", "data=mvtec", f"data_dir={sets}", "trainer.epochs=1", f"out={run}"]
    assert main(["train", *words, "trainer.steps_per_epoch=1", "trainer.batch_size=2", "support.k=1"]) == 0
    monkeypatch.setenv("ADBENCH_DATA", str(sets))
    assert make_plan(Overrides("eval", [f"checkpoint={run}"])).config.support.k == (1,)
    assert make_plan(Overrides("eval", [f"checkpoint={run}", "support.k=2"])).config.support.k == (2,)
    assert make_plan(Overrides("eval", [f"checkpoint={run}", "data=fewshot"])).config.support.k == (1, 2, 4)
    words = [f"checkpoint={{mvtec: {run}, btad: untrained}}", "method=inctrl", "clip=demo", "data=[btad,mvtec]"]
    parts = make_plan(Overrides("eval", [*words, f"data.btad.root={sets / 'btad'}", "data.mvtec.broken=skip"])).parts
    assert [(data.name, data.root) for part in parts for data in part.config.data] == [
        ("btad", sets / "btad"),
        ("mvtec", None),
    ]


def test_a_killed_benchmark_goes_on_behind_what_is_finished(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["eval", *CLIP, "benchmark=zeroshot14", f"data_dir={sets}"]
    process = subprocess.Popen([sys.executable, "-m", "adbench", *words], stderr=subprocess.DEVNULL)
    runs = tmp_path / "outputs" / "eval" / "clip_zeroshot" / "zeroshot14"
    deadline = time.monotonic() + 120
    while not list(runs.glob("*/classes/mvtec/001.safetensors")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (killed,) = runs.iterdir()
    assert not (killed / "results.json").exists()
    assert main(words) == 0
    said = capsys.readouterr().err
    assert f"run          {killed.relative_to(tmp_path)}" in said
    assert "mvtec: 2 of 2 classes were finished before" in said
    assert list(runs.iterdir()) == [killed]
    assert main(words) == 0  # a finished run is not gone on with: this one is whole
    (whole,) = set(runs.iterdir()) - {killed}
    first, second = (json.loads((run / "results.json").read_text())["rows"] for run in (killed, whole))
    timed = ("seconds", "images_per_second")
    assert [{k: v for k, v in row.items() if k not in timed} for row in first] == [
        {k: v for k, v in row.items() if k not in timed} for row in second
    ]


def test_another_benchmark_or_other_settings_begin_anew(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def interrupted(*_arguments: object, **_settings: object) -> None:
        raise KeyboardInterrupt

    words = ["eval", *CLIP, "benchmark=zeroshot14", f"data_dir={sets}"]
    with monkeypatch.context() as patch:
        patch.setattr("adbench.engine.evaluate.evaluate", interrupted)
        assert main(words) == 130
        assert "Go on with: python -m adbench eval method=clip_zeroshot" in capsys.readouterr().err
        assert main([*words, "eval.workers=1"]) == 130
        runs = tmp_path / "outputs" / "eval" / "clip_zeroshot" / "zeroshot14"
        assert len(list(runs.iterdir())) == 1
        assert main([*words, "method.gaussian_sigma=2"]) == 130
        assert len(list(runs.iterdir())) == 2
        assert main([*words, "data=[btad]"]) == 130
        assert len(list(runs.iterdir())) == 3
