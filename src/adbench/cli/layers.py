"""Settings as nested dictionaries: the YAML files, composed once by Hydra, and layers laid over them.

YAML < recipe and words < benchmark < checkpoint < typed. All have the form of a run's config.yaml:

    method: {name: adaclip, k_clusters: 20}     clip: {...}     data: {mvtec: {root: ..., classes: [...]}}     seed: 111
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench.errors import UserError
from adbench.plugins import DATASETS, METHODS
from adbench.shipped import configs_dir

if TYPE_CHECKING:
    from omegaconf import DictConfig

Tree = dict[str, Any]

KINDS = {
    "method": "method",
    "clip": "backbone",
    "data": "data set",
    "trainer": "trainer",
    "support": "source of support sets",
}
"""The groups of YAML files of which a command takes one (of data sets: several), and what an entry of each is."""


# What a method's YAML sets for the other command.
NOT_OURS = {"train": "eval", "eval": "trainer"}
# Of the trainer's settings those that a stage of training may have otherwise.
STAGE_KEYS = ("epochs", "batch_size", "steps_per_epoch", "optimizer")
# Set by the group's choice: method=NAME, data=NAME and support=NAME.
_FIXED = ("method.name", "support.source")


@dataclass(frozen=True)
class Layer:
    """What one source of settings says: `choices` of groups (method, clip, support, trainer), and `values`."""

    choices: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


class Deleted:
    """Stands in a layer for a key of a mapping that is to go (`~trainer.mosaic.mvtec`)."""


class Whole(dict[str, Any]):
    """A mapping that is not joined with the one below it, but stands in its place."""


def lay_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> Tree:
    """`below` with what `above` says: mappings are joined key by key, anything else is replaced."""
    merged = Whole(below) if isinstance(below, Whole) else dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if value is Deleted:
            merged.pop(key, None)
        elif isinstance(under, Mapping) and isinstance(value, Mapping) and not isinstance(value, Whole):
            merged[key] = lay_over(under, value)
        else:
            merged[key] = value
    return merged


def nested(dotted: Mapping[str, Any]) -> Tree:
    """{"trainer.optimizer.lr": 0.1} as {"trainer": {"optimizer": {"lr": 0.1}}}."""
    tree: Tree = {}
    for key, value in dotted.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        tree = lay_over(tree, value)
    return tree


def dotted_keys(tree: Mapping[str, Any], prefix: str = "") -> set[str]:
    """Dotted keys of all leaves, and of sections within sections (`trainer.optimizer={lr: 0.1}` may be typed)."""
    keys = set()
    for key, value in tree.items():
        if isinstance(value, Mapping):
            keys |= dotted_keys(value, f"{prefix}{key}.")
        if prefix or not isinstance(value, Mapping):
            keys.add(f"{prefix}{key}")
    return keys


def known_keys(command: str, tree: Mapping[str, Any], data: Sequence[str]) -> set[str]:
    """What may be typed after `command`: the keys of composed settings, of all data sets `data`, and the groups."""
    other = NOT_OURS[command]
    known = dotted_keys({key: value for key, value in tree.items() if key not in ("data", other)}) - {*_FIXED}
    if command == "train":
        trainer = dotted_keys(tree["trainer"])
        of_stages = [key for key in trainer if key.partition(".")[0] in STAGE_KEYS]
        known |= {f"trainer.stages.{stage}.{key}" for stage in tree["trainer"]["stages"] for key in of_stages}
    for name in data:
        options = tree["data"].get(name) or data_defaults(name)
        known |= {f"data.{name}.{option}" for option in options}
        known |= {f"data.{option}" for option in options} if len(data) == 1 else set()
    return known | (set(KINDS) - {other})


def settle(command: str, layers: Sequence[Layer], data: Sequence[str]) -> Tree:
    """The settings of `command` for these data sets: the YAML files that the layers choose, under the layers' values.

    What a method needs for particular data (configs/words) is that of the first data set.
    """
    choices = {group: name for layer in layers for group, name in layer.choices.items()}
    defaults = {name: data_defaults(name) for name in data}
    if plugged := choices.get("method") in METHODS.plugged():
        _register_method(choices["method"])
    tree = _compose(command, {**choices, "data": data[0]}, anew=plugged)
    del tree["backbone"]  # what methods ask of backbones has arrived in `clip`
    tree["data"] = defaults
    for layer in layers:
        tree = lay_over(tree, layer.values)
    return tree


def data_defaults(name: str) -> Tree:
    """The settings of a data set unless somebody says otherwise: where it lies, its classes, its own options."""
    from adbench.data import catalogue

    return {"root": None, "classes": [], **catalogue.get(name).option_defaults}


def _compose(command: str, choices: Mapping[str, str], *, anew: bool) -> Tree:
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    overrides = tuple(f"{group}={name}" for group, name in choices.items())
    compose = _composed.__wrapped__ if anew else _composed
    try:
        return OmegaConf.to_container(compose(command, overrides, _state_of_files()), resolve=True)  # type: ignore[return-value]
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(
            f"the settings do not compose: {str(error.__cause__ or error).splitlines()[0]}",
            where=" ".join(overrides),
            hint=f"all settings: python -m adbench {command} --help",
        ) from error


@functools.lru_cache(maxsize=64)
def _composed(command: str, overrides: tuple[str, ...], files: tuple[tuple[str, int], ...]) -> DictConfig:
    """What Hydra makes of these choices: a command asks for it several times, a benchmark for each of its data sets."""
    from hydra import compose

    with hydra_on_configs():
        return compose(command, overrides=list(overrides))


def _state_of_files() -> tuple[tuple[str, int], ...]:
    return tuple((str(file), file.stat().st_mtime_ns) for file in sorted(configs_dir().glob("**/*.yaml")))


@contextlib.contextmanager
def hydra_on_configs() -> Iterator[Any]:
    """Hydra on the shipped YAML files and registries; a Hydra that was at work before, of a sweep, is so again."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.initialize import get_gh_backup, restore_gh_from_backup

    _register_groups()
    before = get_gh_backup()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(configs_dir()), version_base="1.3", job_name="adbench"):
            yield GlobalHydra.instance().hydra
    finally:
        restore_gh_from_backup(before)


_told: dict[str, object] = {}
"""The data sets that Hydra knows, each as it was when it was told."""


def _register_groups() -> None:
    """Tell Hydra of the groups whose entries come from registries: data sets, and sources of support sets."""
    from dataclasses import asdict

    from hydra.core.config_store import ConfigStore

    from adbench.data import catalogue
    from adbench.data.support import SupportSettings
    from adbench.data.support_sources import SOURCES

    store = ConfigStore.instance()
    catalogue.names()
    for name, spec in DATASETS.entries.items():  # installed ones that nobody has asked for stay unread
        if _told.get(name) is not spec:
            store.store(group="data", name=name, node=_as_yaml({"name": name, **data_defaults(name)}))
            _told[name] = spec
    if "support" not in store.repo:
        for source in SOURCES:
            store.store(group="support", name=source, node=_as_yaml(asdict(SupportSettings(source=source))))


def _register_method(name: str) -> None:
    """Tell Hydra of a plug-in method: the hyperparameters in its code, under what NAME.yaml beside its module says.

    Of NAME_on_CLIP.yaml and NAME_for_DATA.yaml there too.
    """
    import inspect

    from hydra.core.config_store import ConfigStore

    from adbench.methods import method_class
    from adbench.structured import read_yaml

    cls, store = method_class(name), ConfigStore.instance()
    folder = Path(inspect.getfile(cls)).parent
    node: Tree = {"method": {"name": name, **_as_yaml(cls.hyperparameter_defaults())}}
    if cls.training_stages:
        node["trainer"] = {"stages": {stage: {} for stage in cls.training_stages}}
    if (folder / f"{name}.yaml").is_file():
        node = lay_over(node, read_yaml(folder / f"{name}.yaml"))
    store.store(group="method", name=name, node=node, package="_global_")
    for group, mark in (("recipe", "_on_"), ("words", "_for_")):
        for file in sorted(folder.glob(f"{name}{mark}*.yaml")):
            store.store(group=group, name=file.stem, node=read_yaml(file), package="_global_")


def _as_yaml(values: Mapping[str, Any]) -> Tree:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
