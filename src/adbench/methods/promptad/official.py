"""Checkpoints of PromptAD's authors: a file per class and task, half precision."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from adbench.errors import UserError
from adbench.methods.promptad.memory_bank import GALLERY_KEY, TEXT_KEY, ClassMemory, FittedPrompts, misfit
from adbench.methods.promptad.prompts import ABNORMAL_KEY, NORMAL_KEY, Contexts
from adbench.methods.promptad.settings import Task
from adbench.methods.weights import save_torch
from adbench.weight_files import read_state

_FILE_NAME = re.compile(r"(?P<task>CLS|SEG)-Seed_\d+-(?P<name>.+)-check_point")
# The seed that the authors' scripts put into the names.
_SEED = 111


@dataclass(frozen=True, slots=True)
class OfficialFile:
    """What one file holds, float32.

    class_name  as the file's name says, None where it does not
    memory      galleries and prototypes of the class; None in a file of contexts alone
    contexts    None in the authors' checkpoints proper, which leave them out
    """

    class_name: str | None
    task: Task
    memory_bank: ClassMemory | None
    contexts: Contexts | None


def read_files(path: Path, tasks: Sequence[Task]) -> list[OfficialFile]:
    """Read a file, or all those in a folder that are of `tasks`.

    Raises UserError where there is none to read, and for several of one class and task (of different seeds).
    """
    if not path.is_dir():
        return [_read(path, tasks)]
    files = [file for file in sorted(path.glob("*-check_point.pt")) if _named(file)[1] in tasks]
    if not files:
        raise UserError(
            f"no checkpoints for {' or '.join(tasks)} here",
            where=str(path),
            hint="give a folder with files CLS-Seed_N-CLASS-check_point.pt or SEG-Seed_N-CLASS-check_point.pt",
        )
    by_name: dict[tuple[str | None, Task | None], Path] = {}
    for file in files:
        other = by_name.setdefault(_named(file), file)
        if other != file:
            raise UserError(
                "two checkpoints are of the same class and task",
                where=f"{other} and {file.name}",
                hint="give a folder of one seed",
            )
    return [_read(file, tasks) for file in files]


def _named(file: Path) -> tuple[str | None, Task | None]:
    """Class and task that the file's name tells."""
    match = _FILE_NAME.match(file.name)
    if match is None:
        return None, None
    return match["name"], "cls" if match["task"] == "CLS" else "seg"


def _read(file: Path, tasks: Sequence[Task]) -> OfficialFile:
    stored = read_state(file)
    class_name, named_task = _named(file)
    task = named_task or tasks[0]
    if task not in tasks or (named_task is None and len(tasks) > 1):
        raise UserError(
            f"the checkpoint is of task {named_task}"
            if named_task
            else "the file's name does not say which task it is of",
            where=str(file),
            hint="set method.task=cls or method.task=seg, as it was trained",
        )
    # The authors' test script for maps puts the whole model into the file: only these keys matter.
    state = {
        key: _numbers(key, value, file)
        for key, value in stored.items()
        if key in (TEXT_KEY, NORMAL_KEY, ABNORMAL_KEY) or key.startswith(GALLERY_KEY)
    }
    galleries = [state[key] for key in sorted(state) if key.startswith(GALLERY_KEY)]
    contexts = Contexts(state[NORMAL_KEY], state[ABNORMAL_KEY]) if {NORMAL_KEY, ABNORMAL_KEY} <= state.keys() else None
    memory_bank = (
        ClassMemory(galleries, {task: FittedPrompts(state[TEXT_KEY])}) if galleries and TEXT_KEY in state else None
    )
    if memory_bank is None and contexts is None:
        raise UserError(
            f"the file holds neither {GALLERY_KEY}1, {GALLERY_KEY}2 and {TEXT_KEY} nor {NORMAL_KEY} and {ABNORMAL_KEY}",
            where=str(file),
            hint="give a checkpoint of PromptAD's training scripts",
        )
    return OfficialFile(class_name, task, memory_bank, contexts)


def _numbers(key: str, value: Tensor, file: Path) -> Tensor:
    if not value.is_floating_point() or not bool(value.float().isfinite().all()):
        raise misfit(f"{key} holds values that are no finite fractions", str(file))
    return value.float()


def write_file(folder: Path, class_name: str, task: Task, memory_bank: ClassMemory) -> None:
    """Write what the authors' test script loads, in half precision as they do."""
    state = {f"{GALLERY_KEY}{i}": gallery for i, gallery in enumerate(memory_bank.galleries, start=1)}
    state[TEXT_KEY] = memory_bank.prompts[task].prototypes
    file = folder / f"{task.upper()}-Seed_{_SEED}-{class_name}-check_point.pt"
    save_torch(file, {key: value.half() for key, value in state.items()})
