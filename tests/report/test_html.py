"""report.html: one page, nothing fetched, everything escaped."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from adbench.errors import UserError
from adbench.report.html import write_html
from adbench.report.results import write_results
from adbench.report.scores import write_scores
from report.test_results import make_row

HISTORY = [
    *({"kind": "step", "step": step, "epoch": 1 + step // 50, "loss": 3 / step} for step in range(1, 101)),
    {"kind": "epoch", "step": 50, "epoch": 1, "loss": 0.5},
    {"kind": "validation", "step": 50, "epoch": 1, "dataset": "demo", "pixel_ap": 0.5},
    {"kind": "epoch", "step": 100, "epoch": 2, "loss": 0.2},
]


class Balanced(HTMLParser):
    """Fails on a tag that is closed but was not opened, or the other way round."""

    void = ("meta", "img", "input", "line", "circle", "polyline", "wbr")

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.void:
            assert self.open.pop() == tag


@pytest.fixture
def folder(tmp_path):
    rows = [
        make_row("bolt", notes=["not <zero-shot> & so on"], pixel_aupro=math.nan),
        make_row("mean", image_auroc=0.912),
    ]
    write_results(tmp_path, rows, {"adbench": "0.1", "command": ["adbench", "eval", "data='<x>'"]})
    (tmp_path / "heatmaps" / "demo" / "bolt").mkdir(parents=True)
    Image.new("RGB", (1500, 600), "red").save(tmp_path / "heatmaps" / "demo" / "bolt" / "00_anomalous_x.png")
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(point) + "\n" for point in HISTORY) + '{"half')
    return tmp_path


def test_the_page_holds_everything_and_fetches_nothing(folder):
    text = write_html(folder, training=folder).read_text()

    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert "adaclip on demo" in text
    assert "91.2" in text
    assert "n/a" in text
    assert "image AUROC<small>10–100</small>" in text  # of 10.0 and 91.2
    assert "--share:90.2%" in text
    assert "not &lt;zero-shot&gt; &amp; so on" in text
    assert "data=&#39;&lt;x&gt;&#39;" in text
    assert text.count("<svg") == 2  # loss, validation
    assert "prefers-color-scheme: dark" in text
    assert re.findall(r'src="(.{22})', text) == ["data:image/jpeg;base64"]
    assert all(f'id="{target}"' in text for target in re.findall(r'href="#(\d+)"', text))
    assert "http" not in text
    assert "None" not in text
    assert "<script" not in text
    assert "url(" not in text


def test_the_page_says_which_weights_served_which_data(tmp_path):
    rows = [make_row("mean", dataset=name, weights=sha * 32) for name, sha in (("a", "01"), ("b", "02"), ("c", "02"))]
    rows.append(make_row("mean", dataset="mean", weights=None))
    write_results(
        tmp_path, rows, {"benchmark": {"name": "zeroshot14", "version": 1, "left_out": {"d": "looked for d"}}}
    )
    text = write_html(tmp_path).read_text()
    assert "weights 010101010101 (a), 020202020202 (b, c)" in text
    assert "benchmark zeroshot14, without d" in text


def test_the_page_does_without_pictures_and_curve(tmp_path):
    write_results(tmp_path, [make_row("mean")], {})
    text = write_html(tmp_path).read_text()

    assert "<svg" not in text
    assert "<img" not in text


def test_a_page_needs_results(tmp_path):
    with pytest.raises(UserError, match="no readable results"):
        write_html(tmp_path)


def test_intervals_have_a_table_of_their_own(tmp_path):
    bounds = {"image_auroc_low": 0.9, "image_auroc_high": 0.9876}
    rows = [make_row("<bolt>", image_auroc=0.95, **bounds), make_row("mean", image_auroc=0.95, **bounds)]
    write_results(tmp_path, rows, {"intervals": {"resamples": 2000, "seed": 111}})
    text = write_html(tmp_path).read_text()

    Balanced().feed(text)
    table = text.partition("How sure the image metrics are</h2>")[2].partition("</table>")[0]
    assert "2000 bootstrap draws, seed 111" in table
    assert '<td class="text">&lt;bolt&gt;</td><td>95.0 [90.0, 98.8]</td>' in table


def _row_and_scores(name, normal, anomalous, **changes):
    scores = [
        {"dataset": "demo", "class_name": name, "path": f"{name}/{label}{number}.png", "defect": "d", "label": label}
        | {"score": score, "map_max": score, "shots": 0, "support_seed": None}
        for label, values in ((0, normal), (1, anomalous))
        for number, score in enumerate(values)
    ]
    return make_row(name, shots=0, support_seed=None, **changes), scores


def test_each_class_with_scores_has_curves_and_a_histogram_with_its_threshold(tmp_path):
    first, of_first = _row_and_scores("nut", [0.1, 0.2], [0.3, 0.9], image_f1max_threshold=0.3)
    second, of_second = _row_and_scores("bolt", [0.5], [], image_f1max_threshold=math.nan)
    write_results(tmp_path, [first, second], {})
    write_scores(tmp_path, of_first + of_second)
    text = write_html(tmp_path).read_text()

    assert text.count("<svg") == 3  # none of a class without anomalous images
    assert "<h3>nut</h3>" in text
    assert "threshold of the largest F1: 0.3" in text


def _panel(folder, class_name, name, label, score, threshold=0.5):
    text = PngInfo()
    facts = {"key": name, "label": label, "score": score, "image_threshold": threshold}
    text.add_text("picture", json.dumps(facts))
    place = folder / "heatmaps" / "demo" / class_name
    place.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(place / f"{name}.png", pnginfo=text)


def test_pictures_come_in_the_order_of_the_table(tmp_path):
    write_results(tmp_path, [make_row("nut"), make_row("bolt"), make_row("mean")], {})
    for name in ("bolt", "nut"):
        _panel(tmp_path, name, name, 1, 0.7)
    text = write_html(tmp_path).read_text()
    assert re.findall("heat map of (\\w+)", text) == ["nut", "bolt"]


def test_galleries_show_three_of_many(tmp_path):
    write_results(tmp_path, [make_row("nut")], {})
    for number in range(8):
        _panel(tmp_path, "nut", f"p{number}", 1, number / 10, threshold=0.0)
    shown = re.findall(r"heat map of (\w+)", write_html(tmp_path).read_text())
    assert shown[:6] == ["p7", "p6", "p5", "p0", "p1", "p2"]


def test_a_method_without_image_scores_has_no_empty_table_of_their_intervals(tmp_path):
    write_results(tmp_path, [make_row("road")], {"intervals": {"resamples": 2000, "seed": 111}})
    assert "How sure the image metrics are" not in write_html(tmp_path).read_text()


def test_galleries_show_best_worst_and_the_most_confident_mistakes(tmp_path):
    write_results(tmp_path, [make_row("nut")], {})
    made = [("a", 1, 0.9), ("b", 1, 0.1), ("c", 0, 0.95), ("d", 0, 0.2), ("e", 1, 0.8), ("f", 1, 0.45), ("g", 0, 0.6)]
    for name, label, score in made:
        _panel(tmp_path, "nut", name, label, score)
    text = write_html(tmp_path).read_text()
    shown = {part.partition("<")[0]: re.findall("heat map of (\\w+)", part) for part in text.split("<h3>")}
    assert shown["Most confident mistakes"] == ["c", "b", "g"]
    assert shown["Best: anomalous with the highest scores"] == ["a", "e"]
    assert shown["Worst: anomalous with the lowest scores"] == ["b", "f"]
    assert shown["nut"] == list("abcdefg")


def test_the_best_class_is_marked_in_each_column(tmp_path):
    rows = [make_row("nut", image_auroc=0.91), make_row("bolt", image_auroc=0.92), make_row("mean", image_auroc=0.915)]
    write_results(tmp_path, rows, {})
    text = write_html(tmp_path).read_text()
    assert re.findall(r'<td class="metric best"[^>]*>([^<]*)', text) == ["92.0"]


def test_published_figures_stand_beside_results_of_the_same_setting(tmp_path):
    given = {"method": "winclip", "dataset": "mvtec", "shots": 0, "trained_on": [], "image_auroc": 0.9}
    for backbone, compares in (("ViT-B-16-plus-240", True), ("demo", False)):
        write_results(tmp_path, [make_row("mean", **given, backbone=backbone)], {})
        table = write_html(tmp_path).read_text().partition("Published figures</h2>")[2].partition("</table>")[0]
        assert "published [1]" in table
        assert ("difference" in table) is compares


def test_the_page_says_command_settings_and_environment(tmp_path):
    write_results(
        tmp_path,
        [make_row("mean")],
        {"command": ["adbench", "eval", "data=[a, b]"], "seed": 7, "versions": {"torch": "2.9"}},
    )
    (tmp_path / "config.yaml").write_text("eval: <x>\n")
    text = write_html(tmp_path).read_text()
    assert "<pre>adbench eval &#39;data=[a, b]&#39;</pre>" in text
    assert "torch 2.9" in text
    assert "seed 7" in text
    assert "eval: &lt;x&gt;" in text
