"""Training and evaluation in one call each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from adbench.api.dataset import Dataset, auxiliary_choice
from adbench.data.support import SupportSettings
from adbench.engine import ranks
from adbench.engine.confidence import with_intervals
from adbench.engine.device import resolve_device
from adbench.engine.evaluate import evaluate as evaluate_data
from adbench.engine.progress import Reporter
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalSettings, Row, TrainSettings
from adbench.engine.train import TrainResult
from adbench.engine.train import train as train_on
from adbench.engine.weights import WeightsRecord
from adbench.errors import UserError
from adbench.methods import Method
from adbench.report.results import read_results
from adbench.report.scores import read_scores
from adbench.typed import make


def list_methods() -> list[str]:
    """The names that `build` takes, sorted."""
    from adbench import methods

    return methods.names()


def list_clips() -> list[str]:
    """The backbones that have a name here; `load_clip` takes any model of open_clip besides."""
    from adbench.clip.presets import PRESETS

    return sorted(PRESETS)


@dataclass(frozen=True)
class Results:
    """What an evaluation gives.

    rows    one per class, then "mean", for each K and seed of support sets; metrics in [0, 1], NaN where undefined;
            image metrics with 95 % intervals over the images (`adbench.engine.rows` names every key)
    scores  one per image and draw: dataset, class_name, path, defect, label (1 anomalous, 0 normal, -1 unknown), score
            (None where the method gives none), map_max (None without maps), shots, support_seed
    """

    rows: list[Row]
    scores: list[dict[str, Any]] = field(default_factory=list)

    @property
    def mean(self) -> Row:
        """The last row over all classes."""
        return next(row for row in reversed(self.rows) if row["class_name"] == "mean")

    def to_pandas(self, table: Literal["rows", "scores"] = "rows") -> Any:
        """The rows, or the scores of single images, as a pandas DataFrame. Raises UserError without pandas."""
        try:
            import pandas  # type: ignore[import-untyped]
        except ImportError as error:
            raise UserError("pandas is not installed", hint=f"pip install pandas, or take .{table}") from error
        return pandas.DataFrame(getattr(self, table))


def load_results(run: str | Path) -> Results:
    """What a finished evaluation has left in its folder: rows of results.json, scores of scores.csv.

    Raises UserError where one of them is missing or damaged.
    """
    folder = Path(run).expanduser()
    return Results(read_results(folder)[1], read_scores(folder))


def evaluate(
    method: Method,
    data: Dataset | Sequence[Dataset],
    *,
    support_k: int | Sequence[int] = 0,
    support_seed: int | Sequence[int] = 0,
    support: SupportSettings | None = None,
    record: WeightsRecord | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
    **settings: Any,
) -> Results:
    """Score the test images of `data` and measure.

    support_k, support_seed  for few-shot methods: normal images per class, and seeds of the draw; several give a result
                             each. `support` says more (source, path) in their place
    record    where the weights come from (`load_weights`, or the `record` of a TrainResult): marks rows that are not
              zero-shot
    settings  those under `eval` in configs/eval.yaml, and the seed: batch_size, workers, amp, ...
    Raises UserError for settings and data that do not go together. Runs on `device`: auto, cpu, cuda, cuda:N.

        >>> import adbench
        >>> method = adbench.build("median_colour", adbench.load_clip("demo"))
        >>> adbench.evaluate(method, adbench.open_dataset("piped_mini", classes=["PA_GLA01_TL"])).mean["n_images"]
        14
    """
    chosen = make(EvalSettings, settings, "eval")
    support = support or SupportSettings(k=_several(support_k), seed=_several(support_seed))
    rows: list[Row] = []
    scores: list[dict[str, Any]] = []
    for dataset in [data] if isinstance(data, Dataset) else data:
        rows += evaluate_data(
            method,
            dataset.evaluation(support, method),
            chosen,
            device=resolve_device(device),
            record=record,
            reporter=reporter,
            scores=scores,
        )
    return Results(with_intervals(rows, scores, chosen.seed), scores)


def train(
    method: Method,
    data: Dataset | Sequence[Dataset],
    *,
    out: str | Path | None = None,
    validation: Dataset | None = None,
    support_k: int = 0,
    device: str = "auto",
    resume: bool = True,
    reporter: Reporter | None = None,
    **settings: Any,
) -> TrainResult:
    """Train the learnable part of `method` in place, and leave weights and their record in a run folder.

    out        the folder; None: a new one below outputs/train. A stopped training in it goes on
    support_k  normal images given with every query, for methods that learn so (inctrl)
    settings   fields of `TrainSettings`: epochs, batch_size, seed, amp, workers, ..., and `optimizer`, a mapping with
               fields of `OptimizerSpec`
    What a method's paper uses stands in its YAML file (configs/method), which is the command line's. Raises UserError
    for a method that is not trained, settings out of range, and a loss that is not finite.

        >>> import adbench
        >>> method = adbench.build("adaclip", adbench.load_clip("demo"), prompting_depth=2, k_clusters=4)
        >>> data = adbench.open_dataset("piped_mini")
        >>> result = adbench.train(method, data, steps_per_epoch=1, device="cpu")  # doctest: +SKIP
    """
    chosen = make(TrainSettings, {**settings, "shots": support_k}, "trainer")
    sets = [data] if isinstance(data, Dataset) else list(data)
    checked = [] if validation is None else [validation.evaluation(SupportSettings(k=(support_k,)), method)]
    names = "+".join(dataset.name for dataset in sets)
    with ranks.claimed(RunFolder.claim("train", method.name, names, out=None if out is None else Path(out))) as run:
        return train_on(
            method,
            [dataset.auxiliary(**auxiliary_choice(chosen)) for dataset in sets],
            chosen,
            run,
            device=resolve_device(device),
            validation=checked,
            resume=resume,
            reporter=reporter,
        )


def _several(value: int | Sequence[int]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)
