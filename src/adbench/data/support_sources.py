"""Where support sets come from: a function per source, from a class's pool to the images chosen.

seeded                   the seeded draw (see `support`)
promptad                 PromptAD's published index lists, for MVTec AD and VisA with K = 1, 2, 4
promptad_dir             the same from files: path/<class>/selected_samples_per_run.txt, lines "#K: i j ..."
inctrl                   ready-made tensors: path/<class>.pt, a list of K tensors (3, H, W), used as they are
anomalydino              as AnomalyDINO's code: images s*K to (s+1)*K - 1 of the sorted pool, s the seed
first                    the first K of the sorted pool, which many codes take
random_with_replacement  as mala-lab's WinCLIP: NumPy's RandomState(10).choice on the sorted pool, so that an image can
                         occur twice
folder                   the first K images of a folder: path, or path/<class> where there is one
file                     a JSON file: {"version": 1, "dataset": ..., "classes": {class: {"K": [relative paths]}}}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adbench.data.promptad_lists import INDICES, N_TRAIN
from adbench.data.reading import AS_PUBLISHED
from adbench.data.sample import Sample
from adbench.data.tree import listing
from adbench.errors import UserError, unknown

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is wanted, as in `SupportSettings`, of one class.

    pool        normal training samples sorted by relative path
    everything  all samples that may be named
    """

    source: str
    path: Path | None
    allow_any: bool
    dataset: str
    class_name: str
    k: int
    seed: int | None
    pool: Sequence[Sample]
    everything: Sequence[Sample]

    @property
    def what(self) -> str:
        """The set in words, for errors."""
        return f"{self.dataset}/{self.class_name}, K = {self.k}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The images of a set in support order: samples with their names, or tensors named by their hashes."""

    names: Sequence[str]
    samples: Sequence[Sample] = ()
    tensors: Tensor | None = None
    order_assumed: bool = False


def relative_path(sample: Sample) -> str:
    """An image's name in draws and records: its path below the class's folder, such as train/good/007.png.

    That is the class's folder in a layout of <class>/train/...; in trees that are read by a table (VisA's archive,
    ELPV) it is the whole path below the data set's root.
    """
    _, folder, name = f"/{sample.key}".partition(f"/{sample.class_name}/train/")
    return f"train/{name}" if folder else sample.key


def _of(samples: Sequence[Sample], *, order_assumed: bool = False) -> Choice:
    names = [relative_path(sample) for sample in samples]
    return Choice(names=names, samples=samples, order_assumed=order_assumed)


def _enough(request: Request, least: int | None = None) -> None:
    wanted, available = least or request.k, len(request.pool)
    if available < wanted:
        raise UserError(
            f"class {request.class_name} of {request.dataset} has {available} normal training images, "
            f"{wanted} are needed",
            where=f"support.k={request.k}",
            hint=f"choose K of at most {available}" if least is None else "choose a smaller K or seed",
        )


def _seeded(request: Request) -> Choice:
    _enough(request)

    def digest(sample: Sample) -> bytes:
        parts = ("adbench-support-v1", request.dataset, request.class_name, str(request.seed), relative_path(sample))
        return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).digest()

    return _of(sorted(request.pool, key=digest)[: request.k])


def _first(request: Request) -> Choice:
    _enough(request)
    return _of(request.pool[: request.k])


def _anomalydino(request: Request) -> Choice:
    start = (request.seed or 0) * request.k
    _enough(request, start + request.k)
    return _of(request.pool[start : start + request.k])


def _random_with_replacement(request: Request) -> Choice:
    return _of([request.pool[i] for i in np.random.RandomState(10).choice(len(request.pool), request.k)])


def _promptad(request: Request) -> Choice:
    known = N_TRAIN.get(request.dataset, {})
    indices = INDICES.get((request.dataset, request.class_name, request.k))
    if indices is None:
        raise UserError(
            f"PromptAD published no support set for {request.what}",
            where="support=promptad",
            hint="it did for the classes of mvtec and visa with K = 1, 2 and 4; or use support=seeded",
        )
    if len(request.pool) != known[request.class_name]:
        raise UserError(
            f"PromptAD's lists are positions among {known[request.class_name]} training images of "
            f"{request.class_name}, here are {len(request.pool)}",
            where="support=promptad",
            hint="restore the full training split, or use support=seeded",
        )
    return _of([request.pool[i] for i in indices], order_assumed=True)


def _promptad_dir(request: Request) -> Choice:
    file = _path(request) / request.class_name / "selected_samples_per_run.txt"
    for line in _read(file).splitlines():
        head, colon, tail = line.strip().partition(":")
        if colon and head == f"#{request.k}":
            break
    else:
        raise UserError(f"there is no line #{request.k}:", where=str(file), hint="choose a K that the file has")
    try:
        indices = [int(word) for word in tail.split()]
    except ValueError as error:
        raise UserError(f"the line {line!r} holds no indices", where=str(file), hint="get the file again") from error
    if len(indices) != request.k or not all(0 <= i < len(request.pool) for i in indices):
        raise UserError(
            f"the line {line!r} does not name {request.k} of the {len(request.pool)} training images",
            where=str(file),
            hint="check that the file belongs to this data set",
        )
    return _of([request.pool[i] for i in indices], order_assumed=True)


def _inctrl(request: Request) -> Choice:
    import torch

    from adbench.weight_files import open_weights

    file = _path(request) / f"{request.class_name}.pt"
    if not file.is_file():
        raise UserError(f"there are no support tensors of {request.what}", where=f"looked for {file}", hint=_PATH_MEND)
    images = open_weights(file).tensors() or []
    fits = [image.dim() == 3 and image.is_floating_point() and bool(image.isfinite().all()) for image in images]
    if not images or not all(fits) or len({tuple(image.shape) for image in images}) > 1:
        raise UserError(
            "this is no list of finite float tensors (3, H, W) of one size", where=str(file), hint="get the file again"
        )
    if len(images) != request.k:
        raise UserError(
            f"the file holds {len(images)} images, K is {request.k}", where=str(file), hint=f"support.k={len(images)}"
        )
    tensors = torch.stack(images).float()
    names = [f"sha256:{hashlib.sha256(image.contiguous().numpy().tobytes()).hexdigest()}" for image in tensors]
    return Choice(names=names, tensors=tensors)


def _folder(request: Request) -> Choice:
    place = _path(request)
    if (place / request.class_name).is_dir():
        place = place / request.class_name
    images = listing(place).images
    if len(images) < request.k:
        raise UserError(
            f"the folder holds {len(images)} images, {request.k} are needed",
            where=str(place),
            hint=f"choose support.k of at most {len(images)}",
        )
    reading = request.everything[0].reading if request.everything else AS_PUBLISHED
    dataset, class_name = request.dataset, request.class_name
    samples = [
        Sample.below(place, name, dataset=dataset, class_name=class_name, split="support", reading=reading)
        for name in images[: request.k]
    ]
    return Choice(names=images[: request.k], samples=samples)


def _file(request: Request) -> Choice:
    file = _path(request)
    names = _listed(file, request)
    by_name: dict[str, Sample] = {}
    for sample in request.everything:
        by_name[sample.key] = sample
        by_name[relative_path(sample)] = sample
    chosen = []
    for name in names:
        if name not in by_name:
            hint = "check that the file belongs to this data set"
            raise UserError(f"the list names {name!r}, which {request.what} does not have", where=str(file), hint=hint)
        sample = by_name[name]
        if (sample.label or sample.split != "train") and not request.allow_any:
            kind = "an anomalous image" if sample.label else f"an image of the {sample.split} split"
            raise UserError(
                f"the list names {kind}, {name!r}",
                where=str(file),
                hint="list normal training images, or set support.allow_any=true (recorded in the results)",
            )
        chosen.append(sample)
    return _of(chosen)


def _listed(file: Path, request: Request) -> list[str]:
    try:
        content = json.loads(_read(file))
    except ValueError as error:
        raise UserError(f"the list of support images is no JSON: {error}", where=str(file), hint=_FILE_MEND) from error
    classes = content.get("classes") if isinstance(content, dict) else None
    if not isinstance(classes, dict) or content.get("version") != 1:
        raise UserError("this is no list of support images", where=str(file), hint=_FILE_MEND)
    if content.get("dataset") != request.dataset:
        raise UserError(
            f"the support images are of data set {content.get('dataset')!r}, not {request.dataset!r}",
            where=str(file),
            hint="give the list of this data set",
        )
    if request.class_name not in classes:
        raise unknown("class in the list of support images", request.class_name, classes, where=str(file))
    sets: Any = classes[request.class_name]
    names = sets.get(str(request.k)) if isinstance(sets, dict) else None
    if not isinstance(names, list) or len(names) != request.k or not all(isinstance(name, str) for name in names):
        known = ", ".join(sets) if isinstance(sets, dict) else "none"
        raise UserError(
            f"the list has no set of {request.k} images for class {request.class_name}",
            where=str(file),
            hint=f"choose support.k among {known}",
        )
    return names


_FILE_MEND = 'expected {"version": 1, "dataset": ..., "classes": {class: {"K": [relative paths]}}}'
_PATH_MEND = "give support.path=..., in which {class} and {k} are replaced"


def _path(request: Request) -> Path:
    if request.path is None:
        raise UserError(f"support={request.source} reads a file or folder, and none is given", hint=_PATH_MEND)
    text = str(request.path).replace("{k}", str(request.k)).replace("{class}", request.class_name)
    return Path(text).expanduser()


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("the file cannot be read", where=str(file), hint=_PATH_MEND) from error


SOURCES: dict[str, Callable[[Request], Choice]] = {
    "seeded": _seeded,
    "promptad": _promptad,
    "promptad_dir": _promptad_dir,
    "inctrl": _inctrl,
    "anomalydino": _anomalydino,
    "first": _first,
    "random_with_replacement": _random_with_replacement,
    "folder": _folder,
    "file": _file,
}
SEEDED = ("seeded", "anomalydino")
"""Sources whose sets depend on the seed."""
NEED_NO_POOL = ("inctrl", "folder")
"""Sources that bring their own images."""
OWN_CHOICE = ("folder", "file")
"""Sources whose images a user has chosen, by no rule that others know."""
