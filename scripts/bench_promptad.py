"""Measure PromptAD against a bare image-tower forward pass of open_clip: ratios within one run.

    python scripts/bench_promptad.py                  ViT-B/16+ at 240 px, K = 4: about six minutes
    python scripts/bench_promptad.py --class bottle   another class: its suffixes and test images count

Random weights of the right size, one thread, float32. Measured: one image through open_clip's own tower and through
PromptAD (map and score), one step of the fit, the support images. An epoch of the fit is one step, whatever K up to 4,
so a whole fit is that of 3 epochs less that of 1, times 99 / 2, and that of 1: counted, or measured with --whole. The
tower's pass over support and test images is the time of one image times their number. CPU time, best of several
interleaved repetitions. A row "OVER" its target makes the exit status 1.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import copy
import time
from collections.abc import Callable

import open_clip
import torch

from adbench.clip import Clip
from adbench.data.catalogue import get
from adbench.data.sample import Batch
from adbench.methods import Method, build

MODEL = "ViT-B-16-plus-240"
SHOTS, EPOCHS = 4, 100
INFERENCE_TARGET, FIT_TARGET = 1.25, 8.0


def main() -> int:
    """Print a row per measurement; 1 if one is over its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--class", dest="class_name", default="transistor", help="class of MVTec AD")
    parser.add_argument("--whole", action="store_true", help="fit all epochs instead of three")
    parser.add_argument("--repetitions", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    name = arguments.class_name
    config = copy.deepcopy(open_clip.get_model_config(MODEL))
    bare = open_clip.CLIP(**config).eval()
    clip = Clip(open_clip.CLIP(**config), name=MODEL, source="random", quick_gelu=False)
    test = get("mvtec").expected[name]
    n_images = SHOTS + test.normal + test.anomalous
    tower, over = inference(bare, clip, name, arguments.repetitions)
    print(f"mvtec/{name}: {SHOTS} support and {n_images - SHOTS} test images, bare tower {n_images * tower:.0f} s")
    for task in ("cls", "seg", "both"):
        seconds = fitting(clip, name, task, whole=arguments.whole)
        over.append(
            row(f"fit task={task}, {EPOCHS} epochs / tower over all images", seconds / (n_images * tower), FIT_TARGET)
        )
    return int(any(over))


def inference(bare: torch.nn.Module, clip: Clip, name: str, repetitions: int) -> tuple[float, list[bool]]:
    """Seconds of open_clip's tower for one image, and whether the ratio of a prediction to it is over its target."""
    images = made(1)
    calls: dict[str, Callable[[], object]] = {"tower": lambda: bare.encode_image(images.images)}
    for task in ("cls", "seg", "both"):
        method = build("promptad", clip, task=task, epochs=0)
        method.adapt(name, made(SHOTS))
        batch = Batch(images.images, images.labels, [name], images.paths, "mvtec")
        calls[task] = lambda method=method, batch=batch: method.predict(batch)
    best = dict.fromkeys(calls, float("inf"))
    with torch.no_grad():
        for _ in range(repetitions):
            for key, call in calls.items():
                best[key] = min(best[key], cpu_seconds(call))
    tower = best.pop("tower")
    print(f"{MODEL}, batch 1: open_clip's image tower takes {tower:.2f} s")
    over = [
        row(f"predict task={key}, one image / image tower", seconds / tower, INFERENCE_TARGET)
        for key, seconds in best.items()
    ]
    return tower, over


def fitting(clip: Clip, name: str, task: str, *, whole: bool) -> float:
    """Seconds to adapt to one class: support images through the tower, all epochs."""

    def adapt(epochs: int) -> float:
        method: Method = build("promptad", clip, task=task, epochs=epochs)
        support = made(SHOTS)
        return cpu_seconds(lambda: method.adapt(name, support))

    if whole:
        return adapt(EPOCHS)
    adapt(1)  # warm
    short, longer = (min(adapt(epochs) for _ in range(2)) for epochs in (1, 3))
    return short + (longer - short) / 2 * (EPOCHS - 1)


def made(n: int) -> Batch:
    """Random images."""
    images = torch.randn(n, 3, 240, 240, generator=torch.Generator().manual_seed(n))
    labels = torch.zeros(n, dtype=torch.int64)
    return Batch(images, labels, ["x"] * n, [f"{i}.png" for i in range(n)], "mvtec")


def cpu_seconds(call: Callable[[], object]) -> float:
    """CPU time of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def row(name: str, ratio: float, target: float) -> bool:
    """Print a ratio and its target; return whether it is over."""
    print(f"  {name:<58} {ratio:5.2f}   target {target:.2f}   {'ok' if ratio <= target else 'OVER'}", flush=True)
    return ratio > target


if __name__ == "__main__":
    raise SystemExit(main())
