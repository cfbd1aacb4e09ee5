"""scikit-learn's KMeans without its other clusterers, its metrics, scipy.stats and pandas: half of the import."""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any


def import_kmeans() -> Any:
    """The class `sklearn.cluster.KMeans`; what it does not use comes when something else asks for it."""
    if "sklearn" not in sys.modules:
        _import_later("scipy", "stats")
        _import_without_pandas("sklearn")
        for name in ("cluster", "metrics"):
            _import_later("sklearn", name)
        return importlib.import_module("sklearn.cluster._kmeans").KMeans
    return importlib.import_module("sklearn.cluster").KMeans


class _Later(ModuleType):
    """A package that is executed when something of it is asked for which no import has put there."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]
        assert self.__spec__ is not None
        assert self.__spec__.loader is not None
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def _import_later(package: str, name: str) -> None:
    """Make the package `package.name` known, and its modules importable, without executing it."""
    parent, whole = importlib.import_module(package), f"{package}.{name}"
    spec = PathFinder.find_spec(whole, parent.__path__)
    if whole not in sys.modules and spec is not None:
        module = module_from_spec(spec)
        module.__class__ = _Later
        sys.modules[whole] = module
        setattr(parent, name, module)


def _import_without_pandas(package: str) -> None:
    """Import a package that asks whether there is pandas, and would take it for the answer's sake."""
    hidden = "pandas" not in sys.modules
    if hidden:
        sys.modules["pandas"] = None  # type: ignore[assignment]
    try:
        importlib.import_module(package)
    finally:
        if hidden:
            del sys.modules["pandas"]
