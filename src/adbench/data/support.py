"""Support sets: K normal training images of a class, drawn the same way everywhere, or read from published lists.

The draw (`source="seeded"`) sorts the pool by a hash of data set, class, seed and the image's relative path and takes
the first K. So it does not depend on file order, platform, library versions, or on which other classes run; sets of
different K are nested; a file more or less changes a set only where it is concerned.

Imports no torch: drawing needs file names only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench.data.containers import content_sha256
from adbench.data.sample import Sample
from adbench.data.support_sources import NEED_NO_POOL, SEEDED, SOURCES, Request, relative_path
from adbench.errors import UserError, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from adbench.data.sample import Batch
    from adbench.data.transforms import Transform


@dataclass(frozen=True, kw_only=True, slots=True)
class SupportSettings:
    """Which support sets an evaluation uses: one per class for every K in `k` and seed in `seed`.

    source     see `support_sources`: seeded (default), promptad, promptad_dir, inctrl, anomalydino, first,
               random_with_replacement, folder, file
    k          numbers of images; 0: none (zero-shot)
    seed       of the draw, not of the training; only seeded and anomalydino depend on it
    path       file or folder of the sources that read one; "{k}" and "{class}" in it are replaced
    allow_any  source file: take images that are not normal training images too; recorded
    """

    source: str = "seeded"
    k: tuple[int, ...] = (0,)
    seed: tuple[int, ...] = (0,)
    path: Path | None = None
    allow_any: bool = False

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise unknown("source of support sets", self.source, SOURCES, where="support")
        for name, values in (("k", self.k), ("seed", self.seed)):
            whole = all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in values)
            if not values or not whole or len(set(values)) != len(values):
                shown = ",".join(map(str, values))
                hint = f"give different whole numbers of at least 0, as in support.{name}=1,2,4"
                raise UserError(f"support.{name} is {shown or 'empty'}", where=f"support.{name}", hint=hint)
        if len(self.seed) > 1 and self.source not in SEEDED:
            raise UserError(
                f"support sets from {self.source!r} do not depend on a seed, but {len(self.seed)} are given",
                where="support.seed",
                hint=f"leave it out, or use support={' or '.join(SEEDED)}",
            )

    @property
    def draws(self) -> list[tuple[int, int | None]]:
        """(K, seed) of every set of a class; seed None where nothing is drawn with one. K = 0 comes once."""
        seeds: Sequence[int | None] = self.seed if self.source in SEEDED else [None]
        return [(k, seed) for k in self.k for seed in (seeds if k else [None])]


_RECORDED = ("dataset", "class_name", "k", "source", "seed", "pool_size", "pool_sha256")


@dataclass(frozen=True, kw_only=True, slots=True)
class SupportSet:
    """K normal images of one class, and how they were chosen.

    names        per image the path relative to the class's folder (`relative_path`), or "sha256:..." of a tensor
    samples      the images, in support order; empty for ready-made tensors
    tensors      (K, 3, H, W) float32, already preprocessed, else None
    pool_size    number of images that could have been chosen; pool_sha256: of their sorted names
    flags        order_assumed, duplicates (how many names occur again), exclude_query, from_test
    """

    dataset: str
    class_name: str
    k: int
    source: str
    seed: int | None
    names: tuple[str, ...]
    samples: tuple[Sample, ...] = ()
    tensors: Tensor | None = None
    pool_size: int = 0
    pool_sha256: str = ""
    flags: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Short name of the set: first 16 hex digits of the hash over its names in order."""
        return listing_sha256(self.names)[:16]

    def record(self) -> dict[str, Any]:
        """Everything that is needed to repeat the set, as JSON types. Reads the files to hash them."""
        hashes = [content_sha256(sample.path) for sample in self.samples]
        return {
            **{key: getattr(self, key) for key in (*_RECORDED, "id")},
            "paths": list(self.names),
            "sha256": hashes or [name.removeprefix("sha256:") for name in self.names],
            "flags": dict(self.flags),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> SupportSet:
        """The set of such a record, by names only."""
        names = tuple(record["paths"])
        return cls(names=names, flags=record["flags"], **{key: record[key] for key in _RECORDED})

    def load(self, transform: Transform) -> Batch:
        """The images as a batch, in support order. Raises UserError for tensors of another size than the method's."""
        import torch

        from adbench.data.loading import load_batch
        from adbench.data.sample import Batch

        if self.tensors is None:
            return load_batch(self.samples, transform, with_masks=False)
        side = transform.image_size
        if tuple(self.tensors.shape[1:]) != (3, side, side):
            raise UserError(
                f"the support tensors of {self.class_name} are {tuple(self.tensors.shape[1:])}, "
                f"the method takes {(3, side, side)}",
                where=f"support={self.source}",
                hint="use the backbone and image size that they were made for",
            )
        labels = torch.zeros(self.k, dtype=torch.int64)
        return Batch(self.tensors, labels, [self.class_name] * self.k, list(self.names), self.dataset)


def draw(
    settings: SupportSettings, pool: Sequence[Sample], *, dataset: str, class_name: str, k: int, seed: int | None
) -> SupportSet:
    """The support set of a class for one K and seed.

    pool  the normal samples of the class's training split; with source "file" and `allow_any`, all samples of the class
    Raises UserError for a pool without images, fewer than K images, lists that do not fit the data, missing files.
    """
    normals = [sample for sample in pool if sample.label == 0 and sample.split == "train"]
    if not normals and settings.source not in NEED_NO_POOL and not settings.allow_any:
        raise UserError(
            f"class {class_name} of {dataset} has no normal training images to take as support",
            where=f"support.k={k}",
            hint="give it a train folder, name another by support=folder support.path=DIR, or leave the class out",
        )
    ordered = sorted(normals, key=relative_path)
    names = [relative_path(sample) for sample in ordered]
    request = Request(
        source=settings.source,
        path=settings.path,
        allow_any=settings.allow_any,
        dataset=dataset,
        class_name=class_name,
        k=k,
        seed=seed,
        pool=ordered,
        everything=pool,
    )
    chosen = SOURCES[settings.source](request)
    repeated = len(chosen.names) - len(set(chosen.names))
    flags = {"order_assumed": chosen.order_assumed, "duplicates": repeated, "exclude_query": False}
    return SupportSet(
        dataset=dataset,
        class_name=class_name,
        k=k,
        source=settings.source,
        seed=seed,
        names=tuple(chosen.names),
        samples=tuple(chosen.samples),
        tensors=chosen.tensors,
        pool_size=len(ordered),
        pool_sha256=listing_sha256(names),
        flags=flags | {"from_test": any(sample.split == "test" for sample in chosen.samples)},
    )


def draw_supports(
    settings: SupportSettings, pools: Mapping[str, Sequence[Sample]], *, dataset: str
) -> dict[tuple[int, int | None], dict[str, SupportSet]]:
    """The support sets of all classes for every (K, seed) of `settings`; no sets for K = 0. `pools`: see `draw`."""
    return {
        (k, seed): {
            name: draw(settings, pool, dataset=dataset, class_name=name, k=k, seed=seed)
            for name, pool in pools.items()
            if k
        }
        for k, seed in settings.draws
    }


def check_leaks(sets: Iterable[SupportSet], queries: Iterable[Sample]) -> None:
    """Raise UserError if a support image is among the images to be scored.

    Compared by file; images from outside of the data set (source "folder") by their contents too.
    """
    by_path: dict[Path, Sample] = {}
    by_size: dict[int, list[Sample]] = {}
    for query in queries:
        by_path[query.path.resolve()] = query
        by_size.setdefault(query.path.stat().st_size if query.path.is_file() else -1, []).append(query)
    for support in sets:
        for name, sample in zip(support.names, support.samples, strict=False):
            same = by_path.get(sample.path.resolve())
            if same is None and support.source == "folder":
                alike = by_size.get(sample.path.stat().st_size, [])
                digest = content_sha256(sample.path) if alike else ""
                same = next((query for query in alike if content_sha256(query.path) == digest), None)
            if same is not None:
                raise UserError(
                    f"a support image of class {support.class_name} is also one to be scored: {name}",
                    where=f"{sample.path} and {same.path}",
                    hint="take support images from the training split, or leave the image out of the test data",
                )


def listing_sha256(names: Iterable[str]) -> str:
    """Hash over the lines `name` + newline, in the given order."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
