"""What tests of all methods give to each of them, from methods/small/NAME.yaml: a method brings its own.

settings  hyperparameters that fit the tiny CLIP and are quick; none where the defaults do
variants  switches that change what is computed, on top of them
recipes   by the name of a reproduction, the words that make it short
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from adbench import methods

_FILES = sorted((Path(__file__).parent / "methods" / "small").glob("*.yaml"))
_SMALL: dict[str, dict[str, Any]] = {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in _FILES}

VARIANTS = [(name, variant) for name, small in _SMALL.items() for variant in small.get("variants", [])]
RECIPES = {recipe: words for small in _SMALL.values() for recipe, words in small.get("recipes", {}).items()}
TRAINED = [name for name in methods.names() if methods.method_class(name).supervision == "anomaly"]


def small_settings(name: str, **where_known: Any) -> dict[str, Any]:
    """The settings of a method, with those of `where_known` that it knows."""
    known = methods.method_class(name).hyperparameter_defaults()
    return _SMALL.get(name, {}).get("settings", {}) | {k: v for k, v in where_known.items() if k in known}
