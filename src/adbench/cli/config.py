"""Composes the YAML files and the command line (Hydra) into typed configurations. Hydra goes no further than this."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adbench.cli.benchmark import Missing, with_benchmark
from adbench.cli.compose import compose, dotted_keys, read_yaml
from adbench.cli.convert import make
from adbench.cli.grammar import Setting, choices, unknown_setting
from adbench.data.support import SupportSettings
from adbench.engine.settings import EvalSettings, TrainSettings
from adbench.errors import UserError, unknown

_KINDS = {
    "method": "method",
    "clip": "backbone",
    "data": "data set",
    "trainer": "trainer",
    "support": "source of support sets",
}
# Set by the group's choice: method=NAME, data=NAME and support=NAME.
_FIXED = ("method.name", "data.name", "support.source")
# What a method's YAML sets for the other command.
_NOT_OURS = {"train": "eval", "eval": "trainer"}


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Which backbone: the arguments of `adbench.clip.load_clip`."""

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


@dataclass(frozen=True, kw_only=True)
class Config:
    """What train and eval have in common. `typed` holds the keys that the user wrote on the command line."""

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
    typed: frozenset[str]

    @property
    def data_names(self) -> str:
        """The data sets' names joined by "+"."""
        return "+".join(data.name for data in self.data)

    def to_yaml(self) -> str:
        """The resolved configuration as YAML, kept with every run."""
        import yaml

        values = _plain(dataclasses.asdict(self))
        values.pop("typed")
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """A training run. `validation` is evaluated now and then; None: never. `resume`: go on where `out` has stopped."""

    resume: bool
    trainer: TrainSettings
    validation: DataConfig | None


@dataclass(frozen=True, kw_only=True)
class EvalConfig(Config):
    """An evaluation run.

    checkpoint  what the user wrote: a run, a file, "latest" or "untrained"; several by the data sets that they serve
    benchmark   the benchmark that named the data sets, if one did
    missing     what becomes of data sets that are not there
    """

    eval: EvalSettings
    checkpoint: str | Mapping[str, str]
    benchmark: str | None
    missing: Missing


def train_config(settings: Sequence[Setting]) -> TrainConfig:
    """Compose the configuration of `train`. Raises UserError for an unknown key, choice or type of value."""
    values, common = _compose_all("train", settings)
    validation = values["validation"]
    if validation is not None:
        _check_choice("data", str(validation), f"validation={validation}")
        validation = _data_config(compose("train", [*_groups(settings), f"data={validation}"])["data"])
    shots = _shots(common["support"])
    trainer = make(TrainSettings, {**values["trainer"], "seed": values["seed"], "shots": shots}, "trainer")
    resume = make(_Resume, {"resume": values["resume"]}, "").resume
    return TrainConfig(**common, resume=resume, trainer=trainer, validation=validation)


def eval_config(settings: Sequence[Setting], restored: Mapping[str, Any] | None = None) -> EvalConfig:
    """Compose the configuration of `eval`.

    `restored` is what a checkpoint remembers, {"method": {hyperparameter: value}, "clip": {key: value}}: it stands
    between the YAML files and what the user typed.
    """
    settings, benchmark = with_benchmark(settings)
    method = next((setting.value for setting in settings if setting.key == "method"), None)
    if benchmark is not None and method in choices("method"):
        given = {setting.key for setting in settings}
        settings += [setting for setting in benchmark.support_for(method) if setting.key not in given]
    values, common = _compose_all("eval", settings, restored or {})
    evaluation = make(EvalSettings, {**values["eval"], "seed": values["seed"]}, "eval")
    name = None if benchmark is None else benchmark.name
    missing = values["missing"] or ("error" if benchmark is None else "skip")
    chosen = make(_Chosen, {"checkpoint": values["checkpoint"], "missing": missing, "benchmark": name}, "")
    return EvalConfig(**common, eval=evaluation, **dataclasses.asdict(chosen))


def _compose_all(
    command: str, settings: Sequence[Setting], restored: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The composed values, and the arguments that every Config takes."""
    typed = {setting.key: setting for setting in settings}
    names = chosen_data(command, typed)
    for group, kind in _KINDS.items():
        if group in typed and group != "data":
            if not isinstance(typed[group].value, str):
                raise UserError(f"{typed[group].word} names no {kind}", where=command, mend=f"write {group}=NAME")
            _check_choice(group, typed[group].value, typed[group].word)
    if "method" not in typed:
        raise UserError(f"{command} needs a method", mend=f"add method=NAME, one of {', '.join(choices('method'))}")
    groups = _groups(settings)
    chosen = [*groups, f"data={names[0]}"]
    if len(typed) > len(groups) + 1:
        _check_keys(command, typed, names, compose(command, chosen))
    words = [f"++{s.hydra}" for s in settings if s.key not in _KINDS and not s.key.startswith("data.")]
    values = compose(command, [*chosen, *words, *_words_of(names[0], settings)])
    for section, remembered in (restored or {}).items():
        values[section].update({k: v for k, v in remembered.items() if f"{section}.{k}" not in typed})
    sets = [values["data"]]
    for name in names[1:]:
        own = _words_of(name, settings)
        # A set's section depends on nothing else: composing everything anew for each would take seconds.
        sets.append(
            compose(command, [*groups, f"data={name}", *own])["data"] if own else read_yaml(f"data/{name}.yaml")
        )
    data = tuple(_data_config(one, several=len(names) > 1) for one in sets)
    hyperparameters = {key: value for key, value in values["method"].items() if key != "name"}
    top = {key: values[key] for key in ("data_dir", "outputs", "out", "device", "seed")}
    common = {
        "method": values["method"]["name"],
        "hyperparameters": hyperparameters,
        "clip": make(ClipConfig, values["clip"], "clip"),
        "data": data,
        "support": _support(values["support"]),
        **dataclasses.asdict(make(_Top, top, "")),
        "typed": frozenset(typed),
    }
    return values, common


@dataclass(frozen=True, kw_only=True)
class _Top:
    data_dir: Path
    outputs: Path
    out: Path | None
    device: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    checkpoint: str | Mapping[str, str]
    benchmark: str | None
    missing: Missing


@dataclass(frozen=True, kw_only=True)
class _Resume:
    resume: bool


def _support(values: Mapping[str, Any]) -> SupportSettings:
    lists = {
        key: value if isinstance(value, list) else [value] for key, value in values.items() if key in ("k", "seed")
    }
    return make(SupportSettings, {**values, **lists}, "support")


def _shots(support: SupportSettings) -> int:
    """The number of support images that a training gives every query."""
    if len(support.k) > 1:
        shown = ",".join(map(str, support.k))
        raise UserError(f"support.k is {shown}, and a training takes one K", where="support.k", mend="train once per K")
    return support.k[0]


def chosen_data(command: str, typed: Mapping[str, Setting]) -> list[str]:
    """The names of the data sets. Raises UserError for unknown ones and for settings that do not say whose they are."""
    if "data" not in typed:
        raise UserError(f"{command} needs data", mend=f"add data=NAME, one of {', '.join(choices('data'))}")
    value = typed["data"].value
    names = [str(name) for name in (value if isinstance(value, list) else [value])]
    if not names:
        raise UserError("no data set is named", where=typed["data"].word, mend="write data=NAME or 'data=[a,b]'")
    for name in names:
        _check_choice("data", name, typed["data"].word)
        if names.count(name) > 1:
            raise UserError(f"data set {name!r} is named twice", where=typed["data"].word, mend="name it once")
    shared = [setting for key, setting in typed.items() if key.startswith("data.") and key.count(".") == 1]
    if len(names) > 1 and shared:
        key, one = shared[0].key.removeprefix("data."), names[0]
        raise UserError(
            f"{shared[0].key} does not say which of {', '.join(names)} it is for",
            where=shared[0].word,
            mend=f"write data.{one}.{key}=...",
        )
    return names


def _check_choice(group: str, name: str, where: str) -> None:
    known = choices(group)
    if name not in known:
        raise unknown(_KINDS[group], name, known, where=where)


def _groups(settings: Sequence[Setting]) -> list[str]:
    return [setting.hydra for setting in settings if setting.key in _KINDS and setting.key != "data"]


def _words_of(name: str, settings: Sequence[Setting]) -> list[str]:
    """The words that set a key of data set `name`, as Hydra knows it: data.KEY=VALUE."""
    words = []
    for setting in settings:
        if setting.key.startswith("data."):
            owner, _, key = setting.key.removeprefix("data.").rpartition(".")
            if owner in ("", name):
                words.append(f"++data.{key}={setting.hydra.partition('=')[2]}")
    return words


def _check_keys(command: str, typed: Mapping[str, Setting], names: Sequence[str], values: Mapping[str, Any]) -> None:
    hidden = ("data.", f"{_NOT_OURS[command]}.")
    known = {key for key in dotted_keys(values) if not key.startswith(hidden)}
    groups = set(_KINDS) - {_NOT_OURS[command]}
    for name in names:
        for key in read_yaml(f"data/{name}.yaml"):
            known |= {f"data.{key}", f"data.{name}.{key}"}
    known -= {*_FIXED, *(f"data.{name}.name" for name in names)}
    for key, setting in typed.items():
        if key not in groups and key not in known:
            raise unknown_setting(setting.word, key, known | groups, command)


def _data_config(values: Mapping[str, Any], *, several: bool = False) -> DataConfig:
    section = f"data.{values['name']}" if several else "data"
    classes = values["classes"] or []
    # A class may be called 01, which reads as a number; one class needs no brackets.
    classes = [str(name) for name in (classes if isinstance(classes, list) else [classes])]
    options = {key: value for key, value in values.items() if key not in ("name", "root", "classes")}
    own = {"name": values["name"], "root": values["root"], "classes": classes, "options": options}
    return make(DataConfig, own, section)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, frozenset)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
