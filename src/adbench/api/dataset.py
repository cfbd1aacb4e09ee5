"""A data set that has been found and indexed, ready to be trained or evaluated on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench.data import catalogue
from adbench.data.catalogue import SPLIT, DatasetSpec, Progress
from adbench.data.sample import Sample
from adbench.data.subset import few_of_each_class
from adbench.data.support import SupportSettings

if TYPE_CHECKING:
    from adbench.engine.settings import EvalData, Supports, TrainData, TrainSettings
    from adbench.methods import Method


def list_data() -> list[str]:
    """The names that `open_dataset` takes, sorted."""
    return catalogue.names()


@dataclass(frozen=True)
class Dataset:
    """A data set, indexed: nothing is decoded yet.

    facts    what is known of the set: title, classes as published, licence, source, citation, ...
    samples  all images that can be used, of the chosen classes
    split    the split that is evaluated; None: the set's default
    remarks  what a reader of results on it must know
    notes    what else was noticed in the folder, a line each
    """

    facts: DatasetSpec
    samples: list[Sample]
    split: str | None = None
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The set's name."""
        return self.facts.name

    @property
    def train(self) -> list[Sample]:
        """The normal images of the train split: what few-shot methods draw their support from."""
        return [sample for sample in self.samples if sample.split == "train" and sample.label == 0]

    @cached_property
    def test(self) -> list[Sample]:
        """The images to be scored. Raises UserError for a set that holds no anomalies."""
        return self.facts.evaluation(self.samples, self.split)

    @property
    def validation(self) -> list[Sample]:
        """The normal images of a validation split: score thresholds may come from them."""
        scored = {sample.path for sample in self.test}
        normal = [sample for sample in self.samples if sample.split == "validation" and sample.label == 0]
        return [sample for sample in normal if sample.path not in scored]

    @property
    def classes(self) -> list[str]:
        """The classes that are there, in the official order."""
        return list(dict.fromkeys(sample.class_name for sample in self.samples))

    def auxiliary(
        self,
        *,
        train_normals: bool = False,
        skip_upper_jpg: bool = False,
        per_class: int | None = None,
        seed: int = 0,
    ) -> TrainData:
        """What a method is trained on (see `DatasetSpec.auxiliary`): the test split, as the papers do.

        per_class  so many images of each class, drawn by `seed` (see `few_of_each_class`); None: all
        """
        from adbench.engine.settings import TrainData

        chosen = self.facts.auxiliary(self.samples, train_normals=train_normals, skip_upper_jpg=skip_upper_jpg)
        if per_class is not None:
            chosen = few_of_each_class(chosen, per_class, seed)
        return TrainData(name=self.name, samples=chosen, supervision=self.facts.supervision)

    def evaluation(self, support: SupportSettings, method: Method) -> EvalData:
        """The test images with the support sets that `method` is evaluated with; none where it takes none.

        Raises UserError where sets cannot be drawn, are missing, or hold images to be scored.
        """
        from adbench.data.support import draw_supports
        from adbench.engine.adapt import check_support
        from adbench.engine.settings import EvalData, MetricSet

        supports: Supports = {}
        if method.adapts or support.k != (0,):
            supports = draw_supports(support, self.pools, dataset=self.facts.part_of or self.name)
        min_pred, min_gt = self.facts.component_sizes
        data = EvalData(
            name=self.name,
            samples=self.test,
            classes=list(dict.fromkeys(sample.class_name for sample in self.test)),
            supports=supports,
            metric_set=MetricSet(name=self.facts.metric_set, min_pred=min_pred, min_gt=min_gt),
            note="; ".join(self.remarks) or None,
            validation=self.validation,
        )
        check_support(method, data)
        return data

    @property
    def pools(self) -> dict[str, list[Sample]]:
        """Per class to be scored all its images, among which support is looked for."""
        pools: dict[str, list[Sample]] = {sample.class_name: [] for sample in self.test}
        for sample in self.samples:
            if sample.class_name in pools:
                pools[sample.class_name].append(sample)
        return pools

    def lacks_support(self, settings: SupportSettings, method: Method) -> str | None:
        """What keeps the support sets of `method` from being drawn from the training images; None if nothing does."""
        from adbench.data.support_sources import NEED_NO_POOL

        most = max(settings.k)
        if not method.adapts or not most or settings.source in (*NEED_NO_POOL, "file"):
            return None
        for name in self.pools:
            n = len(self.facts.support_pool(self.samples, name))
            if n < most:
                return f"class {name} has {n} normal training images, support.k={most} takes {most}"
        return None


def auxiliary_choice(settings: TrainSettings) -> dict[str, Any]:
    """The arguments of `Dataset.auxiliary` that a training's settings ask for."""
    return {
        "train_normals": settings.aux_normals == "train_and_test",
        "skip_upper_jpg": settings.aux_skip_upper_jpg,
        "per_class": settings.aux_per_class,
        "seed": settings.seed,
    }


def open_dataset(
    name: str,
    *,
    root: str | Path | None = None,
    data_dir: str | Path = "data",
    classes: Sequence[str] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Dataset:
    """Find and index data set `name`: in its own folder `root`, or below `data_dir`.

    classes   a part of the classes; None: all that are there
    options   the set's own (datasets.md), as `inverted_masks=True` of data set "folder"
    Raises UserError where the folder is missing (how to get the data) or holds something else.

        >>> import adbench
        >>> adbench.open_dataset("piped_mini").classes
        ['PA_BDP01_TL', 'PA_BRG02_RL', 'PA_GLA01_TL']
    """
    spec, surveyed = catalogue.survey_dataset(
        name,
        root=root,
        data_dir=data_dir,
        classes=list(classes) if classes else None,
        options=options,
        progress=progress,
    )
    samples = spec.usable(surveyed, options)
    left_out = surveyed.left_out()
    notes = [*spec.deviations(samples, options), *(note.text for note in surveyed.notes), *left_out]
    about = spec.note(options) if spec.evaluation_splits else None
    remarks = [about, *left_out, *(note.text for note in surveyed.notes if note.in_rows)]
    opened = Dataset(spec, samples, options.get(SPLIT))
    if spec.evaluation_splits and (unscored := _unscored(opened)):
        notes.append(unscored)
        remarks.append(unscored)
    return replace(opened, remarks=tuple(line for line in remarks if line), notes=tuple(notes))


def _unscored(opened: Dataset) -> str | None:
    """Which classes are not evaluated, for want of anomalous images."""
    classes = {sample.class_name: None for sample in opened.samples if sample.split in ("train", "test")}
    scored = {sample.class_name for sample in opened.test}
    names = [name for name in classes if name not in scored]
    return f"not evaluated: {', '.join(names)} (no anomalous test images)" if names and scored else None
