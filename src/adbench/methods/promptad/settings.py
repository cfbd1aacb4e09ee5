"""PromptAD's settings: what may be chosen, what the variants "official" and "paper" choose where nothing is, and which
part of the method each is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeVar

from adbench.methods.promptad.prompts import Task

_Settings = TypeVar("_Settings")

_CHOICES = {
    "variant": ("official", "paper"),
    "task": ("cls", "seg", "both"),
    "suffixes": ("auto", "own", "generic"),
    "prototype": ("mean_of_raw", "mean_of_normalised"),
    "guidance": ("both", "prompt", "vision"),
    "select": ("last", "best_on_test"),
}
# Of each switch the authors' code's choice, then the paper's.
_BY_VARIANT = {
    "memory_tap": ("post_attention_next", "block_output"),
    "logit_scale": ("raw", "exp"),
    "margin_axis": ("tokens", "channels"),
    "lap_position": ("before_noun", "after_noun"),
    "manual_form": ("around_noun", "after_noun"),
    "pairing": ("modulo", "product"),
    "test_channel_order": ("bgr", "rgb"),
}
_AT_LEAST = {"n_pro": 1, "n_pro_ab": 1, "n_ctx": 1, "n_ctx_ab": 1, "vv_last_blocks": 1, "epochs": 0, "batch_size": 1}


# Normal contexts per task where no number is given.
_N_PRO: dict[Task, int] = {"cls": 3, "seg": 1}


@dataclass(frozen=True, kw_only=True, slots=True)
class Switches:
    """Decided switches: hyperparameters of `PromptAd` by the same names."""

    memory_tap: Literal["post_attention_next", "block_output"]
    logit_scale: Literal["raw", "exp"]
    margin_axis: Literal["tokens", "channels"]
    lap_position: Literal["before_noun", "after_noun"]
    manual_form: Literal["around_noun", "after_noun"]
    pairing: Literal["modulo", "product"]
    test_channel_order: Literal["bgr", "rgb"]


def decide(given: Mapping[str, Any]) -> Switches:
    """Switches from hyperparameters, None being left to the variant. Raises ValueError for impossible values of any."""
    for key, allowed in {**_CHOICES, **_BY_VARIANT}.items():
        if given[key] not in allowed and not (given[key] is None and key in _BY_VARIANT):
            raise ValueError(f"{key} is {given[key]!r}, not one of {', '.join(map(repr, allowed))}")
    for key, least in _AT_LEAST.items():
        if given[key] is not None and given[key] < least:
            raise ValueError(f"{key} is {given[key]}, below {least}")
    variant = _CHOICES["variant"].index(given["variant"])
    decided: dict[str, Any] = {key: given[key] or both[variant] for key, both in _BY_VARIANT.items()}
    return Switches(**decided)


def chosen(kind: type[_Settings], given: Mapping[str, Any], switches: Switches, **more: Any) -> _Settings:
    """The settings of one part of the method, a dataclass: its fields among the hyperparameters, switches decided."""
    values = {**given, **asdict(switches), **more}
    return kind(**{field.name: values[field.name] for field in fields(kind)})  # type: ignore[arg-type]


def tasks_of(given: Mapping[str, Any]) -> dict[Task, int]:
    """The tasks that prompts are fitted for, and the number of normal contexts of each."""
    tasks: list[Task] = ["cls", "seg"] if given["task"] == "both" else [given["task"]]
    return {task: given["n_pro"] or _N_PRO[task] for task in tasks}
