"""A training killed at any point goes on to the same weights, to the bit."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from adbench.engine.checkpoint import TrainState, capture, load_checkpoint
from adbench.engine.optim import build_optimizer
from adbench.engine.settings import OptimizerSpec
from adbench.engine.train_logger import read_history
from adbench.engine.weights import load_weights
from adbench.errors import UserError
from engine.tiny_engine import build_method


@contextmanager
def _lives(data_dir):
    """A function (run folder, point) -> exit status of a training that dies at `point`."""
    command = [sys.executable, "-m", "engine.killed", data_dir]
    with subprocess.Popen(
        command, cwd=Path(__file__).parent.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def train(run_dir, point):
            process.stdin.write(f"{run_dir} {point}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield train


def _visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_killed_anywhere_a_training_ends_with_the_same_weights(tmp_path):
    data, whole, torn = tmp_path / "data", tmp_path / "whole", tmp_path / "torn"
    with _lives(data) as train:
        assert train(whole, "never") == 0

        # 18 steps in 3 epochs, checkpoints of steps 4, 6, 8, 12, 16, each written in the step behind it; each life
        # starts from the last one
        assert train(torn, "step:3") == -signal.SIGKILL  # before there is any checkpoint
        assert _visible(torn) == ["history.jsonl", "run.json", "tensorboard"]
        assert train(torn, "step:6") == -signal.SIGKILL  # in the sixth step: step 4 is kept
        assert load_checkpoint(torn / "checkpoint.safetensors").record["position"]["step"] == 4
        assert train(torn, "checkpoint:2") == -signal.SIGKILL  # half-way through writing step 8
        assert load_checkpoint(torn / "checkpoint.safetensors").record["position"]["step"] == 6
        assert train(torn, "finish") == -signal.SIGKILL  # weights are written, their record is not
        assert not (torn / "weights.json").exists()
        assert train(torn, "never") == 0

    assert (torn / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    assert json.loads((torn / "weights.json").read_text()) == json.loads((whole / "weights.json").read_text())
    assert _losses(torn) == _losses(whole)
    assert _visible(torn) == _visible(whole)
    assert not [path for path in torn.rglob("*.tmp")]


def _losses(folder):
    timing = ("images_per_second",)
    return [{k: v for k, v in point.items() if k not in timing} for point in read_history(folder / "history.jsonl")]


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_a_checkpoint_restores_every_optimiser(tmp_path, name):
    spec = OptimizerSpec(name=name, lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    method, other = build_method(), build_method(seed=1)
    optimizer, fresh = build_optimizer(method, spec), build_optimizer(other, spec)
    _step(method, optimizer)

    capture(method, optimizer, scaler, TrainState(step=1), {"method": "tiny"}).write(tmp_path / "c.safetensors")
    checkpoint = load_checkpoint(tmp_path / "c.safetensors")
    checkpoint.restore_method(other)
    checkpoint.restore_rest(other, fresh, scaler)
    drawn = method.random_state.rand(), torch.rand(1)
    checkpoint.restore_rest(other, fresh, scaler)
    _step(method, optimizer)
    _step(other, fresh)

    assert checkpoint.position.step == 1
    assert torch.equal(method.head.weight, other.head.weight)
    assert drawn == (other.random_state.rand(), torch.rand(1))


def test_a_damaged_checkpoint_is_named(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"\x10\x00\x00\x00half")

    with pytest.raises(UserError, match=r"no file of weights.*checkpoint\.safetensors"):
        load_checkpoint(path)


def test_a_flipped_bit_in_a_checkpoint_is_refused(tmp_path):
    method = build_method()
    optimizer = build_optimizer(method, OptimizerSpec(name="adam", lr=0.1))
    _step(method, optimizer)
    path = tmp_path / "checkpoint.safetensors"
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    capture(method, optimizer, scaler, TrainState(step=1), {"method": "tiny"}).write(path)
    whole = path.read_bytes()
    for place in range(8, len(whole), 37):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        with pytest.raises(UserError, match=r"checkpoint\.safetensors.*resume=false"):
            load_checkpoint(path)


def test_a_checkpoint_is_no_file_of_weights(tmp_path):
    method = build_method()
    optimizer = build_optimizer(method, OptimizerSpec(name="sgd", lr=0.1))
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    capture(method, optimizer, scaler, TrainState(step=1), {"method": "tiny"}).write(tmp_path / "c.safetensors")
    with pytest.raises(UserError, match="checkpoint of a training that has not finished"):
        load_weights(method, tmp_path / "c.safetensors")


def _step(method, optimizer):
    optimizer.zero_grad(set_to_none=True)
    method.head(torch.ones(1, 3)).square().sum().backward()
    optimizer.step()
