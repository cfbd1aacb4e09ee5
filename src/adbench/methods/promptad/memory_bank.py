"""What PromptAD keeps of a class: its memory of normal patches and its fitted prompts, as objects and as tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from adbench.clip import Clip
from adbench.errors import UserError
from adbench.methods.promptad.prompts import ABNORMAL_KEY, NORMAL_KEY, Contexts
from adbench.methods.promptad.settings import Task

GALLERY_KEY, TEXT_KEY, EPOCHS_KEY = "feature_gallery", "text_features", "epoch_text_features"
_KEY = re.compile(
    rf"(?P<name>.+)/(?:{GALLERY_KEY}(?P<layer>\d+)|(?P<task>cls|seg)/"
    rf"(?P<what>{TEXT_KEY}|{EPOCHS_KEY}|{re.escape(NORMAL_KEY)}|{re.escape(ABNORMAL_KEY)}))"
)
# Galleries of the same images, stacked in another order and rounded to half precision: sums of channels agree to this.
_SAME_SUM = 0.05


@dataclass(frozen=True, slots=True)
class FittedPrompts:
    """The prompts of one task, fitted.

    prototypes  (2, E) of unit length: the normal and the abnormal direction in use
    per_epoch   (epochs, 2, E) after each epoch; None where that is not known
    contexts    None where they are not known: the authors' checkpoints leave them out
    """

    prototypes: Tensor
    per_epoch: Tensor | None = None
    contexts: Contexts | None = None


@dataclass(frozen=True, slots=True)
class ClassMemory:
    """galleries: per layer the patches of all K support images, (K * P, D) of unit length."""

    galleries: list[Tensor]
    prompts: dict[Task, FittedPrompts] = field(default_factory=dict)

    def to(self, device: torch.device) -> ClassMemory:
        """The same on `device`."""
        moved = {
            task: FittedPrompts(
                fitted.prototypes.to(device),
                None if fitted.per_epoch is None else fitted.per_epoch.to(device),
                fitted.contexts,
            )
            for task, fitted in self.prompts.items()
        }
        return ClassMemory([gallery.to(device) for gallery in self.galleries], moved)

    def use_last_epoch(self) -> None:
        """Put the last epoch's prompts into use, where the epochs are known."""
        for task, fitted in self.prompts.items():
            if fitted.per_epoch is not None:
                self.prompts[task] = replace(fitted, prototypes=fitted.per_epoch[-1])

    def joined(self, other: ClassMemory, *, where: str) -> ClassMemory:
        """This memory with the prompts of `other` too. Raises UserError where they remember different images."""
        for a, b in zip(self.galleries, other.galleries, strict=True):
            first, second = (gallery.sum(dim=1).sort().values for gallery in (a, b))
            if a.shape != b.shape or not torch.allclose(first, second, rtol=0, atol=_SAME_SUM):
                raise UserError(
                    "the checkpoint remembers other support images than the one that was loaded before for its class",
                    where=where,
                    hint="give checkpoints of both tasks that were trained on the same images",
                )
        return ClassMemory(self.galleries, self.prompts | other.prompts)

    def check(self, clip: Clip, n_layers: int, *, where: str = "") -> ClassMemory:
        """Raise UserError unless the tensors are of this backbone and this number of remembered layers."""
        shapes = {f"{GALLERY_KEY}{i}": gallery.shape for i, gallery in enumerate(self.galleries, start=1)}
        if [shape[-1] for shape in shapes.values()] != [clip.vision_width] * n_layers:
            shown = ", ".join(f"{key} {tuple(shape)}" for key, shape in shapes.items())
            raise misfit(f"{shown}; expected {n_layers} of width {clip.vision_width}", where)
        for task, prompts in self.prompts.items():
            if prompts.prototypes.shape != (2, clip.embed_dim):
                raise misfit(
                    f"{task} {TEXT_KEY} is {tuple(prompts.prototypes.shape)}, not (2, {clip.embed_dim})", where
                )
        return self


def misfit(what: str, where: str = "") -> UserError:
    """The error for tensors that do not belong to this method as it was built."""
    return UserError(
        f"the weights do not fit the method: {what}",
        where=where,
        hint="build the method with the settings and the backbone that the weights were made with",
    )


def as_tensors(class_name: str, memory_bank: ClassMemory) -> dict[str, Tensor]:
    """The tensors of a class under `class/...`, the authors' names where they have any."""
    state = {f"{class_name}/{GALLERY_KEY}{i}": gallery for i, gallery in enumerate(memory_bank.galleries, start=1)}
    for task, prompts in memory_bank.prompts.items():
        parts = {TEXT_KEY: prompts.prototypes, EPOCHS_KEY: prompts.per_epoch}
        named = {} if prompts.contexts is None else prompts.contexts.named()
        state |= {f"{class_name}/{task}/{key}": value for key, value in {**parts, **named}.items() if value is not None}
    return state


def first_contexts(state: dict[str, Tensor], task: Task, like: Contexts) -> Contexts:
    """Take the contexts that every class begins with out of a state. Raises UserError unless they are shaped `like`."""
    named = {key: state.pop(f"{task}/{key}", None) for key in like.named()}
    tensors = [value for value in named.values() if value is not None]
    if [value.shape for value in tensors] != [value.shape for value in like.named().values()]:
        raise misfit(f"the first contexts of {task} are missing or of another shape")
    return Contexts(*tensors)


def from_tensors(state: Mapping[str, Tensor]) -> dict[str, ClassMemory]:
    """Class name -> memory, of the tensors that `as_tensors` gave. Raises UserError naming what does not belong."""
    galleries: dict[str, dict[int, Tensor]] = {}
    prompts: dict[str, dict[Task, dict[str, Tensor]]] = {}
    for key, value in state.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise misfit(f"unexpected {key}")
        name = match["name"]
        if match["layer"]:
            galleries.setdefault(name, {})[int(match["layer"])] = value
        else:
            task: Task = "cls" if match["task"] == "cls" else "seg"
            prompts.setdefault(name, {}).setdefault(task, {})[match["what"]] = value
    if galleries.keys() != prompts.keys():
        raise misfit(f"{', '.join(sorted(galleries.keys() ^ prompts.keys()))} lacks its gallery or its prompts")
    return {
        name: ClassMemory(
            [layers[number] for number in sorted(layers)],
            {task: _fitted(f"{name}/{task}", parts) for task, parts in sorted(prompts[name].items())},
        )
        for name, layers in galleries.items()
    }


def _fitted(where: str, parts: Mapping[str, Tensor]) -> FittedPrompts:
    if TEXT_KEY not in parts or (NORMAL_KEY in parts) != (ABNORMAL_KEY in parts):
        raise misfit(f"{where} lacks {TEXT_KEY} or one of its contexts")
    contexts = Contexts(parts[NORMAL_KEY], parts[ABNORMAL_KEY]) if NORMAL_KEY in parts else None
    return FittedPrompts(parts[TEXT_KEY], parts.get(EPOCHS_KEY), contexts)
