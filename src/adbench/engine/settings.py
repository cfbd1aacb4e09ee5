"""What a run does, as plain checked dataclasses: made in a notebook, or by the command line from its YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

from adbench.data.episodes import Sampler
from adbench.data.sample import Sample
from adbench.data.support import SupportSet
from adbench.engine.optimizer_spec import OptimizerSpec as OptimizerSpec
from adbench.errors import UserError, unknown
from adbench.metrics import registry
from adbench.metrics.metric import column_name
from adbench.metrics.pixel import AUPRO_LIMIT
from adbench.metrics.registry import Column
from adbench.metrics.table import MEAN
from adbench.typed import (
    Fraction,
    NonEmpty,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    Range,
    check_fields,
    make,
)

Row = dict[str, Any]
"""One line of a result table, keyed by name (see `engine.rows`)."""

Amp = Literal["off", "bf16", "fp16"]
Cache = Literal["auto", "off", "ram", "disk"]
Selection = Literal["last", "best_on_test"]
Protocol = Literal["exact", "official", "smiyc"]
PixelSize = Literal["map", "image"]
MetricsMode = Literal["auto", "exact", "constant"]
KeepMaps = Literal[False, True, "float32", "float16"]
AuxNormals = Literal["test_only", "train_and_test"]
Unannotated = Literal["leave_out", "as_normal"]

Seed = Annotated[int, Range(0, 2**32 - 1)]
Auto = Literal["auto"]
Workers = Annotated[int, Range(0, 1024)] | Auto

Supports = Mapping[tuple[int, int | None], Mapping[str, SupportSet]]
"""(K, seed) -> class -> support set; an empty mapping of classes stands for K = 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageSettings:
    """What a stage of a training has otherwise than `TrainSettings` say; None, and of `optimizer` what is not named:
    as they say."""

    epochs: PositiveInt | None = None
    batch_size: PositiveInt | None = None
    steps_per_epoch: PositiveInt | None = None
    optimizer: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSettings:
    """How a method is trained. What each setting is for, says configs/trainer/default.yaml.

    seed   of the order of images, initial random streams and augmentation
    shots  support images given with every query, for methods that learn in context (support.k)
    """

    epochs: PositiveInt = 1
    batch_size: PositiveInt = 1
    optimizer: OptimizerSpec = field(default_factory=OptimizerSpec)
    seed: Seed = 111
    amp: Amp = "off"
    workers: Workers = "auto"
    checkpoint_minutes: NonNegativeFloat | None = 10.0
    checkpoint_steps: PositiveInt | None = None
    log_every: PositiveInt = 10
    select: Selection = "last"
    select_metric: str = "pixel_f1max"
    validate_every: PositiveInt = 1
    heat_maps: NonNegativeInt = 0
    mosaic: Mapping[str, Fraction] = field(default_factory=dict)
    sampler: Sampler = "shuffle"
    steps_per_epoch: PositiveInt | None = None
    shots: NonNegativeInt = 0
    exclude_query: bool = True
    unannotated: Unannotated = "leave_out"
    aux_normals: AuxNormals = "test_only"
    aux_skip_upper_jpg: bool = False
    aux_per_class: PositiveInt | None = None
    cache: Cache = "auto"
    cache_mib: NonNegativeInt | None = None
    cache_dir: str | None = None
    image_cache: bool | str = False
    init_from: str | None = None
    stages: Mapping[str, StageSettings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self, "trainer", seed="seed", shots="support.k")
        for stage in self.stages:
            self.of_stage(stage)  # its optimiser is checked here

    def of_stage(self, stage: str) -> TrainSettings:
        """The settings of one stage. Raises UserError for an optimiser that is none."""
        changes = self.stages.get(stage, StageSettings())
        given = {key: getattr(changes, key) for key in ("epochs", "batch_size", "steps_per_epoch")}
        optimizer = make(
            OptimizerSpec, {**asdict(self.optimizer), **changes.optimizer}, f"trainer.stages.{stage}.optimizer"
        )
        changed = {key: value for key, value in given.items() if value is not None}
        return replace(self, **changed, optimizer=optimizer, stages={})


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalSettings:
    """How a method is evaluated. What each setting is for, says configs/eval.yaml.

    seed  of a method's own random streams, set anew for every class: a class's row does not depend on which other
          classes are evaluated
    """

    batch_size: PositiveInt | Auto = "auto"
    workers: Workers = "auto"
    seed: Seed = 111
    amp: Amp = "off"
    protocol: Protocol = "exact"
    aupro_limit: Annotated[tuple[Annotated[float, Range(0, 1, above=True)], ...], NonEmpty] = (AUPRO_LIMIT,)
    aupro200: bool = False
    metrics: tuple[str, ...] = ()
    pixel_size: PixelSize = "map"
    heat_maps: NonNegativeInt = 0
    maps: KeepMaps = False
    image_cache: bool | str = False
    feature_cache: bool | str = False
    feature_cache_mib: PositiveInt = 65536
    metrics_mode: MetricsMode = "auto"
    memory_limit_mib: PositiveInt = 4096

    def __post_init__(self) -> None:
        check_fields(self, "eval", seed="seed")
        for column in [registry.column(name, "eval.metrics") for name in self.metrics]:
            if not column.metric.is_choice or column.metric.unit != "share":
                hint = f"it comes with {column.metric.asked_by or 'the metric whose threshold it is'}"
                raise UserError(f"{column.key} is no choice of eval.metrics", where="eval.metrics", hint=hint)
            if column.metric.every_score and self.metrics_mode == "constant":
                hint = "choose eval.metrics_mode=exact"
                raise UserError(f"{column.key} needs every score", where="eval.metrics_mode=constant", hint=hint)

    @property
    def images_at_a_time(self) -> int:
        """The batch size; one, where nobody has looked yet what suits the machine."""
        return 1 if self.batch_size == "auto" else self.batch_size

    @property
    def needs_defects(self) -> bool:
        """Whether masks of single defects, at the size of the images, are to be loaded."""
        return self.pixel_size == "image" or any(column.metric.of_defects is not None for column in self.columns())

    @property
    def needs_validation(self) -> bool:
        """Whether a threshold is to come from validation images."""
        return any(isinstance(column.parameter, str) for column in self.columns())

    def columns(self) -> list[Column]:
        """The metrics of rows of industrial data, in the order of tables."""
        limits = [column_name("pixel_aupro", limit) for limit in self.aupro_limit]
        always = [name for name in registry.shown() if name != "pixel_aupro"]
        names = [*always, *limits, *(["pixel_aupro200"] if self.aupro200 else []), *self.metrics]
        keys = registry.in_order(registry.column(name, "eval.metrics").key for name in names)
        return [registry.column(key, "eval.metrics") for key in keys]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainData:
    """A data set to train on: its name, the samples of its auxiliary part, and what kind of training they allow."""

    name: str
    samples: Sequence[Sample]
    supervision: str = "anomaly"

    def __post_init__(self) -> None:
        _not_empty(self.name, self.samples)


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricSet:
    """What a data set is measured by: "industrial", or "road" with the pixels of its smallest components that count."""

    name: Literal["industrial", "road"] = "industrial"
    min_pred: int = 500
    min_gt: int = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalData:
    """A data set to evaluate on: its name, its test samples and the order of classes in the table.

    Without `classes` the order is that in which the samples name them. `supports` holds the support sets that a method
    which adapts is evaluated with, one result per (K, seed); without any it is evaluated once, with K = 0. `note` is
    what a reader of every result must know. `validation`: normal images, from whose scores thresholds may come.
    """

    name: str
    samples: Sequence[Sample]
    classes: Sequence[str] = ()
    supports: Supports = field(default_factory=dict)
    metric_set: MetricSet = field(default_factory=MetricSet)
    note: str | None = None
    validation: Sequence[Sample] = ()

    def __post_init__(self) -> None:
        _not_empty(self.name, self.samples)
        present = list(dict.fromkeys(sample.class_name for sample in self.samples))
        for name in self.classes:
            if name not in present:
                raise unknown(f"class of {self.name}", name, present, where="data.classes")
        object.__setattr__(self, "classes", tuple(self.classes) or tuple(present))
        if MEAN in self.classes:
            others = ",".join(name for name in present if name != MEAN)
            hint = "rename its folder" + (f", or take the others: data.classes='[{others}]'" if others else "")
            raise UserError(f"a class is called {MEAN!r}, as the row of means is", where=self.name, hint=hint)
        if self.name.partition(":")[0] == MEAN:
            raise UserError("a data set is called as rows of means are", where=self.name, hint="rename it")


def _not_empty(name: str, samples: Sequence[Sample]) -> None:
    if not samples:
        raise UserError(
            f"no images of data set {name!r} are left", where="data", hint="check data.classes and data.root"
        )
