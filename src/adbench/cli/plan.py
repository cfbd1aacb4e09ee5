"""What one `eval` command evaluates: which data sets are there, which weights serve which of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adbench.cli import collector
from adbench.cli.benchmark import Benchmark, Request, requested
from adbench.cli.checkpoints import LATEST, UNTRAINED, ChosenCheckpoint, find_checkpoint, is_trained
from adbench.cli.config import EvalConfig, eval_config
from adbench.cli.overrides import Overrides
from adbench.data import catalogue
from adbench.data.tree import is_occupied
from adbench.errors import UserError

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


@collector.paused()
def make_plan(overrides: Overrides) -> Plan:
    """Resolve the words of `eval`: benchmark, checkpoints, what these remember, and which data sets there are.

    Raises UserError where nothing can be evaluated.
    """
    request = requested(overrides)
    asked = {name: request.checkpoint_of(name) for name in request.data}
    # Weights first: a command without any would fail on every data set.
    checkpoints = {name: find_checkpoint(name, overrides) for name in dict.fromkeys(asked.values())}
    absent = _skipped(request, overrides)
    parts = []
    for name, checkpoint in checkpoints.items():
        data = [served for served in request.data if asked[served] == name and served not in absent]
        if data:
            layers = [checkpoint.layer(overrides)]
            if request.benchmark is not None:
                of_benchmark = request.benchmark.layer(checkpoint.method, data, fitted=checkpoint.is_fitted)
                layers = [checkpoint.shots(), of_benchmark, *layers]
            config = eval_config(overrides, request, data, layers, str(checkpoint.path or UNTRAINED))
            parts.append(CheckpointPlan(config, checkpoint))
    return Plan(parts, list(request.data), absent, request.benchmark)


def preview(overrides: Overrides) -> EvalConfig:
    """The settings that the words and YAML files alone come to: no weights, and no data, need to be there."""
    request = requested(overrides)
    layers = []
    if request.benchmark is not None and overrides.method is not None:
        layers = [request.benchmark.layer(overrides.method, request.data)]
    by_default = LATEST if overrides.method is None or is_trained(overrides.method) else UNTRAINED
    return eval_config(overrides, request, request.data, layers, request.checkpoint or by_default)


def absent_sets(data: Sequence[str], overrides: Overrides) -> dict[str, str]:
    """The data sets whose folder is missing or empty, with that folder. Sets that render themselves are there."""
    absent, typed = {}, overrides.values(data).get("data", {})
    for name in data:
        spec, given = catalogue.get(name), typed.get(name, {}).get("root")
        folder = spec.default_root(overrides.data_dir) if given is None else Path(str(given)).expanduser()
        if spec.prepare_root is None and not is_occupied(folder):
            absent[name] = str(folder)
    return absent


def _skipped(request: Request, overrides: Overrides) -> dict[str, str]:
    """The absent data sets, where they are skipped. Raises UserError where that leaves none, or is not asked for."""
    absent = absent_sets(request.data, overrides)
    if not request.skips:
        if len(absent) > 1:  # of one set its own message says how to get it
            raise UserError(
                f"{len(absent)} of {len(request.data)} data sets are not there: {', '.join(absent)}",
                where=f"looked for {', '.join(absent.values())}",
                hint="get them (python -m adbench data list), or leave them out by missing=skip",
            )
        return {}
    if len(absent) == len(request.data):
        what = "" if request.benchmark is None else f"of benchmark {request.benchmark.name} "
        raise UserError(
            f"none of the {len(absent)} data sets {what}is there: {', '.join(absent)}",
            where=f"looked for them in {overrides.data_dir}",
            hint="put one into data_dir/NAME (python -m adbench data list), give data_dir=DIR, or name other data=NAME",
        )
    return absent
