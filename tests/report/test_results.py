"""results.json, .csv and .md are the same rows, and a column never shifts."""

from __future__ import annotations

import csv
import io
import json
import math
import re

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from adbench.errors import UserError
from adbench.metrics import ImageMetrics, PixelMetrics
from adbench.metrics.registry import shown
from adbench.report.csv_text import unguarded
from adbench.report.results import console_table, console_tables, read_results, to_csv, to_markdown, write_results
from adbench.report.table import FACTS, build_table

METRICS = shown()


def make_row(class_name="bolt", **values):
    row = {
        "method": "adaclip",
        "weights": "ab" * 32,
        "backbone": "demo",
        "backbone_sha256": "cd" * 32,
        "dataset": "demo",
        "shots": 0,
        "support_seed": None,
        "seed": 111,
        "eval_seed": 111,
        "protocol": "exact",
        "class_name": class_name,
        "n_images": 12,
        "n_anomalous": 5,
        **{metric: 0.1 * (index + 1) for index, metric in enumerate(METRICS)},
        "zero_shot": True,
        "selected_on_test": False,
        "notes": [],
        "seconds": 1.5,
        "images_per_second": 8.0,
    }
    return {**row, **values}


def f1_max(labels, scores):
    precision, recall, _ = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return f1.max()


# header -> key -> formula: the whole chain from arrays to the printed table
GOLDEN = [
    ("image AUROC", "image_auroc", "scores", roc_auc_score),
    ("image AP", "image_ap", "scores", average_precision_score),
    ("image F1-max", "image_f1max", "scores", f1_max),
    ("pixel AUROC", "pixel_auroc", "maps", roc_auc_score),
    ("pixel AP", "pixel_ap", "maps", average_precision_score),
    ("pixel F1-max", "pixel_f1max", "maps", f1_max),
]


def test_every_header_shows_its_own_formula():
    random = np.random.default_rng(3)
    labels, masks = random.random(40) < 0.3, random.random((40, 6, 6)) < 0.2
    scores, maps = random.normal(labels * 0.8), random.normal(masks * 0.6)
    values = ImageMetrics().update(scores, labels).compute() | PixelMetrics().update(maps, masks).compute()
    printed = _parse(to_markdown([make_row(**values)]))[0]
    machine = next(csv.DictReader(io.StringIO(to_csv([make_row(**values)]))))

    truth = {"scores": (labels, scores), "maps": (masks.ravel(), maps.ravel())}
    for header, key, source, formula in GOLDEN:
        expected = formula(*truth[source])
        assert printed[header] == f"{100 * expected:.1f}"
        assert float(machine[key]) == pytest.approx(expected, abs=1e-9)
    assert printed["pixel AUPRO"] == f"{100 * values['pixel_aupro']:.1f}"
    assert len(set(printed.values())) >= 8  # no two formulas agree by chance


def test_the_order_of_columns_is_fixed():
    header = to_markdown([make_row()]).splitlines()[0]
    assert header == (
        "| method | data | class | images | anomalous | image AUROC | image AP | image F1-max "
        "| pixel AUROC | pixel AP | pixel F1-max | pixel AUPRO |"
    )


def test_markdown_prints_percent_and_na():
    text = to_markdown([make_row(pixel_aupro=math.nan, image_ap=0.98765), make_row("mean")])

    first, mean = _parse(text)
    assert first["image AP"] == "98.8"
    assert first["pixel AUPRO"] == "n/a"
    assert mean["class"] == "**mean**"


def test_optional_columns_appear_where_a_row_has_them():
    headers = build_table([make_row(), make_row(pixel_aupro200=0.5, shots=4)]).headers

    assert headers[3] == "shots"
    assert headers[-1] == "pixel AUPRO-200"
    assert "shots" not in build_table([make_row()]).headers


def test_notes_are_said_once_and_marked():
    note = "not zero-shot: trained on demo bolt"
    text = to_markdown([make_row(notes=[note]), make_row("nut"), make_row("mean", notes=[note, "of the mean"])])

    assert [row["class"] for row in _parse(text)] == [r"bolt\*", "nut", r"**mean\***"]
    assert text.splitlines()[-2:] == [rf"\* {note} (demo bolt)  ", r"\* of the mean (demo mean)  "]


def test_json_holds_rows_by_name_with_null_for_nan(tmp_path):
    rows = [make_row(), make_row("mean", pixel_ap=math.nan)]
    write_results(tmp_path, rows, {"seed": 111, "loss": math.nan})

    content = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    assert set(content) == {"run", "rows"}
    assert content["run"] == {"seed": 111, "loss": None}
    assert content["rows"][1]["pixel_ap"] is None
    assert content["rows"][0] == rows[0]
    required = ["method", "dataset", "class_name", "shots", "support_seed", "seed", "n_images", "n_anomalous", *METRICS]
    assert set(required) <= set(content["rows"][0])


def test_results_are_read_as_they_were_written(tmp_path):
    rows = [make_row(image_auroc=1 / 3), make_row("mean", pixel_ap=math.nan)]
    write_results(tmp_path, rows, {"seed": 1})
    run, found = read_results(tmp_path)

    assert run == {"seed": 1}
    assert found[0] == rows[0]
    assert math.isnan(found[1].pop("pixel_ap"))
    assert found[1]["support_seed"] is None


def test_csv_has_the_keys_as_header_and_full_precision():
    table = list(
        csv.DictReader(io.StringIO(to_csv([make_row(image_auroc=1 / 3, pixel_ap=math.nan, notes=["a", "b"])])))
    )

    assert list(table[0]) == list(make_row())
    assert float(table[0]["image_auroc"]) == 1 / 3
    assert (table[0]["pixel_ap"], table[0]["zero_shot"], table[0]["support_seed"]) == ("", "true", "")
    assert table[0]["notes"] == "a; b"


def test_missing_results_are_named(tmp_path):
    with pytest.raises(UserError, match="no readable results"):
        read_results(tmp_path)


def test_the_console_table_keeps_to_80_columns():
    from rich.console import Console

    text = io.StringIO()
    rows = [make_row("metal_nut"), make_row("mean", notes=["not zero-shot"], pixel_ap=math.nan)]
    Console(file=text, width=80).print(console_table(rows, title="demo run"))

    shown = text.getvalue()
    assert "adaclip on demo" in shown
    assert "metal_nut" in shown
    assert "n/a" in shown
    assert "* not zero-shot" in shown
    assert "…" not in shown


def test_many_metrics_stand_in_tables_one_below_the_other():
    from rich.console import Console

    further = {f"segf1@{number / 10}": 0.123 for number in range(1, 8)}
    rows = [make_row(notes=["few images"], **further), make_row("mean", **further)]
    text = io.StringIO()
    tables = console_tables(rows)
    for table in tables:
        Console(file=text, width=120).print(table)
    assert len(tables) == 3
    assert text.getvalue().count("12.3") == 2 * 7
    assert text.getvalue().count("* few images") == 1
    assert "…" not in text.getvalue()
    assert len(console_tables([make_row()])) == 1


def test_facts_are_keys_of_rows():
    assert {key for _, key in FACTS} <= set(make_row())


def _parse(markdown):
    """Rows of the first table as header -> cell."""
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def test_several_support_seeds_are_printed_as_mean_and_deviation():
    single = [make_row("mean", shots=2, support_seed=seed) for seed in (0, 1)]
    spread = {f"{metric}_std": 0.012 for metric in METRICS}
    both = make_row("mean", shots=2, support_seed="mean", image_auroc=0.5, **spread)

    text = to_markdown([*single, both])
    assert "support seed" in text
    assert "50.0 ± 1.2" in text
    assert console_table([*single, both]).row_count == 1


def test_deviations_leave_room_for_names_in_a_terminal():
    spread = {f"{metric}_std": 0.012 for metric in METRICS}
    names = {"dataset": "mean:industrial", "class_name": "a_class_with_a_long_name", "shots": 4, "support_seed": "mean"}
    rows = [make_row(**names, **spread), make_row(**names | {"dataset": "mvtec"}, **spread)]

    tables = console_tables(rows)
    assert len(tables) == 2
    console = Console(width=120, file=io.StringIO())
    for table in tables:
        console.print(table)
    text = console.file.getvalue()
    assert "…" not in text
    assert "mean:industrial" in text
    assert "a_class_with_a_long_name" in text


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"image_auroc": 97.1}, "image_auroc is 97.1. Give a number of at least 0 and at most 1"),
        ({"pixel_ap": "0.5"}, "pixel_ap is '0.5'"),
        ({"pixel_ap": True}, "pixel_ap is True"),
        ({"method": 3}, "method is 3"),
        ({"shots": "many"}, "shots is 'many'"),
        ({"notes": "a note"}, "notes is 'a note'. Give a list"),
        ({"trained_on": [1]}, "trained_on[0] is 1"),
        ({"zero_shot": "yes"}, "zero_shot is 'yes'"),
    ],
)
def test_rows_that_no_evaluation_wrote_are_refused(tmp_path, change, fault):
    text = json.dumps({"run": {}, "rows": [make_row(), make_row(**change)]})
    (tmp_path / "results.json").write_text(text)

    with pytest.raises(UserError, match=re.escape(f"rows[1].{fault}")):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"parts": [1]}, "parts[0] is 1"),
        ({"supports": [{"k": 1}]}, "supports[0] lacks"),
        ({"parts": [{"checkpoint": 5}]}, "parts[0].checkpoint is 5"),
        ({"versions": "3.12"}, "versions is '3.12'"),
        ({"intervals": 3}, "intervals is 3"),
        ({"benchmark": {"name": "zeroshot"}}, "benchmark lacks left_out"),
    ],
)
def test_a_provenance_that_no_evaluation_wrote_is_refused(tmp_path, change, fault):
    (tmp_path / "results.json").write_text(json.dumps({"run": change, "rows": [make_row()]}))

    with pytest.raises(UserError, match=re.escape(f"run.{fault}")):
        read_results(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"run": {}, "rows": []}', '{"run": 1, "rows": [{}]}', "[" * 100_000])
def test_damaged_results_are_said_in_one_line(tmp_path, text):
    (tmp_path / "results.json").write_text(text)

    with pytest.raises(UserError, match=r"results\.json") as caught:
        read_results(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["=1+1", "+1+1", "-1-1", "-.", "-1\n", "+\u0661", "@SUM(A1)", "\t=1"])
def test_no_cell_of_the_csv_begins_like_a_formula(name):
    (line,) = csv.DictReader(io.StringIO(to_csv([make_row(class_name=name, seed=-5)])))

    assert line["class_name"] == f"'{name}"
    assert line["seed"] == "-5"


@pytest.mark.parametrize("text", ["-1", "+1", "-0.5", "-.5", "-1.", "-1e-05", "'-1"])
def test_numbers_that_are_texts_stay_numbers(text):
    (line,) = csv.DictReader(io.StringIO(to_csv([make_row(class_name=text)])))

    assert unguarded(line["class_name"]) == line["class_name"] == text


INTERVALS = {"resamples": 2000, "seed": 111}


def test_intervals_have_a_table_of_their_own():
    bounds = {"image_auroc_low": 0.9, "image_auroc_high": 0.9876}
    rows = [
        make_row(image_auroc=0.95, **bounds, notes=["a note"]),
        make_row("nut", image_auroc=1.0, image_auroc_low=1.0, image_auroc_high=1.0, n_images=30, n_anomalous=12),
        make_row("gear", image_auroc=math.nan, image_auroc_low=math.nan, image_auroc_high=math.nan),
        make_row("mean", image_auroc=0.975, **bounds),
    ]
    text = to_markdown(rows, INTERVALS)

    first, second = text.split(
        "\nImage metrics with 95 % intervals over the test images: 2000 bootstrap draws, seed 111."
    )
    assert first == to_markdown(rows)
    assert [list(row.items()) for row in _parse(second)] == [
        [("method", "adaclip"), ("data", "demo"), ("class", "bolt"), ("image AUROC", "95.0 [90.0, 98.8]")],
        [("method", "adaclip"), ("data", "demo"), ("class", "nut"), ("image AUROC", "100.0 [100.0, 100.0]")],
        [("method", "adaclip"), ("data", "demo"), ("class", "gear"), ("image AUROC", "n/a")],
        [
            ("method", "**adaclip**"),
            ("data", "**demo**"),
            ("class", "**mean**"),
            ("image AUROC", "**97.5 [90.0, 98.8]**"),
        ],
    ]
    note = "no misordered pair of an anomalous and a normal image, so the AUROC's interval says nothing"
    note += ": demo nut (12 x 18)"
    assert second.endswith(rf"\* {note}" + "  \n")


def test_bounds_and_thresholds_are_read_as_they_were_written(tmp_path):
    rows = [make_row(image_auroc_low=0.5, image_auroc_high=math.nan, image_f1max_threshold=-3.5)]
    write_results(tmp_path, rows, {"intervals": INTERVALS})
    _, (found,) = read_results(tmp_path)

    assert (found["image_auroc_low"], found["image_f1max_threshold"]) == (0.5, -3.5)
    assert math.isnan(found["image_auroc_high"])
    write_results(tmp_path, [make_row(image_f1max_threshold=math.inf)], {})
    assert math.isnan(read_results(tmp_path)[1][0]["image_f1max_threshold"])
