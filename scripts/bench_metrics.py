"""Measure the pixel metrics against scikit-learn: CPU time on one thread (a ratio within one run), agreement, memory.

    python scripts/bench_metrics.py            40 maps of 518x518, about a minute
    python scripts/bench_metrics.py --large    also the peak memory for 5e8 pixels, exact and in constant memory

scikit-learn computes roc_auc_score + precision_recall_curve + average_precision_score (AUROC, AP and max-F1);
adbench computes these three and the exact AUPRO.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from adbench.metrics import PixelMetrics

SIZE = 518
BATCH = 8
LARGE_PX = 500_000_000
MIB = 1 << 20

Images = tuple[NDArray[np.float32], NDArray[np.bool_]]


def smooth_images(n_images: int, rng: np.random.Generator) -> Images:
    """Half of the images carry two anomalies (about 2 % of all pixels), raised above smooth noise; sigmoid maps."""
    noise = [gaussian_filter(rng.standard_normal((SIZE, SIZE)), 4) for _ in range(n_images)]
    masks = np.zeros((n_images, SIZE, SIZE), np.bool_)
    for mask in masks[::2]:
        y, x = rng.integers(0, SIZE - 110, 2)
        mask[y : y + 100, x : x + 105] = True
        mask[10:20, 10:20] = True
    maps = 1 / (1 + np.exp(2 - 30 * (np.stack(noise) + 0.08 * masks)))
    return maps.astype(np.float32), masks


def saturated_images(n_images: int, rng: np.random.Generator) -> Images:
    """Like softmax maps of a confident model: most scores crowd near 0, the anomalous ones near 1, with ties."""
    maps, masks = smooth_images(n_images, rng)
    return (1 / (1 + np.exp(-40 * (maps - 0.5)))).astype(np.float16).astype(np.float32), masks


def adbench_values(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> dict[str, float]:
    """All four metrics, fed batch by batch."""
    metrics = PixelMetrics()
    for i in range(0, len(maps), BATCH):
        metrics.update(maps[i : i + BATCH], masks[i : i + BATCH])
    return metrics.compute()


def sklearn_values(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> dict[str, float]:
    """Three of them, as the papers' code computes them."""
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

    labels, scores = masks.ravel(), maps.ravel()
    precision, recall, _ = precision_recall_curve(labels, scores)
    with np.errstate(invalid="ignore"):
        f1 = 2 * precision * recall / (precision + recall)
    return {
        "pixel_auroc": float(roc_auc_score(labels, scores)),
        "pixel_ap": float(average_precision_score(labels, scores)),
        "pixel_f1max": float(np.nanmax(f1)),
    }


def cpu_seconds(call: Callable[[], dict[str, float]], repeats: int) -> tuple[float, dict[str, float]]:
    """Return the least CPU time of several calls (other load only ever adds to it) and the last result."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        values = call()
        times.append(time.process_time() - start)
    return min(times), values


def compare(name: str, images: Images) -> bool:
    """Print one comparison; say whether the values agree to 1e-9."""
    maps, masks = images
    ours, values = cpu_seconds(lambda: adbench_values(maps, masks), 7)
    theirs, reference = cpu_seconds(lambda: sklearn_values(maps, masks), 2)
    error = max(abs(values[metric] - reference[metric]) for metric in reference)
    print(
        f"{name:10s} {maps.size / 1e6:.1f} Mpx, {100 * masks.mean():.1f} % anomalous: adbench {1e3 * ours:.0f} ms "
        f"(four metrics), scikit-learn {theirs:.2f} s (three), ratio {theirs / ours:.0f}x, "
        f"largest difference {error:.1e}"
    )
    return bool(error < 1e-9)


def stream(n_pixels: int, rng: np.random.Generator) -> Iterator[Images]:
    """Yield batches of random maps with 2 % anomalous pixels until there are `n_pixels`."""
    masks = np.zeros((BATCH, SIZE, SIZE), np.bool_)
    masks[:, 200:273, 200:273] = True
    for _ in range(-(-n_pixels // masks.size)):
        maps = rng.random(masks.shape, np.float32)
        maps[:, 200:273, 200:273] **= 0.7
        yield maps, masks


def peak_memory(mode: str) -> None:
    """Stream the large set through one accumulator in this process; print peak memory and CPU time."""
    rng = np.random.default_rng(0)
    baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    start = time.process_time()
    metrics = PixelMetrics(mode="constant" if mode == "constant" else "exact")
    for maps, masks in stream(LARGE_PX, rng):
        metrics.update(maps, masks)
    values = metrics.compute()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        f"{mode:8s} {LARGE_PX:.0e} px: peak {peak / MIB:.0f} MiB, {(peak - baseline) / MIB:.0f} MiB above the imports, "
        f"CPU {time.process_time() - start:.0f} s with the making of the maps;",
        " ".join(f"{name}={value:.6f}" for name, value in values.items()),
    )
    if mode == "constant":
        print("           bounds:", " ".join(f"{name}<={bound:.1e}" for name, bound in metrics.error_bounds().items()))


def main() -> None:
    """Run the comparisons; exit with status 1 if a value differs from scikit-learn's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help=f"also measure the peak memory for {LARGE_PX:.0e} pixels")
    parser.add_argument("--images", type=int, default=40, help="maps in the comparison with scikit-learn")
    parser.add_argument("--peak", choices=["exact", "constant"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        return peak_memory(options.peak)
    if options.large:  # first: a child process starts with the peak of its parent
        for mode in ("exact", "constant"):
            subprocess.run([sys.executable, __file__, "--peak", mode], check=True)
    rng = np.random.default_rng(0)
    kinds = {"smooth": smooth_images, "saturated": saturated_images}
    agree = [compare(name, make(options.images, rng)) for name, make in kinds.items()]
    return sys.exit(0 if all(agree) else 1)


if __name__ == "__main__":
    main()
