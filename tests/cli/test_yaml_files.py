"""YAML files, registries and dataclasses agree: a method is one module and one YAML, and so is a data set."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
import yaml

from adbench import methods
from adbench.cli.config import train_config
from adbench.cli.list import read_header
from adbench.cli.override_parser import choices
from adbench.cli.overrides import Overrides
from adbench.cli.plan import preview
from adbench.clip.presets import PRESETS
from adbench.data import catalogue
from adbench.data.support_sources import SOURCES
from adbench.engine.settings import EvalSettings, TrainSettings
from adbench.shipped import configs_dir


def defaults(cls: Any) -> dict[str, Any]:
    values = dataclasses.asdict(cls())
    for elsewhere in ("seed", "shots"):  # from seed and support.k, which are not the trainer's own
        values.pop(elsewhere, None)
    return values


def as_yaml(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def test_every_method_has_its_yaml() -> None:
    assert choices("method") == methods.names()


def test_every_preset_has_its_yaml() -> None:
    assert set(choices("clip")) == set(PRESETS)


@pytest.mark.parametrize("name", choices("method"))
def test_a_methods_yaml_names_all_hyperparameters_with_their_defaults(name: str) -> None:
    _, values = read_header("method", name)
    in_code = methods.method_class(name).hyperparameter_defaults()
    written = {key: value for key, value in values["method"].items() if key != "name"}
    assert values["method"]["name"] == name
    assert written == {key: as_yaml(value) for key, value in in_code.items()}


@pytest.mark.parametrize("name", choices("method"))
def test_a_methods_yaml_says_what_it_reproduces(name: str) -> None:
    text = (configs_dir() / "method" / f"{name}.yaml").read_text(encoding="utf-8")
    header = text.partition("defaults:")[0]
    for word in (f"python -m adbench eval  method={name}", "Reproduces", "Expected", "Cost"):
        assert re.search(word.replace("  ", " +"), header), word
    assert isinstance(yaml.safe_load(text)["version"], int)


def test_entries_without_yaml_come_from_the_registries() -> None:
    assert choices("data") == catalogue.names()
    assert choices("support") == sorted(SOURCES)
    words = ["method=winclip", "data=lostandfound", "support=promptad", "support.k=2"]
    config = preview(Overrides("eval", words))
    assert config.data[0].options == {"known": True, "split": "test", "broken": "error"}
    assert (config.support.source, config.support.k) == ("promptad", (2,))


@pytest.mark.parametrize("name", choices("clip"))
def test_a_backbones_yaml_agrees_with_its_preset(name: str) -> None:
    about, values = read_header("clip", name)
    preset = PRESETS[name]
    assert about
    assert values["name"] == preset.model
    assert (values["pretrained"] or "shipped") == preset.pretrained


def test_the_trainers_yaml_holds_the_defaults_of_its_dataclass() -> None:
    written = yaml.safe_load((configs_dir() / "trainer" / "default.yaml").read_text(encoding="utf-8"))
    for name in ("betas", "milestones"):
        written["optimizer"][name] = tuple(written["optimizer"][name])
    assert written == defaults(TrainSettings)


def test_evals_yaml_holds_the_defaults_of_its_dataclass() -> None:
    written = yaml.safe_load((configs_dir() / "eval.yaml").read_text(encoding="utf-8"))["eval"]
    assert {key: tuple(value) if isinstance(value, list) else value for key, value in written.items()} == defaults(
        EvalSettings
    )


@pytest.mark.parametrize("name", choices("recipe"))
def test_a_recipe_is_for_a_method_on_a_backbone(name: str) -> None:
    method, _, clip = name.partition("_on_")
    assert method in choices("method")
    assert clip in choices("clip")
    assert train_config(Overrides("train", [f"method={method}", f"clip={clip}", "data=demo"])).clip.name == clip


@pytest.mark.parametrize("name", choices("words"))
def test_words_are_for_a_method_and_a_data_set(name: str) -> None:
    method, _, data = name.partition("_for_")
    assert method in choices("method")
    _, values = read_header("words", name)
    found = train_config(Overrides("train", [f"method={method}", "clip=demo", f"data={data}"])).hyperparameters
    assert values["method"].items() <= found.items()
