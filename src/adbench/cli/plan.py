"""What one `eval` command evaluates: which data sets are there, which weights serve which of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adbench.cli.benchmark import EVERY_OTHER, Benchmark, chosen_data
from adbench.cli.checkpoints import LATEST, UNTRAINED, ChosenCheckpoint, find_checkpoint
from adbench.cli.config import EvalConfig, eval_config
from adbench.cli.overrides import Overrides
from adbench.data import catalogue
from adbench.data.tree import is_occupied
from adbench.errors import UserError, unknown

# What may differ between a run and the one that goes on behind it.
_FREE = ("data", "out", "submission", "outputs", "device", "workers", "heat_maps")


@dataclass(frozen=True)
class CheckpointPlan:
    """The data sets that one checkpoint serves: `config.data`."""

    config: EvalConfig
    checkpoint: ChosenCheckpoint


@dataclass(frozen=True)
class Plan:
    """An evaluation. `order`: all data sets as they were named; `absent`: those that are not there, and where not."""

    parts: list[CheckpointPlan]
    order: list[str]
    absent: dict[str, str]
    benchmark: Benchmark | None

    @property
    def config(self) -> EvalConfig:
        """What all parts have in common, of the first."""
        return self.parts[0].config

    @property
    def label(self) -> str:
        """The name of the run's folder: the benchmark, or the data sets."""
        return self.benchmark.name if self.benchmark is not None else self.config.data_names

    @property
    def identity(self) -> str:
        """The same for commands that evaluate the same: whichever data sets are there, wherever results go."""
        trees = [part.config.to_tree() for part in self.parts]
        for tree in trees:
            tree["eval"] = {key: value for key, value in tree["eval"].items() if key not in _FREE}
        described = [{key: value for key, value in tree.items() if key not in _FREE} for tree in trees]
        text = json.dumps([self.label, self.order, described], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_yaml(self) -> str:
        """config.yaml: the settings of the one part, or a list of them."""
        import yaml

        if len(self.parts) == 1:
            return self.config.to_yaml()
        parts = [part.config.to_tree() for part in self.parts]
        return yaml.safe_dump({"parts": parts}, sort_keys=False, allow_unicode=True)


def make_plan(overrides: Overrides) -> Plan:
    """Resolve the words of `eval`: benchmark, checkpoints, what these remember, and which data sets there are.

    Raises UserError where nothing can be evaluated.
    """
    benchmark, order = chosen_data(overrides)
    typed = overrides.layer(order)
    served, skip = _served(overrides, order, benchmark), _skips(overrides, benchmark)
    absent = absent_sets(order, overrides)
    # Weights first: a command without any would fail on every data set.
    checkpoints = {asked: find_checkpoint(asked, overrides) for asked in dict.fromkeys(served.values())}
    if not skip:
        _refuse_absent(absent, len(order))
        absent = {}
    present = [name for name in order if name not in absent]
    if not present:
        raise _nothing_there(order, overrides.data_dir, benchmark)
    parts = []
    for asked, checkpoint in checkpoints.items():
        data = [name for name in present if served[name] == asked]
        if data:
            layers = [checkpoint.layer(overrides), typed.of(data)]
            if benchmark is not None:
                of_benchmark = benchmark.layer(checkpoint.method, data, fitted=checkpoint.is_fitted)
                layers = [checkpoint.shots(), of_benchmark, *layers]
            config = eval_config(
                overrides,
                data,
                layers,
                checkpoint=str(checkpoint.path or UNTRAINED),
                benchmark=None if benchmark is None else benchmark.name,
                missing="skip" if skip else "error",
            )
            parts.append(CheckpointPlan(config, checkpoint))
    return Plan(parts, order, absent, benchmark)


def preview(overrides: Overrides) -> EvalConfig:
    """The settings that the words and YAML files alone come to: no weights, and no data, need to be there."""
    benchmark, order = chosen_data(overrides)
    layers = [overrides.layer(order)]
    if benchmark is not None and overrides.method is not None:
        layers.insert(0, benchmark.layer(overrides.method, order))
    return eval_config(
        overrides,
        order,
        layers,
        checkpoint=overrides.get("checkpoint") or (benchmark and benchmark.checkpoint) or LATEST,
        benchmark=None if benchmark is None else benchmark.name,
        missing="skip" if _skips(overrides, benchmark) else "error",
    )


def _served(overrides: Overrides, order: Sequence[str], benchmark: Benchmark | None) -> dict[str, str | None]:
    """Data set -> the checkpoint that serves it, as written; None: whatever is the default of the method.

    Of a benchmark any of its data sets may be mapped, whichever part of it is evaluated.
    """
    asked: Any = overrides.get("checkpoint")
    if asked is None and benchmark is not None:
        asked = benchmark.checkpoint or (None if overrides.method else LATEST)
    if not isinstance(asked, Mapping):
        return dict.fromkeys(order, None if asked is None else str(asked))
    known = [*(order if benchmark is None else benchmark.data), EVERY_OTHER]
    word = overrides.word("checkpoint")
    for name in asked:
        if name not in known:
            raise unknown("data set", name, known, where=word)
    for name in order:
        if name not in asked and EVERY_OTHER not in asked:
            raise UserError(f"no checkpoint serves {name}", where=word, hint=f"add '{name}: RUN' or 'default: RUN'")
    return {name: str(asked.get(name, asked.get(EVERY_OTHER))) for name in order}


def _skips(overrides: Overrides, benchmark: Benchmark | None) -> bool:
    missing = overrides.get("missing")
    if missing not in (None, "skip", "error"):
        raise unknown("value", str(missing), ("skip", "error"), where=overrides.word("missing"))
    return benchmark is not None if missing is None else bool(missing == "skip")


def absent_sets(order: Sequence[str], overrides: Overrides) -> dict[str, str]:
    """The data sets whose folder is missing or empty, with that folder. Sets that render themselves are there."""
    absent = {}
    for name in order:
        spec = catalogue.get(name)
        given = overrides.get(f"data.{name}.root") or overrides.get("data.root")
        folder = spec.default_root(overrides.data_dir) if given is None else Path(str(given)).expanduser()
        if spec.prepare_root is None and not is_occupied(folder):
            absent[name] = str(folder)
    return absent


def _refuse_absent(absent: Mapping[str, str], n_named: int) -> None:
    """Name all that is not there, where it is more than the one set whose own message says how to get it."""
    if len(absent) > 1:
        raise UserError(
            f"{len(absent)} of {n_named} data sets are not there: {', '.join(absent)}",
            where=f"looked for {', '.join(absent.values())}",
            hint="get them (python -m adbench data list), or leave them out by missing=skip",
        )


def _nothing_there(order: Sequence[str], data_dir: Path, benchmark: Benchmark | None) -> UserError:
    what = f"of benchmark {benchmark.name} " if benchmark is not None else ""
    return UserError(
        f"none of the {len(order)} data sets {what}is there: {', '.join(order)}",
        where=f"looked for them in {data_dir}",
        hint="put one into data_dir/NAME (python -m adbench data list), give data_dir=DIR, or name another data=NAME",
    )
