"""The commands that a reproduction recipe comes to, each in a folder of its own, and where the user's words go."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adbench.cli.other_settings import is_free
from adbench.cli.override_parser import Override, parse
from adbench.cli.overrides import Overrides
from adbench.cli.reproduction import Evaluation, Recipe
from adbench.errors import UserError

OPTIONS = ("data", "out")
"""Words that are for `reproduce` itself."""
_DECIDED = ("method", "checkpoint", "benchmark", "missing", "validation", "outputs", "rerun", "resume", "data.root")
_OF_TRAINING, _OF_EVALUATION = ("trainer",), ("eval", "support")

_PLACES = re.compile(r"data|data_dir|device|data\.\w+\.root|(trainer|eval)\.workers")


@dataclass(frozen=True)
class Job:
    """One command. `name`: its folder below the reproduction's; `trained_on`: None where nothing is trained."""

    command: str
    name: str
    data: tuple[str, ...]
    words: tuple[str, ...]
    training: str | None = None
    recipe_words: tuple[str, ...] = ()
    trained_on: frozenset[str] = frozenset()

    @property
    def settings(self) -> Overrides:
        """The words, read. Raises UserError for one that cannot be."""
        return Overrides(self.command, self.words)


def user_words(argv: Sequence[str]) -> list[Override]:
    """The settings that were typed. Raises UserError for one that the recipe alone decides."""
    typed = parse(argv, "reproduce")
    for override in typed:
        if override.key in _DECIDED:
            hint = f"write data.NAME.root={override.value}" if override.key == "data.root" else "leave it out"
            raise UserError(f"{override.key} is what the recipe decides", where=override.word, hint=hint)
    return typed


def changed(typed: Sequence[Override]) -> list[str]:
    """Which of the settings that were typed make another setting than that of the figures, in words."""
    # Of hyperparameters results.json tells.
    told = [override for override in typed if override.key in OPTIONS or override.key.startswith("method.")]
    words = [override.word for override in typed if override not in told and not is_free(override.key)]
    return [f"other settings: {word}" for word in words]


def default_folder(recipe: Recipe, typed: Sequence[Override]) -> Path:
    """Where the same reproduction is found again: other settings, seeds too, are another one; other places are not."""
    words = sorted(override.word for override in typed if not _PLACES.fullmatch(override.key))
    name = recipe.name + (f"_{hashlib.sha256(chr(10).join(words).encode()).hexdigest()[:8]}" if words else "")
    return Path("outputs") / "reproduce" / name


def make_jobs(recipe: Recipe, typed: Sequence[Override], folder: Path, only: Sequence[str] = ()) -> list[Job]:
    """The trainings, then an evaluation for each data set; of the data sets `only`, where these are named."""
    evaluations = [(part, name) for part in recipe.evaluations for name in part.data if not only or name in only]
    needed: set[str | None] = {part.training for part, _ in evaluations}
    for name in reversed(list(recipe.trainings)):
        needed |= {recipe.trainings[name].start} if name in needed else set()
    jobs = []
    for name, training in recipe.trainings.items():
        if name in needed:
            start = [] if training.start is None else [f"trainer.init_from={folder / 'train' / training.start}"]
            words = _words("train", recipe, training.data, [*training.words, *start], typed)
            jobs.append(Job("train", f"train/{name}", training.data, words, training.start))
    several = len({part.training for part in recipe.evaluations}) > 1
    return jobs + [_evaluation(recipe, part, name, typed, folder, several=several) for part, name in evaluations]


def _evaluation(
    recipe: Recipe, part: Evaluation, data: str, typed: Sequence[Override], folder: Path, *, several: bool
) -> Job:
    weights = () if part.training is None else (f"checkpoint={folder / 'train' / part.training}",)
    return Job(
        "eval",
        f"eval/{part.training}/{data}" if several else f"eval/{data}",
        (data,),
        _words("eval", recipe, (data,), (*weights, *part.words), typed),
        part.training,
        part.words,
        _trained_on(recipe, part.training),
    )


def _trained_on(recipe: Recipe, training: str | None) -> frozenset[str]:
    datasets: set[str] = set()
    while training is not None:
        datasets |= set(recipe.trainings[training].data)
        training = recipe.trainings[training].start
    return frozenset(datasets)


def _words(
    command: str, recipe: Recipe, data: Sequence[str], words: Sequence[str], typed: Sequence[Override]
) -> tuple[str, ...]:
    """The words of a job: the recipe's, but for keys that were typed; typed ones where they belong."""
    names = data[0] if len(data) == 1 else f"[{','.join(data)}]"
    given = [override for override in typed if _belongs(override.key, command, data)]
    keys = {override.key for override in given}
    kept = [override.word for override in parse(words, command) if override.key not in keys]
    return (f"method={recipe.method}", f"data={names}", *kept, *(override.word for override in given))


def _belongs(key: str, command: str, data: Sequence[str]) -> bool:
    section, _, rest = key.partition(".")
    if key in OPTIONS or section in (_OF_EVALUATION if command == "train" else _OF_TRAINING):
        return False
    return section != "data" or rest.partition(".")[0] in data


def values_of(words: Sequence[str], section: str) -> dict[str, Any]:
    """What words of `eval` set in a section, by key."""
    read = Overrides("eval", words)
    return {key.partition(".")[2]: read.get(key) for key in read.by_key if key.startswith(f"{section}.")}
