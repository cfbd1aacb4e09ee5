"""Hyperparameters whose default is the variant's: "official" follows the authors' code, "paper" the text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

Variant = Literal["official", "paper"]


def by_variant(settings: Any, choices: Mapping[str, tuple[Any, Any]]) -> Any:
    """`settings`, a dataclass, with every None that `choices` names replaced by its variant's (official, paper) choice.

    The result is of the same type; `Any` because those fields are not None any more.
    """
    column = 1 if settings.variant == "paper" else 0
    undecided = [name for name in choices if getattr(settings, name) is None]
    return replace(settings, **{name: choices[name][column] for name in undecided})
