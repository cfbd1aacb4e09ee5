"""What a command does, typed: settings as dictionaries in, checked dataclasses out, and back for config.yaml."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from adbench.cli.convert import make
from adbench.cli.layers import Layer, Tree, data_defaults, lay_over, settle
from adbench.cli.words import Words, check_choice, choices, unknown_setting
from adbench.data.support import SupportSettings
from adbench.engine.settings import EvalSettings, TrainSettings
from adbench.errors import UserError

Missing = Literal["skip", "error"]


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Which backbone: the arguments of `adbench.load_clip`."""

    name: str
    pretrained: str | None = None
    checkpoint: Path | None = None
    quick_gelu: bool | None = None
    image_size: int | None = None


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
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        values["method"] = {"name": self.method, **values.pop("hyperparameters")}
        values["data"] = {one.name: one.to_tree() for one in self.data}
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
    """

    eval: EvalSettings
    checkpoint: str | Mapping[str, str]
    benchmark: str | None
    missing: Missing

    def to_tree(self) -> Tree:
        """As of any command; the seed stands where it is given."""
        tree = super().to_tree()
        return {**tree, "eval": {key: value for key, value in tree["eval"].items() if key != "seed"}}


def train_config(words: Words) -> TrainConfig:
    """The settings of `train`. Raises UserError for an unknown key, choice or type of value."""
    if not words.data:
        raise UserError("train needs data", mend=f"add data=NAME, one of {', '.join(choices('data'))}")
    tree = settled(words, words.data)
    validation = tree["validation"]
    if validation is not None:
        check_choice("data", str(validation), f"validation={validation}")
        validation = _data_config(str(validation), data_defaults(str(validation)), "validation")
    common = _common(tree)
    trainer = {**tree["trainer"], "seed": common["seed"], "shots": _shots(common["support"])}
    return TrainConfig(
        **common,
        **_typed(_Train, tree),
        trainer=make(TrainSettings, trainer, "trainer"),
        validation=validation,
    )


def eval_config(
    words: Words, data: Sequence[str], layers: Sequence[Layer] = (), *, named: Sequence[str] = (), **decided: Any
) -> EvalConfig:
    """The settings of `eval` for the data sets `data`, of those `named` by the command (by default these are all).

    `layers` lie between the YAML files and what was typed; `decided`: checkpoint, benchmark and missing.
    """
    tree = {**settled(words, data, layers, named=named), **decided}
    common = _common(tree)
    evaluation = make(EvalSettings, {**tree["eval"], "seed": common["seed"]}, "eval")
    return EvalConfig(**common, **_typed(_Eval, tree), eval=evaluation)


def settled(words: Words, data: Sequence[str], layers: Sequence[Layer] = (), *, named: Sequence[str] = ()) -> Tree:
    """YAML files, `layers` and what was typed, as one dictionary. Raises UserError for a key that there is not."""
    typed = words.layer(data, named)
    for name in data:
        check_choice("data", name, words.word("data"))
    if not any("method" in layer.choices for layer in (*layers, typed)):
        raise UserError(
            f"{words.command} needs a method", mend=f"add method=NAME, one of {', '.join(choices('method'))}"
        )
    below = settle(words.command, [*layers, Layer(typed.choices)], data)
    words.check_known(below)
    return lay_over(below, typed.values)


@dataclass(frozen=True, kw_only=True)
class _Common:
    data_dir: Path
    outputs: Path
    out: Path | None
    device: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class _Train:
    resume: bool


@dataclass(frozen=True, kw_only=True)
class _Eval:
    checkpoint: str | Mapping[str, str]
    benchmark: str | None
    missing: Missing


def _common(tree: Tree) -> dict[str, Any]:
    """The arguments that every Config takes."""
    method, values = tree["method"]["name"], {key: value for key, value in tree["method"].items() if key != "name"}
    several = len(tree["data"]) > 1
    return {
        "method": method,
        "hyperparameters": values,
        "clip": make(ClipConfig, tree["clip"], "clip"),
        "data": tuple(
            _data_config(name, values, f"data.{name}" if several else "data") for name, values in tree["data"].items()
        ),
        "support": support_settings(tree["support"]),
        **_typed(_Common, tree),
    }


def _typed(cls: type[Any], tree: Tree) -> dict[str, Any]:
    """The fields of `cls`, of the top of the tree, checked."""
    values = {one.name: tree[one.name] for one in dataclasses.fields(cls)}
    checked = make(cls, values, "")
    return {name: getattr(checked, name) for name in values}


def data_config(words: Words, name: str) -> DataConfig:
    """The settings of one data set, for commands that take nothing else. Raises UserError for an option it lacks."""
    check_choice("data", name, words.word("data") or name)
    typed = words.layer([name]).values.get("data", {}).get(name, {})
    below = data_defaults(name)
    for option in typed:
        if option not in below:
            raise unknown_setting(
                words.word(f"data.{option}"), f"data.{option}", [f"data.{one}" for one in below], words.command
            )
    return _data_config(name, lay_over(below, typed), "data")


def support_settings(values: Mapping[str, Any]) -> SupportSettings:
    """The section `support`, checked; single numbers are lists of one."""
    return make(SupportSettings, _with_lists(values, ("k", "seed")), "support")


def _data_config(name: str, values: Mapping[str, Any], section: str) -> DataConfig:
    given = _with_lists({key: values[key] for key in ("root", "classes")}, ("classes",))
    given["classes"] = [str(one) for one in given["classes"]]
    options = {key: value for key, value in values.items() if key not in given}
    return make(DataConfig, {"name": name, **given, "options": options}, section)


def _with_lists(values: Mapping[str, Any], keys: Sequence[str]) -> Tree:
    """`values` with a single value under `keys` as a list of one, and null as an empty one."""
    listed = {key: [] if values[key] is None else values[key] for key in keys}
    return {**values, **{key: v if isinstance(v, (list, tuple)) else [v] for key, v in listed.items()}}


def _shots(support: SupportSettings) -> int:
    """The number of support images that a training gives every query."""
    if len(support.k) > 1:
        shown = ",".join(map(str, support.k))
        raise UserError(f"support.k is {shown}, and a training takes one K", where="support.k", mend="train once per K")
    return support.k[0]


def _plain(value: Any) -> Any:
    """As YAML knows it: dataclasses and mappings as dictionaries, sequences as lists, paths as strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, frozenset)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
