"""The two data types that cross every layer: `Sample` (an index entry) and `Batch` (what a method sees)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a data set, as an index returns it: nothing is opened or decoded yet.

    `key` is the path relative to the data set's root with forward slashes: the image's stable name in support draws,
    results and fingerprints. `label` is 1 for an anomalous image. `mask_path` is None where no mask exists
    (normal images, and sets without pixel annotation). `defect` is the kind of defect, "good" for normal images.
    `inverted_mask` is True where a mask file marks the defect by 0 and the background by anything else.
    """

    path: Path
    key: str
    class_name: str
    label: int
    mask_path: Path | None
    split: str
    defect: str
    dataset: str
    inverted_mask: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of one step, preprocessed as the method asks.

    images       (B, 3, H, W) float32, normalised
    masks        (B, H', W') bool, True = anomalous, at the method's map size; None for data without pixel annotation.
                 For methods with supervision "segmentation": (B, H', W') int64 label map, 255 = ignore
    labels       (B,) int64, 1 = anomalous
    class_names  B names, as they enter prompts
    paths        B keys (paths relative to the data set's root)
    dataset      name of the data set, or several joined by "+"
    support      normal images given with the queries (in-context training): K per query, query-major, else None
    """

    images: torch.Tensor
    labels: torch.Tensor
    class_names: list[str]
    paths: list[str]
    dataset: str
    masks: torch.Tensor | None = None
    support: Batch | None = None

    def __len__(self) -> int:
        return len(self.class_names)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with its tensors on `device`."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            masks=None if self.masks is None else self.masks.to(device, non_blocking=True),
            support=None if self.support is None else self.support.to(device),
        )
