"""Benchmarks: several data sets evaluated by one command, as configs/benchmark/NAME.yaml or another file says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adbench.cli.checkpoints import LATEST
from adbench.cli.layers import Layer
from adbench.cli.override_parser import choices
from adbench.cli.overrides import Overrides
from adbench.errors import UserError, unknown
from adbench.shipped import configs_dir
from adbench.structured import read_yaml
from adbench.typed import make

DEFAULT = "zeroshot14"
EVERY_OTHER = "default"
"""The key, among checkpoints by data set, that serves the data sets that are not named."""

MEASURES = ("metrics", "aupro_limit", "aupro200", "pixel_size")


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Which data sets, in the table's order, and what they are evaluated with unless the command line says otherwise.

    checkpoint  one for all, or data set -> checkpoint, with "default" for those that are not named; None: latest run
    support     of methods that take support images: k, seed, source
    options     data set -> its own options (data.SET.OPTION=VALUE)
    eval        what it is measured by: those of the settings of eval that decide figures (`MEASURES`)
    """

    name: str
    version: int
    data: tuple[str, ...]
    checkpoint: str | Mapping[str, str] | None = None
    support: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    eval: Mapping[str, Any] = field(default_factory=dict)

    def layer(self, method: str, data: Sequence[str], *, fitted: bool = False) -> Layer:
        """Its settings for a method and a part of its data sets; `fitted`: the weights have had their support."""
        from adbench.methods import method_class

        options = {name: self.options[name] for name in data if name in self.options}
        values: dict[str, Any] = {"data": options, "eval": self.eval}
        if fitted or not method_class(method).adapts:
            return Layer(values=values)
        values["support"] = {key: value for key, value in self.support.items() if key != "source"}
        source = self.support.get("source")
        return Layer({"support": source} if source else {}, values)


def load_benchmark(name: str, where: str = "") -> Benchmark:
    """The benchmark called `name`, or in the file `name`. Raises UserError for an unknown one and for a faulty file."""
    is_file = name.endswith((".yaml", ".yml"))
    if not is_file and name not in choices("benchmark"):
        raise unknown("benchmark", name, choices("benchmark"), where=where)
    file = Path(name).expanduser() if is_file else configs_dir() / "benchmark" / f"{name}.yaml"
    values = read_yaml(file, hint="give the YAML file of a benchmark")
    if not values.get("data"):
        raise UserError("the benchmark names no data sets", where=str(file), hint="write data: [a, b] in it")
    given = {key: value for key, value in values.items() if value is not None}
    benchmark = make(Benchmark, {"version": 1, **given, "name": file.stem}, "benchmark")
    served = benchmark.checkpoint if isinstance(benchmark.checkpoint, Mapping) else {}
    for kind, names, known in (
        ("setting of support", benchmark.support, ("source", "k", "seed")),
        ("setting of eval that a benchmark has", benchmark.eval, MEASURES),
        ("data set", benchmark.data, choices("data")),
        ("data set of the benchmark", benchmark.options, benchmark.data),
        ("data set of the benchmark", served, (*benchmark.data, EVERY_OTHER)),
    ):
        for entry in names:
            if entry not in known:
                raise unknown(kind, str(entry), known, where=str(file))
    return benchmark


@dataclass(frozen=True)
class Request:
    """What `eval` is asked for.

    benchmark   None where data sets are named
    data        the data sets in the table's order: as they were typed, or all of the benchmark
    checkpoint  as written, for all or by data set; None: whatever is the default of the method
    skips       whether data sets that are not there are left out
    """

    benchmark: Benchmark | None
    data: Sequence[str]
    checkpoint: str | Mapping[str, str] | None
    skips: bool

    def checkpoint_of(self, name: str) -> str | None:
        """The checkpoint that serves a data set, as written."""
        if isinstance(self.checkpoint, Mapping):
            return self.checkpoint.get(name, self.checkpoint.get(EVERY_OTHER))
        return self.checkpoint


def requested(overrides: Overrides) -> Request:
    """What `benchmark=NAME`, `data=NAME` or no data at all stand for, and with which weights.

    Raises UserError for data sets that the benchmark does not hold, or no checkpoint serves.
    """
    benchmark, data = _chosen(overrides)
    asked, missing = overrides.get("checkpoint"), overrides.get("missing")
    if asked is None and benchmark is not None:
        asked = benchmark.checkpoint or (None if overrides.method else LATEST)
    if isinstance(asked, Mapping):
        _check_serves(asked, data if benchmark is None else benchmark.data, data, overrides.word("checkpoint"))
    elif asked is not None:
        asked = str(asked)
    if missing not in (None, "skip", "error"):
        raise unknown("value", str(missing), ("skip", "error"), where=overrides.word("missing"))
    return Request(benchmark, data, asked, benchmark is not None if missing is None else missing == "skip")


def _chosen(overrides: Overrides) -> tuple[Benchmark | None, Sequence[str]]:
    asked, typed, word = overrides.get("benchmark"), overrides.data, overrides.word("data")
    if asked is not None:
        benchmark = load_benchmark(str(asked), overrides.word("benchmark"))
        for name in typed:
            if name not in benchmark.data:
                raise unknown(f"data set of benchmark {benchmark.name}", name, benchmark.data, where=word)
        return benchmark, typed or benchmark.data
    if len(typed) > 1 or (typed and typed[0] in choices("data")):
        return None, typed
    if typed and typed[0] not in choices("benchmark"):
        raise unknown("data set", typed[0], [*choices("data"), *choices("benchmark")], where=word)
    benchmark = load_benchmark(typed[0] if typed else DEFAULT, word)
    return benchmark, benchmark.data


def _check_serves(checkpoints: Mapping[str, str], known: Sequence[str], data: Sequence[str], word: str) -> None:
    """Any data set of a benchmark may be mapped, whichever part of it is evaluated."""
    for name in checkpoints:
        if name not in (*known, EVERY_OTHER):
            raise unknown("data set", name, [*known, EVERY_OTHER], where=word)
    for name in data:
        if name not in checkpoints and EVERY_OTHER not in checkpoints:
            raise UserError(f"no checkpoint serves {name}", where=word, hint=f"add '{name}: RUN' or 'default: RUN'")
