"""Train the tiny method in processes that kill themselves at a given point (run by test_resume.py).

usage: python -m engine.killed DATA_DIR    and then, line by line on its input, RUN_DIR POINT
    POINT: never | step:N | checkpoint:N | finish

Each line is one training in a process of its own; its exit status is answered. All are forked from one that has
imported everything, on one thread: they start at once, and no number of threads comes between their results.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
import torch.utils.tensorboard

from adbench.atomic import replacing
from adbench.engine import checkpoint, tensor_file, weights
from adbench.engine.optim import build_optimizer
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, OptimizerSpec, TrainData, TrainSettings
from adbench.engine.train import train
from adbench.methods.base import ParameterGroup
from engine.tiny_engine import TinyMethod, fake_clip, write_dataset


def die(*_arguments, **_keywords):
    os.kill(os.getpid(), signal.SIGKILL)


class DyingMethod(TinyMethod):
    """Kills the process in its `deadline`-th loss."""

    deadline = 0

    def loss(self, features, batch):
        self.deadline -= 1
        return die() if self.deadline == 0 else super().loss(features, batch)

    def parameter_groups(self):
        rest = tuple(name for name in self.learnable_parameters() if name != "head.weight")
        return [ParameterGroup(names=rest), ParameterGroup(names=("head.weight",), weight_decay=0.0)]


def set_trap(method: DyingMethod, point: str) -> None:
    where, _, number = point.partition(":")
    if where == "step":
        method.deadline = int(number)
    if where == "finish":  # weights.safetensors is there, weights.json is not
        weights.write_json = die
    if where == "checkpoint":  # in the middle of writing the N-th checkpoint
        write, left = tensor_file.write_bytes, int(number)

        def half_write(path, data):
            nonlocal left
            left -= 1
            if left == 0:
                with replacing(path) as temporary:
                    temporary.write_bytes(data[: len(data) // 2])
                    die()
            write(path, data)

        tensor_file.write_bytes = half_write


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


def serve(data_dir: str) -> None:
    torch.set_num_threads(1)
    build_optimizer(TinyMethod(fake_clip()), OptimizerSpec())  # torch imports its compiler for the first optimiser
    for line in sys.stdin:
        run_dir, point = line.rsplit(maxsplit=1)
        life = os.fork()
        if not life:
            main(data_dir, run_dir, point)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(life, 0)[1]), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
