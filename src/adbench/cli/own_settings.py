"""The settings that a method or data set brings along, for --help beside its name: read from its code."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from adbench.cli.overrides import Overrides
from adbench.data import catalogue
from adbench.typed import Length, Range, hints_of


def own_settings(words: Sequence[str]) -> str:
    """One line for each setting of what `method=` and `data=` name: its default and what it takes.

    Raises UserError for unknown names, and for plug-in files that fail.
    """
    overrides = Overrides("--help", words)
    sections = []
    if overrides.method is not None:
        from adbench.methods import method_class

        cls = method_class(overrides.method)
        stated_by: Callable[..., Any] = cls.settings_class or cls
        hints = hints_of(stated_by)
        sections.append(_section("method", overrides.method, inspect.getdoc(cls), cls.hyperparameter_defaults(), hints))
    for name in overrides.data:
        spec = catalogue.get(name)
        sections.append(_section("data", name, spec.title, spec.option_defaults, hints_of(spec.index_files)))
    return "\n".join(["", *sections])


def _section(prefix: str, name: str, about: str | None, defaults: Mapping[str, Any], hints: Mapping[str, Any]) -> str:
    lines = [f"settings of {prefix}={name}: {(about or '').partition(chr(10))[0]}"]
    for key, default in defaults.items():
        word = f"{prefix}.{key}={_shown(default)}"
        lines.append(f"  {word:<40} {in_words(hints.get(key, Any))}".rstrip())
    return "\n".join(lines if defaults else [*lines, "  none"])


def in_words(wanted: Any) -> str:
    """What an annotation takes: "a whole number of at least 1", "official|paper", "a list, or null"."""
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is Annotated:
        bound = next((argument for argument in arguments[1:] if isinstance(argument, (Range, Length))), None)
        limits = "" if bound is None else f" {bound.in_words(0) if isinstance(bound, Range) else bound}"
        return f"{in_words(arguments[0])}{limits}".rstrip()
    if origin in (typing.Union, types.UnionType):
        kinds = [in_words(kind) for kind in arguments if kind is not type(None)]
        return " or ".join(kinds) + (", or null" if type(None) in arguments else "")
    if origin is typing.Literal:
        return "|".join(str(choice) for choice in arguments)
    simple = {int: "a whole number", float: "a number", bool: "true|false", str: "a word"}
    if origin is not None:
        return "names with values" if issubclass(origin, Mapping) else "a list"
    return simple.get(wanted, "")


def _shown(default: Any) -> str:
    if default is None or isinstance(default, bool):
        return {None: "null", True: "true", False: "false"}[default]
    return str(list(default)) if isinstance(default, (tuple, list)) else str(default)
