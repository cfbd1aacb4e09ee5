"""Maps that are kept: those that were measured, of every image and draw, whole or not at all."""

from __future__ import annotations

import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from adbench.atomic import is_temporary
from adbench.data.loading import load_batch
from adbench.engine.class_results import tidy
from adbench.engine.evaluate import evaluate
from adbench.engine.kept_maps import maps_files, read_maps
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings
from adbench.errors import UserError
from adbench.methods.base import Prediction
from adbench.metrics import PixelMetrics
from engine.test_class_results import build as build_fitting
from engine.test_evaluate import build_adapting, with_supports
from engine.test_road import CPU, ROAD, SceneMethod, scenes
from engine.tiny_engine import TinyMethod, build_method, fake_clip, write_dataset

SETTINGS = EvalSettings(batch_size=3, maps=True)
PIXEL = ("pixel_auroc", "pixel_ap", "pixel_f1max", "pixel_aupro")


@pytest.fixture
def data(tmp_path):
    return EvalData(name="tiny", samples=write_dataset(tmp_path / "tiny"))


@pytest.fixture
def run(tmp_path):
    return RunFolder.create("eval", "tiny", "tiny", out=tmp_path / "run")


def kept(run, data, name="dots"):
    return list(read_maps(maps_files(run, data.name, data.classes)[name]))


def test_every_map_is_kept_with_its_mask_and_gives_the_pixel_metrics(data, run):
    method = build_method()
    rows = evaluate(method, data, SETTINGS, device=CPU, run=run)

    samples = [sample for sample in data.samples if sample.class_name == "dots"]
    batch = load_batch(samples, method.transform)
    expected = method.predict(batch)
    found = kept(run, data)
    assert [one.path for one in found] == [sample.key for sample in samples]
    assert {(one.shots, one.support_seed, one.map.dtype.name) for one in found} == {(0, None, "float32")}
    for one, map_, mask in zip(found, expected.maps, batch.masks, strict=True):
        np.testing.assert_allclose(one.map, map_.detach().numpy(), atol=1e-6)
        assert (one.mask == mask.numpy()).all()
    metrics = PixelMetrics()
    for one in found:
        metrics.update(one.map[None], one.mask[None])
    assert {key: rows[0][key] for key in PIXEL} == metrics.compute()


def test_numpy_reads_the_file_alone(data, run):
    evaluate(build_method(), data, SETTINGS, device=CPU, run=run)

    with np.load(run.path / "maps" / "tiny" / "lines.npz", allow_pickle=False) as file:
        assert file["paths"][2] == "lines/002.png"
        assert file["map/0/2"].shape == (16, 16)
        assert set(np.unique(file["mask/7"])) == {0, 1}


def test_maps_of_every_draw_of_support_are_kept(data, run, tmp_path):
    pool = [replace(s, split="train") for s in write_dataset(tmp_path / "train", n_normal=6, n_anomalous=0, seed=1)]
    data = with_supports(data, pool, k=(0, 1, 2), seed=(0, 1))
    method = build_adapting()
    evaluate(method, data, SETTINGS, device=CPU, run=run)

    found = kept(run, data)
    assert [(one.shots, one.support_seed) for one in found[::8]] == [(0, None), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert [one.path for one in found[8:16]] == [f"dots/{number:03d}.png" for number in range(8)]
    assert not np.array_equal(found[8].map, found[16].map)
    assert (found[8].mask == found[0].mask).all()


def test_half_precision_takes_half_the_room(data, run):
    evaluate(build_method(), data, replace(SETTINGS, maps="float32"), device=CPU, run=run)
    whole = kept(run, data)
    evaluate(build_method(), data, replace(SETTINGS, maps="float16"), device=CPU, run=run)

    halves = kept(run, data)
    assert halves[0].map.dtype == np.float16
    assert (halves[3].map == whole[3].map.astype(np.float16)).all()


def test_a_finished_class_is_not_scored_again_and_its_maps_stay(data, run):
    class Stopping(TinyMethod):
        stop = True

        def score(self, features, batch):
            if self.stop and batch.class_names[0] == "lines" and "lines/005.png" in batch.paths:
                raise KeyboardInterrupt
            return super().score(features, batch)

    torch.manual_seed(0)
    method = Stopping(fake_clip())
    with pytest.raises(KeyboardInterrupt):
        evaluate(method, data, SETTINGS, device=CPU, run=run)
    files = maps_files(run, "tiny", data.classes)
    assert files["dots"].is_file()
    assert not files["lines"].exists()
    assert not [path for path in files["dots"].parent.iterdir() if is_temporary(path)]
    before = files["dots"].stat().st_mtime_ns
    method.stop = False
    evaluate(method, data, SETTINGS, device=CPU, run=run)
    assert files["dots"].stat().st_mtime_ns == before
    assert len(kept(run, data, "lines")) == 8


def test_a_finished_class_without_its_maps_is_scored_again(data, run):
    evaluate(build_method(), data, SETTINGS, device=CPU, run=run)
    file = maps_files(run, "tiny", data.classes)["dots"]
    first = file.read_bytes()
    file.unlink()

    evaluate(build_method(), data, SETTINGS, device=CPU, run=run)
    assert file.read_bytes() == first


def test_what_a_killed_process_left_is_swept(data, run):
    place = run.maps_dir / "tiny"
    place.mkdir(parents=True)
    (place / ".adbench.abc.tmp").touch()
    with run.locked():
        assert not list(place.iterdir())


def test_maps_of_another_evaluation_go(data, run):
    rows = evaluate(build_method(), data, SETTINGS, device=CPU, run=run)
    (run.maps_dir / "other").mkdir()
    (run.maps_dir / "tiny" / "gone.npz").touch()
    tidy(run, rows, keeps_maps=True)
    assert sorted(path.name for path in run.maps_dir.rglob("*")) == ["dots.npz", "lines.npz", "tiny"]
    tidy(run, rows)
    assert not run.maps_dir.exists()


def test_maps_of_scenes_are_kept_with_their_labels(tmp_path, run):
    data = EvalData(name="made", samples=scenes(tmp_path / "road"), metric_set=ROAD)
    evaluate(SceneMethod(fake_clip()), data, replace(SETTINGS, batch_size=1), device=CPU, run=run)

    found = kept(run, data, "road")
    assert [one.map.shape for one in found] == [(24, 40), (24, 40), (30, 48), (24, 40), (24, 40)]
    assert set(np.unique(found[1].mask)) == {0, 1, 255}


def test_data_without_masks_have_none(tmp_path, run):
    data = EvalData(name="tiny", samples=write_dataset(tmp_path / "bare", masks=False))
    evaluate(build_method(), data, SETTINGS, device=CPU, run=run)

    assert {one.mask is None for one in kept(run, data)} == {True}


def test_a_method_that_fits_keeps_its_maps_too(tmp_path, run):
    samples = write_dataset(tmp_path / "fit", n_normal=8)
    pool = [replace(one, split="train") for number, one in enumerate(samples) if number % 12 < 4]
    data = EvalData(name="tiny", samples=[one for number, one in enumerate(samples) if number % 12 >= 4])
    data = with_supports(data, pool, k=(2,), seed=(0,))
    evaluate(build_fitting(), data, SETTINGS, device=CPU, run=run)

    assert {(one.shots, one.support_seed) for one in kept(run, data)} == {(2, 0)}


class Steep(TinyMethod):
    def score(self, features, batch):
        return Prediction(scores=None, maps=1e6 * super().score(features, batch).maps)


class Mapless(TinyMethod):
    def score(self, features, batch):
        return replace(super().score(features, batch), maps=None)


@pytest.mark.parametrize(
    ("method", "keep", "said"),
    [
        (Steep, "float16", r"the anomaly map of dots/000\.png goes beyond what float16 holds"),
        (Mapless, True, "gives no anomaly maps to keep"),
    ],
)
def test_what_cannot_be_kept_is_said(data, run, method, keep, said):
    with pytest.raises(UserError, match=said):
        evaluate(method(fake_clip()), data, replace(SETTINGS, maps=keep), device=CPU, run=run)
    assert not list(run.maps_dir.rglob("*.npz"))


def test_maps_need_a_folder_and_a_known_type(data):
    with pytest.raises(UserError, match="kept in a run's folder"):
        evaluate(build_method(), data, SETTINGS, device=CPU)
    with pytest.raises(UserError, match=r"unknown value 'double' \(eval\.maps\)"):
        EvalSettings(maps="double")


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_damaged_file_is_one_line(data, run, content):
    evaluate(build_method(), data, SETTINGS, device=CPU, run=run)
    file = maps_files(run, "tiny", data.classes)["dots"]
    if content is None:
        with zipfile.ZipFile(file) as whole:
            parts = {name: whole.read(name) for name in whole.namelist() if name != "map/0/3.npy"}
        with zipfile.ZipFile(file, "w") as less:
            for name, part in parts.items():
                less.writestr(name, part)
    else:
        file.write_bytes(content)
    with pytest.raises(UserError, match=r"kept maps cannot be read.*dots\.npz.*Evaluate again"):
        kept(run, data)
