"""Options that a benchmark gives to single data sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from adbench.cli.overrides import Overrides
from adbench.cli.plan import make_plan, preview
from adbench.errors import UserError


def options(*words: str, benchmark: object = "generalist") -> dict[str, object]:
    config = preview(Overrides("eval", [f"benchmark={benchmark}", "method=winclip", *words]))
    return {f"{one.name}.{key}": value for one in config.data for key, value in one.options.items() if key != "broken"}


def test_sets_without_a_split_get_one_in_the_generalist_benchmark() -> None:
    found = options()
    assert (found["headct.few_shot_split"], found["brain_mri.class_name"]) == (True, "brainmri")


def test_a_part_of_the_data_sets_takes_its_own_options_alone() -> None:
    assert options("data=[headct]") == {"headct.few_shot_split": True}
    assert options("data=mvtec") == {}


def test_a_part_of_the_data_sets_takes_its_own_checkpoints_alone(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("data: [mvtec, headct]\ncheckpoint: {mvtec: none.pth, default: untrained}\n")
    words = [f"benchmark={tmp_path / 'own.yaml'}", "method=adaclip", "clip=demo", "data=[headct]"]
    (tmp_path / "headct" / "yes").mkdir(parents=True)
    for named in ([], ["checkpoint={mvtec: other.pth, default: untrained}"]):
        (part,) = make_plan(Overrides("eval", [*words, *named, f"data_dir={tmp_path}"])).parts
        assert (part.checkpoint.path, [one.name for one in part.config.data]) == (None, ["headct"])
    with pytest.raises(UserError, match="unknown data set 'visa'"):
        make_plan(Overrides("eval", [*words, "checkpoint={visa: other.pth, default: untrained}"]))


def test_the_command_line_has_the_last_word() -> None:
    assert options("data=[headct,mvtec]", "data.headct.few_shot_split=false") == {"headct.few_shot_split": False}


def test_options_of_a_set_that_is_not_in_the_benchmark_are_refused(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("data: [mvtec]\noptions: {headct: {few_shot_split: true}}\n")
    with pytest.raises(UserError, match=r"unknown data set of the benchmark 'headct' .*own\.yaml"):
        options(benchmark=tmp_path / "own.yaml")
