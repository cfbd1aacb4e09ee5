"""Methods and data sets of others: in a file that the user names, or in an installed package (entry points).

Nothing is imported but a file whose path was typed, and what was installed. Weights, runs and their settings tell which
plug-in they are of, for people to read: what they tell is never followed.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

from adbench.errors import UserError, unknown

_Entry = TypeVar("_Entry")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a plug-in comes from.

    place    the file's absolute path, or "PACKAGE VERSION" of an installed one
    sha256   of the file, or of all Python files of the package, in hexadecimal
    """

    place: str
    sha256: str

    def describe(self) -> dict[str, str]:
        """As records of runs and weights hold it."""
        return asdict(self)


_loading: list[Source] = []
_files_loaded: set[Source] = set()


def is_file(word: str) -> bool:
    """Whether a word names a plug-in file, FILE.py or FILE.py:NAME, rather than something registered."""
    return word.endswith(".py") or ".py:" in word


class Registry(Generic[_Entry]):
    """Name -> what is registered under it: built in, from plug-in files, or from installed packages.

    kind   what an entry is, in messages
    word   the setting that names one
    group  of the entry points that name further ones; each is called as what it registers
    register  the module that has the decorator
    """

    def __init__(self, kind: str, word: str, group: str, register: str) -> None:
        self.kind, self.word, self.group, self.register = kind, word, group, register
        self.entries: dict[str, _Entry] = {}
        self._sources: dict[str, Source] = {}
        self._by_source: dict[Source, dict[str, _Entry]] = {}

    def add(self, name: str, entry: _Entry, module: str, *, reserved: bool) -> None:
        """Register `entry`, which `module` defines. A file's takes the place of what another file has so called.

        Raises ValueError for two of one name, UserError for a plug-in's name that is `reserved` for what is built in,
        or was taken by another package.
        """
        built_in = module.partition(".")[0] == "adbench"  # though a plug-in be the first that imports it
        source = _loading[-1] if _loading and not built_in else None
        before = self._sources.get(name)
        replaces = source is not None and before is not None and before.place.endswith(".py") and before != source
        if not re.fullmatch(r"[A-Za-z0-9][\w-]*", name, re.ASCII):  # it stands in settings and in paths
            where, hint = module if source is None else source.place, "use letters, digits, _ and -"
            raise UserError(f"a {self.kind} is called {name!r}", where=where, hint=hint)
        if not built_in and (reserved or (source is not None and name in self.entries and not replaces)):
            other = "adbench itself" if before is None else before.place
            where = module if source is None else source.place
            raise UserError(f"a {self.kind} is called {name!r}, as one of {other} is", where=where, hint="rename it")
        if name in self.entries and not replaces:
            raise ValueError(f"two entries of the kind {self.kind} are called {name!r}")
        self.entries[name] = entry
        if source is not None:
            self._sources[name] = source
            self._by_source.setdefault(source, {})[name] = entry

    def forget(self, source: Source) -> None:
        """Drop what a plug-in that failed half-way has registered."""
        for name in self._by_source.pop(source, {}):
            del self.entries[name], self._sources[name]

    def source(self, name: str) -> Source | None:
        """Where the plug-in that registered `name` comes from; None for what is built in."""
        return self._sources.get(name)

    def plugged(self) -> list[str]:
        """Names that plug-ins have registered, and those of entry points that were not asked for yet."""
        return sorted({*self._sources, *self._installed()})

    def from_file(self, word: str) -> str:
        """The name of what a file (FILE.py, or FILE.py:NAME where it holds several) registers; runs the file once.

        Raises UserError for a file that is missing, fails, or registers nothing of this kind.
        """
        path, _, wanted = word.partition(".py:")
        file = Path(path + ".py" if wanted else path).expanduser().resolve()
        source = _run_file(file)
        registered = self.take(source)
        if not registered:
            hint = f'write @register("NAME") above it, from {self.register}'
            raise UserError(f"the file registers no {self.kind}", where=str(file), hint=hint)
        if not wanted and len(registered) > 1:
            hint = f"say which: {self.word}={word}:{registered[0]}"
            raise UserError(f"the file registers {', '.join(registered)}", where=str(file), hint=hint)
        if wanted and wanted not in registered:
            raise unknown(self.kind, wanted, registered, where=str(file))
        return wanted or registered[0]

    def take(self, source: Source) -> list[str]:
        """The names that `source` has registered, which mean its entries from now on."""
        registered = self._by_source.get(source, {})
        for name, entry in registered.items():
            self.entries[name], self._sources[name] = entry, source
        return list(registered)

    def from_package(self, name: str) -> bool:
        """Import the installed package that names `name`; False where none does. Raises UserError where it fails."""
        entry_point = self._installed().get(name)
        if entry_point is None:
            return False
        source = Source(_distribution(entry_point), _package_sha256(entry_point.module))
        with _registering(source):
            entry_point.load()
        if name not in self.entries:
            what = f"the package names a {self.kind} {name!r} and registers none of that name"
            raise UserError(what, where=source.place, hint="mend its entry points, or uninstall it")
        return True

    def _installed(self) -> Mapping[str, metadata.EntryPoint]:
        return _entry_points(self.group, tuple((folder, _modified(folder)) for folder in sys.path))


METHODS: Registry[Any] = Registry("method", "method", "adbench.methods", "adbench.methods")
DATASETS: Registry[Any] = Registry("data set", "data", "adbench.datasets", "adbench.data.catalogue")


def load_plugin(path: str | Path) -> list[str]:
    """Run a plug-in file once; the names of the methods and data sets that it registers.

    Raises UserError for a file that is missing or fails.
    """
    source = _run_file(Path(path).expanduser().resolve())
    return [name for registry in (METHODS, DATASETS) for name in registry.take(source)]


@functools.lru_cache(maxsize=4)
def _entry_points(group: str, folders: tuple[tuple[str, float], ...]) -> Mapping[str, metadata.EntryPoint]:
    """Those of a group by name; read again when something was installed into one of the folders."""
    return {entry_point.name: entry_point for entry_point in metadata.entry_points(group=group)}


def _modified(folder: str) -> float:
    try:
        return os.stat(folder or ".").st_mtime
    except OSError:
        return 0.0


def _run_file(file: Path) -> Source:
    try:
        source = Source(str(file), hashlib.sha256(file.read_bytes()).hexdigest())
    except OSError as error:
        raise UserError(
            f"the plug-in cannot be read: {error.strerror}", where=str(file), hint="check its path"
        ) from error
    if source in _files_loaded:
        return source
    name = f"adbench_plugin_{file.stem}_{source.sha256[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UserError("this is no Python file", where=str(file), hint="give FILE.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and annotations look it up
    with _registering(source):
        spec.loader.exec_module(module)
    _files_loaded.add(source)
    return source


@contextmanager
def _registering(source: Source) -> Iterator[None]:
    """What is registered within is of `source`; whatever its code raises becomes one line."""
    _loading.append(source)
    try:
        yield
    except (Exception, SystemExit) as error:  # somebody else's code: nobody knows what it raises
        for registry in (METHODS, DATASETS):
            registry.forget(source)
        if isinstance(error, UserError):
            raise
        steps = traceback.extract_tb(error.__traceback__)
        line = next((step.lineno for step in reversed(steps) if step.filename == source.place), None)
        line = error.lineno if isinstance(error, SyntaxError) else line
        place = source.place if line is None else f"{source.place}, line {line}"
        what = f"the plug-in fails when it is imported: {type(error).__name__}: {error}"
        raise UserError(what, where=place, hint="--debug shows the traceback") from error
    finally:
        _loading.pop()


def _distribution(entry_point: metadata.EntryPoint) -> str:
    distribution = entry_point.dist
    return entry_point.module if distribution is None else f"{distribution.name} {distribution.version}"


def _package_sha256(module: str) -> str:
    """Of all Python files of the package that `module` lies in; of nothing where it is not found."""
    digest = hashlib.sha256()
    spec = importlib.util.find_spec(module.partition(".")[0])
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec is not None else []
    files = sorted(file for folder in folders for file in folder.rglob("*.py"))
    if spec is not None and spec.origin is not None and not files:
        files = [Path(spec.origin)]
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
