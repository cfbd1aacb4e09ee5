"""The parts of a run, made from its configuration: data sets, backbone, method. Imports torch only when called."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adbench.cli import collector
from adbench.cli.config import ClipConfig, Config, DataConfig
from adbench.data import catalogue
from adbench.plugins import DATASETS, METHODS

if TYPE_CHECKING:
    import torch

    from adbench.api.dataset import Dataset
    from adbench.clip import Clip
    from adbench.data.sample import Sample
    from adbench.engine.progress import Reporter
    from adbench.methods import Method


def open_data(data: DataConfig, data_dir: Path, reporter: Reporter) -> Dataset:
    """Find and index a data set, and say what was noticed. Raises UserError as `adbench.open_dataset` does."""
    from adbench.api.dataset import open_dataset
    from adbench.engine import ranks

    renders = catalogue.get(data.name).prepare_root is not None
    with ranks.first_alone() if renders else contextlib.nullcontext():
        opened = open_dataset(
            data.name,
            root=data.root,
            data_dir=data_dir,
            classes=data.classes,
            progress=_rendering(data.name, reporter),
            **data.options,
        )
    for line in opened.notes:
        reporter.say(f"note: {line}")
    return opened


def data_line(name: str, samples: Sequence[Sample]) -> str:
    """What is used of a data set, in one line."""
    classes = list(dict.fromkeys(sample.class_name for sample in samples))
    shown = ", ".join(classes[:4]) + (f" and {len(classes) - 4} more" if len(classes) > 4 else "")
    labels = [sample.label for sample in samples]
    held_back = all(sample.label < 0 and sample.mask_path is None for sample in samples)
    noun = "class" if len(classes) == 1 else "classes"
    kinds = "labels held back" if held_back else "label maps" if -1 in labels else f"{labels.count(1)} anomalous"
    return f"{name}: {len(samples)} images, {kinds}, {len(classes)} {noun} ({shown})"


def _rendering(name: str, reporter: Reporter) -> Callable[[int, int], None]:
    said = False

    def progress(done: int, total: int) -> None:
        nonlocal said
        if not said:
            reporter.say(f"{name}: rendering, once ({total} classes)")
            said = True

    return progress


@collector.paused()
def load_backbone(config: ClipConfig, device: torch.device) -> Clip:
    """Load the frozen CLIP onto `device`. Raises UserError where its weights cannot be had."""
    from adbench.clip import load_clip

    return load_clip(
        config.name,
        pretrained=config.pretrained,
        checkpoint=config.checkpoint,
        quick_gelu=config.quick_gelu,
        image_size=config.image_size,
        dtype=config.dtype,
        compile=config.compile,
        device=device,
    )


def build_method(config: Config, clip: Clip, device: torch.device) -> Method:
    """Make the method with freshly initialised weights, the same for the same seed, on `device`."""
    import torch

    from adbench import methods

    torch.manual_seed(config.seed)
    return methods.build(config.method, clip, **config.hyperparameters).to(device)


def plugins_of(config: Config) -> dict[str, dict[str, str]]:
    """Where the method and the data sets that are not built in come from, for run.json: by setting and name."""
    sources = {f"method {config.method}": METHODS.source(config.method)}
    sources |= {f"data {data.name}": DATASETS.source(data.name) for data in config.data}
    return {name: source.describe() for name, source in sources.items() if source is not None}


def clip_line(clip: Clip) -> str:
    """Which backbone runs, in one line."""
    activation = "QuickGELU" if clip.quick_gelu else "GELU"
    held = "" if clip.blocks_dtype == clip.dtype else f"blocks in {str(clip.blocks_dtype)[6:]}, "
    held += "compiled, " * clip.is_compiled
    return f"{clip.name} ({clip.source}), {clip.image_size} px, {activation}, {held}weights {clip.weights_sha256[:12]}"


def device_line(device: torch.device) -> str:
    """Which device runs, in one line."""
    import torch

    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({torch.get_num_threads()} threads)"
