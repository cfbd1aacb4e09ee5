"""Verdicts of the ledger: a reproduction is only what nothing but chance tells from the figure."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from typing import Any

import pytest

from adbench.report.ledger import COLUMNS, counts, hold_against, to_csv, to_markdown
from adbench.report.ledger_page import ledger_page
from adbench.report.published import Published
from adbench.report.verdicts import JudgedRun, judge
from report.visa_run import N_IMAGES, figure, run_of


def verdict(run: JudgedRun, one: Published | None = None, tolerance: float = 1.0):
    return judge(one or figure(), run.rows[-1], run, tolerance)


@pytest.mark.parametrize(
    ("ours", "deviation", "tolerance", "state"),
    [
        (0.825, None, 1.0, "reproduced"),
        (0.811, None, 1.0, "reproduced"),  # 82.1 - 1.0, to the last bit
        (0.8109, None, 1.0, "off"),
        (0.832, None, 1.0, "off"),
        (0.832, None, 2.0, "reproduced"),
        (0.825, 0.3, 1.0, "off"),
        (0.85, 3.0, 1.0, "reproduced"),
    ],
)
def test_the_figures_own_deviation_or_the_tolerance_decides(ours, deviation, tolerance, state) -> None:
    found = verdict(run_of(image_auroc=ours), figure(deviation=deviation), tolerance)
    assert (found.state, found.why) == (state, "")
    assert found.difference == pytest.approx(100 * ours - 82.1)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"selected_on_test": True}, "selected on test data"),
        ({"selected_on_test": None}, "its selection is unknown"),
        ({"zero_shot": False, "notes": ["not zero-shot: the class was trained on"]}, "not zero-shot: the class was"),
        ({"zero_shot": False}, "not zero-shot"),
        ({"zero_shot": None, "trained_on": None}, "it is unknown what the weights were trained on"),
        ({"zero_shot": None}, "it is unknown whether the weights have seen the test images"),
        ({"notes": ["transductive: scored together with 200 images of the class"]}, "transductive: scored together"),
        ({"backbone": "demo"}, "other backbone: demo instead of ViT-L-14-336"),
        ({"backbone": None}, "other backbone: None"),
        ({"trained_on": ["mvtec", "colondb"]}, "trained on colondb+mvtec instead of mvtec"),
        ({"n_images": N_IMAGES - 1}, f"{N_IMAGES - 1} test images instead of {N_IMAGES}"),
        ({"image_auroc": math.nan}, "image_auroc was not measured"),
        ({"support_source": "folder"}, "support images of one's own choice (support.source=folder)"),
        ({"support_source": "file"}, "support images of one's own choice (support.source=file)"),
        ({"notes": ["fitted to normal images of mvtec"]}, "fitted to normal images of mvtec"),
        ({"source": "laion400m_e31"}, "other weights of the backbone: laion400m_e31 instead of openai"),
        ({"changes": ("other settings: trainer.epochs=1",)}, "other settings: trainer.epochs=1"),
    ],
)
def test_what_differs_in_more_than_chance_is_never_a_reproduction(changed: dict[str, Any], why: str) -> None:
    found = verdict(run_of(**{"image_auroc": 0.821, **changed}))
    assert found.state == "not comparable"
    assert why in found.why


def test_a_method_that_is_transductive_is_so_without_a_note() -> None:
    run = run_of(method="musc", trained_on=[])
    assert "transductive" in verdict(run, figure(trained_on=frozenset())).why


def test_a_part_of_the_classes_other_hyperparameters_and_hidden_images_are_told() -> None:
    run = run_of()
    assert "2 of 12 classes" in verdict(replace(run, rows=[*run.rows[:2], run.rows[-1]])).why
    other = {**run.run, "hyperparameters": {**run.run["hyperparameters"], "n_ctx": 4}}
    assert "other settings: method.n_ctx=4 instead of 12" in verdict(replace(run, run=other)).why
    assert verdict(replace(run, run=other, expected={"n_ctx": 4})).state == "reproduced"
    assert "it is unknown with which settings" in verdict(replace(run, run={"backbone": run.run["backbone"]})).why
    for_n_ctx = {key: value for key, value in run.run["hyperparameters"].items() if key != "n_ctx"}
    untold = verdict(replace(run, run={**run.run, "hyperparameters": for_n_ctx}))
    assert (untold.state, untold.why) == ("not comparable", "it is unknown with which method.n_ctx it was made")
    assert "the figure is of the hidden test set" in verdict(run, figure(split="hidden_test")).why
    assert "not stated what the figure's weights" in verdict(run, figure(trained_on=None)).why


def test_code_that_does_not_ship_with_adbench_is_told() -> None:
    run, plugin = run_of(image_auroc=0.821), {"place": "/home/somebody/mine.py", "sha256": "d" * 64}
    method = verdict(replace(run, run={**run.run, "plugin": plugin}))
    assert (method.state, method.why) == ("not comparable", "the method is a plug-in")
    data = verdict(replace(run, run={**run.run, "data": [{**run.run["data"][0], "plugin": plugin}]}))
    assert (data.state, data.why) == ("not comparable", "the data set is a plug-in")


def test_a_ledger_in_three_forms_says_the_same() -> None:
    run = run_of(image_auroc=0.825)
    figures = [figure(), figure(metric="image_ap"), figure("mvtec", trained_on=frozenset({"visa"}))]
    lines = hold_against(figures, [run], absent={"mvtec": "not run: mvtec is not there"})
    assert counts(lines) == "3 figures: 1 reproduced, 0 off, 2 not comparable"
    records = list(csv.DictReader(to_csv(lines).splitlines()))
    assert tuple(records[0]) == COLUMNS
    first = next(one for one in records if one["verdict"] == "reproduced")
    assert (float(first["ours"]), float(first["low"]), float(first["high"])) == (0.825, 0.81, 0.84)
    assert float(first["difference"]) == pytest.approx(0.825 - 0.821)
    assert (first["weights_sha256"], first["backbone_sha256"]) == ("a" * 64, "b" * 64)
    assert (first["data_fingerprint"], first["results_sha256"]) == ("f" * 64, "c" * 64)
    markdown, html = to_markdown(lines, "Mine", ["a remark"]), ledger_page("Mine", lines, ["a remark"])
    for text in (markdown, html):
        for said in ("82.5 [81.0, 84.0]", "+0.4", "reproduced", "not run: mvtec is not there", "a remark", "a" * 12):
            assert said in text
    assert '<td class="text best">reproduced</td>' in html
    assert "<script" not in html


def test_of_two_runs_the_one_with_the_figures_training_is_taken() -> None:
    others = run_of(trained_on=["colondb", "mvtec"])
    (line,) = hold_against([figure()], [replace(others, label="pair"), run_of()])
    assert line.run is not None
    assert line.run.label == "mine"


@pytest.mark.parametrize(("n", "said"), [(80, False), (120, True)])
def test_pictures_for_choosing_settings_are_no_test_images(n: int, said: bool) -> None:
    run = run_of(dataset="road_demo", class_name="road", n_images=n)
    assert (f"{n} test images instead of 80" in verdict(run).why) == said
    assert ("test images instead" in verdict(run).why) == said
