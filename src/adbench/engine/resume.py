"""Whether a run folder holds the training that is asked for: unfinished, finished, or another one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import adbench
from adbench.engine.annotation import annotation_remarks
from adbench.engine.provenance import describe_data
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, TrainData, TrainSettings
from adbench.engine.weights import (
    WeightsRecord,
    deciding_backbone,
    differences,
    file_sha256,
    read_record,
    record_of,
    weights_file,
)
from adbench.engine.zero_shot import pictures
from adbench.errors import UserError
from adbench.methods.base import Method

SPEED_ONLY = (
    *("workers", "checkpoint_minutes", "checkpoint_steps", "log_every", "heat_maps"),
    *("cache", "cache_mib", "cache_dir", "image_cache"),
)
"""Training settings that do not change the weights (the cache: beyond rounding): they may differ when one goes on."""
SELECTION_ONLY = ("select_metric", "validate_every")

HINT = "repeat those settings, choose another folder, or train anew with resume=false"


def deciding_settings(settings: TrainSettings) -> dict[str, Any]:
    """The settings that decide the weights, as JSON knows them."""
    left_out = SPEED_ONLY + (SELECTION_ONLY if settings.select == "last" else ())
    stored = {key: value for key, value in asdict(settings).items() if key not in left_out}
    return dict(json.loads(json.dumps(stored)))


def training_record(
    method: Method, data: Sequence[TrainData], settings: TrainSettings, validation: Sequence[EvalData]
) -> WeightsRecord:
    """The record of this training, as far as it is known before the first step."""
    training: dict[str, Any] = deciding_settings(settings)
    if settings.select == "best_on_test":
        training["validation"] = {part.name: describe_data(part.name, part.samples) for part in validation}
    return record_of(
        method,
        [{**describe_data(part.name, part.samples), "images": pictures(part.samples)} for part in data],
        transform=method.transform.describe(),
        training=training,
        seed=settings.seed,
        start=None if settings.init_from is None else _start(Path(settings.init_from).expanduser()),
        remarks=[*annotation_remarks(method, data, settings), *_subset_remarks(settings)],
        plugin=None if method.plugin is None else dict(method.plugin),
        adbench_version=adbench.__version__,
    )


def _subset_remarks(settings: TrainSettings) -> list[str]:
    k = settings.aux_per_class
    return [] if k is None else [f"trained on {k} images of each class, drawn by seed {settings.seed}"]


def _start(path: Path) -> dict[str, Any]:
    """The weights that a training starts from: their hash, and what is known of the data that they come from."""
    record = read_record(path)
    data = None
    if record is not None and record.data is not None:
        before = (record.start or {"data": []})["data"]
        data = None if before is None else [*record.data, *before]
    return {"sha256": file_sha256(weights_file(path)), "data": data}


def check_same_training(stored: Mapping[str, Any], wanted: WeightsRecord, where: Path) -> None:
    """Raise UserError naming what differs between the training a file is of and the one asked for."""
    then, now = _identity(stored), _identity(asdict(wanted))
    differing = differences("", then, now, now)
    if differing:
        raise UserError(f"the folder holds another training: {differing}", where=str(where), hint=HINT)


def finished_record(run: RunFolder, wanted: WeightsRecord) -> WeightsRecord | None:
    """The record of the finished weights in `run`, None if there are none. Raises UserError if of another training."""
    if not run.weights_path.with_suffix(".json").exists():
        return None
    record = read_record(run.weights_path)
    if record is not None:
        check_same_training(asdict(record), wanted, run.weights_path)
    return record


def has_begun(run: RunFolder) -> bool:
    """Whether `run` holds anything that a training would go on from: a checkpoint, or finished weights."""
    return run.checkpoint_path.exists() or run.weights_path.with_suffix(".json").exists()


def clear(run: RunFolder) -> None:
    """Drop everything that a training left in `run`; first what says that it has finished."""
    for path in (run.weights_path.with_suffix(".json"), run.weights_path, run.checkpoint_path, run.history_path):
        path.unlink(missing_ok=True)
    shutil.rmtree(run.tensorboard_dir, ignore_errors=True)


def _identity(record: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a training this one, as JSON has it."""
    data = {
        part["name"]: {k: v for k, v in part.items() if k not in ("name", "images", "plugin")}
        for part in record["data"] or []
    }
    parts = {
        "method": record["method"],
        "plugin": (record.get("plugin") or {}).get("sha256"),
        "hyperparameters": record["hyperparameters"],
        "backbone": deciding_backbone(record["backbone"]),
        "transform": record["transform"],
        "data": data,
        "training": record["training"],
        "start": (record.get("start") or {}).get("sha256"),
    }
    return dict(json.loads(json.dumps(parts)))
