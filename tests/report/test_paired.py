"""Two runs on the same images: figures, intervals and p against definitions spelled out."""

from __future__ import annotations

import csv
import json
import math
import random

import numpy as np
import pytest

from adbench.engine.confidence import stream
from adbench.errors import UserError
from adbench.metrics import ImageMetrics, auroc, average_precision, f1_max
from adbench.metrics.intervals import delong_paired, resamples
from adbench.report.paired import compare_scores
from adbench.report.paired_table import headers, printed, to_csv, to_markdown, write_comparison

FORMULAS = {"image_auroc": auroc, "image_ap": average_precision, "image_f1max": f1_max}


def make_scores(run, class_name="bolt", *, n=24, shots=0, support_seed=None, dataset="made", gain=1.0):
    draws = np.random.default_rng([run, len(class_name), shots, support_seed or 0])
    place = {"dataset": dataset, "class_name": class_name, "shots": shots, "support_seed": support_seed}
    labels = [int(i % 3 == 0) for i in range(n)]
    return [
        {
            **{**place, "path": f"{i:03d}.png", "defect": "hole" if label else "good", "label": label},
            **{"score": float(draws.normal(gain * label)), "map_max": None},
        }
        for i, label in enumerate(labels)
    ]


def column(scores, key):
    return np.array([one[key] for one in scores])


@pytest.mark.parametrize("metric", FORMULAS)
def test_a_class_is_compared_in_the_same_draws_of_images(metric):
    first, second = make_scores(0), make_scores(1, gain=2.0)
    line, mean = compare_scores(first, second, metric, seed=5).lines

    labels, formula = column(first, "label"), FORMULAS[metric]
    a, b = (formula(column(scores, "score"), labels) for scores in (first, second))
    assert (line.first, line.second, line.difference) == pytest.approx((a, b, b - a), abs=1e-12)
    differences = []
    for weights in np.concatenate(list(resamples(labels, stream(5, "made", "bolt")))):
        one, other = (
            formula(np.repeat(column(s, "score"), weights), np.repeat(labels, weights)) for s in (first, second)
        )
        differences.append(other - one)
    differences = np.array(differences)
    assert (line.low, line.high) == pytest.approx(np.percentile(differences, [2.5, 97.5]), abs=1e-12)
    share = min(np.mean(differences <= 1e-15), np.mean(differences >= -1e-15))
    assert line.p == pytest.approx(min(1.0, max(2 * share, 2 / 2001)), abs=0.002)
    assert (mean.first, mean.low, mean.p) == (line.first, line.low, line.p)
    expected = delong_paired(column(first, "score"), column(second, "score"), labels).p
    assert line.p_delong == pytest.approx(expected) if metric == "image_auroc" else math.isnan(line.p_delong)


def test_order_never_matters():
    first = [*make_scores(0), *make_scores(0, "screw")]
    second = [*make_scores(1), *make_scores(1, "screw")]
    shuffled = list(second)
    random.Random(0).shuffle(shuffled)

    assert compare_scores(first, shuffled) == compare_scores(first, second)


def test_a_run_does_not_differ_from_itself():
    scores = make_scores(0)
    found = compare_scores(scores, scores)

    line = found.lines[0]
    assert (line.difference, line.low, line.high, line.p, line.p_delong, line.p_holm) == (0.0, 0.0, 0.0, 1.0, 1.0, 1.0)
    assert found.changes == []


def test_the_sign_follows_the_order_of_the_runs():
    first, second = make_scores(0), make_scores(1, gain=3.0)
    forth, back = (compare_scores(*pair).lines[0] for pair in ((first, second), (second, first)))

    assert forth.difference == -back.difference > 0
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low))
    assert (forth.better, forth.worse) == (back.worse, back.better)


def test_the_mean_is_over_classes_then_over_data_sets():
    names = ("bolt", "screw", "nut")
    first = [one for name in names for one in make_scores(0, name, dataset="other" if name == "nut" else "made")]
    second = [one for name in names for one in make_scores(1, name, dataset="other" if name == "nut" else "made")]
    lines = compare_scores(first, second).lines

    assert [(line.dataset, line.class_name) for line in lines] == [
        *(("made", "bolt"), ("made", "screw"), ("made", "mean"), ("other", "nut"), ("other", "mean"), ("mean", "mean"))
    ]
    assert lines[2].difference == pytest.approx((lines[0].difference + lines[1].difference) / 2)
    assert lines[5].difference == pytest.approx((lines[2].difference + lines[4].difference) / 2)
    assert lines[2].high - lines[2].low < lines[0].high - lines[0].low
    assert lines[5].n_images == 72
    p = [lines[0].p, lines[1].p, lines[3].p]
    assert max(line.p_holm for line in lines if line.class_name != "mean") >= max(p)
    assert min(lines[i].p_holm for i in (0, 1, 3)) == pytest.approx(min(1.0, 3 * min(p)))
    assert math.isnan(lines[2].p_holm)


def test_of_several_draws_of_support_the_mean_is_compared():
    runs = [[one for seed in (0, 1) for one in make_scores(run, shots=2, support_seed=seed)] for run in (0, 1)]
    line, _ = compare_scores(*runs).lines

    values = [
        [
            auroc(column(make_scores(run, shots=2, support_seed=seed), "score"), column(runs[0][:24], "label"))
            for seed in (0, 1)
        ]
        for run in (0, 1)
    ]
    assert (line.first, line.second) == pytest.approx(np.mean(values, axis=1))
    assert (line.shots, line.n_images) == (2, 24)
    assert math.isnan(line.p_delong)


def test_images_that_changed_sides_are_named():
    first, second = make_scores(0, n=30), make_scores(1, n=30)
    found = compare_scores(first, second)

    labels = column(first, "label").astype(bool)
    sides = []
    for scores in (first, second):
        values = column(scores, "score")
        sides.append(values >= ImageMetrics().update(values, labels).compute(thresholds=True)["image_f1max_threshold"])
    differing = np.flatnonzero(sides[0] != sides[1])
    assert [change.path for change in found.changes] == [f"{i:03d}.png" for i in differing] != []
    assert [change.is_better for change in found.changes] == [sides[1][i] == labels[i] for i in differing]
    assert found.lines[0].better == sum(change.is_better for change in found.changes)
    assert found.lines[0].better + found.lines[0].worse == len(differing)


def test_images_of_one_run_alone_are_refused_or_left_out():
    first, second = make_scores(0), make_scores(1)[2:]
    with pytest.raises(
        UserError, match=r"not over the same images.*2 images \(made bolt 000\.png, made bolt 001\.png\) of the first"
    ):
        compare_scores(first, second)

    found = compare_scores(first, second, leave_out=True)
    assert found.lines == compare_scores(first[2:], second).lines
    assert found.notes == ["2 images (made bolt 000.png, made bolt 001.png) of the first run alone: left out"]


def test_another_draw_of_support_is_another_image():
    first, second = make_scores(0, shots=1, support_seed=0), make_scores(1, shots=1, support_seed=1)
    with pytest.raises(UserError, match=r"no image in common with the same support.*\(k=1, seed 0\).*same support\.k"):
        compare_scores(first, second, leave_out=True)


def test_an_image_that_a_draw_lacks_is_left_out_of_all(tmp_path):
    runs = [[score for seed in (0, 1) for score in make_scores(run, shots=2, support_seed=seed)] for run in (0, 1)]
    found = compare_scores(runs[0][1:], runs[1], leave_out=True)

    assert found.notes[1] == "1 scores of images that not every draw of support has: left out"
    whole = [[score for score in scores if score["path"] != "000.png"] for scores in runs]
    assert found.lines == compare_scores(*whole).lines
    assert found.lines[0].n_images == 23
    with pytest.raises(UserError, match="no image is scored in every draw"):
        compare_scores(runs[0][:24:2] + runs[0][25::2], runs[1], leave_out=True)


def test_delong_is_not_told_of_images_that_belong_together():
    runs = [make_scores(run, dataset="real_iad") for run in (0, 1)]
    line = compare_scores(*runs).lines[0]

    assert math.isnan(line.p_delong)
    assert not math.isnan(line.p)


def test_labels_that_differ_are_refused():
    second = make_scores(1)
    second[4]["label"] = 1 - second[4]["label"]
    with pytest.raises(UserError, match=r"labels of images differ: 1 images \(made bolt 004\.png\)"):
        compare_scores(make_scores(0), second)


def test_what_has_no_score_or_label_is_left_out_and_said():
    first, second = make_scores(0, n=26), make_scores(1, n=26)
    first[0]["label"] = second[0]["label"] = -1
    second[1]["score"] = None
    found = compare_scores(first, second)

    assert found.notes == ["2 images without a known label or a score: left out"]
    assert found.lines[0].n_images == 24
    for one in second:
        one["score"] = None
    with pytest.raises(UserError, match="no image has a known label and a score"):
        compare_scores(first, second)


def test_a_class_of_one_label_is_undefined_and_not_in_the_mean():
    first, second = ([*make_scores(run), *make_scores(run, "screw")] for run in (0, 1))
    for one in (*first[24:], *second[24:]):
        one["label"] = 0
    found = compare_scores(first, second)

    bolt, screw, mean = found.lines
    assert math.isnan(screw.difference)
    assert math.isnan(screw.p)
    assert (mean.difference, mean.low, mean.high, mean.p) == (bolt.difference, bolt.low, bolt.high, bolt.p)
    assert list(printed(found))[1][3:8] == ["n/a"] * 5
    assert bolt.p_holm == bolt.p


def test_an_unknown_metric_is_named():
    with pytest.raises(UserError, match=r"unknown image metric 'image_auc'.*Did you mean 'image_auroc'"):
        compare_scores(make_scores(0), make_scores(1), "image_auc")


def test_the_renderings_hold_the_same(tmp_path):
    found = compare_scores(make_scores(0, shots=1), make_scores(1, shots=1, gain=3.0))
    files = write_comparison(tmp_path, found, ["one (a|b)", "two"])

    line = found.lines[0]
    assert [file.name for file in files] == ["comparison.json", "comparison.csv", "comparison.md"]
    table = list(csv.DictReader(to_csv(found).splitlines()))
    assert float(table[0]["difference"]) == line.difference
    assert (table[0]["class_name"], table[1]["p_delong"]) == ("bolt", "")
    content = json.loads(files[0].read_text(), parse_constant=pytest.fail)
    assert content["lines"][0]["low"] == line.low
    assert content["runs"] == {"first": "one (a|b)", "second": "two"}
    assert {one["right"] for one in content["changed"]} <= {"first", "second"}
    text = to_markdown(found, ["one (a|b)", "two"])
    assert text.startswith("A: one (a\\|b)  \nB: two  \n")
    assert f"| made | bolt | 1 | 24 | {100 * line.first:.1f} | {100 * line.second:.1f} |" in text
    assert "p values are not corrected for their number; p (Holm) is, over 1 classes" in text
    assert headers(found)[2] == "shots"
