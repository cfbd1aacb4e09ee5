"""The built-in `demo` data set: the procedural world in the MVTec AD folder layout, rendered on first use.

    <root>/demo.json                                         version, counts and classes of what was rendered
    <root>/<class>/train/good/000.png                        normal pictures of the held-out classes
    <root>/<class>/test/{good,<kind>}/000.png                unpaired: no two pictures share a scene
    <root>/<class>/ground_truth/<kind>/000_mask.png          0 or 255
    <root>/auxiliary/<class>/{test,ground_truth}/...         classes to learn on; without the held-out kinds

The demo CLIP saw neither the held-out classes nor the held-out kinds, and none of these pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from adbench.demo.rendered import holds, render_once
from adbench.demo.synthetic import render
from adbench.demo.synthetic.world import (
    AUXILIARY_CLASSES,
    AUXILIARY_SEEDS,
    DEFECT_KINDS,
    HELD_OUT_CLASSES,
    HELD_OUT_KINDS,
    HELD_OUT_SEEDS,
    PRETRAINING_KINDS,
    WORLD_VERSION,
)

__all__ = [
    "AUXILIARY_CLASSES",
    "DEFECT_KINDS",
    "HELD_OUT_CLASSES",
    "HELD_OUT_KINDS",
    "WORLD_VERSION",
    "DemoCounts",
    "is_rendered",
    "render_demo",
]

AUXILIARY_DIR = "auxiliary"
NOTE = "demo.json"


@dataclass(frozen=True)
class DemoCounts:
    """Pictures per class: of a held-out class for training and test, of an auxiliary class normal and defective."""

    train: int = 16
    normal: int = 40
    defective: int = 60
    auxiliary_normal: int = 30
    auxiliary_defective: int = 30


def is_rendered(root: Path, counts: DemoCounts | None = None) -> bool:
    """Whether ``root`` holds the data set of this world version with these counts."""
    return holds(root / NOTE, _facts(counts or DemoCounts()))


def render_demo(
    root: Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    counts: DemoCounts | None = None,
    processes: int = 2,
) -> None:
    """Render the data set to ``root`` unless it is there; ``progress(done, total)`` counts classes."""
    counts = counts or DemoCounts()
    render_once(root / NOTE, _facts(counts), lambda draft: _render_all(draft, counts, processes, progress))


def _facts(counts: DemoCounts) -> dict[str, object]:
    classes = {"held_out": list(HELD_OUT_CLASSES), "auxiliary": list(AUXILIARY_CLASSES)}
    return {"world_version": WORLD_VERSION, "counts": asdict(counts), "classes": classes}


def _render_all(draft: Path, counts: DemoCounts, processes: int, progress: Callable[[int, int], None] | None) -> None:
    """Draw the classes in child interpreters: unlike a process pool this works from scripts without a main guard."""
    jobs = [f"{AUXILIARY_DIR}/{name}" for name in AUXILIARY_CLASSES] + list(HELD_OUT_CLASSES)
    done, lock = 0, threading.Lock()
    source = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}
    # The work is many small arrays: more threads than processes would only get in each other's way.
    environment.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

    def run(part: list[str]) -> None:
        nonlocal done
        command = [sys.executable, "-m", "adbench.demo.pictures", str(draft), json.dumps(asdict(counts)), *part]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None  # as stdout=PIPE says
            for _ in child.stdout:
                with lock:
                    done += 1
                    if progress is not None:
                        progress(done, len(jobs))
        if child.returncode:
            raise RuntimeError(f"rendering the demo data set failed with exit status {child.returncode}")

    parts = [part for k in range(max(1, processes)) if (part := jobs[k :: max(1, processes)])]
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(run, parts))


def _render_class(draft: Path, job: str, counts: DemoCounts) -> None:
    """Draw the pictures of one class; ``job`` is its folder."""
    name = job.rpartition("/")[2]
    auxiliary = job.startswith(f"{AUXILIARY_DIR}/")
    first = (AUXILIARY_SEEDS if auxiliary else HELD_OUT_SEEDS).start
    kinds = PRETRAINING_KINDS if auxiliary else DEFECT_KINDS
    n_train = 0 if auxiliary else counts.train
    n_normal = counts.auxiliary_normal if auxiliary else counts.normal
    n_defective = counts.auxiliary_defective if auxiliary else counts.defective
    for i in range(n_train):
        _save(draft / job / "train" / "good" / f"{i:03d}.png", render(name, first + i)[0])
    for i in range(n_normal):
        _save(draft / job / "test" / "good" / f"{i:03d}.png", render(name, first + 100_000 + i)[0])
    for i in range(n_defective):
        number, kind = divmod(i, len(kinds))
        image, mask = render(name, first + 200_000 + i, kinds[kind])
        _save(draft / job / "test" / kinds[kind] / f"{number:03d}.png", image)
        _save(draft / job / "ground_truth" / kinds[kind] / f"{number:03d}_mask.png", mask.astype(np.uint8) * 255)


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _main() -> None:
    parser = argparse.ArgumentParser(description="Draw some classes of the demo data set (called by render_demo).")
    parser.add_argument("draft", type=Path)
    parser.add_argument("counts", help="DemoCounts as JSON")
    parser.add_argument("jobs", nargs="+")
    arguments = parser.parse_args()
    counts = DemoCounts(**json.loads(arguments.counts))
    for job in arguments.jobs:
        _render_class(arguments.draft, job, counts)
        print(job, flush=True)


if __name__ == "__main__":
    _main()
