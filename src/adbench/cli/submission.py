"""`submission=DIR` of `eval`: which data set has a server, and what goes there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from adbench.errors import UserError

if TYPE_CHECKING:
    from adbench.api.dataset import Dataset
    from adbench.engine.settings import EvalData
    from adbench.engine.submission import Submission
    from adbench.methods import Method


def planned_submission(folder: str | None, evaluated: Iterable[tuple[Method, Dataset, EvalData]]) -> Submission | None:
    """The submission of that data set which has a server, checked; None where none is asked for."""
    if folder is None:
        return None
    from adbench.engine.submission import Submission, private_samples

    for method, dataset, data in evaluated:
        facts = dataset.facts
        if facts.submitted:
            samples = private_samples(dataset.samples, facts.held_back, facts.submitted)
            submission = Submission(method, data, samples, Path(folder).expanduser())
            submission.check()
            return submission
    raise UserError(
        "none of the data sets is measured by a server",
        where=f"submission={folder}",
        hint="leave it out, or evaluate data=mvtec_ad2",
    )
