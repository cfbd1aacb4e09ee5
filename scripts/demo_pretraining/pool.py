"""The pool of pre-training pairs: rendered once by several processes into memory-mapped uint8 files."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from adbench.demo.synthetic import PRETRAINING_CLASSES, PRETRAINING_KINDS, render_pair
from adbench.demo.synthetic.frame import COLOURS
from adbench.demo.synthetic.world import PRETRAINING_SEEDS

SIZE, SMALL, PATCH = 96, 64, 8
CHUNK = 250
FIELDS = {
    "large": (np.uint8, (2, SIZE, SIZE, 3)),  # normal and defective picture
    "small": (np.uint8, (2, SMALL, SMALL, 3)),
    "cover_large": (np.uint8, (SIZE // PATCH, SIZE // PATCH)),  # defect's share of each patch x 255
    "cover_small": (np.uint8, (SMALL // PATCH, SMALL // PATCH)),
    "facts": (np.int16, (3,)),  # indices of class, defect kind and colour
}


def draw_pair(index: int, seed: int) -> tuple[str, str]:
    """Class and defect kind of pair ``index``: never one that is held out."""
    rng = np.random.default_rng([seed, index])
    return str(rng.choice(PRETRAINING_CLASSES)), str(rng.choice(PRETRAINING_KINDS))


def _open(folder: Path, n: int, mode: str) -> dict[str, np.ndarray]:
    return {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", mode, dtype, (n, *shape))
        if mode == "w+"
        else np.load(folder / f"{name}.npy", mmap_mode=mode)
        for name, (dtype, shape) in FIELDS.items()
    }


def _cover(mask: np.ndarray, n: int) -> np.ndarray:
    """Share (n, n) uint8 of a mask (S, S) in each of n x n equal squares."""
    k = mask.shape[0] // n
    return np.round(mask.reshape(n, k, n, k).mean((1, 3)) * 255).astype(np.uint8)


def _fill(job: tuple[Path, int, int, int]) -> int:
    folder, start, stop, seed = job
    arrays = _open(folder, 0, "r+")
    colours = list(COLOURS)
    for i in range(start, stop):
        name, kind = draw_pair(i, seed)
        pair = render_pair(name, PRETRAINING_SEEDS.start + i, kind, SIZE)
        for side, picture in enumerate((pair.normal, pair.defective)):
            arrays["large"][i, side] = picture
            arrays["small"][i, side] = np.asarray(Image.fromarray(picture).resize((SMALL, SMALL), Image.Resampling.BOX))
        arrays["cover_large"][i] = _cover(pair.mask, SIZE // PATCH)
        arrays["cover_small"][i] = _cover(pair.mask, SMALL // PATCH)
        arrays["facts"][i] = PRETRAINING_CLASSES.index(name), PRETRAINING_KINDS.index(kind), colours.index(pair.colour)
    return stop - start


@dataclass(frozen=True)
class PairBatch:
    """B pairs: pictures (2B, S, S, 3) uint8, normals first; cover (B, g, g) uint8; facts (B, 3)."""

    pictures: np.ndarray
    cover: np.ndarray
    facts: np.ndarray


class Pool:
    """N rendered pairs on disk, drawn in random order without repetition within an epoch."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.arrays = _open(folder, 0, "r")
        self._rng = np.random.default_rng([seed, 99])
        self._order = np.empty(0, np.int64)

    @staticmethod
    def render(folder: Path, n_pairs: int, seed: int, processes: int) -> None:
        """Render ``n_pairs`` pairs into ``folder``."""
        _open(folder, n_pairs, "w+")
        jobs = [(folder, k, min(k + CHUNK, n_pairs), seed) for k in range(0, n_pairs, CHUNK)]
        if processes < 2:
            for job in jobs:
                _fill(job)
            return
        with multiprocessing.get_context("spawn").Pool(processes) as workers:
            done = 0
            for n in workers.imap_unordered(_fill, jobs):
                done += n
                if done % 5000 < CHUNK:
                    print(f"rendered {done} of {n_pairs} pairs", flush=True)

    def draw(self, n: int, *, small: bool) -> PairBatch:
        """The next ``n`` pairs, all turned by the same random flips and transpose."""
        while len(self._order) < n:
            self._order = np.concatenate([self._order, self._rng.permutation(len(self.arrays["facts"]))])
        picked, self._order = np.sort(self._order[:n]), self._order[n:]
        size = "small" if small else "large"
        pictures = self.arrays[size][picked].swapaxes(0, 1)
        pictures = pictures.reshape(-1, *pictures.shape[2:])  # (2B, S, S, 3)
        cover = self.arrays[f"cover_{size}"][picked]
        flip_y, flip_x, transpose = self._rng.random(3) < 0.5
        steps = slice(None, None, -1 if flip_y else 1), slice(None, None, -1 if flip_x else 1)
        pictures, cover = pictures[:, steps[0], steps[1]], cover[:, steps[0], steps[1]]
        if transpose:
            pictures, cover = pictures.swapaxes(1, 2), cover.swapaxes(1, 2)
        return PairBatch(np.ascontiguousarray(pictures), np.ascontiguousarray(cover), self.arrays["facts"][picked])
