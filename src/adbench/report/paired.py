"""Two runs image by image: what an image metric gains or loses, how sure that is, and which images changed sides.

Images are matched by data set, class, path, shots and support seed, never by their place in a file. Differences are
second minus first; of several support seeds the mean over them. Intervals and p come from the bootstrap of
`metrics.intervals` with the same draws of images for both runs, DeLong's p beside them for the AUROC of a class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, NamedTuple

from adbench.engine.confidence import mean_draws, resampled, unit_of
from adbench.engine.rows import MEAN
from adbench.errors import UserError, unknown
from adbench.metrics import ImageMetrics
from adbench.metrics.intervals import METRICS, bootstrap_p, delong_paired, holm, interval
from adbench.metrics.ranking import Reals
from adbench.report.scores import KEY, Score, key_of

_SHOWN = 5  # names of images in a message
_Pair = tuple[Score, Score]


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedLine:
    """A class, or the mean over the classes of a data set, or over data sets (dataset "mean"); values in [0, 1].

    low, high    95 % interval of the difference; p: of no difference, by the bootstrap
    p_holm       p corrected for the number of classes; p_delong: of the AUROC of one class with one draw of support
    better, worse  images that are on the right side of the second run's threshold alone, and of the first's alone
    """

    dataset: str
    class_name: str
    shots: int | None
    n_images: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float = math.nan
    p_delong: float = math.nan
    better: int = 0
    worse: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """An image that is on the right side of the threshold in one run alone; anomalous iff score >= threshold."""

    dataset: str
    class_name: str
    path: str
    defect: str
    label: int
    shots: int | None
    support_seed: int | None
    first_score: float
    first_threshold: float
    second_score: float
    second_threshold: float

    @property
    def is_better(self) -> bool:
        """Whether the second run is right."""
        return (self.second_score >= self.second_threshold) == bool(self.label)


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Lines in the order of the first run, images that changed sides, and what a reader must know."""

    metric: str
    seed: int
    lines: list[PairedLine]
    changes: list[Change]
    notes: list[str] = field(default_factory=list)


class _Compared(NamedTuple):
    """A line, the differences behind it over the draws of images, and the images that changed sides."""

    line: PairedLine
    draws: Reals
    changes: list[Change]


def compare_scores(
    first: Sequence[Score],
    second: Sequence[Score],
    metric: str = METRICS[0],
    *,
    seed: int = 111,
    leave_out: bool = False,
) -> PairedComparison:
    """Compare the scores of two runs. Images of one run alone are left out with a note where `leave_out` says so.

    Raises UserError naming such images otherwise, for runs that share none, and for images whose labels differ.
    """
    if metric not in METRICS:
        raise unknown("image metric", metric, METRICS, where=f"metric={metric}")
    pairs, notes = _matched(first, second, leave_out=leave_out)
    sets: dict[tuple[str, int | None], dict[str, list[_Pair]]] = {}
    for pair in pairs:
        by_class = sets.setdefault((pair[0]["dataset"], pair[0]["shots"]), {})
        by_class.setdefault(pair[0]["class_name"], []).append(pair)
    classes = {
        place: [_class(pairs_of_class, metric, seed) for pairs_of_class in by_class.values()]
        for place, by_class in sets.items()
    }
    corrected = iter(holm([compared.line.p for of_set in classes.values() for compared in of_set]))
    lines, means = [], []
    for (dataset, _), of_set in classes.items():
        lines += [replace(compared.line, p_holm=next(corrected)) for compared in of_set]
        means.append(_mean(of_set, dataset))
        lines.append(means[-1].line)
    for shots in dict.fromkeys(compared.line.shots for compared in means):
        of_shots = [compared for compared in means if compared.line.shots == shots]
        if len(of_shots) > 1:
            lines.append(_mean(of_shots, MEAN).line)
    changes = [change for of_set in classes.values() for compared in of_set for change in compared.changes]
    return PairedComparison(metric, seed, lines, changes, notes)


def _matched(first: Sequence[Score], second: Sequence[Score], *, leave_out: bool) -> tuple[list[_Pair], list[str]]:
    """The scores of each image in both runs, in the order of the first, and what was left out."""
    theirs = {key_of(row): row for row in second}
    ours = {key_of(row) for row in first}
    alone = {
        "first": [row for row in first if key_of(row) not in theirs],
        "second": [row for row in second if key_of(row) not in ours],
    }
    pairs = [(row, theirs[key_of(row)]) for row in first if key_of(row) in theirs]
    notes = [f"{_named(rows)} of the {which} run alone: left out" for which, rows in alone.items() if rows]
    if not pairs:
        images = [{(row["dataset"], row["class_name"], row["path"]) for row in run} for run in (first, second)]
        raise UserError(
            "the two runs have no image in common" + " with the same support" * bool(images[0] & images[1]),
            where=f"{_named(alone['first'])} of the first, {_named(alone['second'])} of the second",
            hint="compare runs on the same data set with the same support.k and support.seed",
        )
    if notes and not leave_out:
        raise UserError(
            "the runs are not over the same images",
            where="; ".join(note.removesuffix(": left out") for note in notes),
            hint="evaluate both on the same images, or leave these out by missing=skip",
        )
    other = [row for row, counterpart in pairs if row["label"] != counterpart["label"]]
    if other:
        raise UserError(f"the labels of images differ: {_named(other)}", hint="evaluate both on the same data")
    scored = [pair for pair in pairs if pair[0]["label"] >= 0 and None not in (pair[0]["score"], pair[1]["score"])]
    if not scored:
        raise UserError("no image has a known label and a score in both runs", hint="compare runs that score images")
    if len(scored) < len(pairs):
        notes.append(f"{len(pairs) - len(scored)} images without a known label or a score: left out")
    complete = _in_every_draw(scored)
    if len(complete) < len(scored):
        notes.append(f"{len(scored) - len(complete)} scores of images that not every draw of support has: left out")
    if not complete:
        raise UserError("no image is scored in every draw of support of both runs", hint="compare whole runs")
    return complete, notes


def _in_every_draw(pairs: Sequence[_Pair]) -> list[_Pair]:
    """The pairs of images that all support seeds of their class and K have: these share the draws of images."""
    of_class: dict[tuple[Any, ...], set[Any]] = {}
    of_image: dict[tuple[Any, ...], set[Any]] = {}
    for row, _ in pairs:
        of_class.setdefault(_place(row), set()).add(row["support_seed"])
        of_image.setdefault((_place(row), row["path"]), set()).add(row["support_seed"])
    return [pair for pair in pairs if of_image[_place(pair[0]), pair[0]["path"]] == of_class[_place(pair[0])]]


def _place(row: Score) -> tuple[Any, ...]:
    return row["dataset"], row["class_name"], row["shots"]


def _named(rows: Sequence[Score]) -> str:
    """The number of images and the first of them, with their draw where there is one."""
    shown = [
        f"{row['dataset']} {row['class_name']} {row['path']}"
        + (f" (k={row['shots']}, seed {row['support_seed']})" if row["support_seed"] is not None else "")
        for row in rows[:_SHOWN]
    ]
    return f"{len(rows)} images ({', '.join(shown)}{', ...' if len(rows) > _SHOWN else ''})"


def _class(pairs: Sequence[_Pair], metric: str, seed: int) -> _Compared:
    """Compare the scores of one class and K."""
    dataset, class_name, shots = _place(pairs[0][0])
    scores: dict[tuple[int, Any], list[Score]] = {}
    for pair in pairs:
        for run, row in enumerate(pair):
            scores.setdefault((run, row["support_seed"]), []).append(row)
    draws = resampled(scores, dataset, class_name, seed)
    values = {key: _measured(rows) for key, rows in scores.items()}
    first, second = ([values[key][metric] for key in values if key[0] == run] for run in (0, 1))
    difference = mean_draws([draws[key][metric] for key in draws if key[0] == 1]) - mean_draws(
        [draws[key][metric] for key in draws if key[0] == 0]
    )
    changes = [
        change
        for before, after in pairs
        if (change := _change(before, after, *(values[run, before["support_seed"]] for run in (0, 1))))
    ]
    low, high = interval(difference)
    line = PairedLine(
        dataset=dataset,
        class_name=class_name,
        shots=shots,
        n_images=len(pairs) // (len(scores) // 2),
        first=fmean(first),
        second=fmean(second),
        difference=fmean(second) - fmean(first),
        low=low,
        high=high,
        p=bootstrap_p(difference),
        p_delong=_delong(dataset, list(scores.values())) if metric == "image_auroc" else math.nan,
        better=sum(change.is_better for change in changes),
        worse=sum(not change.is_better for change in changes),
    )
    return _Compared(line, difference, changes)


def _measured(rows: Sequence[Score]) -> dict[str, float]:
    scores, labels = [row["score"] for row in rows], [row["label"] for row in rows]
    return ImageMetrics().update(scores, labels).compute(thresholds=True)


def _delong(dataset: str, scores: Sequence[Sequence[Score]]) -> float:
    """DeLong's p, which is of one draw of support, and of images that are independent."""
    if len(scores) > 2 or unit_of(dataset) is not None:
        return math.nan
    first, second = (sorted(rows, key=key_of) for rows in scores)
    values = [[row["score"] for row in rows] for rows in (first, second)]
    return delong_paired(values[0], values[1], [row["label"] for row in first]).p


def _change(before: Score, after: Score, first: Mapping[str, float], second: Mapping[str, float]) -> Change | None:
    """The image as one that changed sides; None if it did not, or no threshold is defined."""
    thresholds = [values["image_f1max_threshold"] for values in (first, second)]
    if any(map(math.isnan, thresholds)) or (before["score"] >= thresholds[0]) == (after["score"] >= thresholds[1]):
        return None
    return Change(
        **{key: before[key] for key in (*KEY, "defect", "label")},
        first_score=before["score"],
        first_threshold=thresholds[0],
        second_score=after["score"],
        second_threshold=thresholds[1],
    )


def _mean(parts: Sequence[_Compared], dataset: str) -> _Compared:
    """The mean over classes, or over data sets, where it is defined."""
    defined = [compared for compared in parts if not math.isnan(compared.line.difference)]
    draws = mean_draws([compared.draws for compared in defined or parts])
    low, high = interval(draws)
    line = PairedLine(
        dataset=dataset,
        class_name=MEAN,
        shots=parts[0].line.shots,
        n_images=sum(compared.line.n_images for compared in parts),
        **{
            key: fmean([getattr(compared.line, key) for compared in defined or parts])
            for key in ("first", "second", "difference")
        },
        low=low,
        high=high,
        p=bootstrap_p(draws),
        better=sum(compared.line.better for compared in parts),
        worse=sum(compared.line.worse for compared in parts),
    )
    return _Compared(line, draws, [])
