"""Training: what it learns, what it leaves, and what stops it."""

from __future__ import annotations

import contextlib
import io
import json
import re
from dataclasses import replace

import pytest
import torch

from adbench.engine.progress import make_reporter
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, OptimizerSpec, TrainData, TrainSettings
from adbench.engine.tensor_file import read_tensors
from adbench.engine.train import train
from adbench.engine.train_logger import read_history
from adbench.engine.weights import load_weights
from adbench.errors import UserError
from adbench.report.heatmaps import paint
from engine.tiny_engine import TinyMethod, build_method, fake_clip, write_dataset

CPU = torch.device("cpu")
SETTINGS = TrainSettings(epochs=4, batch_size=3, optimizer=OptimizerSpec(lr=0.1), log_every=2)


@pytest.fixture
def data(tmp_path):
    return [TrainData(name="tiny", samples=write_dataset(tmp_path / "tiny"))]


@pytest.fixture
def run(tmp_path):
    return RunFolder.create("train", "tiny", "tiny", out=tmp_path / "run")


def test_training_lowers_the_loss(data, run):
    train(build_method(), data, SETTINGS, run, device=CPU)

    epochs = [point["loss"] for point in read_history(run.history_path) if point["kind"] == "epoch"]
    assert len(epochs) == 4
    assert epochs[-1] < 0.7 * epochs[0]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_every_epoch_leaves_a_line_with_its_mean_loss_validation_and_time(data, run, stream, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    shown = []
    reporter = make_reporter(stream=stream)
    track = reporter.track

    @contextlib.contextmanager
    def watched(label, total, **how):
        with track(label, total, **how) as advance:
            yield lambda count, values: (shown.append(values.get("mean loss")), advance(count, values))

    monkeypatch.setattr(reporter, "track", watched)
    check = EvalData(name="check", samples=data[0].samples, classes=["dots", "lines"])
    settings = replace(SETTINGS, epochs=2)
    train(build_method(), data, settings, run, device=CPU, validation=[check], reporter=reporter)

    lines = re.findall(r"epoch \d/2  mean loss [^\x1b\r\n]*", stream.getvalue())
    points = read_history(run.history_path)
    epochs = [point for point in points if point["kind"] == "epoch"]
    checked = [point for point in points if point["kind"] == "validation"]
    assert len(lines) == 2
    for number, (line, epoch, validation) in enumerate(zip(lines, epochs, checked, strict=True), start=1):
        assert line.startswith(f"epoch {number}/2  mean loss {epoch['loss']:.4g}  check: image AUROC ")
        assert f"pixel AUROC {100 * validation['pixel_auroc']:.1f}" in line
    assert " left" in lines[0]
    assert " left" not in lines[1]
    losses = [value for value in shown if value is not None]
    assert losses[5] == epochs[0]["loss"]  # of six steps: the mean of all, not the last one's


def test_what_a_finished_run_leaves(data, run):
    method = build_method()
    result = train(method, data, SETTINGS, run, device=CPU)

    assert result.steps == 4 * 6
    assert not run.checkpoint_path.exists()
    assert list(run.tensorboard_dir.glob("events.*"))
    record = json.loads(run.weights_path.with_suffix(".json").read_text())
    assert record["method"] == "tiny"
    assert record["hyperparameters"] == {"gain": 1.0, "noise": 0.0}
    assert record["data"][0]["classes"] == ["dots", "lines"]
    assert (record["seed"], record["epoch"], record["step"]) == (111, 4, 24)
    assert record["selection"] is None
    again = build_method(seed=5)
    assert load_weights(again, run.path).sha256 == record["sha256"] == result.record.sha256
    assert torch.equal(again.head.weight, method.head.weight)


def test_parameters_outside_the_loss_stay_untouched(data, run):
    method = build_method()
    train(method, data, replace(SETTINGS, optimizer=OptimizerSpec(lr=0.1, weight_decay=0.5)), run, device=CPU)

    assert torch.equal(method.unused, torch.ones(2))
    assert method.unused.grad is None


def test_a_finished_run_is_not_trained_again(data, run, capsys):
    first = train(build_method(), data, SETTINGS, run, device=CPU)
    second = train(build_method(seed=3), data, SETTINGS, run, device=CPU)

    assert second.already_finished
    assert second.steps == 0
    assert second.record.sha256 == first.record.sha256


def test_resume_false_trains_anew(data, run):
    train(build_method(), data, SETTINGS, run, device=CPU)
    result = train(build_method(), data, replace(SETTINGS, epochs=1), run, device=CPU, resume=False)

    assert not result.already_finished
    assert result.record.epoch == 1
    assert max(point["epoch"] for point in read_history(run.history_path)) == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"batch_size": 2}, "training.batch_size 3 then, 2 now"),
        ({"optimizer": OptimizerSpec(lr=0.2)}, "training.optimizer.lr 0.1 then, 0.2 now"),
        ({"seed": 1}, "training.seed 111 then, 1 now"),
    ],
)
def test_another_setting_does_not_go_on(data, run, change, named):
    train(build_method(), data, SETTINGS, run, device=CPU)

    with pytest.raises(UserError, match=named):
        train(build_method(), data, replace(SETTINGS, **change), run, device=CPU)


def test_other_data_do_not_go_on(data, run, tmp_path):
    train(build_method(), data, SETTINGS, run, device=CPU)
    fewer = [TrainData(name="tiny", samples=data[0].samples[1:])]

    with pytest.raises(UserError, match=r"data\.tiny\.fingerprint"):
        train(build_method(), fewer, SETTINGS, run, device=CPU)


def test_other_masks_do_not_go_on(data, run):
    train(build_method(), data, SETTINGS, run, device=CPU)
    reading = replace(data[0].samples[0].reading, inverted=True)
    inverted = [TrainData(name="tiny", samples=[replace(sample, reading=reading) for sample in data[0].samples])]
    with pytest.raises(UserError, match=r"data\.tiny\.fingerprint"):
        train(build_method(), inverted, SETTINGS, run, device=CPU)
    mask = next(sample.mask_path for sample in data[0].samples if sample.label)
    mask.write_bytes(mask.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match=r"data\.tiny\.fingerprint"):
        train(build_method(), data, SETTINGS, run, device=CPU)


def test_settings_of_speed_may_change(data, run):
    train(build_method(), data, SETTINGS, run, device=CPU)

    assert train(build_method(), data, replace(SETTINGS, log_every=7), run, device=CPU).already_finished


class ExplodingMethod(TinyMethod):
    def loss(self, features, batch):
        self.calls = getattr(self, "calls", 0) + 1
        terms = super().loss(features, batch)
        return terms if self.calls < 10 else {**terms, "pixel": terms["pixel"] * float("nan")}


def test_a_loss_that_is_nan_stops_and_keeps_the_last_good_checkpoint(data, run):
    method = ExplodingMethod(fake_clip())

    with pytest.raises(UserError, match=r"not finite: pixel nan, loss nan at step 10.*last good checkpoint is kept"):
        train(method, data, SETTINGS, run, device=CPU)

    tensors, record = read_tensors(run.checkpoint_path)
    assert record["position"]["step"] == 6
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
    assert not run.weights_path.exists()


def test_weights_that_are_not_finite_are_not_kept(data, run):
    method = build_method()
    method.head.weight.register_hook(lambda gradient: gradient * float("inf"))

    with pytest.raises(UserError, match=r"weight head\.weight is not finite at step 1.*no checkpoint was written yet"):
        train(method, data, replace(SETTINGS, epochs=1, batch_size=16), run, device=CPU)


def test_half_precision_needs_cuda(data, run):
    with pytest.raises(UserError, match="amp=fp16 needs a CUDA device"):
        train(build_method(), data, replace(SETTINGS, amp="fp16"), run, device=CPU)


def test_bf16_trains_on_the_cpu(data, run):
    train(build_method(), data, replace(SETTINGS, amp="bf16"), run, device=CPU)

    epochs = [point["loss"] for point in read_history(run.history_path) if point["kind"] == "epoch"]
    assert epochs[-1] < 0.8 * epochs[0]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("amp", ["off", "bf16", "fp16"])
def test_every_precision_trains_and_goes_on_on_cuda(data, run, amp):
    device = torch.device("cuda")
    with pytest.raises(UserError, match="not finite"):
        train(ExplodingMethod(fake_clip()), data, replace(SETTINGS, amp=amp), run, device=device)
    result = train(build_method(), data, replace(SETTINGS, amp=amp), run, device=device)

    epochs = [point["loss"] for point in read_history(run.history_path) if point["kind"] == "epoch"]
    assert result.steps == 4 * 6 - 6
    assert epochs[-1] < 0.8 * epochs[0]


def test_a_method_without_training_is_refused(data, run):
    method = build_method()
    method.supervision = "none"

    with pytest.raises(UserError, match="tiny is not trained"):
        train(method, data, SETTINGS, run, device=CPU)


def test_best_on_test_keeps_the_best_epoch_and_says_so(data, run, tmp_path):
    validation = [EvalData(name="held", samples=write_dataset(tmp_path / "held", name="held", seed=9))]
    settings = replace(SETTINGS, select="best_on_test", select_metric="pixel_auroc", epochs=3)
    train(build_method(), data, settings, run, device=CPU, validation=validation)

    record = json.loads(run.weights_path.with_suffix(".json").read_text())
    points = [point for point in read_history(run.history_path) if point["kind"] == "validation"]
    values = [point["pixel_auroc"] for point in points]
    assert len(values) == 3
    assert record["selection"]["value"] == max(values)
    assert record["selection"]["epoch"] == record["epoch"] == values.index(max(values)) + 1
    (told,) = record["selection"]["data"]
    assert {**told, "images": ""} == {"name": "held", "classes": ["dots", "lines"], "images": ""}


def test_the_earlier_of_equal_epochs_is_the_best(data, run):
    frozen = OptimizerSpec(lr=0.0)
    settings = replace(SETTINGS, select="best_on_test", select_metric="pixel_auroc", epochs=3, optimizer=frozen)
    validation = [EvalData(name="tiny", samples=data[0].samples)]
    record = train(build_method(), data, settings, run, device=CPU, validation=validation).record
    assert (record.epoch, record.selection["epoch"]) == (1, 1)


def test_best_on_test_needs_validation_data(data, run):
    with pytest.raises(UserError, match=r"there are none.*Give validation data"):
        train(build_method(), data, replace(SETTINGS, select="best_on_test"), run, device=CPU)


def test_validation_does_not_disturb_training(data, tmp_path):
    validation = [EvalData(name="held", samples=write_dataset(tmp_path / "held", name="held", seed=9))]
    weights = []
    for name, looks in (("with", validation), ("without", [])):
        method = build_method(noise=0.1)
        run = RunFolder.create("train", "tiny", "tiny", out=tmp_path / name)
        train(method, data, SETTINGS, run, device=CPU, validation=looks)
        weights.append(method.head.weight)

    assert torch.equal(*weights)


def test_one_process_per_folder(data, run):
    with run.locked(), pytest.raises(UserError, match="another process is training"):
        train(build_method(), data, SETTINGS, run, device=CPU)


def test_tensorboard_holds_losses_learning_rate_speed_metrics_and_heat_maps(data, run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    validation = [EvalData(name="held", samples=write_dataset(tmp_path / "held", name="held", seed=9))]
    settings = replace(SETTINGS, heat_maps=3)
    train(build_method(), data, settings, run, device=CPU, validation=validation, painter=paint)

    events = EventAccumulator(str(run.tensorboard_dir), size_guidance={"images": 0}).Reload()
    tags = events.Tags()
    assert {"step/pixel", "step/image", "step/loss", "epoch/loss"} <= set(tags["scalars"])
    assert {"train/learning_rate", "train/images_per_second", "held/mean/pixel_auroc"} <= set(tags["scalars"])
    assert [event.value for event in events.Scalars("train/learning_rate")] == pytest.approx([0.1] * 12)
    assert [event.step for event in events.Scalars("epoch/loss")] == [6, 12, 18, 24]
    assert len(tags["images"]) == 3
    assert len(events.Images(tags["images"][0])) == 4


def test_a_damaged_line_of_the_loss_curve_costs_that_line(tmp_path):
    good = [json.dumps({"kind": "step", "step": step, "epoch": 1, "loss": 0.5}) for step in (1, 2, 3)]
    bad = [
        '{"kind": "st',
        "[1]",
        '{"kind": "step"}',
        '{"kind": "step", "step": "2", "epoch": 1, "loss": 1}',
        "[" * 100_000,
    ]
    lines = [good[0], *bad, good[1], "\udcff\udcfe", good[2]]
    (tmp_path / "history.jsonl").write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))

    assert [point["step"] for point in read_history(tmp_path / "history.jsonl")] == [1, 2, 3]
