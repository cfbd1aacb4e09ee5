"""Measure AnomalyCLIP and FAPrompt against a bare image-tower forward pass of open_clip: ratios within one run.

    python scripts/bench_prompts.py             ViT-B/16 at 240 px: about two minutes
    python scripts/bench_prompts.py --large     ViT-L/14 at 518 px, what the authors use: about ten minutes, 6 GB

Random weights of the right size, one thread, float32; inference with batch 1, training with batch 8 on pictures of
1024 px, as large as MVTec AD's. CPU time, best of several interleaved repetitions, so that what else the machine does
matters little. A row "OVER" its target makes the exit status 1.

FAPrompt's training is near its target at the small size: a step's 99 prompts are 100 GFLOP there, forward and backward,
and eight images 337. No less would do: every prompt has its own copies of the deep tokens, whose gradients the authors'
code rounds one by one.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import contextlib
import copy
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image

from adbench.clip import Clip
from adbench.data.sample import Batch, Sample
from adbench.engine.progress import Quiet
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import OptimizerSpec, TrainData, TrainSettings
from adbench.engine.train import train
from adbench.methods import Method, build

METHODS = ("anomalyclip", "faprompt")
EPOCH_TARGET = 0.25


@dataclass(frozen=True)
class Size:
    """A backbone, the share of its blocks with V-V attention (19 of 24 in the authors' code), and what is allowed."""

    model: str
    image_size: int
    dpam_layer: int
    repetitions: int
    n_training_images: int
    targets: dict[str, float]


SMALL = Size("ViT-B-16", 240, 11, 15, 40, {"anomalyclip": 1.3, "faprompt": 2.4})
LARGE = Size("ViT-L-14-336", 518, 20, 2, 8, {"anomalyclip": 1.3, "faprompt": 1.35})


def main() -> int:
    """Print a row per measurement; 1 if one is over its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="ViT-L/14 at 518 px instead of ViT-B/16 at 240 px")
    size = LARGE if parser.parse_args().large else SMALL
    torch.set_num_threads(1)
    return int(any([*inference(size), *training(size)]))


def inference(size: Size) -> list[bool]:
    """Prediction of one image over open_clip's own image encoding. Returns which ratios are over their targets."""
    bare, clip = backbone(size)
    images = torch.randn(1, 3, size.image_size, size.image_size, generator=torch.Generator().manual_seed(0))
    batch = Batch(images, torch.zeros(1, dtype=torch.int64), ["object"], ["0.png"], "made")
    calls: dict[str, Callable[[], object]] = {"open_clip image tower": lambda: bare.encode_image(images)}
    for name in METHODS:
        method = build(name, clip, dpam_layer=size.dpam_layer)
        calls[name] = lambda method=method: method.predict(batch)
    with torch.no_grad():
        seconds = best_times(calls, size.repetitions)
    base = seconds.pop("open_clip image tower")
    print(f"{size.model} at {size.image_size} px, batch 1: open_clip's image tower takes {base:.2f} s")
    return [row(f"{name}, one image / image tower", t / base, size.targets[name]) for name, t in seconds.items()]


def training(size: Size) -> list[bool]:
    """An epoch on kept features over the first epoch, which encodes the images."""
    print(f"{size.model} at {size.image_size} px, training with trainer.cache=ram, batch 8")
    _, clip = backbone(size)
    over = []
    for name in METHODS:
        with tempfile.TemporaryDirectory() as folder:
            first, later = epoch_times(build(name, clip, dpam_layer=size.dpam_layer), Path(folder), size)
        print(f"  {name}: first epoch {first:.1f} s, later {later:.1f} s")
        over.append(row(f"{name}, epoch on kept features / first epoch", later / first, EPOCH_TARGET))
    return over


def backbone(size: Size) -> tuple[torch.nn.Module, Clip]:
    """open_clip's model of this size, with random weights, built for the image size; and our wrapper of its twin."""
    config = copy.deepcopy(open_clip.get_model_config(size.model))
    config["quick_gelu"] = True
    clip = Clip(open_clip.CLIP(**config), name=size.model, source="random", quick_gelu=True, image_size=size.image_size)
    config["vision_cfg"]["image_size"] = size.image_size  # open_clip's tower takes no other
    return open_clip.CLIP(**config).eval(), clip


def best_times(calls: dict[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Smallest CPU time of each call in seconds; the calls take turns."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(repetitions):
        for name, call in calls.items():
            start = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - start)
    return best


class Stopwatch(Quiet):
    """CPU time of each epoch; encoding the features counts for the epoch that waits for it."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    @contextlib.contextmanager
    def track(self, label: str, total: int, *, done: int = 0) -> Iterator[Callable[..., None]]:
        """Take the time at the end of an epoch."""
        yield lambda *_: None
        if label.startswith("epoch"):
            self.ends.append(time.process_time())


def epoch_times(method: Method, folder: Path, size: Size) -> tuple[float, float]:
    """CPU seconds of the first epoch and of the fastest later one."""
    settings = TrainSettings(
        epochs=3,
        batch_size=8,
        optimizer=OptimizerSpec(name="adam", lr=1e-3, betas=(0.5, 0.999), weight_decay=0.0),
        cache="ram",
    )
    samples = [make_sample(folder, index) for index in range(size.n_training_images)]
    watch, run = Stopwatch(), RunFolder.create("train", method.name, "made", out=folder / "run")
    start = time.process_time()
    train(method, [TrainData(name="made", samples=samples)], settings, run, device=torch.device("cpu"), reporter=watch)
    times = np.diff([start, *watch.ends])
    return float(times[0]), float(times[1:].min())


def make_sample(folder: Path, index: int, side: int = 1024) -> Sample:
    """A picture of smooth noise; every second one has a marked square."""
    noise = np.random.default_rng(index).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    mask = np.zeros((side, side), np.uint8)
    mask[side // 6 : side // 3, side // 6 : side // 3] = 255
    image, marked = folder / f"{index}.png", folder / f"{index}_mask.png"
    Image.fromarray(noise).resize((side, side)).save(image)
    Image.fromarray(mask).save(marked)
    label = index % 2
    return Sample(image, image.name, "object", label, marked if label else None, "test", "square", "made")


def row(what: str, ratio: float, target: float) -> bool:
    """Print a ratio with its target; True if it is over."""
    over = ratio > target
    print(f"  {what:45s} {ratio:5.2f}   target {target:4.2f}   {'OVER' if over else 'ok'}", flush=True)
    return over


if __name__ == "__main__":
    sys.exit(main())
