"""The pages in a browser: nothing is cut, the first column stays, pictures grow, captions can be read."""

from __future__ import annotations

import json

import numpy as np
import pytest

from adbench.cli.main import main
from adbench.engine.pictures import Picture, save_pictures
from adbench.report.heatmaps import paint
from adbench.report.html import write_html
from adbench.report.results import write_results
from adbench.report.scores import write_scores
from report.browser import needs_browser, opened
from report.test_results import make_row

pytestmark = needs_browser
CLASSES = ["bottle", "a_class_with_a_long_name", "screw"]
CUT = """
return [...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth).length
     + (document.documentElement.scrollWidth > window.innerWidth ? 1 : 0)"""


def write_run(folder, seed, method):
    """An evaluation with everything that a page shows."""
    random = np.random.default_rng(seed)
    facts = {"method": method, "shots": 0, "support_seed": None, "backbone": "demo"}
    rows = [make_row(name, **facts, image_auroc=random.uniform(0.8, 1)) for name in [*CLASSES, "mean"]]
    scores = [
        {"dataset": "demo", "class_name": name, "path": f"{name}/{i}.png", "defect": "d", "label": int(i >= 10)}
        | {"score": random.normal() + (i >= 10), "map_max": 1.0, "shots": 0, "support_seed": None}
        for name in CLASSES
        for i in range(20)
    ]
    provenance = {"command": ["adbench", "eval"], "seed": seed, "time": "2026-01-02T03:04:05+00:00"}
    write_results(folder, rows, provenance)
    write_scores(folder, scores)
    map_ = np.linspace(0, 1, 900, dtype=np.float32).reshape(30, 30)
    for name in CLASSES:
        pictures = [
            Picture(
                image=np.full((60, 90, 3), 120, np.uint8),
                mask=map_ > 0.8 if label else None,
                map=map_,
                limits=(0.0, 1.0),
                score=0.7,
                label=label,
                key=f"{name}/{label}.png",
                class_name=name,
                image_threshold=0.5,
                pixel_threshold=0.6,
            )
            for label in (1, 0)
        ]
        save_pictures(pictures, paint, folder / "heatmaps" / "demo", name)
    (folder / "curves").mkdir()
    curve = [{"shots": 0, "support_seed": None, "pro": [[0, 0], [0.1, 0.8], [0.3, 1]]}]
    (folder / "curves" / "demo.json").write_text(json.dumps(dict.fromkeys(CLASSES, curve)))
    history = [{"kind": "epoch", "step": 5 * n, "epoch": n, "loss": 1 / n} for n in (1, 2, 3)]
    (folder / "history.jsonl").write_text("".join(json.dumps(point) + "\n" for point in history))
    return write_html(folder, training=folder)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages of a run, and of it beside another one."""
    folder = tmp_path_factory.mktemp("pages")
    for name in ("a", "b"):
        (folder / name).mkdir()
    single, _ = write_run(folder / "a", 1, "adaclip"), write_run(folder / "b", 2, "winclip")
    beside = folder / "beside.html"
    assert main(["report", str(folder / "a"), str(folder / "b"), f"out={beside}"]) == 0
    return single, beside


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def test_no_cell_is_cut_on_a_screen(browser, pages):
    for page in pages:
        browser.show(page, 1400)
        assert browser.run(CUT) == 0
        assert "None" not in browser.run("return document.body.innerText")


def test_the_first_column_stays_in_view_on_a_telephone(browser, pages):
    for page in pages:
        browser.show(page, 390)
        assert browser.run("return document.documentElement.scrollWidth") <= 390
        moved = browser.run("""
            const boxes = [...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth);
            boxes.forEach(box => box.scrollLeft = 200);
            return boxes.map(box => box.querySelector('tbody td').getBoundingClientRect().left
                                    - box.getBoundingClientRect().left)""")
        assert moved
        assert moved == pytest.approx([0] * len(moved), abs=1)


def test_a_click_enlarges_a_picture_and_another_one_puts_it_back(browser, pages):
    browser.show(pages[0], 1400)
    clicked = "const img = document.querySelector('figure img'); img.click(); return img.getBoundingClientRect().height"
    assert browser.run(clicked) == browser.run("return window.innerHeight")
    assert browser.run(clicked) < 600


@pytest.mark.parametrize("width", [390, 1400])
def test_captions_of_heat_maps_can_be_read(browser, pages, width):
    browser.show(pages[0], width)
    heights = browser.run("return [...document.querySelectorAll('figure img')].map(img => img.height)")
    # Of a picture of 90 x 60: parts of 300 x 200 below three lines of letters.
    assert len(heights) == 3 + 3 + 6  # mistakes, the three anomalous ones as best or worst, and all of three classes
    letters = [height / (3 + 200 / 15) for height in heights]
    assert min(letters) >= 11


def test_the_page_is_dark_where_that_is_preferred(browser, pages):
    for dark, brightest in ((False, 255), (True, 60)):
        browser.show(pages[0], 1400, dark=dark)
        colour = browser.run("return getComputedStyle(document.body).backgroundColor")
        assert all(int(part) <= brightest for part in colour.strip("rgb()").split(","))
        assert (colour == "rgb(255, 255, 255)") is not dark


def test_pictures_come_in_the_order_of_the_table(browser, pages):
    browser.show(pages[0], 1400)
    headings = browser.run("return [...document.querySelectorAll('h3')].map(h => h.innerText)")
    assert [text for text in headings if text in CLASSES] == CLASSES * 2  # curves, heat maps
    assert browser.run("return document.querySelectorAll('svg').length") == 4 * len(CLASSES) + 1
