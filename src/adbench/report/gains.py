"""What a run gains over another in each metric, how sure that is, and which chance is meant.

Of two single runs: the paired bootstrap over the test images (`report.paired`), which image metrics have. Of two groups
of training seeds: Welch's t over the seeds, which every metric has; a seed of one training has nothing to do with the
same number of another, so that they are not paired. Of a single run and a group: nothing, for one seed tells nothing of
the others.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from adbench.errors import UserError
from adbench.metrics.intervals import METRICS, RESAMPLES
from adbench.metrics.registry import in_order
from adbench.report.comparison import Run
from adbench.report.paired import compare_scores
from adbench.report.scores import FILE as SCORES_FILE
from adbench.report.scores import read_scores
from adbench.report.seeds import FinishedRun, SeedGroup
from adbench.report.table import condensed

SEED = 111  # of the draws of images
OVER_IMAGES = (
    f"by {RESAMPLES} bootstrap draws of the images, the same for both runs, seed {SEED}: the chance of the test images "
    "alone, not of training, seeds or support sets"
)
OVER_SEEDS = "by Welch's t over the training seeds of both: the chance of training alone, not of the test images"

Place = tuple[str, str, int | None, str]
"""Data set, class, K, metric."""


class Gain(NamedTuple):
    """The 95 % interval of a difference, and the two-sided p of none; NaN where they are not defined."""

    low: float
    high: float
    p: float


class Gains(NamedTuple):
    """What a run gains over the first one.

    about   how the intervals were made ("" without any), `notes` on them
    others  data set, class and K of which the two have other images: a mean over other classes, too. No difference
            there says anything
    """

    by_place: Mapping[Place, Gain]
    about: str = ""
    notes: Sequence[str] = ()
    others: Collection[tuple[str, str, int | None]] = ()


def gains(first: Run, second: Run) -> Gains:
    """What `second` gains over `first`."""
    names = f"{second.label} − {first.label}"
    ours, theirs = (_numbers_of_images(run) for run in (first, second))
    others = [place for place, n_images in theirs.items() if ours.get(place, n_images) != n_images]
    shown = ", ".join(f"{dataset} {class_name}" for dataset, class_name, _ in others)
    found = _intervals(first, second, names)
    return Gains(
        {place: gain for place, gain in found.by_place.items() if place[:3] not in others},
        found.about,
        [*found.notes, *[f"{names}: no difference where images differ ({shown})"] * bool(others)],
        others,
    )


def _intervals(first: Run, second: Run, names: str) -> Gains:
    if isinstance(first, SeedGroup) and isinstance(second, SeedGroup):
        return _over_seeds(first, second)
    if not (isinstance(first, FinishedRun) and isinstance(second, FinishedRun)):
        return Gains({}, notes=[f"{names}: without intervals, which take two seeds or more of either, or one of both"])
    if not all((run.folder / SCORES_FILE).is_file() for run in (first, second)):
        return Gains({}, notes=[f"{names}: without intervals, for a run has kept no scores of single images"])
    ours, theirs = read_scores(first.folder), read_scores(second.folder)
    try:
        compared = {metric: compare_scores(ours, theirs, metric, seed=SEED, leave_out=True) for metric in METRICS}
    except UserError as error:
        return Gains({}, notes=[f"{names}: without intervals: {error.what}"])
    by_place = {
        (line.dataset, line.class_name, line.shots, metric): Gain(line.low, line.high, line.p)
        for metric, comparison in compared.items()
        for line in comparison.lines
    }
    return Gains(by_place, OVER_IMAGES, [f"{names}: {note}" for note in compared[METRICS[0]].notes])


def _over_seeds(first: SeedGroup, second: SeedGroup) -> Gains:
    samples, values = _samples(first), _samples(second)
    by_place = {place: welch(samples[place], values[place]) for place in values if place in samples}
    return Gains(by_place, OVER_SEEDS)


def welch(first: Sequence[float], second: Sequence[float]) -> Gain:
    """Second minus first, two samples of two values or more and unequal variance; NaN without any spread."""
    from scipy.stats import ttest_ind

    if not any(max(sample) > min(sample) for sample in (first, second)):
        return Gain(math.nan, math.nan, math.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a sample without spread
        result = ttest_ind(second, first, equal_var=False)
        low, high = result.confidence_interval(0.95)
    return Gain(float(low), float(high), float(result.pvalue))


def _numbers_of_images(run: Run) -> dict[tuple[str, str, int | None], int | None]:
    return {(row["dataset"], row["class_name"], row.get("shots")): row.get("n_images") for row in run.rows}


def _samples(group: SeedGroup) -> dict[Place, list[float]]:
    """The values of each metric, one per seed; of several support seeds their mean."""
    samples: dict[Place, list[float]] = {}
    for run in group.members:
        for row in condensed(run.rows):
            for metric in in_order(row):
                place = (row["dataset"], row["class_name"], row.get("shots"), metric)
                samples.setdefault(place, []).append(float(row[metric]))
    return samples
