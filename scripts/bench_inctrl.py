"""Measure InCTRL at the size of ViT-B/16+ (240 px) with random weights: CPU time on one thread, ratios within one run.

    python scripts/bench_inctrl.py                 everything, some minutes
    python scripts/bench_inctrl.py --no-reference  without the authors' way, which encodes 242 sentences per query

Evaluation  time per query with K support images, over a bare forward pass of the image tower (open_clip's own);
            target at most 1.15 with K = 4. The authors' way: sentences and support encoded again for every query,
            patches compared in a Python loop.
Training    an epoch on kept features over the first epoch, which encodes; target at most 0.05. Both go through
            `adbench.engine.train.train`, loading, optimiser and records included.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from adbench.clip import Clip
from adbench.clip.prompts import INCTRL_ENSEMBLE
from adbench.data.sample import Batch, Sample
from adbench.engine.progress import Advance, Quiet
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import TrainData, TrainSettings
from adbench.engine.train import train
from adbench.methods import Method, build

MODEL = "ViT-B-16-plus-240"
CLASS = "screw"


def random_clip() -> Clip:
    """The backbone with random weights: the time does not depend on them."""
    import open_clip

    torch.manual_seed(0)
    model = open_clip.CLIP(**open_clip.get_model_config(MODEL))
    return Clip(model, name=MODEL, source="random", quick_gelu=False)


def pictures(n: int, size: int, seed: int) -> Batch:
    """Random normal images of one class."""
    images = torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))
    return Batch(images, torch.zeros(n, dtype=torch.int64), [CLASS] * n, [str(i) for i in range(n)], "made")


def cpu_seconds(work: Callable[[], object], repeats: int) -> float:
    """Smallest CPU time of `repeats` calls, after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def the_authors_way(method: Method, query: Batch, support: Batch) -> None:
    """What their code does for one query, on open_clip's text tower and our image tower."""
    clip = method.clip
    normal, abnormal = INCTRL_ENSEMBLE.sentences(CLASS)
    with torch.no_grad():
        clip.model.encode_text(clip.tokenize(normal + abnormal))
        features, known = method.encode(query), method.encode(support)
        for layer in range(features["patches"].shape[1]):
            bank = known["patches"][:, layer].flatten(0, 1)
            for patch in features["patches"][0, layer]:
                cosines = torch.nn.functional.cosine_similarity(patch[None], bank)
                (0.5 * (1 - cosines)).min()
        method.adapt(CLASS, support, known)
        method.score(features, query)


def bench_evaluation(clip: Clip, shots: int, queries: int, repeats: int, *, reference: bool) -> None:
    """Print the time per query of the bare tower, of InCTRL, and of the authors' way."""
    method = build("inctrl", clip).eval()
    batch, support = pictures(queries, clip.image_size, 1), pictures(shots, clip.image_size, 2)
    with torch.no_grad():
        bare = cpu_seconds(lambda: clip.model.encode_image(batch.images), repeats) / queries
    method.adapt(CLASS, support)
    ours = cpu_seconds(lambda: method.predict(batch), repeats) / queries
    print(f"evaluation, K = {shots}, {queries} queries per batch, CPU seconds per query")
    print(f"  bare image tower   {bare:8.3f}")
    print(f"  InCTRL             {ours:8.3f}   {ours / bare:.3f}x  (target 1.15x)")
    if reference:
        one = pictures(1, clip.image_size, 3)
        start = time.process_time()
        the_authors_way(method, one, support)
        theirs = time.process_time() - start
        print(f"  the authors' way   {theirs:8.3f}   {theirs / bare:.1f}x")


class Clock(Quiet):
    """A reporter that keeps the CPU time of every epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    @contextlib.contextmanager
    def track(self, label: str, total: int, *, done: int = 0) -> Iterator[Advance]:
        """Time what is tracked, if it is an epoch."""
        start = time.process_time()
        yield lambda _count, _values: None
        if label.startswith("epoch"):
            self.seconds.append(time.process_time() - start)


def write_pictures(folder: Path, n: int) -> list[Sample]:
    """Random pictures, every second one called anomalous."""
    random, samples = np.random.default_rng(0), []
    for number in range(n):
        path = folder / f"{number:03d}.png"
        Image.fromarray(random.integers(0, 256, (240, 240, 3), dtype=np.uint8)).save(path)
        label = number % 2
        samples.append(Sample(path, path.name, CLASS, label, None, "test", "bad" if label else "good", "made"))
    return samples


def bench_training(clip: Clip, n_images: int, steps: int, shots: int) -> None:
    """Print the time of an epoch that encodes and of one that does not."""
    with tempfile.TemporaryDirectory() as folder:
        samples = write_pictures(Path(folder), n_images)
        run = RunFolder.create("train", "inctrl", "made", out=Path(folder) / "run")
        settings = TrainSettings(epochs=3, batch_size=16, sampler="balanced", steps_per_epoch=steps, shots=shots)
        clock = Clock()
        method = build("inctrl", clip)
        train(
            method,
            [TrainData(name="made", samples=samples)],
            settings,
            run,
            device=torch.device("cpu"),
            reporter=clock,
        )
    first, *later = clock.seconds
    print(f"training, {n_images} images, {steps} steps of 16 queries with {shots} support images each, CPU seconds")
    print(f"  first epoch        {first:8.2f}")
    print(f"  later epochs       {min(later):8.2f}   {min(later) / first:.4f} of the first  (target 0.05)")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=int, default=4)
    parser.add_argument("--queries", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=96, help="training images")
    parser.add_argument("--steps", type=int, default=6, help="steps per epoch: 6 of 16 queries see each image once")
    parser.add_argument("--no-reference", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    clip = random_clip()
    bench_evaluation(clip, arguments.shots, arguments.queries, arguments.repeats, reference=not arguments.no_reference)
    bench_training(clip, arguments.images, arguments.steps, 2)


if __name__ == "__main__":
    main()
