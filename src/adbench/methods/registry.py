"""Name -> method class. A method registers itself by decorating its class; nothing else lists it.

Method NAME lies in the module or package `adbench.methods.NAME`, so that the others need not be imported for it.
Methods of others come from a file that the user names (`adbench.load_plugin`, `method=FILE.py`), or from installed
packages by their entry points in the group "adbench.methods".
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from adbench.errors import UserError, unknown
from adbench.plugins import METHODS

if TYPE_CHECKING:
    from adbench.clip import Clip
    from adbench.methods.base import Method

_MethodClass = TypeVar("_MethodClass", bound="type[Method]")


def register(name: str) -> Callable[[_MethodClass], _MethodClass]:
    """Class decorator: make the method available as `name`, the name of its YAML file too."""

    def add(cls: _MethodClass) -> _MethodClass:
        METHODS.add(name, cls, cls.__module__, reserved=_is_built_in(name))
        cls.name = name
        source = METHODS.source(name)
        cls.plugin = None if source is None else source.describe()
        return cls

    return add


def _is_built_in(name: str) -> bool:
    return name.isidentifier() and find_spec(f"adbench.methods.{name}") is not None


def _load_all() -> None:
    package = importlib.import_module("adbench.methods")
    for module in pkgutil.iter_modules(package.__path__, "adbench.methods."):
        importlib.import_module(module.name)


def names() -> list[str]:
    """All registered methods, those of installed packages too, sorted."""
    _load_all()
    return sorted({*METHODS.entries, *METHODS.plugged()})


def method_class(name: str) -> type[Method]:
    """The class registered as `name`. Raises UserError with the nearest name for an unknown one.

    Names come from records of others too: a path is no name, and no file is run for one.
    """
    if name not in METHODS.entries and _is_built_in(name):
        importlib.import_module(f"adbench.methods.{name}")
    if name not in METHODS.entries and not METHODS.from_package(name):
        raise unknown("method", name, names())
    cls: type[Method] = METHODS.entries[name]
    return cls


def build(name: str, clip: Clip, **hyperparameters: Any) -> Method:
    """Make method `name` on the frozen backbone `clip`.

    Hyperparameters are those of the method's YAML file, by keyword. Raises UserError for an unknown one, and for values
    that are of another type, out of range, or do not go with the backbone.
    """
    cls = method_class(name)
    if clip.kind not in cls.towers:
        raise UserError(
            f"method {name} works on {' or '.join(sorted(cls.towers))} image towers, {clip.name} has a {clip.kind}",
            where="clip",
            hint="choose another of `python -m adbench list clip`",
        )
    try:
        return cls.assemble(clip, **hyperparameters)
    except ValueError as error:
        raise UserError(str(error), where=f"method={name}") from error
