"""The optimiser: what gets no weight decay, how the learning rate falls, and gradients cut to a norm."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from adbench.engine.checkpoint import TrainState, capture, load_checkpoint
from adbench.engine.optim import build_optimizer, parameter_names, take_step
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import OptimizerSpec, TrainData, TrainSettings
from adbench.engine.train import train
from adbench.engine.train_logger import read_history
from adbench.engine.weights import save_weights
from adbench.errors import UserError
from adbench.methods.base import ParameterGroup
from engine.tiny_engine import TinyMethod, build_method, fake_clip, write_dataset

SCALER = torch.amp.GradScaler("cpu", enabled=False)
CPU = torch.device("cpu")


class SparingMethod(TinyMethod):
    """The weight of its head, the first parameter but one, is spared."""

    def parameter_groups(self):
        rest = tuple(name for name in self.learnable_parameters() if name != "head.weight")
        return [ParameterGroup(names=rest), ParameterGroup(names=("head.weight",), weight_decay=0.0)]


def make_sparing() -> SparingMethod:
    torch.manual_seed(0)
    return SparingMethod(fake_clip())


def loss_of(method) -> torch.Tensor:
    return 3 * method.head(torch.ones(1, 3)).square().sum() + method.unused.sum()


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_spared_parameters_are_a_group_of_their_own_without_decay(name):
    method = make_sparing()
    optimizer = build_optimizer(method, OptimizerSpec(name=name, weight_decay=0.5))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]
    assert parameter_names(method) == ["unused", "head.bias", "head.weight"]
    ordered = [p for group in optimizer.param_groups for p in group["params"]]
    named = method.learnable_parameters()
    assert all(p is named[name] for p, name in zip(ordered, parameter_names(method), strict=True))


def test_without_spared_parameters_there_is_one_group():
    assert len(build_optimizer(build_method(), OptimizerSpec()).param_groups) == 1


def test_poly_falls_from_the_full_rate_towards_zero():
    spec = OptimizerSpec(lr=2.0, schedule="poly", power=0.9)
    assert spec.lr_at(0, 100) == 2.0
    assert spec.lr_at(50, 100) == pytest.approx(2 * 0.5**0.9)
    assert 0 < spec.lr_at(99, 100) < 0.04
    assert OptimizerSpec(lr=2.0).lr_at(99, 100) == 2.0


def test_gradients_are_cut_to_a_common_norm():
    method = make_sparing()
    spec = OptimizerSpec(name="sgd", lr=1.0, weight_decay=0.0, clip_norm=0.01)
    before = {name: p.detach().clone() for name, p in method.named_parameters()}
    optimizer = build_optimizer(method, spec)
    take_step(optimizer, SCALER, loss_of(method), spec, step=0, n_steps=1)
    moved = torch.cat([(p.detach() - before[name]).flatten() for name, p in method.named_parameters()])
    assert_close(moved.norm(), torch.tensor(0.01), rtol=1e-4, atol=0)


def test_a_step_uses_the_rate_of_its_number():
    method = make_sparing()
    spec = OptimizerSpec(name="sgd", lr=1.0, weight_decay=0.0, schedule="poly", power=1.0)
    before = method.unused.detach().clone()
    take_step(build_optimizer(method, spec), SCALER, loss_of(method), spec, step=3, n_steps=4)
    assert_close(before - method.unused.detach(), torch.full((2,), 0.25))


def test_a_checkpoint_gives_each_parameter_its_own_state_back(tmp_path):
    spec = OptimizerSpec(lr=0.1)
    method, other = make_sparing(), make_sparing()
    optimizer, fresh = build_optimizer(method, spec), build_optimizer(other, spec)
    take_step(optimizer, SCALER, loss_of(method), spec, step=0, n_steps=2)
    capture(method, optimizer, SCALER, TrainState(step=1), {}).write(tmp_path / "c.safetensors")
    checkpoint = load_checkpoint(tmp_path / "c.safetensors")
    checkpoint.restore_method(other)
    checkpoint.restore_rest(other, fresh, SCALER)
    for one, its_optimizer in ((method, optimizer), (other, fresh)):
        take_step(its_optimizer, SCALER, loss_of(one), spec, step=1, n_steps=2)
    for name, p in method.named_parameters():
        assert torch.equal(p, dict(other.named_parameters())[name])
    assert [group["weight_decay"] for group in fresh.param_groups] == [0.01, 0.0]


def test_the_curve_shows_the_falling_rate(tmp_path):
    samples = write_dataset(tmp_path / "data")
    optimizer = OptimizerSpec(lr=0.01, schedule="poly")
    settings = TrainSettings(epochs=2, batch_size=4, optimizer=optimizer, log_every=1, cache="off")
    run = RunFolder.create("train", "tiny", "tiny", outputs=tmp_path, out=tmp_path / "run")
    train(build_method(), [TrainData(name="tiny", samples=samples)], settings, run, device=CPU)
    rates = [point["learning_rate"] for point in read_history(run.history_path) if point["kind"] == "step"]
    assert rates == [optimizer.lr_at(step, 8) for step in range(8)]


def test_cosine_goes_down_to_one_floor_epoch_by_epoch_for_groups_of_any_rate():
    spec = OptimizerSpec(lr=1e-3, schedule="cosine", min_lr=1e-4)
    tokens = [spec.lr_at(step, 6, 3) for step in range(6)]
    assert tokens == pytest.approx([1e-3, 1e-3, 7.75e-4, 7.75e-4, 3.25e-4, 3.25e-4])
    assert [spec.lr_at(step, 6, 3, factor=0.1) for step in range(6)] == pytest.approx([1e-4] * 6)


def test_milestones_are_counted_in_steps():
    spec = OptimizerSpec(lr=8.0, schedule="steps", milestones=[2, 3], gamma=0.5)
    assert [spec.lr_at(step, 5) for step in range(5)] == [8, 8, 4, 2, 2]
    assert spec.lr_at(4, 5, factor=0.5) == 1


def test_a_group_has_a_rate_and_a_limit_of_its_own():
    class Grouped(TinyMethod):
        def parameter_groups(self):
            weight = ParameterGroup(names=("head.weight",), clip_norm=0.1, lr_factor=2.0)
            return [weight, ParameterGroup(names=("head.bias", "unused"))]

    method = Grouped(fake_clip())
    named = method.learnable_parameters()
    before = {name: value.detach().clone() for name, value in named.items()}
    expected = dict(zip(named, torch.autograd.grad(loss_of(method), list(named.values())), strict=True))
    spec = OptimizerSpec(name="sgd", lr=0.1, weight_decay=0.0)
    optimizer = build_optimizer(method, spec)
    take_step(optimizer, SCALER, loss_of(method), spec, step=0, n_steps=1)
    norm = expected["head.weight"].norm()
    assert norm > 0.2
    assert_close(named["head.weight"], before["head.weight"] - 0.2 * 0.1 * expected["head.weight"] / norm)
    assert_close(named["head.bias"], before["head.bias"] - 0.1 * expected["head.bias"])


def test_training_starts_from_given_weights(tmp_path):
    samples = write_dataset(tmp_path / "data")
    data = [TrainData(name="tiny", samples=samples)]
    run = RunFolder.create("train", "tiny", "tiny", outputs=tmp_path, out=tmp_path / "first")
    first = build_method(seed=1)
    record = train(first, data, TrainSettings(epochs=1), run, device=CPU).record
    save_weights(first, tmp_path / "start.safetensors", record)
    frozen = OptimizerSpec(name="sgd", lr=0.0, weight_decay=0.0)
    settings = TrainSettings(epochs=1, optimizer=frozen, init_from=str(tmp_path / "start.safetensors"))
    again = RunFolder.create("train", "tiny", "tiny", outputs=tmp_path, out=tmp_path / "second")
    second = build_method(seed=2)
    train(second, data, settings, again, device=CPU)
    assert torch.equal(first.head.weight, second.head.weight)


def test_impossible_settings_are_refused():
    for change, message in (
        ({"schedule": "sawtooth"}, r"unknown value 'sawtooth' \(trainer.optimizer.schedule\)"),
        ({"clip_norm": -1.0}, "trainer.optimizer.clip_norm is -1"),
        ({"power": -0.5}, "trainer.optimizer.power is -0.5"),
    ):
        with pytest.raises(UserError, match=message):
            OptimizerSpec(**change)
