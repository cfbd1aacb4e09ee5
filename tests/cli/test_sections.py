"""Every key of every section, given junk: taken as its type has it, or refused in one line that names it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from adbench.cli.config import ClipConfig
from adbench.data import catalogue
from adbench.data.support import SupportSettings
from adbench.engine.settings import EvalSettings, OptimizerSpec, TrainSettings
from adbench.errors import UserError
from adbench.typed import make

JUNK: list[Any] = ["abc", "no", "", math.nan, math.inf, -3, -0.5, 0, 1, 1.5, 10**12, True, None, [], [0], ["x"], [[1]]]
JUNK += [[None], [-1], [0.5, 2], {"a": 1}, {"a": None}, {"a": {"b": [1]}}, {None: 1}]
SECTIONS = {
    "trainer": TrainSettings,
    "trainer.optimizer": OptimizerSpec,
    "eval": EvalSettings,
    "support": SupportSettings,
    "clip": ClipConfig,
}
KEYS = [(section, field.name) for section, cls in SECTIONS.items() for field in dataclasses.fields(cls)]


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_junk_is_refused_by_name(section: str, key: str) -> None:
    cls = SECTIONS[section]
    given = {"name": "demo"} if cls is ClipConfig else {}
    refused = 0
    for value in JUNK:
        try:
            taken = getattr(make(cls, {**given, key: value}, section), key)
        except UserError as error:
            refused += key in (said := f"{error.what} {error.where}") or (key == "shots" and "support.k" in said)
            continue
        taken = str(taken) if isinstance(taken, Path) else list(taken) if isinstance(taken, tuple) else taken
        assert taken == value
        assert isinstance(taken, bool) == isinstance(value, bool)
        assert value not in (10**12, -3) or key not in ("epochs", "workers", "seed", "image_size", "batch_size")
    assert refused > 10


@pytest.mark.parametrize("name", catalogue.names())
def test_so_are_the_options_of_data_sets(name: str) -> None:
    spec = catalogue.get(name)
    for option in spec.options:
        refused = []
        for value in JUNK:
            try:
                taken = spec.check_options({option: value})[option]
            except UserError as error:
                refused.append(error)
                continue
            assert isinstance(taken, bool) == isinstance(value, bool)
        assert len(refused) > 10, option
