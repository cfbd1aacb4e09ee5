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
    scores.csv              a row per image and draw
    results.json/.csv/.md, report.html, heatmaps/
    curves/<data set>.json  PRO curves of its classes, thinned for drawing
    maps/<data set>/<class>.npz   anomaly maps, where they are kept
    predictions.csv, settings.json, maps/, overlays/   what `predict` writes instead
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind
    fcntl = None  # type: ignore[assignment]

from adbench.atomic import is_temporary, sweep, write_json, write_text
from adbench.engine.names import file_name
from adbench.errors import UserError
from adbench.structured import read_json, read_yaml

_LOCK = ".lock"
# What may lie in a folder that no run was begun in yet: the lock, and what a sweep writes of a job that failed before.
_OURS = (_LOCK, "job.json", "traceback.txt")
# Folders of a run that files are written into, at any depth.
_WITH_TEMPORARY_FILES = ("classes", "curves", "heatmaps", "maps", "overlays")
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


class _Inside:
    """The path of what is called so in a run's folder."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, run: RunFolder, owner: type[RunFolder]) -> Path:
        return run.path / self._name


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run's folder. `claim` one to work in it, or `open` an existing one."""

    path: Path
    _holders: list[int] = field(default_factory=list, init=False, repr=False, compare=False)  # threads

    facts_path = _Inside("run.json")
    weights_path = _Inside("weights.safetensors")
    checkpoint_path = _Inside("checkpoint.safetensors")
    history_path = _Inside("history.jsonl")
    tensorboard_dir = _Inside("tensorboard")
    classes_dir = _Inside("classes")
    curves_dir = _Inside("curves")
    heatmaps_dir = _Inside("heatmaps")
    maps_dir = _Inside("maps")

    @classmethod
    @contextlib.contextmanager
    def claim(
        cls,
        command: str,
        method: str,
        data: str,
        *,
        outputs: Path = Path("outputs"),
        out: Path | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> Iterator[RunFolder]:
        """Hold a new folder outputs/<command>/<method>/<data>/<time>, or `out` (an existing run there is kept).

        `data` names one data set or several joined by "+". `origin`: what else run.json is to hold (see
        `provenance.origin`). Raises UserError when `out` holds something else, which is
        then left as it is, and when another process works there.
        """
        facts = {"command": command, "method": method, "data": data, "created": datetime.now(timezone.utc).isoformat()}
        run = cls(_new_folder(runs_of(outputs, command, method, data)) if out is None else out)
        run._check(facts)
        run.path.mkdir(parents=True, exist_ok=True)
        with run.locked():
            run._check(facts)  # another process may have begun a run here meanwhile
            if not run.facts_path.exists():
                write_json(run.facts_path, {**facts, **(origin or {})})
            run._holders.append(threading.get_ident())
            try:
                yield run
            finally:
                run._holders.remove(threading.get_ident())

    @classmethod
    def create(
        cls, command: str, method: str, data: str, *, outputs: Path = Path("outputs"), out: Path | None = None
    ) -> RunFolder:
        """As `claim`, but let go of again."""
        with cls.claim(command, method, data, outputs=outputs, out=out) as run:
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
            facts = read_json(self.facts_path)
        except UserError as error:
            raise self._no_run(error.what) from error
        lacking = [key for key in ("command", "method", "data", "created") if not isinstance(facts.get(key), str)]
        if lacking:
            raise self._no_run(f"it does not say {' and '.join(lacking)}")
        return facts

    def config(self) -> dict[str, Any]:
        """The resolved configuration as it was kept; empty where none was. Raises UserError for a damaged file."""
        path = self.path / "config.yaml"
        if not path.is_file():
            return {}
        values = read_yaml(path, hint=_HINT)
        for section in ("clip", "support", "trainer", "eval"):
            if not isinstance(values.get(section, {}), dict):
                raise UserError(f"the settings of the run are damaged: {section}", where=str(path), hint=_HINT)
        shots = values.get("support", {}).get("k", [])
        if not isinstance(shots, list) or not all(isinstance(k, int) for k in shots):
            raise UserError("the settings of the run are damaged: support.k", where=str(path), hint=_HINT)
        return values

    def write_config(self, text: str) -> None:
        """Keep the resolved configuration (YAML) with the run."""
        write_text(self.path / "config.yaml", text)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from working in this folder, and remove what a killed process left half-written in it.

        Raises UserError if another process, or thread, does. Nothing is done for who has claimed the folder. The lock
        dies with its process.
        """
        if threading.get_ident() in self._holders:
            yield
            return
        with (self.path / _LOCK).open("a") as file:
            _lock(file, self.path)
            inner = ((self.path / name).glob("**/") for name in _WITH_TEMPORARY_FILES)
            for folder in (self.path, *itertools.chain(*inner)):
                sweep(folder, alone=True)
            yield

    def _check(self, wanted: dict[str, Any]) -> None:
        """Raise UserError where the folder holds anything but such a run or nothing."""
        if self.path.exists() and not self.path.is_dir():
            raise UserError("this is a file, not a folder", where=f"out={self.path}", hint="give a folder")
        if not self.path.exists() or all(path.name in _OURS or is_temporary(path) for path in self.path.iterdir()):
            return
        facts = self.facts()
        differing = [
            f"{key} {facts[key]!r} instead of {wanted[key]!r}"
            for key in ("command", "method", "data")
            if facts[key] != wanted[key]
        ]
        if differing:
            raise UserError(
                f"the folder holds a run with {', '.join(differing)}",
                where=f"out={self.path}",
                hint="give another folder",
            )

    def _no_run(self, why: str) -> UserError:
        return UserError(
            f"this is not a run folder: {'it has no run.json' if not self.facts_path.exists() else why}",
            where=str(self.path),
            hint="give a folder that `train` or `eval` has made, or an empty one",
        )


_HINT = "restore the file, or remove it: weights carry their own record"

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
    candidates: list[tuple[str, str, RunFolder]] = []
    for path in outputs.glob("**/run.json"):
        run = RunFolder(path.parent)
        try:
            facts = run.facts()
        except UserError:  # a folder in the making or damaged: not a candidate
            continue
        wanted = facts["command"] == command and method in (None, facts["method"])
        if wanted and all(any(run.path.glob(pattern)) for pattern in holds):
            candidates.append((facts["created"], path.as_posix(), run))
    if not candidates:
        of_method = f" of method {method}" if method else ""
        raise UserError(
            f"there is no finished {command} run{of_method}",
            where=str(outputs),
            hint=f"run `{command}` first, or give its folder",
        )
    return max(candidates, key=lambda entry: entry[:2])[2]


def runs_of(outputs: Path, command: str, method: str, data: str) -> Path:
    """The folder in which such runs lie, each in one named after its time."""
    return outputs / command / method / file_name(data)


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


def _lock(file: IO[str], folder: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(
            "another process is training or evaluating in this folder",
            where=str(folder),
            hint="wait for it, or stop it",
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(
            f"the file system of {folder} knows no locks ({error.strerror}): nothing keeps a second command out of it",
            stacklevel=2,
        )
