"""Published figures, from published.csv: what a paper, its authors' logs or others who quote or repeat it print.

paper      whose figure it is; of re-evaluations by others, theirs
method, dataset, metric    names as in result rows
setting    blank-separated: shots=K, trained_on=A+B ("?": not stated; left out: nothing is trained), class=NAME (left
           out: the mean over classes), backbone=NAME, split=NAME (left out: the labelled test images), variant=NAME
value      percent, as printed there (fractions times 100)
deviation  of it, in points, where one is printed
kind       what speaks for it, see KINDS
source     where it was read: few of them could be checked in the papers themselves
note       what a reader must know of it

Sources that disagree all stand in the file: nothing is averaged, and none is left out for another.
"""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

from adbench.engine.rows import MEAN
from adbench.engine.settings import Row

UNKNOWN = "?"
KINDS = ("own table", "authors' log", "leaderboard", "quoted", "rerun")
"""What speaks for a figure, the best first: the paper's own table, a log of its authors, an official leaderboard,
somebody who quotes the paper, somebody who ran the method again."""


@dataclass(frozen=True, slots=True)
class Published:
    """One published figure.

    trained_on         None where it is not stated
    value, deviation   in percent; deviation None where none is printed
    split              "" for the test images whose labels are public
    """

    paper: str
    method: str
    dataset: str
    setting: str
    metric: str
    value: float
    deviation: float | None
    kind: str
    source: str
    note: str
    shots: int
    trained_on: frozenset[str] | None
    class_name: str
    backbone: str
    split: str

    @property
    def subject(self) -> tuple[str, str, str]:
        """Method, data set, class."""
        return self.method, self.dataset, self.class_name

    def fits(self, row: Row) -> bool:
        """Whether `row` is of the same subject in the same setting; what nobody states is no difference."""
        if self.subject != (row["method"], row["dataset"], row["class_name"]) or self.shots != row.get("shots"):
            return False
        if self.split:  # of other images
            return False
        trained_on = row.get("trained_on")
        return self.trained_on is None or trained_on is None or self.trained_on == frozenset(trained_on)


@functools.cache
def load_published() -> tuple[Published, ...]:
    """All figures, in the file's order."""
    text = resources.files("adbench.report").joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(_published(row) for row in csv.DictReader(io.StringIO(text)))


def by_reliability(figures: Iterable[Published]) -> list[Published]:
    """The figures by what speaks for them, the best first; in the file's order where that is the same."""
    return sorted(figures, key=lambda figure: KINDS.index(figure.kind))


def _published(row: dict[str, str]) -> Published:
    setting = dict(word.split("=", 1) for word in row["setting"].split())
    trained_on = setting.get("trained_on", "")
    numbers = {"value": float(row["value"]), "deviation": float(row["deviation"]) if row["deviation"] else None}
    return Published(
        **{**row, **numbers},  # type: ignore[arg-type]
        shots=int(setting["shots"]),
        trained_on=None if trained_on == UNKNOWN else frozenset(name for name in trained_on.split("+") if name),
        class_name=setting.get("class", MEAN),
        backbone=setting["backbone"],
        split=setting.get("split", ""),
    )
