"""open_clip without the libraries of towers that are not built: imported in a second instead of four.

open_clip imports timm and transformers, does without where they are absent, and needs them for towers of other makes
only; torchvision imports PyTorch's compiler for a question that it asks when it compiles. They come when they are used.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

_USERS = {
    "open_clip.timm_model": ("timm", "TimmModel"),
    "open_clip.hf_model": ("transformers", "HFTextEncoder"),
    "open_clip.coca_model": ("transformers", "CoCa"),
}
"""Module -> the library that it may lack, and its class that needs it."""


def import_open_clip() -> Any:
    """The module open_clip; the first import of a process is lean, except for libraries that are there already."""
    if "open_clip" not in sys.modules:
        lacked = {library for library, _ in _USERS.values()} - set(sys.modules)
        if "torch._dynamo" not in sys.modules:
            with _deferred_compiler():
                importlib.import_module("torchvision.ops.roi_align")
        sys.modules.update(dict.fromkeys(lacked))  # type: ignore[arg-type]  # None: not to be imported
        try:
            importlib.import_module("open_clip")
        finally:
            for library in lacked:
                del sys.modules[library]
        for module, (library, user) in _USERS.items():
            if library in lacked:
                _complete_on_use(sys.modules[module], user)
    return sys.modules["open_clip"]


def _complete_on_use(module: ModuleType, user: str) -> None:
    """Run `module` again, with the library that it lacked, when the first object of its class `user` is made."""
    kind = getattr(module, user)
    initialise = kind.__init__

    def complete(self: object, *args: Any, **keywords: Any) -> None:
        kind.__init__ = initialise
        importlib.reload(module)  # into the names that `initialise` looks up
        setattr(module, user, kind)  # others hold it already
        initialise(self, *args, **keywords)

    kind.__init__ = complete


class _Deferred(ModuleType):
    """Stands in for a module of PyTorch until something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def _deferred_compiler() -> Iterator[None]:
    compiler, questions = stand_ins = _Deferred("torch._dynamo"), _Deferred("torch._dynamo.utils")

    def is_compile_supported(device_type: str) -> Any:
        return importlib.import_module(questions.__name__).is_compile_supported(device_type)

    questions.is_compile_supported = is_compile_supported  # type: ignore[attr-defined]
    sys.modules.update({module.__name__: module for module in stand_ins})
    try:
        yield
    finally:
        for module in (compiler, questions):
            if sys.modules.get(module.__name__) is module:
                del sys.modules[module.__name__]
