"""PromptAD's switches: what may be chosen, and what the variants "official" and "paper" choose where nothing is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

_CHOICES = {
    "variant": ("official", "paper"),
    "task": ("cls", "seg", "both"),
    "suffixes": ("auto", "own", "generic"),
    "prototype": ("mean_of_raw", "mean_of_normalised"),
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
