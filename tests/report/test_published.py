"""Published figures, and results beside them."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from adbench.cli.override_parser import choices
from adbench.data import catalogue
from adbench.metrics.registry import is_metric
from adbench.report import published
from adbench.report.comparison import Run, compare, printed
from adbench.report.comparison_csv import FIELDS, to_csv
from adbench.report.html_tables import published_table
from adbench.report.published import KINDS, by_reliability, load_published
from adbench.report.renderings import to_markdown

FILE = Path(published.__file__).with_name("published.csv")


def row(method: str, dataset: str, **values: object) -> dict:
    given = {"class_name": "mean", "shots": 0, "support_seed": None, "trained_on": [], "backbone": "ViT-B-16-plus-240"}
    return {"method": method, "dataset": dataset, **given, "notes": [], **values}


def differences(comparison) -> list[dict[str, float]]:
    return [dict(line.values) for line in comparison.lines if line.kind == "difference"]


def test_the_file_has_the_columns_that_it_says() -> None:
    header = FILE.read_text(encoding="utf-8").splitlines()[0]
    assert header == "paper,method,dataset,setting,metric,value,deviation,kind,source,note"


def test_every_figure_is_of_something_that_there_is_and_has_a_source() -> None:
    methods, backbones, datasets = choices("method"), choices("clip"), set(catalogue.names())
    specs = {name: catalogue.get(name) for name in datasets}
    for one in load_published():
        assert one.method in methods
        assert one.dataset in datasets
        assert is_metric(one.metric)
        assert one.backbone in backbones
        assert 0 < one.value <= 100
        assert one.source
        assert one.kind in KINDS
        assert one.deviation is None or 0 < one.deviation < 10
        assert one.paper
        assert one.class_name == "mean" or one.class_name in specs[one.dataset].classes
        assert (one.trained_on or frozenset()) <= datasets


def test_no_figure_stands_there_twice() -> None:
    keys = [(one.paper, one.source, one.method, one.dataset, one.setting, one.metric) for one in load_published()]
    assert len(keys) == len(set(keys))


def test_figures_of_a_dozen_places_are_right() -> None:
    found = {
        (one.paper, one.method, one.dataset, one.shots, one.class_name, one.metric): one.value
        for one in reversed(by_reliability(load_published()))
    }
    assert found["AnomalyCLIP (ICLR 2024)", "anomalyclip", "mvtec", 0, "mean", "pixel_aupro200"] == 81.4
    assert found["AnomalyCLIP (ICLR 2024)", "anomalyclip", "visa", 0, "pcb3", "image_auroc"] == 62.7
    assert found["WinCLIP (CVPR 2023)", "winclip", "visa", 1, "mean", "pixel_auroc"] == 96.4
    assert found["InCTRL (CVPR 2024)", "inctrl", "visa", 8, "mean", "image_ap"] == 90.4
    assert found["PromptAD (CVPR 2024)", "promptad", "visa", 4, "mean", "image_auroc"] == 89.1
    assert found["AdaCLIP (ECCV 2024)", "adaclip", "mpdd", 0, "mean", "image_auroc"] == 76.0
    assert found["AdaCLIP (ECCV 2024)", "adaclip", "mpdd", 0, "mean", "image_f1max"] == 82.5
    assert found["WinCLIP (CVPR 2023)", "winclip", "visa", 0, "mean", "pixel_aupro"] == 56.8
    assert ("AdaCLIP (ECCV 2024)", "adaclip", "visa", 0, "mean", "pixel_aupro") not in found
    assert ("AdaCLIP (ECCV 2024)", "adaclip", "visa", 0, "mean", "image_ap") not in found
    assert found["re-evaluation by ACD-CLIP", "adaclip", "visa", 0, "mean", "image_ap"] == 84.9


def test_what_is_stated_in_two_ways_says_so() -> None:
    pairs = [one for one in load_published() if one.method == "adaclip" and len(one.trained_on or ()) == 2]
    assert len(pairs) > 250
    assert all("auxiliary sets stated in two ways" in one.note for one in pairs)


def test_figures_of_hidden_images_fit_no_row_of_public_ones() -> None:
    hidden = [one for one in load_published() if one.method == "vl4ad"]
    assert {(one.kind, one.split) for one in hidden} == {("leaderboard", "hidden_test")}
    backbone = "convnext_large_d_320"
    ours = row("vl4ad", "smiyc_ra21", class_name="road", trained_on=["cityscapes"], backbone=backbone, pixel_ap=0.9)
    assert not any(one.fits({**ours, "class_name": name}) for one in hidden for name in ("road", "mean"))


def test_sources_that_disagree_are_all_shown_with_their_range() -> None:
    ours = row("anomalyclip", "visa", trained_on=["mvtec"], image_auroc=0.83, image_ap=0.8, backbone="ViT-L-14-336")
    comparison = compare([Run("mine", [ours])])
    published = [line for line in comparison.lines if line.kind == "published"]
    figures = [figure for line in published for figure in line.published if figure.metric == "image_auroc"]
    told = {figure.value: figure.kind for figure in reversed(figures)}
    assert (told[82.1], told[82.0]) == ("own table", "authors' log")
    assert len(told) > 2
    (spread,) = [
        cells for line, cells in zip(comparison.lines, printed(comparison), strict=True) if line.kind == "range"
    ]
    assert spread[3:5] == ["all sources", f"{min(told):.1f}–{max(told):.1f}"]
    (less,) = differences(comparison)
    assert less["image_auroc"] == pytest.approx(83.0 - 82.1)  # to the paper's own table
    assert any(note.startswith("difference: to the paper's own table") for note in comparison.notes)
    lines = [line for line in csv.DictReader(to_csv([], comparison).splitlines()) if line["metric"] == "image_auroc"]
    assert {line["kind"] for line in lines} == {"own table", "authors' log", "rerun"}
    assert len(lines) == len(figures)


def test_the_deviation_of_a_figure_stands_beside_it() -> None:
    comparison = compare([Run("mine", [row("winclip", "mvtec", shots=2, image_auroc=0.9)])])
    assert "94.4 ± 1.3" in to_markdown([published_table(comparison)])
    line = next(line for line in csv.DictReader(to_csv([], comparison).splitlines()) if line["published"] == "0.944")
    assert line["deviation"] == "0.013"


def test_the_difference_is_ours_minus_theirs_in_points() -> None:
    ours = row("winclip", "mvtec", image_auroc=0.900, pixel_auroc=0.86)
    (less,) = differences(compare([Run("winclip", [ours])]))
    assert less == {"image_auroc": pytest.approx(90.0 - 91.8), "pixel_auroc": pytest.approx(86.0 - 85.1)}


@pytest.mark.parametrize(
    "other",
    [
        {"shots": 3},
        {"class_name": "nut"},
        {"dataset": "cifar10"},
        {"method": "clip_zeroshot"},
        {"trained_on": ["visa"]},
        {"image_auroc": math.nan, "pixel_auroc": math.nan},
    ],
)
def test_another_setting_does_not_compare(other: dict) -> None:
    ours = {**row("winclip", "mvtec", image_auroc=0.9, pixel_auroc=0.86), **other}
    assert differences(compare([Run("mine", [ours])])) == []


def test_the_data_trained_on_belong_to_the_setting() -> None:
    given = {"image_auroc": 0.8, "shots": 2}
    for trained_on, matches in ((["mvtec"], True), (["mvtec", "btad"], False), ([], False)):
        ours = row("inctrl", "visa", trained_on=trained_on, **given)
        assert bool(differences(compare([Run("mine", [ours])]))) is matches
    unknown = compare([Run("mine", [row("inctrl", "visa", trained_on=None, **given)])])
    assert differences(unknown)
    assert "mine: it is unknown what the weights were trained on" in unknown.notes


def test_a_class_is_shown_where_figures_of_it_are_published() -> None:
    rows = [
        row("inctrl", "visa", class_name=name, shots=2, trained_on=["mvtec"], image_auroc=0.8)
        for name in ("candle", "capsules", "mean")
    ]
    lines = compare([Run("mine", rows)]).lines
    assert list(dict.fromkeys(line.row["class_name"] for line in lines)) == ["candle", "mean"]


def test_nothing_published_is_said_clearly() -> None:
    notes = compare([Run("mine", [row("winclip", "mvtec", shots=3, image_auroc=0.9)])]).notes
    assert "mine: nothing published is known of winclip on mvtec with 3 shots in this setting" in notes
    assert any(note.startswith("mine: published of mvtec in other settings: shots=0") for note in notes)


def test_another_backbone_is_said_clearly() -> None:
    notes = compare([Run("mine", [row("winclip", "mvtec", backbone="demo", image_auroc=0.9)])]).notes
    assert "mine: the backbone is demo, that of the published figures ViT-B-16-plus-240: they do not compare" in notes


@pytest.mark.parametrize(
    ("n", "said"),
    [
        (1, ["mine: mvtec with 1 of 15 classes: its mean does not compare"]),
        (14, ["mine: mvtec with 14 of 15 classes: its mean does not compare"]),
        (15, []),
    ],
)
def test_a_mean_over_a_part_of_the_classes_is_said_clearly(n: int, said: list[str]) -> None:
    names = [*catalogue.get("mvtec").classes[:n], "mean"]
    rows = [row("winclip", "mvtec", class_name=name, image_auroc=0.9) for name in names]
    notes = compare([Run("mine", rows)]).notes
    assert [note for note in notes if "classes" in note] == said


def test_a_published_metric_that_was_not_computed_is_named() -> None:
    ours = row("anomalyclip", "visa", trained_on=["mvtec"], image_auroc=0.8, backbone="ViT-L-14-336")
    assert any("eval.aupro200=true" in note for note in compare([Run("mine", [ours])]).notes)


def test_rows_may_say_less() -> None:
    bare = {"method": "winclip", "dataset": "mvtec", "class_name": "mean", "shots": 1, "image_auroc": 0.9}
    comparison = compare([Run("mine", [bare])])
    assert differences(comparison) == [{"image_auroc": pytest.approx(90.0 - 93.1)}]
    assert to_csv([], comparison)
    assert to_markdown([published_table(comparison)])


def test_runs_stand_side_by_side() -> None:
    runs = [
        Run("first", [row("winclip", "mvtec", image_auroc=0.9), row("winclip", "visa", image_auroc=0.7)]),
        Run("second", [row("clip_zeroshot", "mvtec", image_auroc=0.6)]),
    ]
    comparison = compare(runs)
    cells = [line[:4] for line in printed(comparison)]
    assert cells[:2] == [["mvtec", "mean", "0", "first"], ["", "", "", "published [1]"]]
    names = [name for *_, name in cells]
    second = names.index("second")
    assert names[second - 2 : second] == ["all sources", "difference"]
    assert cells[second + 1] == ["visa", "mean", "0", "first"]


def test_several_draws_are_shown_as_mean_and_deviation() -> None:
    seeds = [row("winclip", "mvtec", shots=1, support_seed=seed, image_auroc=0.9) for seed in (0, 1)]
    whole = row("winclip", "mvtec", shots=1, support_seed="mean", image_auroc=0.9, image_auroc_std=0.01)
    comparison = compare([Run("mine", [*seeds, whole])])
    assert next(printed(comparison))[4] == "90.0 ± 1.0"
    assert len(differences(comparison)) == 1


def test_the_renderings_hold_the_same() -> None:
    comparison = compare([Run("mine", [row("winclip", "mvtec", image_auroc=0.9, pixel_auroc=math.nan)])])
    markdown = to_markdown([published_table(comparison)])
    heads, _, ours, *_ = [line.strip("| ").split(" | ") for line in markdown.splitlines() if line.startswith("|")]
    assert heads[:5] == ["data", "class", "shots", "", "image AUROC"]
    assert (ours[:5], ours[heads.index("pixel AUROC")]) == (["mvtec", "mean", "0", "mine", "90.0"], "n/a")
    assert "|  |  |  | difference | -1.8 |" in markdown
    assert "[1] WinCLIP (CVPR 2023), own table: the paper's abstract" in markdown
    lines = list(csv.DictReader(to_csv([], comparison).splitlines()))
    assert tuple(lines[0]) == FIELDS
    compared = {line["metric"]: line for line in lines if line["kind"] == "own table"}
    assert float(compared["image_auroc"]["difference"]) == pytest.approx(-0.018)
    assert (compared["image_auroc"]["ours"], compared["image_auroc"]["published"]) == ("0.9", "0.918")
    assert compared["pixel_auroc"]["difference"] == ""
    assert compared["image_auroc"]["source"] == "the paper's abstract"
