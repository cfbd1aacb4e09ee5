"""What one `eval` command evaluates: which data sets are there, which weights serve which of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adbench.cli.benchmark import Benchmark, with_benchmark
from adbench.cli.config import EvalConfig, chosen_data, eval_config
from adbench.cli.grammar import Setting, data_dir_of, parse
from adbench.cli.restore import Checkpoint, find_checkpoint, is_fitted, remembered, same_backbone, trained_shots
from adbench.data import catalogue
from adbench.data.tree import is_occupied
from adbench.errors import UserError, unknown

DEFAULT = "default"
# What may differ between a run and the one that goes on behind it.
_FREE = ("data", "out", "outputs", "device", "workers", "heat_maps")


@dataclass(frozen=True)
class Part:
    """The data sets that one checkpoint serves: `config.data`."""

    config: EvalConfig
    checkpoint: Checkpoint


@dataclass(frozen=True)
class Plan:
    """An evaluation. `order`: all data sets as they were named; `absent`: those that are not there, and where not."""

    parts: list[Part]
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
        import yaml

        described = []
        for part in self.parts:
            values = yaml.safe_load(replace(part.config, checkpoint=str(part.checkpoint.path)).to_yaml())
            values["eval"] = {key: value for key, value in values["eval"].items() if key not in _FREE}
            described.append({key: value for key, value in values.items() if key not in _FREE})
        text = json.dumps([self.label, self.order, described], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_yaml(self) -> str:
        """The resolved configuration: of the one part, or a list of them."""
        import yaml

        parts = [replace(part.config, checkpoint=str(part.checkpoint.path or "untrained")) for part in self.parts]
        if len(parts) == 1:
            return parts[0].to_yaml()
        return yaml.safe_dump({"parts": [yaml.safe_load(part.to_yaml()) for part in parts]}, sort_keys=False)


def make_plan(settings: Sequence[Setting]) -> Plan:
    """Resolve the settings of `eval`: benchmark, checkpoints, what these remember, and which data sets there are.

    Raises UserError where nothing can be evaluated.
    """
    settings, benchmark = with_benchmark(settings)
    typed = {setting.key: setting for setting in settings}
    names = chosen_data("eval", typed)
    if benchmark is not None and "method" not in typed and "checkpoint" not in typed:
        settings = [*settings, *parse(["checkpoint=latest"], "eval")]
        typed = {setting.key: setting for setting in settings}
    served = _served(typed.get("checkpoint"), names, names if benchmark is None else benchmark.data)
    # Weights first: a command without any would fail on every data set.
    checkpoints = {asked: find_checkpoint(_asking(settings, asked)) for asked in dict.fromkeys(served.values())}
    skip = _skips(typed.get("missing"), benchmark)
    absent = _absent(names, typed)
    if not skip:
        _refuse_absent(absent, len(names))
        absent = {}
    present = [name for name in names if name not in absent]
    if not present:
        raise _nothing_there(names, typed, benchmark)
    parts = []
    for asked, checkpoint in checkpoints.items():
        own = [name for name in present if served[name] == asked]
        if own:
            part = _part(_asking(settings, asked), own, names, checkpoint, benchmark)
            name = None if benchmark is None else benchmark.name
            config = replace(part.config, benchmark=name, missing="skip" if skip else "error")
            parts.append(replace(part, config=config))
    return Plan(parts, names, absent, benchmark)


def _part(
    settings: Sequence[Setting], own: list[str], names: list[str], checkpoint: Checkpoint, benchmark: Benchmark | None
) -> Part:
    """The configuration of the data sets that one checkpoint serves."""
    others = tuple(f"data.{name}." for name in names if name not in own)
    kept = [setting for setting in settings if setting.key not in ("data", "method")]
    kept = [setting for setting in kept if not setting.key.startswith(others)]
    words = [f"data=[{','.join(own)}]", f"method={checkpoint.method}"]
    kept += parse(words, "eval")
    given = {setting.key for setting in kept}
    if benchmark is not None and not is_fitted(checkpoint):
        supports = [*trained_shots(checkpoint), *benchmark.support_for(checkpoint.method)]
        kept += {setting.key: setting for setting in supports if setting.key not in given}.values()
    composed = eval_config([*kept, *same_backbone(checkpoint, kept)], remembered(checkpoint, kept))
    return Part(composed, checkpoint)


def _served(asked: Setting | None, names: Sequence[str], known: Sequence[str]) -> dict[str, str | None]:
    """Data set -> the checkpoint that serves it, as written; None: whatever is the default of the method.

    `known`: names that may be mapped; of a benchmark all, whichever part of it is evaluated.
    """
    if asked is None or not isinstance(asked.value, Mapping):
        return dict.fromkeys(names, None if asked is None or asked.value is None else str(asked.value))
    by_name = asked.value
    for name in by_name:
        if name not in (DEFAULT, *names, *known):
            raise unknown("data set", name, [*known, DEFAULT], where=asked.word)
    for name in names:
        if name not in by_name and DEFAULT not in by_name:
            raise UserError(
                f"no checkpoint serves {name}", where=asked.word, mend=f"add '{name}: RUN' or 'default: RUN'"
            )
    return {name: str(by_name.get(name, by_name.get(DEFAULT))) for name in names}


def _asking(settings: Sequence[Setting], checkpoint: str | None) -> list[Setting]:
    """The settings with that one checkpoint."""
    others = [setting for setting in settings if setting.key != "checkpoint"]
    return others if checkpoint is None else [*others, *parse([f"checkpoint={checkpoint}"], "eval")]


def _skips(missing: Setting | None, benchmark: Benchmark | None) -> bool:
    if missing is None or missing.value is None:
        return benchmark is not None
    if missing.value not in ("skip", "error"):
        raise unknown("value", str(missing.value), ("skip", "error"), where=missing.word)
    return bool(missing.value == "skip")


def _absent(names: Sequence[str], typed: Mapping[str, Setting]) -> dict[str, str]:
    """The data sets whose folder is missing or empty, with that folder. Sets that render themselves are there."""
    absent = {}
    for name in names:
        spec = catalogue.get(name)
        given = typed.get(f"data.{name}.root") or typed.get("data.root")
        folder = spec.default_root(data_dir_of(typed)) if given is None else Path(str(given.value)).expanduser()
        if spec.prepare_root is None and not is_occupied(folder):
            absent[name] = str(folder)
    return absent


def _refuse_absent(absent: Mapping[str, str], n_named: int) -> None:
    """Name all that is not there, where it is more than the one set whose own message says how to get it."""
    if len(absent) > 1:
        raise UserError(
            f"{len(absent)} of {n_named} data sets are not there: {', '.join(absent)}",
            where=f"looked for {', '.join(absent.values())}",
            mend="get them (python -m adbench data list), or leave them out by missing=skip",
        )


def _nothing_there(names: Sequence[str], typed: Mapping[str, Setting], benchmark: Benchmark | None) -> UserError:
    what = f"of benchmark {benchmark.name} " if benchmark is not None else ""
    return UserError(
        f"none of the {len(names)} data sets {what}is there: {', '.join(names)}",
        where=f"looked for them in {data_dir_of(typed)}",
        mend="put one into data_dir/NAME (python -m adbench data list), give data_dir=DIR, or name another data=NAME",
    )
