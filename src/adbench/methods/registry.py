"""Name -> method class. A method registers itself by decorating its class; nothing else lists it.

Method NAME lies in the module or package `adbench.methods.NAME`, so that the others need not be imported for it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from adbench.errors import UserError, unknown

if TYPE_CHECKING:
    from adbench.clip import Clip
    from adbench.methods.base import Method

_CLASSES: dict[str, type[Method]] = {}
_MethodClass = TypeVar("_MethodClass", bound="type[Method]")


def register(name: str) -> Callable[[_MethodClass], _MethodClass]:
    """Class decorator: make the method available as `name`, the name of its YAML file too."""

    def add(cls: _MethodClass) -> _MethodClass:
        if name in _CLASSES:
            raise ValueError(f"two methods are called {name!r}: {_CLASSES[name].__module__} and {cls.__module__}")
        cls.name = name
        _CLASSES[name] = cls
        return cls

    return add


def _load_all() -> None:
    package = importlib.import_module("adbench.methods")
    for module in pkgutil.iter_modules(package.__path__, "adbench.methods."):
        importlib.import_module(module.name)


def names() -> list[str]:
    """All registered methods, sorted."""
    _load_all()
    return sorted(_CLASSES)


def method_class(name: str) -> type[Method]:
    """The class registered as `name`. Raises UserError with the nearest name for an unknown one."""
    if name not in _CLASSES and name.isidentifier() and find_spec(f"adbench.methods.{name}"):
        importlib.import_module(f"adbench.methods.{name}")
    if name not in _CLASSES:
        _load_all()
        raise unknown("method", name, _CLASSES)
    return _CLASSES[name]


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
