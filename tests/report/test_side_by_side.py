"""Several runs beside each other: means over seeds, differences with intervals, the same in every format."""

from __future__ import annotations

import csv
import statistics

import numpy as np
import pytest

from adbench.engine.weights import WeightsRecord
from adbench.report import seeds
from adbench.report.comparison_csv import to_csv
from adbench.report.paired import compare_scores
from adbench.report.renderings import to_latex, to_markdown
from adbench.report.scores import write_scores
from adbench.report.seeds import FinishedRun, over_seeds
from adbench.report.side_by_side import page, put_beside, tables
from report.test_results import make_row


def made(folder, label, *, seed=111, shift=1.0, classes=("nut", "bolt"), **values):
    """A run with scores of ten normal and ten anomalous images a class."""
    random = np.random.default_rng(seed)
    folder.mkdir()
    scores = [
        {"dataset": "demo", "class_name": name, "path": f"{name}/{i}.png", "defect": "d", "label": int(i >= 10)}
        | {"score": random.normal() + shift * (i >= 10), "map_max": 1.0, "shots": 0, "support_seed": None}
        for name in classes
        for i in range(20)
    ]
    write_scores(folder, scores)
    rows = [make_row(name, seed=seed, **values) for name in (*classes, "mean")]
    return FinishedRun(label, rows, folder, {"hyperparameters": {"depth": 9}}), scores


def test_runs_of_several_seeds_become_their_mean_and_deviation(tmp_path):
    values = [0.9, 0.8, 0.7]
    runs = [made(tmp_path / str(n), f"run {n}", seed=n, image_auroc=value)[0] for n, value in enumerate(values)]
    (one,) = over_seeds(runs)
    assert one.label == "adaclip (3 seeds)"
    assert [row["class_name"] for row in one.rows] == ["nut", "bolt", "mean"]
    assert one.rows[0]["image_auroc"] == pytest.approx(0.8)
    assert one.rows[0]["image_auroc_std"] == pytest.approx(statistics.stdev(values))
    assert "seed" not in one.rows[0]
    assert one.rows[0]["notes"] == ["mean ± sample standard deviation over the seeds 0, 1, 2"]
    assert "80.0 ± 10.0" in to_markdown(tables(put_beside(runs)))


@pytest.mark.parametrize("other", [{"method": "winclip"}, {"seed": 111}, {"backbone": "ViT-B-16"}, {"shots": 1}])
def test_other_runs_stay_apart(tmp_path, other):
    first, _ = made(tmp_path / "a", "a")
    second, _ = made(tmp_path / "b", "b", **{"seed": 5, **other})
    assert over_seeds([first, second]) == [first, second]


def test_other_hyperparameters_stay_apart(tmp_path):
    first, second = made(tmp_path / "a", "a")[0], made(tmp_path / "b", "b", seed=5)[0]
    second.provenance["hyperparameters"]["depth"] = 3
    assert over_seeds([first, second]) == [first, second]


def test_runs_whose_trainings_differ_stay_apart(tmp_path, monkeypatch):
    runs = [made(tmp_path / name, name, seed=seed)[0] for name, seed in (("a", 1), ("b", 2))]
    for run in runs:
        run.provenance["checkpoint"] = run.label
    assert "the weights are not there" in over_seeds(runs)[0].rows[0]["notes"][0]
    for epochs in (4, 5):
        facts = {"method": "adaclip", "hyperparameters": {}, "backbone": {}, "data": [], "sha256": "ab" * 32}
        told = {
            "a": WeightsRecord(**facts, training={"seed": 1, "epochs": 4}),
            "b": WeightsRecord(**facts, training={"seed": 2, "epochs": epochs}),
        }
        monkeypatch.setattr(seeds, "read_record", lambda path, told=told: told[path.name])
        assert len(over_seeds(runs)) == (1 if epochs == 4 else 2)


def test_differences_have_the_intervals_of_the_paired_comparison(tmp_path):
    (first, ours), (second, theirs) = (
        made(tmp_path / "a", "first", image_auroc=0.75),
        made(tmp_path / "b", "second", seed=7, shift=3.0, method="winclip", image_auroc=0.95),
    )
    beside = put_beside([first, second])
    expected = {line.class_name: line for line in compare_scores(ours, theirs).lines}
    low, high = (f"{100 * value:+.1f}" for value in (expected["nut"].low, expected["nut"].high))
    shown = f"+20.0 [{low}, {high}]"
    assert shown in to_markdown(tables(beside))
    assert shown in to_latex(tables(beside))
    assert shown in page([first, second], beside)
    lines = [line for line in csv.DictReader(to_csv(beside.runs, beside.comparison, beside.gains).splitlines())]
    line = next(x for x in lines if (x["run"], x["class_name"], x["metric"]) == ("second", "nut", "image_auroc"))
    assert float(line["to_first"]) == pytest.approx(0.2)
    assert float(line["to_first_low"]) == expected["nut"].low
    assert float(line["to_first_p"]) == expected["nut"].p
    assert line["difference"] == ""
    pixel = next(x for x in lines if (x["run"], x["metric"]) == ("second", "pixel_ap"))
    assert (pixel["to_first"], pixel["to_first_low"]) == ("0.0", "")


def group(folder, method, values):
    """Runs of a method, one per seed."""
    return [
        made(folder / f"{method}_{seed}", f"{method}_{seed}", seed=seed, method=method, image_auroc=x, pixel_ap=x / 2)[
            0
        ]
        for seed, x in enumerate(values)
    ]


def test_groups_of_seeds_have_intervals_by_welch_over_the_seeds(tmp_path):
    from scipy.stats import ttest_ind

    ours, theirs = [0.90, 0.80, 0.70], [0.95, 0.93]
    beside = put_beside([*group(tmp_path, "adaclip", ours), *group(tmp_path, "faprompt", theirs)])
    expected = ttest_ind(theirs, ours, equal_var=False)
    bounds = expected.confidence_interval(0.95)
    text = f"+14.0 [{100 * bounds.low:+.1f}, {100 * bounds.high:+.1f}]"
    assert text in to_markdown(tables(beside))
    assert "Welch's t over the training seeds of both" in to_markdown(tables(beside))
    assert "bootstrap draws" not in to_markdown(tables(beside))
    lines = list(csv.DictReader(to_csv(beside.runs, beside.comparison, beside.gains).splitlines()))
    for metric, scale in (("image_auroc", 1), ("pixel_ap", 0.5)):
        line = next(x for x in lines if (x["run"], x["metric"]) == ("faprompt (2 seeds)", metric))
        found = [float(line[key]) for key in ("to_first", "to_first_low", "to_first_high", "to_first_p")]
        assert found == pytest.approx([0.14 * scale, bounds.low * scale, bounds.high * scale, expected.pvalue])


def test_a_single_run_beside_a_group_has_no_interval_and_says_so(tmp_path):
    beside = put_beside([*group(tmp_path, "adaclip", [0.9, 0.8]), made(tmp_path / "a", "a", method="winclip")[0]])
    assert beside.gains[1].by_place == {}
    assert beside.notes == [
        "a − adaclip (2 seeds): without intervals, which take two seeds or more of either, or one of both"
    ]


def test_groups_of_one_method_are_told_apart_and_on_other_images_have_no_intervals(tmp_path):
    first = group(tmp_path, "adaclip", [0.9, 0.8])
    (tmp_path / "more").mkdir()
    second = group(tmp_path / "more", "adaclip", [0.9, 0.85])
    for run in second:
        run.provenance["hyperparameters"]["depth"] = 3
        run.rows[0]["n_images"] += 1  # of nut
    beside = put_beside([*first, *second])
    assert [run.label for run in beside.runs] == ["adaclip (2 seeds)", "adaclip_0, 2 seeds"]
    assert {place[1] for place in beside.gains[1].by_place} == {"bolt", "mean"}
    assert "where images differ (demo nut)" in beside.notes[0]


def test_bold_differences_of_the_mean_are_those_without_zero(tmp_path):
    runs = [made(tmp_path / "a", "a", image_auroc=0.8)[0], made(tmp_path / "b", "b", method="x", image_auroc=0.8)[0]]
    assert '<td class="unsure">+0.0 [' in page(runs, put_beside(runs)).partition('<tr class="mean">')[2]


def test_runs_on_other_images_have_no_intervals_and_say_so(tmp_path):
    first, second = made(tmp_path / "a", "a")[0], made(tmp_path / "b", "b", method="winclip", classes=("gear",))[0]
    beside = put_beside([first, second])
    assert [gained.by_place for gained in beside.gains] == [{}, {}]
    assert beside.notes == ["b − a: without intervals: the two runs have no image in common"]


def test_best_and_second_are_marked_in_every_format(tmp_path):
    runs = [
        made(tmp_path / name, name, method=name, image_auroc=value)[0]
        for name, value in (("a", 0.75), ("b", 0.95), ("c", 0.85))
    ]
    beside = put_beside(runs)
    means = tables(beside)[:1]
    assert "| a | demo | 0 | 75.0 |" in to_markdown(means)
    assert "| b | demo | 0 | **95.0** |" in to_markdown(means)
    assert "| c | demo | 0 | <u>85.0</u> |" in to_markdown(means)
    assert r"b & demo & 0 & \textbf{95.0} &" in to_latex(means)
    assert r"c & demo & 0 & \underline{85.0} &" in to_latex(means)
    text = page(runs, beside)
    assert '<td class="metric best" style="--share:83.3%">95.0</td>' in text  # from 70 to 100
    assert "image AUROC<small>70–100</small>" in text


def test_latex_is_escaped(tmp_path):
    run, _ = made(tmp_path / "a", "a_b & 100 % {x}^2~$\\", classes=("[nut]",))
    text = to_latex(tables(put_beside([run])))
    assert r"a\_b \& 100 \% \{x\}\^{}2\textasciitilde{}\$\textbackslash{} & demo" in text
    assert "\n{}[nut] &" in text  # behind a line's end a bracket would be its argument


def test_a_run_has_a_column_only_where_it_was_evaluated(tmp_path):
    first, second = made(tmp_path / "a", "a")[0], made(tmp_path / "b", "b", method="winclip")[0]
    for row in second.rows:
        row["dataset"] = "elsewhere"
    heads = {
        table.heading.partition(":")[0]: [cell.text for cell in table.head]
        for table in tables(put_beside([first, second]))[1:]
    }
    assert heads == {"demo": ["class", "a"], "elsewhere": ["class", "b"]}


def test_the_heading_of_many_runs_is_short(tmp_path):
    runs = [made(tmp_path / name, name, method=name)[0] for name in "abcdefgh"]
    assert "<h1>a, b, c, d, e, f and 2 more</h1>" in page(runs, put_beside(runs))


def test_means_over_other_classes_have_no_difference_and_no_mark(tmp_path):
    first = made(tmp_path / "a", "a", image_auroc=0.8)[0]
    second = made(tmp_path / "b", "b", method="winclip", classes=("nut",), image_auroc=0.9)[0]
    for run in (first, second):
        run.rows[-1]["n_images"] = 20 * (len(run.rows) - 1)
    beside = put_beside([first, second])
    _, table, *_ = tables(beside)
    cells = {row[0].text: [(cell.text[:5], cell.css) for cell in row[1:]] for _, row in table.rows}
    assert cells["nut"][2][0] == "+10.0"
    assert [text for text, _ in cells["mean"]] == ["80.0", "90.0", ""]
    assert not {"best", "second"} & {word for _, css in cells["mean"] for word in css.split()}
    assert "b − a: no difference where images differ (demo mean)" in beside.notes
    lines = list(csv.DictReader(to_csv(beside.runs, beside.comparison, beside.gains).splitlines()))
    line = next(x for x in lines if (x["run"], x["class_name"], x["metric"]) == ("b", "mean", "image_auroc"))
    assert line["to_first"] == line["to_first_low"] == ""
