"""Benchmarks: several data sets evaluated by one command, as configs/benchmark/NAME.yaml or a file of one's own says.

`benchmark=NAME`, `data=NAME`, or no data at all become settings that name every data set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from adbench.cli.convert import make
from adbench.cli.grammar import Setting, choices, parse
from adbench.errors import UserError, unknown
from adbench.shipped import configs_dir

DEFAULT = "zeroshot14"
Missing = Literal["skip", "error"]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Which data sets, in the table's order, and what they are evaluated with unless the command line says otherwise.

    checkpoint  one for all, or data set -> checkpoint, with "default" for those that are not named; None: latest run
    support     of methods that take support images: k, seed, source
    options     data set -> its own options (data.SET.OPTION=VALUE)
    """

    name: str
    version: int
    data: tuple[str, ...]
    checkpoint: str | Mapping[str, str] | None = None
    support: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def settings(self, chosen: Sequence[str]) -> list[Setting]:
        """What it stands for on a command line, support aside; options are those of the `chosen` data sets."""
        words = [f"data=[{','.join(self.data)}]"]
        if isinstance(self.checkpoint, str):
            words.append(f"checkpoint={self.checkpoint}")
        elif self.checkpoint:
            served = ", ".join(f"{name}: {checkpoint!r}" for name, checkpoint in self.checkpoint.items())
            words.append(f"checkpoint={{{served}}}")
        for name in chosen:
            words += [f"data.{name}.{key}={_word(value)}" for key, value in self.options.get(name, {}).items()]
        return parse(words, "eval")

    def support_for(self, method: str) -> list[Setting]:
        """Its support as settings, where `method` takes any."""
        from adbench.methods import method_class

        if not method_class(method).adapts:
            return []
        keys = {"source": "support", "k": "support.k", "seed": "support.seed"}
        return parse([f"{keys[key]}={_word(value)}" for key, value in self.support.items()], "eval")


def load_benchmark(name: str, where: str) -> Benchmark:
    """The benchmark called `name`, or in the file `name`. Raises UserError for an unknown one and for a faulty file."""
    import yaml

    own = name.endswith((".yaml", ".yml"))
    if not own and name not in choices("benchmark"):
        raise unknown("benchmark", name, choices("benchmark"), where=where)
    file = Path(name).expanduser() if own else configs_dir() / "benchmark" / f"{name}.yaml"
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise UserError(f"the benchmark cannot be read: {reason}", where=str(file), mend="give a YAML file") from error
    if not isinstance(values, dict) or not values.get("data"):
        raise UserError("the benchmark names no data sets", where=str(file), mend="write data: [a, b] in it")
    given = {key: value for key, value in values.items() if value is not None}
    benchmark = make(Benchmark, {"version": 1, **_served(given), "name": file.stem}, "benchmark")
    for key in benchmark.support:
        if key not in ("source", "k", "seed"):
            raise unknown("setting", f"support.{key}", ("support.source", "support.k", "support.seed"), where=str(file))
    for one in benchmark.data:
        if one not in choices("data"):
            raise unknown("data set", one, choices("data"), where=str(file))
    for one in benchmark.options:
        if one not in benchmark.data:
            raise unknown("data set of the benchmark", one, benchmark.data, where=f"{file}, options")
    return benchmark


def with_benchmark(settings: Sequence[Setting]) -> tuple[list[Setting], Benchmark | None]:
    """Settings of `eval` with the benchmark that they name, or none at all, written out; and that benchmark.

    With benchmark=NAME, data=... takes a part of its data sets.
    """
    typed = {setting.key: setting for setting in settings}
    asked, data = typed.get("benchmark"), typed.get("data")
    if asked is not None and asked.value is not None:
        benchmark = load_benchmark(str(asked.value), asked.word)
    elif data is None:
        benchmark = load_benchmark(DEFAULT, "")
    elif isinstance(data.value, str) and data.value not in choices("data"):
        if data.value not in choices("benchmark"):
            raise unknown("data set", data.value, [*choices("data"), *choices("benchmark")], where=data.word)
        benchmark, data = load_benchmark(data.value, data.word), None
    else:
        return [setting for setting in settings if setting.key != "benchmark"], None
    kept = [
        setting for setting in settings if setting.key != "benchmark" and (setting.key != "data" or data is not None)
    ]
    chosen = benchmark.data if data is None else _part(data, benchmark)
    given = {setting.key for setting in kept}
    return [*kept, *(setting for setting in benchmark.settings(chosen) if setting.key not in given)], benchmark


def _part(data: Setting, benchmark: Benchmark) -> list[str]:
    """The data sets that data=... takes of a benchmark."""
    names = [str(name) for name in (data.value if isinstance(data.value, list) else [data.value])]
    for name in names:
        if name not in benchmark.data:
            raise unknown(f"data set of benchmark {benchmark.name}", name, benchmark.data, where=data.word)
    return names


def _served(values: dict[str, Any]) -> dict[str, Any]:
    """The mapping of checkpoints checked here, so that messages name the key."""
    checkpoint = values.get("checkpoint")
    if isinstance(checkpoint, dict):
        for name in checkpoint:
            if name != "default" and name not in values["data"]:
                raise unknown("data set of the benchmark", str(name), values["data"], where="benchmark.checkpoint")
    return values


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
