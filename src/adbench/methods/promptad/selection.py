"""What the authors' training keeps: the epoch whose prompts do best on the test set itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from adbench.data.sample import Batch
from adbench.methods.base import Features
from adbench.methods.promptad.memory_bank import ClassMemory
from adbench.methods.promptad.prompts import Task
from adbench.methods.promptad.scores import Scoring
from adbench.metrics import ImageMetrics, PixelMetrics

Batches = Sequence[tuple[Features, Batch]]


class Scorer(Protocol):
    """What is asked of the method: the parts of a class's scores, and how they are fused."""

    scoring: Scoring

    def visual_grid(self, features: Features, class_name: str) -> Tensor:
        """Distance of each patch to the memory, (B, 1, G, G)."""

    def text_grid(self, features: Features, class_name: str) -> Tensor:
        """Abnormality of each patch by the prompts in use, (B, 1, G, G)."""

    def text_score(self, features: Features, class_name: str) -> Tensor:
        """Abnormality of each image by the prompts in use, (B,)."""


@torch.no_grad()
def use_best_epochs(method: Scorer, class_name: str, memory_bank: ClassMemory, batches: Batches) -> None:
    """Put the best epoch's prompts into use: by image AUROC for cls, by pixel AUROC for seg, the first one on ties.

    Features are of all test images of the class; nothing is encoded again. Where the epochs are not known (the authors'
    checkpoints) or the metric is undefined, the prompts stay as they are.
    """
    grids = [method.visual_grid(features, class_name) for features, _ in batches]
    for task, fitted in list(memory_bank.prompts.items()):
        best, chosen = -math.inf, fitted.prototypes
        for prototypes in fitted.per_epoch if fitted.per_epoch is not None else ():
            memory_bank.prompts[task] = replace(fitted, prototypes=prototypes)
            auroc = _auroc(method, class_name, task, batches, grids)
            if auroc > best:
                best, chosen = auroc, prototypes
        memory_bank.prompts[task] = replace(fitted, prototypes=chosen)


def _auroc(method: Scorer, class_name: str, task: Task, batches: Batches, grids: Sequence[Tensor]) -> float:
    image, pixel = ImageMetrics(), PixelMetrics()
    for (features, batch), visual in zip(batches, grids, strict=True):
        if task == "cls":
            scores = method.scoring.image_score(visual, method.text_score(features, class_name))
            image.update(scores.float().cpu().numpy(), batch.labels.cpu().numpy())
        elif batch.masks is not None:
            maps = method.scoring.pixel_map(visual, method.text_grid(features, class_name))
            pixel.update(maps.float().cpu().numpy(), batch.masks.cpu().numpy())
    return image.compute()["image_auroc"] if task == "cls" else pixel.compute()["pixel_auroc"]
