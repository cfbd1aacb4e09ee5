"""MSM: how far each patch of an image is from the nearest patch of every other image, each pair computed once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from adbench.errors import UserError

Load = Callable[[Sequence[int]], Tensor]
"""Numbers of images -> their patches as unit vectors (n, T, D)."""


def bounds(interval: Sequence[float], n_others: int) -> tuple[int, int]:
    """First and last (excluded) of the sorted distances to other images that count; a bound >= 1 is a count itself."""
    low, high = (int(bound if bound >= 1 else bound * n_others) for bound in interval)
    return low, high


@contextmanager
def nearest_distances(
    load: Load, n_images: int, shape: tuple[int, int], *, memory: int, advance: Callable[[int], None]
) -> Iterator[Tensor]:
    """Distances (n, n, T): [i, j, t] from patch t of image i to the nearest patch of image j; infinite where i = j.

    shape    number T and width D of an image's patches
    memory   bytes, a quarter for each of: the result, else kept in a temporary file; two blocks of images; the
             products of a patch grid with those of several images. What one pair of images needs is taken in any case
    advance  called with the number of pairs of images done since the last call
    """
    with tempfile.TemporaryDirectory(prefix="adbench-musc-", ignore_cleanup_errors=True) as folder:
        quarter, n_patches = memory // 4, shape[0]
        block = max(1, quarter // (4 * n_patches * shape[1]))
        table: Tensor | None = None
        for first in range(0, n_images, block):
            rows = range(first, min(first + block, n_images))
            ours = load(rows)
            if table is None:
                table = _table((n_images, n_images, n_patches), ours, quarter, folder)
            for second in range(first, n_images, block):
                columns = range(second, min(second + block, n_images))
                _fill(table, ours, rows, ours if first == second else load(columns), columns, quarter, advance)
        assert table is not None
        yield table


def _fill(
    table: Tensor,
    ours: Tensor,
    rows: range,
    theirs: Tensor,
    columns: range,
    memory: int,
    advance: Callable[[int], None],
) -> None:
    """Enter the distances of all pairs (i, j > i) of two blocks of images, both ways from one product."""
    n_patches = ours.shape[1]
    step = max(1, memory // (ours.element_size() * n_patches**2))
    for i in rows:
        for start in range(max(columns.start, i + 1), columns.stop, step):
            js = slice(start, min(start + step, columns.stop))
            others = theirs[js.start - columns.start : js.stop - columns.start]  # (m, T, D)
            cosines = (ours[i - rows.start] @ others.flatten(0, 1).mT).unflatten(1, others.shape[:2])  # (T, m, T)
            table[i, js] = _distance(cosines.amax(dim=2).mT).to(table.device)
            table[js, i] = _distance(cosines.amax(dim=0)).to(table.device)
            advance(js.stop - js.start)


def _distance(cosines: Tensor) -> Tensor:
    return (2 - 2 * cosines).clamp_(min=0).sqrt_()


def _table(shape: tuple[int, int, int], like: Tensor, memory: int, folder: str) -> Tensor:
    size = torch.Size(shape).numel()
    if size * like.element_size() <= memory:
        table = like.new_empty(shape)
    else:
        path = Path(folder) / "distances"
        try:
            table = torch.from_file(str(path), shared=True, size=size, dtype=like.dtype).view(shape)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"no room for the distances of {shape[0]} images: {error}",
                where=folder,
                hint="raise method.memory_mib or method.divide_num, or name a folder with room in $TMPDIR",
            ) from error
    table.diagonal().fill_(torch.inf)  # an image is no reference of its own
    return table


def interval_means(distances: Tensor, low: int, high: int, device: torch.device) -> Tensor:
    """Mean (n, T), per patch, of its distances to other images from the low-th to the high-th smallest (excluded)."""
    rows = (image.to(device).topk(high, dim=0, largest=False).values[low:] for image in distances)  # (n, T) each
    return torch.stack([row.mean(dim=0) for row in rows])
