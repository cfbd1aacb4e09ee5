"""Heat maps: a colour scale with evenly rising lightness, panels of three."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from adbench.engine.names import file_names
from adbench.engine.pictures import Picture, contact_sheet, save_pictures
from adbench.report.colours import colour, scale
from adbench.report.heatmaps import OUTLINE, outlined, overlay, paint


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


def test_lightness_rises_evenly():
    linear = (scale() / 255.0) ** 2.2
    lightness = np.cbrt(linear @ [0.2126, 0.7152, 0.0722])
    steps = np.diff(lightness[::16])

    assert (steps > 0).all()
    assert steps.max() < 2.5 * steps.min()
    assert len(np.unique(scale(), axis=0)) > 250


def test_colours_run_over_the_limits():
    values = np.array([-5.0, 0.0, 1.0, 2.0, 9.0])

    assert colour(values, 0.0, 2.0).tolist() == [scale()[i].tolist() for i in (0, 0, 128, 255, 255)]
    assert colour(values, 1.0, 1.0).shape == (5, 3)  # a constant map is no error


def test_a_panel_has_three_parts_of_the_image_size():
    panel = paint(_picture())

    assert panel.size == (3 * 200 + 8, 200 + 16)


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


def test_without_a_mask_the_middle_is_faded():
    faded = np.asarray(outlined(Image.new("RGB", (8, 8), "black"), None))

    assert (faded > 100).all()


def test_the_overlay_is_bright_where_the_map_is_high():
    picture = _picture()
    drawn = np.asarray(overlay(Image.fromarray(picture.image), picture.map, picture.limits)).sum(-1)

    assert drawn[75, 90] > drawn[150, 150] + 200


def test_a_contact_sheet_holds_all_panels():
    sheet = contact_sheet([Image.new("RGB", (30, 10)), Image.new("RGB", (20, 10))], gap=5)

    assert sheet.size == (30, 25)


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
