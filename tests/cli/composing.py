"""Whether a command that is shown somewhere would be understood, without running it."""

from __future__ import annotations

from collections.abc import Sequence

from adbench.cli.config import EvalConfig, TrainConfig, train_config
from adbench.cli.overrides import Overrides
from adbench.cli.plan import preview

MISSING = (
    "(?i)is missing|no readable results|no finished eval run|no eval run|no scores of single|no such file|no pictures"
)
"""What other commands say where they are understood but find no data or runs."""


def compose(words: Sequence[str]) -> TrainConfig | EvalConfig:
    """The settings of `train ...` or `eval ...`: of the first job where it is a sweep."""
    name, *rest = words
    if "-m" in rest:
        rest = [word.partition(",")[0] for word in rest if word != "-m" and not word.startswith("hydra/")]
    rest = [word for word in rest if not word.startswith("--")]
    if name == "train":
        return train_config(Overrides(name, rest))
    if not any(word.startswith("method=") for word in rest):
        rest.append("method=adaclip")  # as the checkpoint would say
    return preview(Overrides(name, rest))
