"""The two data types that cross every layer: `Sample` (an index entry) and `Batch` (what a method sees)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench.data.contents import Contents
from adbench.data.defects import DefectMask, Saturation
from adbench.data.reading import AS_PUBLISHED, Reading

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a data set, as an index returns it: nothing is opened or decoded yet.

    `key` is the path relative to the data set's root with forward slashes: the image's stable name in support draws,
    results and fingerprints. `label` is 1 for an anomalous image, 0 for a normal one, and -1 where only the image's
    label map can say it. `mask_path` is None where no mask exists (normal images, and sets without pixel annotation).
    `defect` is the kind of defect, "good" for normal images.
    `reading` says how the values in the files are read.
    `label_ids` is None where the mask is binary. Otherwise `mask_path` is a label map (None: labels held back), and
    this maps every id that may be stored in it to its value: 0 normal, 1 anomalous, 255 ignore in data to be evaluated;
    train ids and 255 in data to train a segmentation on.
    `further_masks` are joined with `mask_path` where an image's defects are drawn in several files.
    `saturations` is given where each mask file is one defect whose pixels have one value: that value -> from which area
    on the defect counts as found, as (threshold, whether that is a share of its own area; else pixels).
    `overlay_path` is an .npz of signed differences ("rgb") to add to the image, where a set is published so.
    """

    path: Path
    key: str
    class_name: str
    label: int
    mask_path: Path | None
    split: str
    defect: str
    dataset: str
    reading: Reading = AS_PUBLISHED
    label_ids: Mapping[int, int] | None = field(default=None, hash=False)
    overlay_path: Path | None = None
    further_masks: tuple[Path, ...] = ()
    saturations: Mapping[int, Saturation] | None = field(default=None, hash=False)

    @classmethod
    def below(
        cls,
        root: Path,
        key: str,
        *,
        dataset: str,
        class_name: str,
        split: str = "test",
        defect: str | None = None,
        masks: Iterable[Path] = (),
        reading: Reading = AS_PUBLISHED,
    ) -> Sample:
        """The image root/key: anomalous, with its masks, where a kind of `defect` is given, else normal."""
        files = () if defect is None else tuple(masks)
        return cls(
            path=root / key,
            key=key,
            class_name=class_name,
            label=int(defect is not None),
            mask_path=files[0] if files else None,
            split=split,
            defect="good" if defect is None else defect,
            dataset=dataset,
            reading=reading,
            further_masks=files[1:],
        )

    @property
    def annotated(self) -> bool:
        """Whether it is known where the image is anomalous: nowhere in a normal one, else where its mask says so."""
        return self.label == 0 or self.mask_path is not None

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that the sample is read from: image, masks or label map, overlay."""
        paths = (self.path, self.mask_path, *self.further_masks, self.overlay_path)
        return tuple(path for path in paths if path is not None)


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of one step, preprocessed as the method asks.

    images       (B, 3, H, W) float32, normalised
    masks        (B, H', W') bool, True = anomalous, at the method's map size; None for data without binary masks
    label_maps   (B, h, w) int64 to be evaluated, at the images' own size: 0 normal, 1 anomalous, 255 ignore; else None
    targets      (B, H, W) int64 to train a segmentation on, of the size of `images`: train ids, 255 ignore; else None
    labels       (B,) int64, 1 = anomalous, 0 = normal, -1 = unknown (a label map that is held back)
    class_names  B names, as they enter prompts
    paths        B keys (paths relative to the data set's root)
    dataset      name of the data set, or several joined by "+"
    support      normal images given with the queries (in-context training): K per query, query-major, else None
    sizes        (height, width) of each image as it is stored, before any resizing; None where nobody looked
    contents     what reading each image has shown; None where nobody looked
    seeds        of training: a number per image, another in each epoch, for what a method draws for that image; so its
                 draws depend on no other image
    defects      of each image the masks of its defects at its stored size, one by one; none of a good image. None: they
                 were not asked for
    annotated    whether each image's annotation is known; where it is not, the mask is all zero and means nothing.
                 None: all are, where there is any
    """

    images: torch.Tensor
    labels: torch.Tensor
    class_names: list[str]
    paths: list[str]
    dataset: str
    masks: torch.Tensor | None = None
    label_maps: torch.Tensor | None = None
    targets: torch.Tensor | None = None
    support: Batch | None = None
    sizes: list[tuple[int, int]] | None = None
    contents: list[Contents] | None = None
    annotated: list[bool] | None = None
    seeds: list[int] | None = None
    defects: list[list[DefectMask]] | None = None

    def __len__(self) -> int:
        return len(self.class_names)

    @property
    def bare(self) -> Batch:
        """The batch without its tensors."""
        nothing = self.labels.new_empty(0)
        return replace(self, images=nothing, labels=nothing, masks=None, label_maps=None, targets=None)

    @property
    def annotations(self) -> dict[str, Any]:
        """Those of the tensors `masks`, `label_maps` and `targets` that there are, by name."""
        tensors = {"masks": self.masks, "label_maps": self.label_maps, "targets": self.targets}
        return {name: values for name, values in tensors.items() if values is not None}

    @property
    def truth(self) -> torch.Tensor | None:
        """What anomaly maps are evaluated against: masks, or label maps where there are any."""
        return self.masks if self.label_maps is None else self.label_maps

    def rows(self, which: slice | Sequence[int]) -> Batch:
        """Some of the images, in that order, of a batch without support."""
        columns = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        for name, values in columns.items():
            if isinstance(values, list):
                columns[name] = values[which] if isinstance(which, slice) else [values[row] for row in which]
            elif hasattr(values, "shape"):
                columns[name] = values[which]
        return Batch(**columns)

    def pin_memory(self) -> Batch:
        """Return the batch with its tensors in memory that a GPU reads by itself, beside what the processor does."""
        return replace(
            self,
            images=self.images.pin_memory(),
            labels=self.labels.pin_memory(),
            support=None if self.support is None else self.support.pin_memory(),
            **{name: values.pin_memory() for name, values in self.annotations.items()},
        )

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with its tensors on `device`."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            support=None if self.support is None else self.support.to(device),
            **{name: values.to(device, non_blocking=True) for name, values in self.annotations.items()},
        )
