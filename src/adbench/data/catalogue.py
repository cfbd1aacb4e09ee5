"""Name -> facts and index of a data set. Imports no torch: listing and checking data sets must be quick.

A data set is one module in a package of `PACKAGES`: a function that indexes its folder, decorated with its facts:

    @register("widgets", title="Widgets 2020", classes=("bolt", "nut"), ...)
    def index(root: Path, classes: Sequence[str] | None) -> Iterable[Sample]: ...

Data sets of others come from a file that the user names (`adbench.load_plugin`, `data=FILE.py`), or from installed
packages by their entry points in the group "adbench.datasets".

Keyword-only arguments of that function are the data set's own options (`adbench.open_dataset(..., option=value)`).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adbench.data.counts import Counts as Counts
from adbench.data.fingerprint import fingerprint as fingerprint
from adbench.data.looking import with_broken_files
from adbench.data.spec import SPLIT as SPLIT
from adbench.data.spec import DatasetSpec as DatasetSpec
from adbench.data.spec import Indexer
from adbench.data.spec import Progress as Progress
from adbench.data.survey import BROKEN, Survey
from adbench.errors import UserError, unknown
from adbench.plugins import DATASETS

PACKAGES = ("adbench.data.sets", "adbench.demo.sets")
_OF_ALL = ("root", "classes", BROKEN, SPLIT)


def register(name: str, **facts: Any) -> Callable[[Indexer], Indexer]:
    """Decorate an index function `(root, classes, *, options...) -> samples`: makes it data set `name`.

    `facts` are the other fields of `DatasetSpec`. Raises UserError for an option without a default, and for one that is
    called as what every set has.
    """

    def add(index_files: Indexer) -> Indexer:
        spec = DatasetSpec(name=name, index_files=index_files, **facts)
        for option, parameter in spec.own_options().items():
            what, where = f"the option {option!r} of data set {name}", inspect.getfile(index_files)
            if parameter.default is parameter.empty:
                raise UserError(f"{what} has no default", where=where, hint=f"write {option}=VALUE")
            if option in _OF_ALL:
                raise UserError(f"{what} is called as one of all sets", where=where, hint="rename it")
        if not index_files.__module__.startswith("adbench."):
            _load_all()  # their names are taken
        reserved = name in DATASETS.entries and DATASETS.source(name) is None
        DATASETS.add(name, spec, index_files.__module__, reserved=reserved)
        return index_files

    return add


def _load_all() -> None:
    for package in PACKAGES:
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(module.name)


def names() -> list[str]:
    """All data sets, those of installed packages too, sorted."""
    _load_all()
    return sorted({*DATASETS.entries, *DATASETS.plugged()})


def get(name: str) -> DatasetSpec:
    """The data set called `name`. Raises UserError with the nearest name for an unknown one."""
    _load_all()
    if name not in DATASETS.entries and not DATASETS.from_package(name):
        raise unknown("data set", name, names())
    spec: DatasetSpec = DATASETS.entries[name]
    return spec


def survey_dataset(
    name: str,
    *,
    root: str | Path | None = None,
    data_dir: str | Path = "data",
    classes: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> tuple[DatasetSpec, Survey]:
    """Return the facts of data set `name`, what its folder holds, and what of that cannot be used.

    `root` is the set's own folder; without it the set is looked for below `data_dir`. With the option broken=skip the
    files of all images are looked at, as `check_dataset` does: it takes as long. Raises UserError when the folder is
    missing (which one was looked for, how to get the data) or does not hold what is expected; faults of single images
    and classes are told, not raised (`DatasetSpec.usable`).
    """
    spec = get(name)
    surveyed = spec.survey(find_root(spec, root=root, data_dir=data_dir, progress=progress), classes, options)
    return spec, with_broken_files(surveyed) if (options or {}).get(BROKEN) == "skip" else surveyed


def find_root(
    spec: DatasetSpec,
    *,
    root: str | Path | None = None,
    data_dir: str | Path = "data",
    progress: Progress | None = None,
) -> Path:
    """The folder of a data set, rendered first where the set renders itself. Raises UserError where it is missing."""
    # Shells do not expand "~" behind an equals sign.
    folder = spec.default_root(Path(data_dir).expanduser()) if root is None else Path(root).expanduser()
    spec.prepare(folder, progress)
    if not folder.is_dir():
        looked = "" if root is not None else f", data_dir={data_dir}"
        hint = f"give its folder by data.root=DIR (or the folder above by data_dir=DIR). {spec.how_to_obtain}"
        raise UserError(
            f"the folder of data set {spec.name} is missing", where=f"looked for {folder}{looked}", hint=hint
        )
    return folder
