"""Heat maps: a colour scale with evenly rising lightness, panels of three."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from adbench.engine.names import file_names
from adbench.engine.pictures import KINDS, Picture, save_pictures, stacked
from adbench.engine.thresholds import MapScale
from adbench.report.colours import LIGHTNESS, colour, scale
from adbench.report.heatmaps import CONTOUR, OUTLINE, drawable, outlined, overlay, paint
from adbench.report.map_files import overlay_names, write_overlay


def _picture(**changes):
    size = 200
    mask = np.zeros((size, size), bool)
    mask[50:100, 60:120] = True
    values = {
        "image": np.full((size, size, 3), 90, np.uint8),
        "mask": mask,
        "map": mask.astype(np.float32),
        "limits": (0.0, 1.0),
        "score": 0.5,
        "label": 1,
        "key": "screw/Ünïcode 图.png",
        "class_name": "screw",
    }
    return Picture(**{**values, **changes})


def test_predictions_share_a_scale_and_outline_their_threshold(tmp_path):
    map_ = np.zeros((200, 200), np.float32)
    map_[50:100, 60:120] = 0.75
    grey = Image.new("RGB", (200, 200), (90, 90, 90))
    panels = []
    for number, scale_ in enumerate(
        (MapScale(low=0.0, high=1.0, threshold=0.5), MapScale(low=0.0, high=9.0, threshold=8.0), None)
    ):
        write_overlay(grey, map_, tmp_path / f"{number}.jpg", ["anomalous", "score 0.9"], "a.png", scale_)
        with Image.open(tmp_path / f"{number}.jpg") as panel:
            panels.append(np.asarray(panel, np.int16))
    inside, edge = (slice(155, 165), slice(130, 140)), (slice(155, 165), slice(88, 94))
    assert panels[0][inside].mean() > panels[1][inside].mean() + 30  # of the other scale it is dark
    assert panels[2][inside].mean() > panels[0][inside].mean()  # the highest of its own range
    assert panels[0][edge].max() > 225
    assert panels[1][edge].max() < 150


def test_captions_of_predictions_are_whole(tmp_path):
    said = ["anomalous", "score -0.001234", "threshold -0.005678"]
    for number, size in enumerate([(200, 200), (1, 500), (900, 3)]):
        place = tmp_path / f"{number}.jpg"
        write_overlay(Image.new("RGB", size), np.zeros(size[::-1], np.float32), place, said, "a.png", None)
        with Image.open(place) as panel:
            assert np.asarray(panel)[: panel.height // 25, -3:].min() > 225  # nothing reaches the edge


def test_overlays_are_named_after_pictures_where_that_tells_them_apart():
    names = overlay_names(["000.png", "deep/000.png", "a.jpg", "a.png", "b.c.png"])
    assert list(names.values()) == ["000", "deep/000", "a.jpg", "a.png", "b.c"]
    assert list(overlay_names(["a.jpg", "a.png", "a.png.bmp"]).values()) == ["a.jpg", "a.png", "a.png.bmp"]
    assert list(overlay_names(["a.png", "a.png.bmp"]).values()) == ["a", "a.png.bmp"]


def test_lightness_rises_evenly():
    linear = (scale() / 255.0) ** 2.2
    lightness = np.cbrt(linear @ [0.2126, 0.7152, 0.0722])
    steps = np.diff(lightness[::16])

    assert (steps > 0).all()
    assert steps.max() < 2.5 * steps.min()
    np.testing.assert_allclose(rgb2lab(scale())[:, 0], np.linspace(*LIGHTNESS, 256), atol=0.3)  # none beyond sRGB
    assert len(np.unique(scale(), axis=0)) > 250


def test_colours_run_over_the_limits():
    values = np.array([-5.0, 0.0, 1.0, 2.0, 9.0])

    assert colour(values, 0.0, 2.0).tolist() == [scale()[i].tolist() for i in (0, 0, 128, 255, 255)]
    assert colour(values, 1.0, 1.0).shape == (5, 3)  # a constant map is no error


def _region(panel, part, width, height):
    """One part of a panel without colour bar: parts stand at the bottom, one gap apart."""
    size = max(12, round(15 / 960 * 3.3 * width))
    left = part * (width + size // 3)
    return np.asarray(panel.crop((left, 3 * size, left + width, 3 * size + height)))


def test_parts_have_the_proportions_of_the_stored_picture():
    whole = np.full((200, 200, 3), 90, np.uint8)
    whole[:, 100:] = 200
    panel = paint(_picture(image=whole, size=(1200, 1600), mask=None))

    first = _region(panel, 0, 300, 225)
    assert (first[5:-5, 5:140] == 90).all()
    assert (first[5:-5, 160:-5] == 200).all()
    below = np.asarray(panel)[3 * 15 + 225 :, :300]
    assert (below == 255).all()


@pytest.mark.parametrize(("mask", "parts"), [(None, 2), (np.zeros((200, 200), bool), 2), (np.eye(200) > 0, 3)])
def test_where_a_mask_marks_nothing_there_is_no_part_for_it(mask, parts):
    size = 15
    assert paint(_picture(mask=mask)).width == max(parts * (300 + size // 3) + 7 * size, 28 * size)


def test_the_contour_stands_where_the_map_crosses_the_threshold():
    picture = _picture(pixel_threshold=0.5)
    lines = (_region(paint(picture), 2, 300, 300) == CONTOUR).all(-1)

    rows, columns = np.nonzero(lines)
    assert abs(rows.min() - 75) <= 1
    assert abs(rows.max() - 149) <= 1
    assert abs(columns.min() - 90) <= 1
    assert abs(columns.max() - 179) <= 1
    assert not lines[80:145, 95:175].any()


def test_the_colour_bar_says_limits_and_threshold_in_raw_numbers(monkeypatch):
    texts = _written(monkeypatch, _picture(limits=(-3.25, 12.5), pixel_threshold=2.0))
    assert {"-3.25", "12.5", "t = 2"} <= set(texts)


@pytest.mark.parametrize(
    ("label", "score", "verdict"),
    [(1, 0.5, "found"), (1, 0.4, "missed"), (0, 0.5, "false alarm"), (0, 0.4, "passed"), (-1, 0.5, None)],
)
def test_the_caption_tells_label_score_and_verdict_apart(monkeypatch, label, score, verdict):
    texts = _written(monkeypatch, _picture(label=label, score=score, image_threshold=0.5))
    assert texts[:2] == [KINDS[label], f"score {score}"]
    assert [text for text in texts if "threshold" in text] == (
        [f"{verdict} at threshold 0.5 (F1-max)"] if verdict else []
    )
    assert "screw/Unicode ?.png" in texts


def test_a_long_name_is_cut_in_front(monkeypatch):
    assert _written(monkeypatch, _picture(key=f"{'k' * 300}/end.png"))[2].startswith("...k")


def _written(monkeypatch, picture):
    """The texts of a panel in order, numbers alone last."""
    texts = []
    monkeypatch.setattr("PIL.ImageDraw.ImageDraw.text", lambda _draw, _place, text, **_: texts.append(text))
    paint(picture)
    is_number = re.compile(r"(t = )?[-.0-9e+]+").fullmatch
    return sorted(texts, key=lambda text: bool(is_number(text)))


def test_letters_are_readable_where_the_page_shows_the_panel_960_pixels_wide(monkeypatch):
    sizes = []
    monkeypatch.setattr("PIL.ImageDraw.ImageDraw.text", lambda _draw, _place, _text, font, **_: sizes.append(font.size))
    for image in (np.zeros((518, 518, 3), np.uint8), np.zeros((96, 96, 3), np.uint8)):
        width = paint(_picture(image=image)).width
        assert min(sizes) * min(1, 960 / width) >= 11


@pytest.mark.parametrize("side", [16, 96])
def test_small_images_are_enlarged(side):
    image = np.zeros((side, side, 3), np.uint8)

    assert paint(_picture(image=image)).height >= 160


def test_the_outline_follows_the_mask():
    picture = _picture()
    drawn = np.asarray(outlined(Image.fromarray(picture.image), picture.mask))
    green = (drawn == OUTLINE).all(-1)

    assert green[50, 60:120].all()
    assert not green[52:98, 62:118].any()
    assert not green[~picture.mask].any()


def test_the_overlay_is_bright_where_the_map_is_high():
    picture = _picture()
    drawn = np.asarray(overlay(Image.fromarray(picture.image), picture.map, picture.limits)).sum(-1)

    assert drawn[75, 90] > drawn[150, 150] + 200


def test_a_sheet_holds_all_panels():
    sheet = stacked([Image.new("RGB", (30, 10)), Image.new("RGB", (20, 10))])

    assert sheet.size == (30, 26)


def test_classes_of_odd_names_have_pictures_of_their_own(tmp_path):
    names = file_names(["x/y", "x_y", "..", "", "Cable", "cable", "c.png", "n" * 255])
    for class_name, name in names.items():
        picture = _picture(class_name=class_name, key=f"{class_name}/{'k' * 240}.png")
        save_pictures([picture], paint, tmp_path / "set", name)

    assert len(list((tmp_path / "set").glob("*.png"))) == len(names)
    assert len(list((tmp_path / "set").glob("*/00_anomalous_*.png"))) == len(names)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_pictures_of_a_class_replace_those_that_were_there(tmp_path):
    save_pictures([_picture(), _picture()], paint, tmp_path, "screw")
    save_pictures([_picture(score=0.1)], paint, tmp_path, "screw")
    assert len(list((tmp_path / "screw").iterdir())) == 1

    save_pictures([], paint, tmp_path, "screw")
    assert not list(tmp_path.iterdir())


def test_letters_are_as_large_on_upright_pictures_as_on_wide_ones():
    wide, upright = (paint(_picture(size=size, mask=None)) for size in ((250, 500), (500, 250)))
    heads = [np.asarray(panel.convert("L"))[: panel.height - side] for panel, side in ((wide, 150), (upright, 300))]
    assert heads[0].shape[0] == heads[1].shape[0] == 45  # three lines of 15 pixels


def test_names_are_drawn_without_boxes():
    assert drawable("Ünïcode 图/ﬁle.png") == "Unicode ?/file.png"
    assert drawable("two\nlines\t\udcff.png") == "two?lines??.png"
