"""The parts of a run, made from its configuration: data sets, backbone, method. Imports torch only when called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adbench.cli.config import ClipConfig, Config, DataConfig

if TYPE_CHECKING:
    import torch

    from adbench.clip import Clip
    from adbench.data.catalogue import DatasetSpec
    from adbench.data.sample import Sample
    from adbench.data.support import SupportSettings
    from adbench.engine.progress import Reporter
    from adbench.engine.settings import EvalData, Supports, TrainSettings
    from adbench.methods import Method


@dataclass(frozen=True)
class OpenData:
    """A data set that has been found and indexed; `samples` are those that this run uses, `indexed` are all.

    `note` is what a reader of results on them must know.
    """

    spec: DatasetSpec
    samples: list[Sample]
    indexed: list[Sample]
    note: str | None = None

    @property
    def classes(self) -> list[str]:
        """The classes in the order of the index, which is the official one."""
        return list(dict.fromkeys(sample.class_name for sample in self.samples))

    def line(self) -> str:
        """What is in it, in one line."""
        classes = self.classes
        shown = ", ".join(classes[:4]) + (f" and {len(classes) - 4} more" if len(classes) > 4 else "")
        labels = [sample.label for sample in self.samples]
        kinds = "label maps" if -1 in labels else f"{labels.count(1)} anomalous"
        return f"{self.spec.name}: {len(self.samples)} images, {kinds}, {len(classes)} classes ({shown})"

    @property
    def pools(self) -> dict[str, list[Sample]]:
        """Per class all images, among which support is looked for."""
        pools: dict[str, list[Sample]] = {name: [] for name in self.classes}
        for sample in self.indexed:
            if sample.class_name in pools:
                pools[sample.class_name].append(sample)
        return pools

    def lacks_support(self, settings: SupportSettings, method: Method) -> str | None:
        """What keeps the support sets of `method` from being drawn from the training images; None if nothing does."""
        from adbench.data.support_sources import NEED_NO_POOL

        most = max(settings.k)
        if not method.adapts or not most or settings.source in (*NEED_NO_POOL, "file"):
            return None
        for name in self.classes:
            n = len(self.spec.support_pool(self.indexed, name))
            if n < most:
                return f"class {name} has {n} normal training images, support.k={most} takes {most}"
        return None

    def for_evaluation(self, settings: SupportSettings, method: Method) -> EvalData:
        """The test images with the support sets that `method` is evaluated with; none where it takes none.

        Raises UserError where sets cannot be drawn, are missing, or hold images to be scored.
        """
        from adbench.data.support import draw_supports
        from adbench.engine.adapt import check_support
        from adbench.engine.settings import EvalData, MetricSet

        supports: Supports = {}
        if method.adapts or settings.k != (0,):
            supports = draw_supports(settings, self.pools, dataset=self.spec.name)
        data = EvalData(
            name=self.spec.name,
            samples=self.samples,
            classes=self.classes,
            supports=supports,
            metric_set=MetricSet(
                name=self.spec.metric_set,
                min_pred=self.spec.component_sizes[0],
                min_gt=self.spec.component_sizes[1],
            ),
            note=self.note,
        )
        check_support(method, data)
        return data


def open_data(
    data: DataConfig, data_dir: Path, reporter: Reporter, *, auxiliary: TrainSettings | None = None
) -> OpenData:
    """Find and index a data set, to test on it, or as auxiliary data of the given training.

    Raises UserError where the folder is missing or holds something else.
    """
    from adbench.data.catalogue import SPLIT, survey_dataset

    spec, found = survey_dataset(
        data.name,
        root=data.root,
        data_dir=data_dir,
        classes=data.classes or None,
        options=data.options,
        progress=_rendering(data.name, reporter),
    )
    samples = spec.usable(found, data.options)
    left_out = found.left_out()
    for line in [*spec.deviations(samples, data.options), *(note.text for note in found.notes), *left_out]:
        reporter.say(f"note: {line}")
    if auxiliary is None:
        scored = spec.evaluation(samples, data.options.get(SPLIT))
        for_rows = [spec.note(data.options), *left_out, *(note.text for note in found.notes if note.in_rows)]
        if unscored := _unscored(samples, scored):
            reporter.say(f"note: {unscored}")
            for_rows.append(unscored)
        return OpenData(spec, scored, samples, "; ".join(line for line in for_rows if line) or None)
    chosen = spec.auxiliary(
        samples,
        train_normals=auxiliary.aux_normals == "train_and_test",
        skip_upper_jpg=auxiliary.aux_skip_upper_jpg,
    )
    return OpenData(spec, chosen, samples)


def _unscored(samples: list[Sample], scored: list[Sample]) -> str | None:
    """Which classes are not evaluated, for want of anomalous images."""
    classes = {sample.class_name: None for sample in samples if sample.split in ("train", "test")}
    names = [name for name in classes if name not in {sample.class_name for sample in scored}]
    return f"not evaluated: {', '.join(names)} (no anomalous test images)" if names and scored else None


def _rendering(name: str, reporter: Reporter) -> Callable[[int, int], None]:
    said = False

    def progress(done: int, total: int) -> None:
        nonlocal said
        if not said:
            reporter.say(f"{name}: rendering, once ({total} classes)")
            said = True

    return progress


def load_backbone(config: ClipConfig, device: torch.device) -> Clip:
    """Load the frozen CLIP onto `device`. Raises UserError where its weights cannot be had."""
    from adbench.clip import load_clip

    return load_clip(
        config.name,
        pretrained=config.pretrained,
        checkpoint=config.checkpoint,
        quick_gelu=config.quick_gelu,
        image_size=config.image_size,
        device=device,
    )


def build_method(config: Config, clip: Clip, device: torch.device) -> Method:
    """Make the method with freshly initialised weights, the same for the same seed, on `device`."""
    import torch

    from adbench import methods

    torch.manual_seed(config.seed)
    return methods.build(config.method, clip, **config.hyperparameters).to(device)


def clip_line(clip: Clip) -> str:
    """Which backbone runs, in one line."""
    activation = "QuickGELU" if clip.quick_gelu else "GELU"
    return f"{clip.name} ({clip.source}), {clip.image_size} px, {activation}, weights {clip.weights_sha256[:12]}"


def device_line(device: torch.device) -> str:
    """Which device runs, in one line."""
    import torch

    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({torch.get_num_threads()} threads)"
