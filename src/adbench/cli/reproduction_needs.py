"""What a reproduction takes: data sets, weights of the backbone, disk, and GPU time by counted operations."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adbench.cli.config import Config, TrainConfig, train_config
from adbench.cli.plan import absent_sets, preview
from adbench.cli.reproduction import Recipe
from adbench.cli.reproduction_jobs import Job
from adbench.data import catalogue

TFLOPS = 20.0
"""Sustained TFLOP per second that times are estimated with: what float32 comes to on a data-centre GPU, roughly."""


@dataclass(frozen=True)
class Needs:
    """absent: data set -> where it was looked for; weights: the backbone's, in words; hours: None: not counted."""

    absent: Mapping[str, str]
    weights: str
    hours: Mapping[str, float | None]
    free_gb: float


def settings_of(job: Job) -> Config:
    """The settings of a job. Raises UserError for a word that it cannot take: before anything is run."""
    return train_config(job.settings) if job.command == "train" else preview(job.settings)


def find_needs(recipe: Recipe, jobs: Sequence[Job], folder: Path) -> Needs:
    """Look for what the jobs take. Raises UserError for settings that there are not."""
    absent: dict[str, str] = {}
    hours: dict[str, float | None] = {}
    weights = ""
    composed: dict[tuple[str, ...], Config] = {}
    for job in jobs:
        alike = tuple(word for word in job.words if job.command == "train" or not word.startswith("data"))
        if alike not in composed:  # evaluations differ in their data alone
            composed[alike] = settings_of(job)
        settings = composed[alike]
        absent |= absent_sets(job.data, job.settings)
        hours[job.name] = _hours(recipe, job, settings)
        weights = weights or _weights(settings)
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    return Needs(absent, weights, hours, shutil.disk_usage(existing).free / 1e9)


def _weights(settings: Config) -> str:
    """Where the backbone's weights come from, and whether they are here."""
    from adbench.clip.presets import PRESETS

    clip = settings.clip
    if clip.checkpoint is not None:
        return f"{clip.name} from {clip.checkpoint}" + ("" if clip.checkpoint.is_file() else ": no such file")
    preset = PRESETS.get(clip.name)
    if preset is not None and preset.module:
        return f"{clip.name}, which ships with adbench"
    from adbench.clip.published_files import is_cached

    tag = clip.pretrained or (preset.pretrained if preset else "")
    where = "on this machine" if is_cached(clip.name, tag) else "to be downloaded, or given as clip.checkpoint=FILE"
    return f"{clip.name} / {tag}, {where}"


def _hours(recipe: Recipe, job: Job, settings: Config) -> float | None:
    """GPU hours at TFLOPS; None where operations or images were not counted."""
    training = isinstance(settings, TrainConfig)
    tflop = recipe.cost.training_tflop if training else recipe.cost.evaluation_tflop
    images = [_images(name) for name in job.data]
    if not tflop or None in images:
        return None
    number = sum(image or 0 for image in images)
    if isinstance(settings, TrainConfig):
        trainer = settings.trainer
        per_epoch = number if trainer.steps_per_epoch is None else trainer.steps_per_epoch * trainer.batch_size
        number = trainer.epochs * per_epoch
    return number * tflop / TFLOPS / 3600


def _images(dataset: str) -> int | None:
    """The published number of test images; None where it is not known."""
    counts = (catalogue.get(dataset).expected or {}).values()
    return sum(count.normal + count.anomalous + count.mapped for count in counts) or None
