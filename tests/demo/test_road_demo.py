"""The rendered road scenes: a function of their seed, labelled to the pixel, obstacles kept apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.data import catalogue
from adbench.data.counts import Counts
from adbench.data.label_maps import open_labels
from adbench.demo.roads import NOTE, RoadCounts, render_road_demo, scene
from adbench.demo.synthetic.road_scene import CLASSES, render_road
from adbench.demo.synthetic.road_sprites import KNOWN, TEST_OBSTACLES, VAL_OBSTACLES, View
from adbench.errors import UserError
from adbench.metrics.components import component_metrics, components_above

COUNTS = RoadCounts(train=3, val=2, test=3)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("road") / "road_demo"
    render_road_demo(folder, counts=COUNTS)
    return folder


def test_a_scene_is_a_function_of_its_seed() -> None:
    first, again, other = (render_road(seed, TEST_OBSTACLES, n_obstacles=2) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.anomalies(), again.anomalies())
    assert first.names == again.names
    assert not np.array_equal(first.image, other.image)


def test_every_class_occurs_and_scenes_vary() -> None:
    scenes = [scene("train", number) for number in range(20)]
    found = np.unique(np.concatenate([one.classes.ravel() for one in scenes]))
    assert set(found) == {*range(len(CLASSES)), 255}
    shares = np.array([(one.classes == CLASSES.index("road")).mean() for one in scenes])
    assert 0.1 < shares.min() < shares.max() < 0.7
    assert not any(one.obstacles.any() or one.names for one in scenes)


def test_obstacles_are_where_the_labels_say() -> None:
    for seed in range(6):
        made = render_road(seed, TEST_OBSTACLES, n_obstacles=2)
        labels = made.anomalies()
        assert set(np.unique(labels)) <= {0, 1, 255}
        assert np.array_equal(labels == 1, (made.obstacles > 0) & (made.classes != 255))
        assert (labels[made.classes == 255] == 255).all()
        assert (labels[1:][labels[:-1] == 1] != 0).all()  # below an obstacle nothing counts as normal


def test_unknown_pixels_do_not_cut_obstacles_out() -> None:
    """Otherwise a prediction of everything would have the right components."""
    labels = [render_road(seed, TEST_OBSTACLES, n_obstacles=2).anomalies() for seed in range(20)]
    everything = [components_above(0.5, np.ones(image.shape), image, min_pred=20, min_gt=10) for image in labels]
    assert component_metrics(everything)["component_siou_gt"] < 0.1


def test_val_and_test_share_no_kind_of_obstacle_and_known_things_none_of_theirs() -> None:
    assert not set(VAL_OBSTACLES) & set(TEST_OBSTACLES)
    assert not (set(VAL_OBSTACLES) | set(TEST_OBSTACLES)) & set(KNOWN)
    names = {name for number in range(40) for name in scene("test", number).names}
    assert names == set(TEST_OBSTACLES)
    assert any(not scene("test", number).names for number in range(20))


@pytest.mark.parametrize("name", [*KNOWN, *TEST_OBSTACLES, *VAL_OBSTACLES])
def test_every_sprite_fills_a_good_part_of_its_rectangle(name: str) -> None:
    kind = {**KNOWN, **TEST_OBSTACLES, **VAL_OBSTACLES}[name]
    width, height = kind.most
    px = height / 40
    y, x = np.mgrid[:40, : round(width / px)].astype(np.float32)
    view = View((x + 0.5) * px - width / 2, height - (y + 0.5) * px, px)
    shape, rgb = kind.draw(view, np.random.default_rng(0))
    assert rgb.shape == (*shape.shape, 3)
    assert np.isfinite(rgb).all()
    assert 0.1 < (shape > 0).mean() <= 1
    assert (shape > 0)[-4:].any() or name == "traffic sign"  # it stands on the ground


def test_the_index_reads_what_was_rendered(root: Path) -> None:
    spec = catalogue.get("road_demo")
    samples = spec.index(root)
    assert spec.supervision == "segmentation"
    assert spec.class_names == CLASSES
    assert [sample.split for sample in samples] == ["train"] * 3 + ["test"] * 3 + ["val"] * 2
    assert {sample.class_name for sample in samples} == {"road"}
    assert [sample.label for sample in samples] == [0] * 3 + [-1] * 5
    assert spec.auxiliary(samples) == samples[:3]
    assert spec.evaluation(samples) == samples[3:6]
    assert spec.evaluation(samples, "val") == samples[6:]
    assert spec.count(samples) == {"road": Counts(train=3, validation=2, mapped=3)}
    for sample in samples:
        labels = open_labels(sample, Image.open(sample.path).size)
        allowed = {*range(len(CLASSES)), 255} if sample.split == "train" else {0, 1, 255}
        assert set(np.unique(labels).tolist()) <= allowed
        expected = scene(sample.split, int(sample.path.stem))
        assert np.array_equal(np.asarray(Image.open(sample.path)), expected.image)
        assert sample.defect == ("+".join(sorted(set(expected.names))) or "good")


def test_a_split_that_is_not_for_evaluation_is_refused(root: Path) -> None:
    assert "split" in catalogue.get("road_demo").options
    with pytest.raises(UserError, match="unknown split of data set road_demo 'tset'"):
        catalogue.get("road_demo").index(root, options={"split": "tset"})


def test_it_is_rendered_once_whole_and_anew_when_it_changed(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "road_demo"
    shutil.copytree(root, folder)
    before = (folder / "test/images/000.png").stat().st_mtime_ns
    render_road_demo(folder, counts=COUNTS)
    assert (folder / "test/images/000.png").stat().st_mtime_ns == before
    note = json.loads((folder / NOTE).read_text())
    (folder / NOTE).write_text(json.dumps({**note, "road_version": 0}))
    calls = []
    render_road_demo(folder, lambda done, total: calls.append((done, total)), counts=COUNTS)
    assert calls[-1] == (8, 8)
    assert json.loads((folder / NOTE).read_text()) == note
    assert [path.name for path in tmp_path.iterdir()] == ["road_demo"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/holiday.txt").write_text("keep me")
    with pytest.raises(UserError, match="not a rendered demo data set"):
        render_road_demo(tmp_path / "mine", counts=COUNTS)
