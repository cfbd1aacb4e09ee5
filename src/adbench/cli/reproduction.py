"""Reproduction recipes: trainings and evaluations behind a paper's table, as configs/reproduction/NAME.yaml says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from adbench.cli.override_parser import choices
from adbench.errors import UserError, unknown
from adbench.shipped import configs_dir
from adbench.structured import read_yaml
from adbench.typed import Length, NonNegativeFloat, PositiveInt, make

Names = Annotated[tuple[str, ...], Length(1, 1000)]


@dataclass(frozen=True, kw_only=True)
class Training:
    """Data sets to train on, further words of `train`, and the training whose weights it starts from, if any."""

    data: Names
    words: tuple[str, ...] = ()
    start: str | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Data sets, each evaluated by itself with the weights of a training, and further words of `eval`."""

    data: Names
    training: str | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run takes. TFLOP: counted, per image of a training step and of an evaluation; disk: of all runs."""

    training_tflop: NonNegativeFloat = 0.0
    evaluation_tflop: NonNegativeFloat = 0.0
    disk_gb: NonNegativeFloat = 1.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is run, and which published figures it is held against: all of the method on these data in this setting.

    kinds      of figures that it is held against; none named: all but reruns
    tolerance  points, for figures without a deviation of their own
    remarks    what a reader of the ledger must know, in words
    """

    name: str
    version: PositiveInt
    method: str
    evaluations: Annotated[tuple[Evaluation, ...], Length(1, 1000)]
    trainings: Mapping[str, Training] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    tolerance: NonNegativeFloat = 1.0
    cost: Cost = field(default_factory=Cost)
    remarks: tuple[str, ...] = ()


def recipe_names() -> list[str]:
    """The recipes that ship with adbench."""
    return choices("reproduction")


def load_recipe(name: str) -> Recipe:
    """The recipe called `name`, or in the file `name`. Raises UserError for an unknown one and for a faulty file."""
    is_file = name.endswith((".yaml", ".yml"))
    if not is_file and name not in recipe_names():
        raise unknown("recipe", name, recipe_names(), where="reproduce")
    file = Path(name).expanduser() if is_file else configs_dir() / "reproduction" / f"{name}.yaml"
    values = read_yaml(file, hint="give the YAML file of a recipe")
    lacking = [key for key in ("method", "evaluations") if not values.get(key)]
    if lacking:
        hint = "write method: NAME and evaluations: [{data: [NAME]}]"
        raise UserError(f"the recipe lacks {' and '.join(lacking)}", where=str(file), hint=hint)
    try:
        recipe = make(Recipe, {"version": 1, **values, "name": file.stem}, "")
    except UserError as error:
        raise UserError(error.what, where=f"{file}{error.where and f': {error.where}'}", hint=error.hint) from error
    _check(recipe, str(file))
    return recipe


def _check(recipe: Recipe, where: str) -> None:
    """Raise UserError for names that there are not."""
    from adbench.report.published import KINDS

    places = [(part.training, name) for part in recipe.evaluations for name in part.data]
    if twice := next((place for place in places if places.count(place) > 1), None):
        hint = "name it once for each training"
        raise UserError(f"{twice[1]} is evaluated twice with the same weights", where=where, hint=hint)
    if recipe.method not in choices("method"):
        raise unknown("method", recipe.method, choices("method"), where=where)
    trainings = recipe.trainings.values()
    data = [name for part in trainings for name in part.data] + [
        name for part in recipe.evaluations for name in part.data
    ]
    for name in data:
        if name not in choices("data"):
            raise unknown("data set", name, choices("data"), where=where)
    for asked in [*(part.start for part in trainings), *(part.training for part in recipe.evaluations)]:
        if asked is not None and asked not in recipe.trainings:
            raise unknown("training", asked, list(recipe.trainings), where=where)
    for kind in recipe.kinds:
        if kind not in KINDS:
            raise unknown("kind of figures", kind, KINDS, where=where)
    order = list(recipe.trainings)
    for name, training in recipe.trainings.items():
        if training.start is not None and order.index(training.start) >= order.index(name):
            hint = "name it before"
            raise UserError(f"training {name} starts from {training.start}, which comes later", where=where, hint=hint)
