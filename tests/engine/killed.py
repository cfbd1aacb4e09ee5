"""Train the tiny method in a process of its own that kills itself at a given point (run by test_resume.py).

usage: python -m engine.killed DATA_DIR RUN_DIR POINT    POINT: never | step:N | checkpoint:N | finish
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from adbench.engine import checkpoint, tensor_file, weights
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, OptimizerSpec, TrainData, TrainSettings
from adbench.engine.train import train
from engine.tiny_engine import TinyMethod, fake_clip, write_dataset


def die(*_arguments, **_keywords):
    os.kill(os.getpid(), signal.SIGKILL)


class DyingMethod(TinyMethod):
    """Kills the process in its `deadline`-th loss."""

    deadline = 0

    def loss(self, features, batch):
        self.deadline -= 1
        return die() if self.deadline == 0 else super().loss(features, batch)

    def undecayed_parameters(self):
        return frozenset({"head.weight"})


def set_trap(method: DyingMethod, point: str) -> None:
    where, _, number = point.partition(":")
    if where == "step":
        method.deadline = int(number)
    if where == "finish":  # weights.safetensors is there, weights.json is not
        weights.write_json = die
    if where == "checkpoint":  # in the middle of writing the N-th checkpoint
        save, left = tensor_file.save_file, int(number)

        def half_save(tensors, path, metadata):
            nonlocal left
            left -= 1
            save(tensors, path, metadata=metadata)
            if left == 0:
                os.truncate(path, os.path.getsize(path) // 2)
                die()

        tensor_file.save_file = half_save


def main(data_dir: str, run_dir: str, point: str) -> None:
    samples = write_dataset(Path(data_dir) / "tiny")
    held = write_dataset(Path(data_dir) / "held", name="held", seed=1)
    settings = TrainSettings(
        epochs=3,
        batch_size=3,
        optimizer=OptimizerSpec(lr=0.05, schedule="poly", clip_norm=0.5),
        checkpoint_steps=4,
        log_every=5,
        select="best_on_test",
        select_metric="pixel_ap",
        mosaic={"tiny": 0.5},
    )
    torch.manual_seed(0)
    method = DyingMethod(fake_clip(), noise=0.3)
    set_trap(method, point)
    assert checkpoint.write_tensors is tensor_file.write_tensors
    run = RunFolder.create("train", "tiny", "tiny", out=Path(run_dir))
    validation = [EvalData(name="held", samples=held)]
    train(
        method,
        [TrainData(name="tiny", samples=samples)],
        settings,
        run,
        device=torch.device("cpu"),
        validation=validation,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
