"""Evaluation of a method that fits: interrupted and gone on with, its weights, their evaluation without fitting."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from adbench.data.support import SupportSettings, draw_supports
from adbench.engine.class_results import tidy
from adbench.engine.evaluate import evaluate
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings
from adbench.engine.weights import WeightsRecord, load_weights, read_record, weights_file
from adbench.errors import UserError
from adbench.methods.memories import not_adapted
from adbench.metrics.registry import shown
from engine.tiny_engine import TinyMethod, fake_clip, write_dataset

CPU = torch.device("cpu")
SETTINGS = EvalSettings(batch_size=3)


class Fitting(TinyMethod):
    """Fits the mean colour of its support; `fail_at` names the class whose fit is interrupted."""

    name = "fitting"
    supervision = "none"
    adapts = needs_support = fits = True
    fail_at = None

    def __init__(self, clip, *, select="last"):
        super().__init__(clip)
        self.select, self.fitted = select, []
        self.selects_on_test = select == "best_on_test"

    def adapt(self, class_name, support, features=None):
        if class_name == self.fail_at:
            raise KeyboardInterrupt
        self.fitted.append(class_name)
        self.memory_bank[class_name] = support.images.mean(dim=(0, 2, 3))

    def select_on_test(self, class_name, batches):
        self.memory_bank[class_name] = self.memory_bank[class_name] + sum(len(batch) for _, batch in batches)

    def score(self, features, batch):
        if not all(self.remembers(name) for name in batch.class_names):
            raise not_adapted(self, batch.class_names[0])
        means = torch.stack([self.memory_bank[name] for name in batch.class_names])[:, :, None, None]
        prediction = super().score({"patches": features["patches"] - means}, batch)
        return replace(prediction)

    def learnable_state(self):
        return {f"memory.{name}": value for name, value in self.memory_bank.items()}

    def load_learnable_state(self, state):
        self.memory_bank = {name.removeprefix("memory."): value for name, value in state.items()}


METRICS = shown()


def build(**settings):
    torch.manual_seed(0)
    return Fitting(fake_clip(), **settings)


@pytest.fixture
def data(tmp_path):
    samples = write_dataset(tmp_path / "tiny", n_normal=8)
    test = [sample for number, sample in enumerate(samples) if number % 12 >= 4]
    pools = {name: [] for name in ("dots", "lines")}
    for number, sample in enumerate(samples):
        if number % 12 < 4:
            pools[sample.class_name].append(replace(sample, split="train"))
    supports = draw_supports(SupportSettings(k=(1, 2), seed=(0, 1)), pools, dataset="tiny")
    return EvalData(name="tiny", samples=test, supports=supports)


@pytest.fixture
def run(tmp_path):
    return RunFolder.create("eval", "fitting", "tiny", out=tmp_path / "run")


def values(rows):
    return [[row[key] for key in ("class_name", "shots", "support_seed", *METRICS)] for row in rows]


def test_an_interrupted_evaluation_goes_on_at_the_next_class(data, run):
    whole = evaluate(build(), data, SETTINGS, device=CPU)
    stopped = build()
    stopped.fail_at = "lines"
    with pytest.raises(KeyboardInterrupt):
        evaluate(stopped, data, SETTINGS, device=CPU, run=run)
    again = build()
    rows = evaluate(again, data, SETTINGS, device=CPU, run=run)
    assert values(rows) == values(whole)
    assert again.fitted == ["lines"] * 4
    fitted = {path.name for path in run.path.glob("weights_*")}
    (run.path / "weights_tiny_k9.safetensors").touch()
    (run.heatmaps_dir / "tiny" / "gone").mkdir(parents=True)
    (run.heatmaps_dir / "tiny" / "gone.png").touch()
    tidy(run, rows)
    assert not run.classes_dir.exists()
    assert {path.name for path in run.path.glob("weights_*")} == fitted
    assert not list(run.heatmaps_dir.rglob("*"))


@pytest.mark.parametrize("change", ["settings", "hyperparameters", "supports", "data"])
def test_classes_of_another_evaluation_are_done_again(data, run, change):
    evaluate(build(), data, SETTINGS, device=CPU, run=run)
    method, settings = build(), SETTINGS
    if change == "settings":
        settings = replace(SETTINGS, seed=5)
    elif change == "hyperparameters":
        method = build(select="best_on_test")
    elif change == "supports":
        data = replace(data, supports={draw: sets for draw, sets in data.supports.items() if draw[0] == 2})
    else:
        data = replace(data, samples=data.samples[1:])
    evaluate(method, data, settings, device=CPU, run=run)
    assert "dots" in method.fitted
    assert ("lines" in method.fitted) == (change != "data")


def test_classes_of_other_weights_are_done_again(data, run):
    def record(sha256):
        return WeightsRecord(method="fitting", hyperparameters={}, backbone={}, data=[], sha256=sha256)

    evaluate(build(), data, SETTINGS, device=CPU, run=run, record=record("a" * 64))
    same, other = build(), build()
    evaluate(same, data, SETTINGS, device=CPU, run=run, record=record("a" * 64))
    assert same.fitted == []
    evaluate(other, data, SETTINGS, device=CPU, run=run, record=record("b" * 64))
    assert other.fitted == ["dots"] * 4 + ["lines"] * 4


@pytest.mark.parametrize("change", ["inverted", "mask", "image", "support"])
def test_classes_with_other_masks_or_pictures_are_done_again(data, run, change):
    evaluate(build(), data, SETTINGS, device=CPU, run=run)
    if change == "inverted":
        reading = replace(data.samples[0].reading, inverted=True)
        data = replace(data, samples=[replace(sample, reading=reading) for sample in data.samples])
    else:
        support = data.supports[1, 0]["dots"].samples[0]
        scored = next(sample for sample in data.samples if sample.class_name == "dots" and sample.label)
        file = {"mask": scored.mask_path, "image": scored.path, "support": support.path}[change]
        Image.open(file).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(file)
    again, fresh = build(), build()
    rows = evaluate(again, data, SETTINGS, device=CPU, run=run)
    assert again.fitted == ["dots"] * 4 + ["lines"] * 4 * (change == "inverted")
    assert values(rows) == values(evaluate(fresh, data, SETTINGS, device=CPU))


def test_a_damaged_class_is_done_again(data, run):
    whole = values(evaluate(build(), data, SETTINGS, device=CPU, run=run))
    file = run.classes_dir / "tiny" / "001.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    again = build()
    assert values(evaluate(again, data, SETTINGS, device=CPU, run=run)) == whole
    assert again.fitted == ["lines"] * 4


def test_other_workers_or_pictures_change_no_results(data, run):
    evaluate(build(), data, SETTINGS, device=CPU, run=run)
    again = build()
    evaluate(again, data, replace(SETTINGS, workers=1, heat_maps=2), device=CPU, run=run)
    assert again.fitted == []


def test_weights_of_all_classes_evaluate_again_without_fitting(data, run):
    rows = evaluate(build(), data, SETTINGS, device=CPU, run=run)
    files = sorted(file.name for file in run.path.glob("weights_*.safetensors"))
    assert files == [f"weights_tiny_k{k}_seed{seed}.safetensors" for k in (1, 2) for seed in (0, 1)]
    method = build()
    record = load_weights(method, run.path / files[3])
    assert (record.adaptation["k"], record.adaptation["seed"]) == (2, 1)
    again = evaluate(method, replace(data, supports={}), SETTINGS, device=CPU, record=record)
    assert values(again) == [value for value in values(rows) if value[1:3] == [2, 1]]
    assert method.fitted == []
    assert [row["support_id"] for row in again] == [row["support_id"] for row in rows[9:12]]
    assert again[0]["zero_shot"] is True
    json.dumps(record.adaptation)


def test_fitted_weights_take_no_other_support(data, run):
    evaluate(build(), data, SETTINGS, device=CPU, run=run)
    method = build()
    record = load_weights(method, run.path / "weights_tiny_k1_seed0.safetensors")
    with pytest.raises(UserError, match=r"support images of its own: dots, lines.*support\.k"):
        evaluate(method, data, SETTINGS, device=CPU, record=record)
    with pytest.raises(UserError, match=r"normal images of each class"):
        evaluate(build(), replace(data, supports={}), SETTINGS, device=CPU)


def test_classes_that_the_weights_were_not_fitted_to_are_named(data, run):
    dots = replace(data, samples=[sample for sample in data.samples if sample.class_name == "dots"], classes=())
    evaluate(build(), replace(dots, supports={(2, 1): data.supports[2, 1]}), SETTINGS, device=CPU, run=run)
    method = build()
    record = load_weights(method, run.path)
    with pytest.raises(UserError, match=r"not been fitted to lines of tiny \(fitted to: dots\).*data\.classes"):
        evaluate(method, replace(data, supports={}), SETTINGS, device=CPU, record=record)


def test_rows_on_another_data_set_say_what_the_weights_were_fitted_to(data, run):
    evaluate(build(), replace(data, supports={(2, 1): data.supports[2, 1]}), SETTINGS, device=CPU, run=run)
    method = build()
    record = load_weights(method, run.path)
    rows = evaluate(method, replace(data, name="other", supports={}), SETTINGS, device=CPU, record=record)
    assert [(row["shots"], row["support_id"], row["notes"]) for row in rows] == [
        (2, None, ["fitted to normal images of tiny"])
    ] * 3


class OfOthers(Fitting):
    """Weights of the method's authors, who say neither data nor support."""

    official_selects_on_test = True

    def load_official(self, path):
        self.memory_bank = {name: torch.zeros(3) for name in ("dots", "lines")}

    def shots(self, class_name):
        return {"dots": 4, "lines": 2}[class_name]


def test_rows_of_the_authors_weights_say_how_many_images_are_in_them_and_how_they_were_selected(data, run, tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"x")
    method = OfOthers(fake_clip())
    record = load_weights(method, tmp_path / "weights.pt")
    for _ in ("evaluated", "kept"):
        rows = evaluate(method, replace(data, supports={}), SETTINGS, device=CPU, record=record, run=run)
        assert [row["shots"] for row in rows] == [4, 2, None]
        assert all(row["selected_on_test"] for row in rows)
        assert any("epoch that does best on the test images" in note for note in rows[0]["notes"])


def test_without_support_and_memory_there_are_no_shots(data):
    class Optional(Fitting):
        needs_support = fits = False

        def score(self, features, batch):
            return TinyMethod.score(self, features, batch)

    rows = evaluate(Optional(fake_clip()), replace(data, supports={}), SETTINGS, device=CPU)
    assert [row["shots"] for row in rows] == [0, 0, 0]


def test_a_run_of_one_support_set_is_its_weights(data, run):
    one = replace(data, supports={(2, 1): data.supports[2, 1]})
    evaluate(build(), one, SETTINGS, device=CPU, run=run)
    assert weights_file(run.path).name == "weights_tiny_k2_seed1.safetensors"
    assert read_record(run.path).method == "fitting"


def test_a_run_of_several_support_sets_names_its_files(data, run):
    evaluate(build(), data, SETTINGS, device=CPU, run=run)
    with pytest.raises(UserError, match=r"4 different supports.*weights_tiny_k1_seed0"):
        weights_file(run.path)


def test_selection_on_test_marks_every_row(data):
    rows = evaluate(build(select="best_on_test"), data, SETTINGS, device=CPU)
    plain = evaluate(build(), data, SETTINGS, device=CPU)
    assert all(row["selected_on_test"] and "not held out" in row["notes"][0] for row in rows)
    assert not any(row["selected_on_test"] for row in plain)


def test_a_folder_of_the_authors_files_goes_to_the_method(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"x")
    assert weights_file(tmp_path) == tmp_path
