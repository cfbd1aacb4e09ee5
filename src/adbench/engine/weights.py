"""Learned weights on disk, with the record of how they came about: a few MB, never the backbone, nothing pickled."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from adbench.atomic import write_json
from adbench.engine.record_check import checked_record
from adbench.engine.run_folder import RunFolder
from adbench.engine.tensor_file import read_tensors, write_tensors
from adbench.errors import UserError
from adbench.methods.base import Method
from adbench.structured import read_json
from adbench.weight_files import is_safetensors, plain_names

BACKBONE_KEYS = ("name", "weights_sha256", "quick_gelu")
"""What must agree between the backbone that weights were trained on and the one they are loaded onto."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsRecord:
    """How weights came about. `data` None: unknown (weights published by others, bare tensors).

    data       per training set: {"name", "classes", "n_images", "fingerprint", "images": see `zero_shot.pictures`}
    start      of weights that were started from others: their "sha256" and "data" (None: unknown)
    transform  the preprocessing, as it describes itself
    training   the settings that decide the result, seed included
    adaptation of what was fitted to support images: {"dataset", "k", "seed", "supports": records of the sets}
    selection  None for the last epoch, else {"rule", "metric", "value", "epoch", "data": [{"name", "classes",
               "images"}]}; of
               weights that their authors select on the images they report: {"rule": "best_on_test", "data": None}
    remarks    what must stand beside every result with these weights, in words
    plugin     where a method that is not built in came from (`Method.plugin`): for people, never followed
    sha256     of the weights file
    source     the file that was read; not part of the record on disk
    """

    method: str
    hyperparameters: dict[str, Any]
    backbone: dict[str, Any]
    data: list[dict[str, Any]] | None
    transform: dict[str, Any] | None = None
    training: dict[str, Any] | None = None
    seed: int | None = None
    epoch: int | None = None
    step: int | None = None
    selection: dict[str, Any] | None = None
    adaptation: dict[str, Any] | None = None
    start: dict[str, Any] | None = None
    remarks: list[str] = field(default_factory=list)
    plugin: dict[str, Any] | None = None
    adbench_version: str = ""
    sha256: str = ""
    source: str = ""


def record_of(method: Method, data: list[dict[str, Any]] | None, **facts: Any) -> WeightsRecord:
    """The record of weights of this method, trained on such data, with further `facts`."""
    return WeightsRecord(
        method=method.name, hyperparameters=hyperparameters(method), backbone=backbone(method), data=data, **facts
    )


def hyperparameters(method: Method) -> dict[str, Any]:
    """The values that `method` was built with, by constructor argument, as JSON knows them.

    Read from `method.hyperparameters` where there is such a mapping, else from the attributes of the same names.
    """
    given = getattr(method, "hyperparameters", None)
    if not isinstance(given, Mapping):
        given = {key: getattr(method, key) for key in type(method).hyperparameter_defaults() if hasattr(method, key)}
    return dict(json.loads(json.dumps(dict(given))))


def backbone(method: Method) -> dict[str, Any]:
    """What the method's backbone says of itself, as JSON knows it."""
    return dict(json.loads(json.dumps(method.clip.describe())))


def deciding_backbone(described: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the numbers of a backbone that describes itself so: BACKBONE_KEYS, and a precision below float32.

    Weights trained in one precision may be used in another, as under autocast; what was computed may not.
    """
    dtype = described.get("dtype", "float32")
    held = {} if dtype == "float32" else {"dtype": dtype}
    return {**{key: described.get(key) for key in BACKBONE_KEYS}, **held}


def save_weights(method: Method, path: Path, record: WeightsRecord) -> WeightsRecord:
    """Write the learned tensors to `path` (weights.safetensors) and the record beside it (weights.json), each whole.

    The record is inside the safetensors file too, so a file moved elsewhere still knows itself. The JSON file comes
    last and holds the hash of the first: where it stands, the weights are complete.
    """
    record = replace(record, plugin=None if method.plugin is None else dict(method.plugin))
    known = {key: value for key, value in asdict(record).items() if key not in ("sha256", "source")}
    write_tensors(path, method.learnable_state(), known)
    done = replace(record, sha256=file_sha256(path), source=str(path))
    write_json(path.with_suffix(".json"), {**known, "sha256": done.sha256})
    return done


def read_record(path: Path) -> WeightsRecord | None:
    """The record of a run folder or weights file; None for weights that carry none (published by others).

    Use it to build the method with the hyperparameters of its training before `load_weights`.
    """
    file = weights_file(path)
    if not _is_ours(file):
        return None
    _, header = read_tensors(file)
    return None if header is None else _record(header, file)


def load_weights(method: Method, path: Path) -> WeightsRecord:
    """Load a run folder, a weights file (.safetensors), or a checkpoint published by the authors (.pth, .pt, ...).

    Raises UserError naming what differs: method, hyperparameters, backbone (name, hash, activation).
    """
    file = weights_file(path)
    if not _is_ours(file):
        method.load_official(file)
        return _unknown_origin(method, file, official=True)
    tensors, header = read_tensors(file)
    if header is None:
        state = method.learnable_state()
        _load(method, tensors if tensors.keys() == state.keys() else plain_names(tensors), file)
        return _unknown_origin(method, file, official=False)
    record = _record(header, file)
    check_fits(record, method)
    _load(method, tensors, file)
    if (record.plugin or {}).get("sha256") == (method.plugin or {}).get("sha256"):
        return record
    remark = "the code of the method's plug-in has changed since these weights were trained"
    return replace(record, remarks=[*record.remarks, remark])


def check_is_known(record: WeightsRecord, known: Iterable[str], hint: str) -> None:
    """Raise UserError, with its plug-in, where the weights' method is not among the `known` ones.

    `hint`: how a plug-in is given, "PLACE" standing for its place. The record is somebody's file: its code is not run.
    """
    if record.method in known or record.plugin is None:
        return
    place = str(record.plugin.get("place"))
    how = hint.replace("PLACE", place) if place.endswith(".py") else f"install {place}"
    raise UserError(
        f"these are weights of method {record.method}, a plug-in that is not there", where=record.source, hint=how
    )


def check_fits(record: WeightsRecord, method: Method) -> None:
    """Raise UserError naming each difference between what the weights were made with and `method`."""
    if record.method != method.name:
        raise UserError(
            f"these are weights of method {record.method}, not {method.name}",
            where=record.source,
            hint=f"use method={record.method}, or weights of {method.name}",
        )
    differing = differences("backbone.", record.backbone, backbone(method), BACKBONE_KEYS)
    if differing:
        raise UserError(
            f"the weights were trained on another backbone: {differing}",
            where=record.source,
            hint="load the backbone that they were trained on (clip=..., clip.checkpoint=...)",
        )
    now = hyperparameters(method)
    # A later version may have more; what only scoring reads may be chosen anew.
    known = [key for key in now if key in record.hyperparameters and key not in method.scoring_only]
    differing = differences("method.", record.hyperparameters, now, known)
    if differing:
        raise UserError(
            f"the weights were trained with other hyperparameters: {differing}",
            where=record.source,
            hint="build the method with the values that it was trained with"
            + (f"; only {', '.join(sorted(method.scoring_only))} may change" if method.scoring_only else ""),
        )


def differences(prefix: str, trained: Mapping[str, Any], now: Mapping[str, Any], keys: Iterable[str]) -> str:
    """Name what differs below `keys`, None being like missing: "backbone.name 'a' then, 'b' now"; empty if nothing."""
    said = []
    for key in keys:
        before, after = trained.get(key), now.get(key)
        if all(value is None or isinstance(value, Mapping) for value in (before, after)):
            inside = dict.fromkeys([*(before or {}), *(after or {})])
            said.append(differences(f"{prefix}{key}.", before or {}, after or {}, inside))
        elif before != after:
            said.append(f"{prefix}{key} {before!r} then, {after!r} now")
    return ", ".join(filter(None, said))


def weights_file(path: Path) -> Path:
    """The weights file that `path`, a run folder or the file itself, stands for. Raises UserError if there is none."""
    if path.is_file():
        return path
    if not path.exists():
        raise UserError("there is no such run or weights file", where=f"checkpoint={path}", hint="check the path")
    if not (path / "run.json").exists() and any([*path.glob("*.pt"), *path.glob("*.pth")]):
        return path  # several files of one method's authors
    run = RunFolder.open(path)
    fitted = [file for file in sorted(path.glob("weights_*.safetensors")) if file.with_suffix(".json").exists()]
    if len(fitted) > 1:
        raise UserError(
            f"this run holds weights for {len(fitted)} different supports",
            where=str(path),
            hint=f"name one of its files: {', '.join(file.name for file in fitted)}",
        )
    if fitted:
        return fitted[0]
    if run.weights_path.with_suffix(".json").exists():
        return run.weights_path
    if run.checkpoint_path.exists():
        raise UserError(
            "this training has not finished",
            where=str(path),
            hint=f"run the same `train` with {shlex.quote(f'out={path}')} to go on",
        )
    raise UserError("this run holds no weights", where=str(path), hint="give the folder of a training run")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; of a folder, of the hashes of its files."""
    digest = hashlib.sha256()
    if path.is_dir():
        for member in sorted(path.iterdir()):
            digest.update(f"{member.name} {file_sha256(member)}\n".encode() if member.is_file() else b"")
        return digest.hexdigest()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _is_ours(file: Path) -> bool:
    """Whether the file is of the format in which weights are kept here, rather than of a method's authors."""
    return file.is_file() and (file.suffix == ".safetensors" or is_safetensors(file))


def _record(header: Mapping[str, Any], file: Path) -> WeightsRecord:
    if "position" in header:
        raise UserError(
            "this is the checkpoint of a training that has not finished, no weights",
            where=str(file),
            hint=f"go on with the same `train` and {shlex.quote(f'out={file.parent}')}, then give that folder",
        )
    record = WeightsRecord(**checked_record(header, file))
    digest, note = file_sha256(file), file.with_suffix(".json")
    hint = "copy it again, or remove it: the weights carry their own record"
    if note.exists() and read_json(note, hint=hint).get("sha256") != digest:
        raise UserError(
            f"{note.name} beside the weights is of another file: the hashes differ",
            where=str(file),
            hint="copy both files of the run again, or remove the .json file: the weights carry their own record",
        )
    return replace(record, sha256=digest, source=str(file))


def _check_numbers(method: Method, tensors: Mapping[str, Tensor], file: Path) -> None:
    """Raise UserError naming the first tensor of another dtype than the method's, or with values not finite."""
    dtypes = {name: tensor.dtype for name, tensor in method.learnable_state().items()}
    for name, tensor in tensors.items():
        wanted = {dtypes[name]} if name in dtypes else set(dtypes.values()) or {tensor.dtype}
        if tensor.dtype not in wanted:
            fault = f"{str(tensor.dtype)[6:]} instead of {' or '.join(sorted(str(kind)[6:] for kind in wanted))}"
        elif tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            fault = "values that are not finite"
        else:
            continue
        raise UserError(
            f"the tensor {name:.100} holds {fault}", where=str(file), hint="copy the file again, or train it again"
        )


def _load(method: Method, tensors: Mapping[str, Tensor], file: Path) -> None:
    _check_numbers(method, tensors, file)
    try:
        method.load_learnable_state(tensors)
    except UserError as error:
        raise UserError(error.what, where=str(file), hint=error.hint) from error


def _unknown_origin(method: Method, file: Path, *, official: bool) -> WeightsRecord:
    return record_of(
        method,
        None,
        selection={"rule": "best_on_test", "data": None} if official and method.official_selects_on_test else None,
        sha256=file_sha256(file),
        source=str(file),
    )
