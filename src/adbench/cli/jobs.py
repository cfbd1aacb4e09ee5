"""Commands that others run in folders of their own: what finished by the same words is not run again.

job.json        the words, when it was started, how it ended, and what it came to
traceback.txt   of a job that failed unexpectedly
"""

from __future__ import annotations

import importlib
import json
import math
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from adbench.errors import UserError
from adbench.typed import check_value

RECORD, _TRACEBACK = "job.json", "traceback.txt"
_PRODUCTS = {"train": "weights.json", "eval": "results.json"}


class _Made(TypedDict, total=False):
    sha256: str
    files: dict[str, str]


class Record(_Made):
    """How a job has ended. `swept`: what tells it from others; `started`: seconds since 1970; `error`: None or a line.

    `rows`: the command's summary; `sha256`: of its weights.json or results.json, where it has ended well; `files`: of
    settings and plug-ins that the words name, with their sha256.
    """

    name: str
    swept: dict[str, str]
    overrides: list[str]
    started: float
    error: str | None
    rows: list[dict[str, Any]]


def run_job(
    command: str, overrides: Sequence[str], out: Path, *, name: str, swept: Mapping[str, str] | None = None
) -> Record:
    """Run `train` or `eval` with these words in the folder `out`, unless it has finished there by the same files.

    A job that fails raises nothing: its record says why. Interruptions pass; the folder then says where to go on.
    """
    from adbench.atomic import write_json, write_text
    from adbench.engine.weights import file_sha256

    record = finished_job(command, overrides, out)
    if record is not None:
        return record
    words = list(overrides)
    record = Record(name=name, swept=dict(swept or {}), overrides=words, started=time.time(), error=None, rows=[])
    record["files"] = named_files(words)
    (out / _TRACEBACK).unlink(missing_ok=True)  # of an earlier attempt
    try:
        record["rows"] = _run(command, overrides, out)
        record["sha256"] = file_sha256(out / _PRODUCTS[command])
    except UserError as error:
        record["error"] = str(error)
    except Exception as error:  # of this job alone: the others go on, and its traceback is kept
        record["error"] = f"{type(error).__name__}: {error}"
        write_text(out / _TRACEBACK, traceback.format_exc())
    write_json(out / RECORD, record)
    return record


def read_record(path: Path) -> Record:
    """Raises UserError for a file that is missing, damaged or something else."""
    try:
        record: Record = check_value(Record, json.loads(path.read_text(encoding="utf-8")), str(path))
    except (OSError, ValueError) as error:
        hint = "remove its folder and give the same command again"
        raise UserError(f"the record of a job cannot be read: {error}", where=str(path), hint=hint) from error
    return record


def finished_job(command: str, overrides: Sequence[str], out: Path) -> Record | None:
    """The record of the job in `out` if it has ended well by the same words, and all files are still as they were."""
    from adbench.engine.weights import file_sha256

    product = out / _PRODUCTS[command]
    try:
        record = read_record(out / RECORD)
    except UserError:
        return None
    finished = record["error"] is None and record["overrides"] == list(overrides) and product.is_file()
    same_files = record.get("files", {}) == named_files(overrides)
    return record if finished and same_files and record.get("sha256") == file_sha256(product) else None


def named_files(overrides: Sequence[str]) -> dict[str, str]:
    """The YAML files and plug-ins that words name (rerun, benchmark, method, data), with their sha256."""
    from adbench.engine.weights import file_sha256

    named = [Path(word.partition("=")[2].strip("'\"")).expanduser() for word in overrides]
    files = [path for path in named if path.suffix in (".yaml", ".yml", ".py") and path.is_file()]
    return {str(path): file_sha256(path) for path in files}


def _run(command: str, overrides: Sequence[str], out: Path) -> list[dict[str, Any]]:
    """What the job comes to, as rows of metrics."""
    from adbench.engine.progress import make_reporter

    execute = importlib.import_module(f"adbench.cli.{command}").execute
    rows: Sequence[Mapping[str, Any]] = execute([*overrides, f"out={out}"], make_reporter()).summary()
    return [{key: None if _undefined(value) else value for key, value in row.items()} for row in rows]


def _undefined(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
