"""All checks of the contract, and what one came to."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from adbench.contract import learning, scoring
from adbench.contract.subject import Broken, NotChecked, Subject
from adbench.errors import UserError

CHECKS: Mapping[str, Callable[[Subject], str]] = {
    "facts": learning.check_facts,
    "prediction": scoring.check_prediction,
    "batch invariance": scoring.check_batches,
    "order": scoring.check_order,
    "determinism": scoring.check_repetition,
    "truth": scoring.check_truth,
    "no side effects": scoring.check_side_effects,
    "class names": scoring.check_class_names,
    "memory": scoring.check_memory,
    "loss": learning.check_loss,
    "gradients": learning.check_gradients,
    "repeated training": learning.check_training_repeats,
    "shares of a batch": learning.check_shares,
    "masks None": learning.check_masks,
    "features suffice": learning.check_features_suffice,
    "frozen features": learning.check_frozen_features,
    "state round trip": learning.check_round_trip,
    "float64": scoring.check_precision,
    "CUDA": scoring.check_cuda,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check came to, in words; "skipped": it does not apply, or cannot be made here."""

    name: str
    status: Literal["ok", "failed", "skipped"]
    text: str


def check_method(subject: Subject) -> Iterator[Outcome]:
    """Run every check; a failing one does not stop the others."""
    for name, check in CHECKS.items():
        try:
            yield Outcome(name, "ok", check(subject))
        except NotChecked as why:
            yield Outcome(name, "skipped", str(why))
        except Broken as fault:
            yield Outcome(name, "failed", str(fault))
        except UserError as error:
            yield Outcome(name, "failed", str(error))
        except Exception as error:  # of somebody's method: nobody knows what it raises
            yield Outcome(name, "failed", _raised(error))


def _raised(error: Exception) -> str:
    step = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text} ({step.filename}, line {step.lineno}, in {step.name})"
