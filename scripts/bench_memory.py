"""Measure the memory that methods need at their default size: peak resident memory of a process, on the CPU.

    python scripts/bench_memory.py                     every trained and adapting method, half an hour on one thread
    python scripts/bench_memory.py adaclip promptad    these

Backbone, hyperparameters, batch sizes and K are those of configs/method/METHOD.yaml; weights are random, images are
noise of 1024 x 1024 px of the MVTec AD class "bottle". A new process each for
train  two optimiser steps through `adbench.engine.train.train` (kept features, optimiser and records included)
eval   three batches through `adbench.engine.evaluate.evaluate`, one class; with support images, for K = 4 or the K of
       the YAML file, where the method takes any; what is fitted is fitted for two epochs
Memory of kept features and of exact metrics grows with the data: it comes on top. CUDA is not measured.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import multiprocessing
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from adbench.cli.words import Words
from PIL import Image

from adbench.cli.config import Config, train_config
from adbench.cli.plan import preview
from adbench.data.sample import Sample
from adbench.methods import Method, build, method_class, names

CLASS, SIDE = "bottle", 1024
FLOORS = ("median_colour",)


def main() -> None:
    """Print a row per method and phase."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=[name for name in names() if name not in FLOORS])
    for name in parser.parse_args().methods:
        for phase in (training, evaluation):
            if phase is training and method_class(name).supervision != "anomaly":
                continue
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(f"{name:<14} {pool.apply(phase, (name,))}", flush=True)


def training(name: str) -> str:
    """Two steps of training; what they took."""
    import torch

    from adbench.engine.run_folder import RunFolder
    from adbench.engine.settings import TrainData
    from adbench.engine.train import train

    config = train_config(Words("train", [f"method={name}", "data=mvtec"]))
    size = config.trainer.batch_size
    method, start = made(config), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        # One batch of images, gone over twice: features that can be kept are computed once, and steps are two.
        samples = pictures(Path(folder) / "data", normal=max(size // 2, 1) + config.trainer.shots, anomalous=size // 2)
        settings = replace(config.trainer, epochs=2, steps_per_epoch=1, cache_dir=str(Path(folder) / "cache"))
        run = RunFolder.create("train", name, "mvtec", out=Path(folder) / "run")
        train(method, [TrainData(name="mvtec", samples=samples)], settings, run, device=torch.device("cpu"))
    return row(f"train, batch {size}", config, time.perf_counter() - start)


def evaluation(name: str) -> str:
    """Evaluation of one class; what it took."""
    import torch

    from adbench.data.support import draw_supports
    from adbench.engine.evaluate import evaluate
    from adbench.engine.settings import EvalData

    config = preview(Words("eval", [f"method={name}", "data=mvtec"]))
    cls = method_class(name)
    support = replace(config.support, k=tuple(k or 4 for k in config.support.k)) if cls.adapts else config.support
    if cls.fits:
        config = replace(config, hyperparameters={**config.hyperparameters, "epochs": 2})
    method, start = made(config), time.perf_counter()
    size = config.eval.batch_size
    with tempfile.TemporaryDirectory() as folder:
        pool = pictures(Path(folder) / "train", normal=max(support.k), anomalous=0, split="train")
        test = pictures(Path(folder) / "test", normal=size, anomalous=2 * size)
        supports = draw_supports(support, {CLASS: pool}, dataset="mvtec") if cls.adapts else {}
        data = EvalData(name="mvtec", samples=test, supports=supports)
        evaluate(method, data, config.eval, device=torch.device("cpu"))
    shots = f", K {max(support.k)}" if cls.adapts else ""
    return row(f"eval, batch {size}{shots}", config, time.perf_counter() - start)


def made(config: Config) -> Method:
    """The method on a backbone of the right size, both with random weights."""
    import open_clip
    import torch

    from adbench.clip import Clip

    torch.set_num_threads(1)
    torch.manual_seed(config.seed)
    sizes = open_clip.get_model_config(config.clip.name)
    model = open_clip.CLIP(**sizes, quick_gelu=bool(config.clip.quick_gelu))
    clip = Clip(
        model,
        name=config.clip.name,
        source="random",
        quick_gelu=bool(config.clip.quick_gelu),
        image_size=config.clip.image_size,
    )
    return build(config.method, clip, **config.hyperparameters)


def pictures(folder: Path, *, normal: int, anomalous: int, split: str = "test") -> list[Sample]:
    """Noise in files, with a mask beside each anomalous one."""
    folder.mkdir()
    random, samples = np.random.default_rng(normal), []
    for number in range(normal + anomalous):
        label, key = int(number >= normal), f"{CLASS}/{split}/{number:03d}.png"
        path = folder / f"{number:03d}.png"
        Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(path, compress_level=0)
        mask = None
        if label:
            mask = folder / f"{number:03d}_mask.png"
            marked = np.zeros((SIDE, SIDE), np.uint8)
            marked[300:500, 300:500] = 255
            Image.fromarray(marked).save(mask)
        samples.append(Sample(path, key, CLASS, label, mask, split, "hole" if label else "good", "mvtec"))
    return samples


def row(phase: str, config: Config, seconds: float) -> str:
    """What ran, this process's peak memory, and the time that it took."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    size = config.clip.image_size or "native"
    return f"{phase:<20} {config.clip.name} at {size} px   {peak:5.1f} GiB   {seconds:4.0f} s"


if __name__ == "__main__":
    main()
