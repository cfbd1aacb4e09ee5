"""The folder that a run leaves behind, and finding it again.

outputs/<command>/<method>/<data>/<time>/
    run.json                command, method, data, when it was made: what makes a folder a run
    config.yaml             the resolved configuration
    weights.safetensors     learned weights, with weights.json: how they came about (training only)
    checkpoint.safetensors  where an unfinished training goes on
    history.jsonl           the loss curve, one point per line
    tensorboard/            event files
    classes/                finished classes of an unfinished evaluation
    benchmark.json          of a benchmark: what tells whether another command evaluates the same
    weights_*.safetensors   what a method has fitted to support images, with weights_*.json (evaluation only)
    results.json/.csv/.md, report.html, heatmaps/
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind
    fcntl = None  # type: ignore[assignment]

from adbench.atomic import sweep, write_json, write_text
from adbench.errors import UserError


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run's folder. Make one with `create`, or `open` an existing one."""

    path: Path

    @classmethod
    def create(
        cls, command: str, method: str, data: str, *, outputs: Path = Path("outputs"), out: Path | None = None
    ) -> RunFolder:
        """Make a new folder outputs/<command>/<method>/<data>/<time>, or use `out` (an existing run there is kept).

        `data` names one data set or several joined by "+". Raises UserError when `out` holds something else.
        """
        facts = {"command": command, "method": method, "data": data, "created": datetime.now(timezone.utc).isoformat()}
        if out is None:
            run = cls(_new_folder(outputs / command / method / data))
        else:
            run = cls(out)
            if _occupied(out):
                _same_kind(run.facts(), facts, out)
                return run
        write_json(run.facts_path, facts)
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run. Raises UserError when `path` is not one."""
        run = cls(path)
        run.facts()
        return run

    def facts(self) -> dict[str, Any]:
        """What run.json holds: command, method, data, created (ISO 8601, UTC). Raises UserError without one."""
        try:
            facts = json.loads(self.facts_path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(
                "this is not a run folder: it has no readable run.json",
                where=str(self.path),
                mend="give a folder that `train` or `eval` has made, or an empty one",
            ) from error
        return dict(facts)

    def write_config(self, text: str) -> None:
        """Keep the resolved configuration (YAML) with the run."""
        write_text(self.path / "config.yaml", text)

    def config(self) -> dict[str, Any]:
        """The resolved configuration as it was kept; empty where none was. Raises UserError for a damaged file."""
        import yaml

        path = self.path / "config.yaml"
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
            raise UserError(f"the settings of the run cannot be read: {reason}", where=str(path), mend=_MEND) from error
        if not isinstance(values, dict):
            raise UserError("the settings of the run are damaged: no mapping", where=str(path), mend=_MEND)
        return values

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from working in this folder. Raises UserError if one does; the lock dies with it."""
        with (self.path / ".lock").open("a") as file:
            if fcntl is not None:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise UserError(
                        "another process is training or evaluating in this folder",
                        where=str(self.path),
                        mend="wait for it, or stop it",
                    ) from error
            yield

    @property
    def facts_path(self) -> Path:
        """run.json."""
        return self.path / "run.json"

    @property
    def weights_path(self) -> Path:
        """weights.safetensors: there once training has finished."""
        return self.path / "weights.safetensors"

    @property
    def checkpoint_path(self) -> Path:
        """checkpoint.safetensors: where training goes on."""
        return self.path / "checkpoint.safetensors"

    @property
    def history_path(self) -> Path:
        """history.jsonl: the loss curve."""
        return self.path / "history.jsonl"

    @property
    def tensorboard_dir(self) -> Path:
        """tensorboard/."""
        return self.path / "tensorboard"

    @property
    def classes_dir(self) -> Path:
        """classes/: where an unfinished evaluation goes on."""
        return self.path / "classes"

    @property
    def heatmaps_dir(self) -> Path:
        """heatmaps/: one folder per data set."""
        return self.path / "heatmaps"


_MEND = "restore the file, or remove it: weights carry their own record"

# Files that a finished run holds, by what is asked of it.
TRAINED = ("weights.json",)
FITTED = ("results.json", "weights_*.json")


def latest(
    outputs: Path = Path("outputs"),
    *,
    command: str = "train",
    method: str | None = None,
    holds: Sequence[str] = TRAINED,
) -> RunFolder:
    """The newest run of `command` (and `method`) below `outputs` that holds such files: the default, finished training.

    Raises UserError when there is none.
    """
    found: list[tuple[str, str, RunFolder]] = []
    for path in outputs.glob("**/run.json"):
        run = RunFolder(path.parent)
        try:
            facts = run.facts()
        except UserError:  # a folder in the making or damaged: not a candidate
            continue
        wanted = facts.get("command") == command and method in (None, facts.get("method"))
        if wanted and all(any(run.path.glob(pattern)) for pattern in holds):
            found.append((str(facts.get("created", "")), path.as_posix(), run))
    if not found:
        of_method = f" of method {method}" if method else ""
        raise UserError(
            f"there is no finished {command} run{of_method}",
            where=str(outputs),
            mend=f"run `{command}` first, or give its folder",
        )
    return max(found, key=lambda entry: entry[:2])[2]


def _new_folder(parent: Path) -> Path:
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = parent / (stamp if number == 1 else f"{stamp}_{number}")
        try:
            path.mkdir()
        except FileExistsError:  # another run of the same second
            number += 1
        else:
            return path


def _occupied(path: Path) -> bool:
    if path.exists() and not path.is_dir():
        raise UserError("this is a file, not a folder", where=f"out={path}", mend="give a folder")
    path.mkdir(parents=True, exist_ok=True)
    sweep(path)
    return any(path.iterdir())


def _same_kind(found: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    differing = [
        f"{key} {found.get(key)!r} instead of {wanted[key]!r}"
        for key in ("command", "method", "data")
        if found.get(key) != wanted[key]
    ]
    if differing:
        raise UserError(
            f"the folder holds a run with {', '.join(differing)}", where=f"out={path}", mend="give another folder"
        )
