"""What a result was made with: versions, source revision, command, seed, device, data."""

from __future__ import annotations

import platform
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import adbench
from adbench.plugins import DATASETS

if TYPE_CHECKING:
    from adbench.data.sample import Sample

DISTRIBUTIONS = ("torch", "open_clip_torch", "numpy", "scipy", "scikit-learn", "scikit-image", "pillow", "safetensors")


def describe_run(
    *, command: Sequence[str], seed: int, device: str, data: Mapping[str, Sequence[Sample]], **facts: Any
) -> dict[str, Any]:
    """Provenance for results.json. `facts`: JSON-able extras (method, backbone, weights, settings, ...)."""
    return {
        "adbench": adbench.__version__,
        "git": git_revision(),
        "versions": versions(),
        "command": list(command),
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seed": seed,
        "device": device,
        "data": [describe_data(name, samples) for name, samples in data.items()],
        **facts,
    }


def origin(command: str, overrides: Sequence[str], plugins: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Where a run comes from, for run.json: the command line, its words, source revision, versions and plug-ins."""
    return {
        "command_line": shlex.join(["python", "-m", "adbench", command, *overrides]),
        "overrides": list(overrides),
        "adbench": adbench.__version__,
        "git": git_revision(),
        "versions": versions(),
        **({"plugins": dict(plugins)} if plugins else {}),
    }


def describe_data(name: str, samples: Sequence[Sample]) -> dict[str, Any]:
    """Name, classes, size and fingerprint of the samples used of one data set."""
    from adbench.data.fingerprint import fingerprint

    source = DATASETS.source(name)
    return {
        "name": name,
        **({} if source is None else {"plugin": source.describe()}),
        "classes": sorted({sample.class_name for sample in samples}),
        "n_images": len(samples),
        "fingerprint": fingerprint(samples),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a number."""
    numbers = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            numbers[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # an environment that brings it under another name
            numbers[name] = "unknown"
    return numbers


def git_revision(package: Path = Path(adbench.__file__).parent) -> str | None:
    """Revision of the checkout that the package runs from, with "+changes" if it was edited; None outside of one."""
    try:
        # An installed package may lie inside somebody else's repository: only a tracked file speaks for its own.
        _git(package, "ls-files", "--error-unmatch", "__init__.py")
        revision = _git(package, "rev-parse", "HEAD")
        return revision + ("+changes" if _git(package, "status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
