"""What a command does, typed: settings as dictionaries in, checked dataclasses out, and back for config.yaml."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from adbench.cli import collector
from adbench.cli.benchmark import Request
from adbench.cli.layers import Layer, Tree, data_defaults, known_keys, lay_over, settle
from adbench.cli.override_parser import choices, entry_name
from adbench.cli.overrides import Overrides, check_choice, unknown_setting
from adbench.data import catalogue
from adbench.data.support import SupportSettings
from adbench.engine.settings import EvalSettings, TrainSettings
from adbench.errors import UserError
from adbench.typed import Side, Written, make, read

_Config = TypeVar("_Config", bound="Config")
Missing = Literal["skip", "error"]


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Which backbone: the arguments of `adbench.load_clip`."""

    name: str
    pretrained: str | None = None
    checkpoint: Path | None = None
    quick_gelu: bool | None = None
    image_size: Side | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    compile: bool = False


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which data set, where it lies (None: data_dir/name), which of its classes (none given: all), its own options."""

    name: str
    root: Path | None = None
    classes: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def to_tree(self) -> Tree:
        """The section of config.yaml."""
        return {"root": self.root, "classes": self.classes, **self.options}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What train and eval have in common."""

    method: str
    hyperparameters: dict[str, Any]
    clip: ClipConfig
    data: tuple[DataConfig, ...]
    support: SupportSettings
    data_dir: Path
    outputs: Path
    out: Path | None
    device: str
    seed: int

    @property
    def data_names(self) -> str:
        """The data sets' names joined by "+"."""
        return "+".join(data.name for data in self.data)

    def to_tree(self) -> Tree:
        """The resolved settings in the form in which they are given, as YAML knows them."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        values["method"] = {"name": self.method, **values.pop("hyperparameters")}
        values["data"] = {item.name: item.to_tree() for item in self.data}
        return dict(_plain(values))

    def to_yaml(self) -> str:
        """config.yaml: what `rerun` takes again."""
        import yaml

        return yaml.safe_dump(self.to_tree(), sort_keys=False, allow_unicode=True)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """A training run. `validation` is evaluated now and then; None: never. `resume`: go on where `out` has stopped."""

    resume: bool
    trainer: TrainSettings
    validation: DataConfig | None

    def to_tree(self) -> Tree:
        """As of any command; the seed and the number of support images stand where they are given."""
        tree = super().to_tree()
        tree["trainer"] = {key: value for key, value in tree["trainer"].items() if key not in ("seed", "shots")}
        return {**tree, "validation": None if self.validation is None else self.validation.name}


@dataclass(frozen=True, kw_only=True)
class EvalConfig(Config):
    """An evaluation run.

    checkpoint  a run, a file, "latest" or "untrained"; several by the data sets that they serve
    benchmark   the benchmark that named the data sets, if one did
    missing     what becomes of data sets that are not there
    submission  folder of the archive for the data set's server; None: no archive
    """

    eval: EvalSettings
    checkpoint: str | Mapping[str, str]
    benchmark: str | None
    missing: Missing
    submission: str | None

    def to_tree(self) -> Tree:
        """As of any command; the seed stands where it is given."""
        tree = super().to_tree()
        return {**tree, "eval": {key: value for key, value in tree["eval"].items() if key != "seed"}}


@collector.paused()
def train_config(overrides: Overrides) -> TrainConfig:
    """The settings of `train`. Raises UserError for an unknown key, choice or type of value."""
    if not overrides.data:
        raise UserError("train needs data", hint=f"add data=NAME, one of {', '.join(choices('data'))}")
    check_choice("data", overrides.data[0], overrides.word("data"))
    tree = _settled(overrides, overrides.data, overrides.data, [])
    support = support_settings(tree["support"])
    if len(support.k) > 1:
        shown = ",".join(map(str, support.k))
        raise UserError(f"support.k is {shown}, and a training takes one K", where="support.k", hint="train once per K")
    tree["trainer"] = {**tree["trainer"], "seed": tree["seed"], "shots": support.k[0]}
    if tree["validation"] is not None:
        name = entry_name("data", str(read(tree["validation"])))
        check_choice("data", name, f"validation={name}")
        tree["validation"] = _data_config(name, data_defaults(name), "validation")
    return _typed(TrainConfig, tree)


def eval_config(
    overrides: Overrides,
    request: Request,
    data: Sequence[str],
    layers: Sequence[Layer],
    checkpoint: str | Mapping[str, str],
) -> EvalConfig:
    """The settings of `eval` for the data sets `data`, a part of those that are requested, and their `checkpoint`.

    layers  what stands between the YAML files and what was typed, the lowest first
    """
    tree = _settled(overrides, data, request.data, layers)
    lists = {key: _as_list(tree["eval"][key]) for key in ("aupro_limit", "metrics") if key in tree["eval"]}
    tree["eval"] = {**tree["eval"], **lists, "seed": tree["seed"]}
    tree["benchmark"] = None if request.benchmark is None else request.benchmark.name
    tree["missing"] = "skip" if request.skips else "error"
    return _typed(EvalConfig, {**tree, "checkpoint": checkpoint})


def _settled(overrides: Overrides, data: Sequence[str], named: Sequence[str], layers: Sequence[Layer]) -> Tree:
    """YAML files, `layers` and what was typed as one dictionary. Raises UserError for a key that there is not."""
    if overrides.method is None and not any("method" in layer.choices for layer in layers):
        known = ", ".join(choices("method"))
        raise UserError(f"{overrides.command} needs a method", hint=f"add method=NAME, one of {known}")
    below = settle(overrides.command, [*layers, Layer(overrides.choices)], data)
    return overrides.over(below, known_keys(overrides.command, below, named), named)


def detector_settings(overrides: Overrides, layer: Layer, data: str) -> tuple[dict[str, Any], ClipConfig]:
    """The hyperparameters of a method, checked, and its backbone: what `layer` says of them, under what was typed.

    data  the set by whose kind the YAML files are chosen
    """
    from adbench.methods import method_class

    tree, typed = settle("eval", [layer, Layer(overrides.choices)], [data]), overrides.values([])
    tree = lay_over(tree, {key: typed[key] for key in ("method", "clip") if key in typed})
    hyperparameters = dict(tree["method"])
    method = hyperparameters.pop("name")
    return method_class(method).check_hyperparameters(hyperparameters), make(ClipConfig, tree["clip"], "clip")


def _typed(cls: type[_Config], tree: Tree) -> _Config:
    """The settings as `cls`: every section checked by the annotations of whoever takes it."""
    from adbench.methods import method_class

    hyperparameters = dict(tree["method"])
    method = hyperparameters.pop("name")
    several = len(tree["data"]) > 1
    values = {
        **tree,
        "method": method,
        "hyperparameters": method_class(method).check_hyperparameters(hyperparameters),
        "data": tuple(
            _data_config(name, options, f"data.{name}" if several else "data") for name, options in tree["data"].items()
        ),
        "support": support_settings(tree["support"]),
    }
    return make(cls, {item.name: values[item.name] for item in dataclasses.fields(cls)}, "")


def data_config(overrides: Overrides, name: str) -> DataConfig:
    """The settings of one data set, for commands that take nothing else. Raises UserError for an option it lacks."""
    typed = overrides.values([name]).get("data", {}).get(name, {})
    below = data_defaults(name)
    for key in (f"data.{option}" for option in typed if option not in below):
        raise unknown_setting(overrides.word(key), key, [f"data.{item}" for item in below], overrides.command)
    return _data_config(name, lay_over(below, typed), "data")


def support_settings(values: Mapping[str, Any]) -> SupportSettings:
    """The section `support`, checked; single numbers are lists of one."""
    return make(SupportSettings, {**values, "k": _as_list(values["k"]), "seed": _as_list(values["seed"])}, "support")


def _data_config(name: str, values: Mapping[str, Any], section: str) -> DataConfig:
    options = {key: value for key, value in values.items() if key not in ("root", "classes")}
    options = catalogue.get(name).check_options(options, section)
    given = {"name": name, "root": values["root"], "classes": _as_list(values["classes"]), "options": options}
    return make(DataConfig, given, section)


def _as_list(value: Any) -> Any:
    """A list as it is, a single value as a list of one, nothing as an empty one."""
    if isinstance(value, Written):
        if value.text.startswith("["):  # a list that is not closed is no name
            return value.value if value.problem is None else read(value)
        return [] if value.text == "null" else [value]
    if isinstance(value, (list, tuple)):
        return value
    return [] if value is None else [value]


def _plain(value: Any) -> Any:
    """As YAML knows it: dataclasses and mappings as dictionaries, sequences as lists, paths as strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
