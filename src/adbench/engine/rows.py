"""Result rows: plain dicts keyed by name, one per class and one for their mean, written as they are to results.json.

method, weights (sha256 or None), backbone, backbone_sha256
dataset, class_name ("mean": the mean over classes), n_images, n_anomalous
shots                          K; None: the memory that came with the weights does not tell, or classes differ
support_seed, support_source, support_id   see `data.support`; the id of the mean is over those of the classes
seed (of the training where it is known), eval_seed, protocol
image_auroc, ...               the metrics of `metrics.registry` that were asked for, in [0, 1], NaN where undefined
image_f1max_threshold, ...     of single classes, its thresholds (unit "score"): any number, NaN where undefined
image_..._low, image_..._high  95 % interval over the test images (see `engine.confidence`)
pixel_fpr95, component_...     of road data instead (see `metrics.road`), with image metrics only where there are any;
                               n_anomalous is None there where labels are held back
trained_on                     names of the data sets that the weights were trained on; None: unknown
zero_shot                      False: the class (of a published set), or some of these very pictures, were trained on;
                               None: unknown what the weights were trained on
selected_on_test               True: the weights were selected by their results on this class, or on these pictures
notes                          what a reader must know, in words
seconds, images_per_second     wall time, loading included, building memories from support images excluded

Several support seeds give, for each class and K, one more row with support_seed "mean" and n_support_seeds: metrics are
the mean over the seeds (of the class "mean": of the means over classes), <metric>_std their sample standard deviation.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from adbench.data.support import SupportSet, listing_sha256
from adbench.engine.settings import EvalData, EvalSettings, Row
from adbench.engine.weights import WeightsRecord, backbone
from adbench.engine.zero_shot import Overlap, marks, trained_on
from adbench.methods.base import Method
from adbench.metrics import ROAD_METRICS, summarise
from adbench.metrics.registry import in_order, is_metric, is_threshold
from adbench.metrics.table import MEAN as MEAN
from adbench.metrics.table import Protocol as TableProtocol

STD, LOW, HIGH = "_std", "_low", "_high"
"""What stands behind a metric's name: its standard deviation over support seeds, the bounds of its interval."""
Draw = tuple[int, int | None]
"""K and seed of support sets."""


def is_share(key: str) -> bool:
    """Whether a key of rows holds a metric, its deviation or a bound: a number in [0, 1], or NaN."""
    return any(is_metric(key.removesuffix(end)) for end in (STD, LOW, HIGH))


def build_rows(
    method: Method,
    data: EvalData,
    results: Mapping[str, Mapping[str, Any]],
    settings: EvalSettings,
    record: WeightsRecord | None,
    *,
    draw: Draw,
    seen: Overlap,
) -> list[Row]:
    """Rows of one data set for one (K, seed) of its support sets; each carries the data's note.

    `results`: per class "shots", "metrics", "n_images", "n_anomalous", "seconds", "notes" and, where the method has
    selected something by these images, "selected_on_test"; `seen`: which of its images the weights have seen.
    """
    support = data.supports[draw]
    reduced = list(_reduced_precision(method, settings))
    results = {
        name: {**result, "notes": [*result["notes"], *method.remarks, *reduced]} for name, result in results.items()
    }
    table_protocol: TableProtocol = "official" if settings.protocol == "official" else "exact"
    table = summarise({name: result["metrics"] for name, result in results.items()}, table_protocol)
    metrics = [column.key for column in settings.columns()]
    if data.metric_set.name == "road":
        metrics = in_order([*(metric for result in results.values() for metric in result["metrics"]), *ROAD_METRICS])
    common = _common(method, data.name, settings, record, draw, support)
    rows = []
    for name, result in {**results, MEAN: _total(results)}.items():
        classes = list(results) if name == MEAN else [name]
        n_images, seconds = result["n_images"], result["seconds"]
        rows.append(
            {
                **common,
                "class_name": name,
                "shots": result["shots"],
                "support_id": _support_id(classes, support),
                "n_images": n_images,
                "n_anomalous": result["n_anomalous"],
                **{metric: table[name].get(metric, math.nan) for metric in metrics},
                **{key: value for key, value in result.get("metrics", {}).items() if is_threshold(key)},
                **_marks(data, classes, record, result, _transductive(method, results, classes), seen),
                "seconds": seconds,
                "images_per_second": n_images / seconds if seconds else math.nan,
            }
        )
    return rows


def _common(
    method: Method,
    dataset: str,
    settings: EvalSettings,
    record: WeightsRecord | None,
    draw: Draw,
    support: Mapping[str, SupportSet],
) -> Row:
    """What the rows of all classes say alike."""
    shown = backbone(method)
    return {
        "method": method.name,
        "weights": None if record is None else record.sha256,
        "backbone": shown.get("name"),
        "backbone_sha256": shown.get("weights_sha256"),
        "trained_on": trained_on(record),
        "dataset": dataset,
        "support_seed": draw[1],
        "support_source": next((drawn.source for drawn in support.values()), None),
        "seed": settings.seed if record is None or record.seed is None else record.seed,
        "eval_seed": settings.seed,
        "protocol": settings.protocol,
    }


def image_records(data: EvalData, results: Mapping[Draw, Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One record per draw, class and image of `data`, ordered by them.

    dataset, class_name, path, defect, label, score, map_max, shots, support_seed
    """
    defects = {(sample.class_name, sample.key): sample.defect for sample in data.samples}
    return [
        {
            **{"dataset": data.name, "class_name": name, "path": image["path"]},
            "defect": defects[name, image["path"]],
            **image,
            **{"shots": result["shots"], "support_seed": support_seed},
        }
        for (_, support_seed), by_class in results.items()
        for name, result in by_class.items()
        for image in result["images"]
    ]


def summarise_seeds(rows: Sequence[Row]) -> list[Row]:
    """For each class and K with several support seeds: mean and sample standard deviation of every metric."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["class_name"], row["shots"]), []).append(row)
    several = [group for group in groups.values() if len(group) > 1]
    summaries = []
    for group in sorted(several, key=lambda group: group[0]["shots"]):
        single = {key: value for key, value in group[0].items() if not is_threshold(key)}
        row = {**single, "support_seed": MEAN, "support_id": None, "n_support_seeds": len(group)}
        for metric in in_order(single):
            values = [member[metric] for member in group]
            undefined = any(math.isnan(value) for value in values)
            row[metric] = math.nan if undefined else statistics.fmean(values)
            row[metric + STD] = math.nan if undefined else statistics.stdev(values)
        row["notes"] = list(dict.fromkeys(note for member in group for note in member["notes"]))
        row["seconds"] = sum(member["seconds"] for member in group)
        row["images_per_second"] = len(group) * row["n_images"] / row["seconds"] if row["seconds"] else math.nan
        summaries.append(row)
    return summaries


def _support_id(classes: Sequence[str], support: Mapping[str, SupportSet]) -> str | None:
    ids = [support[name].id for name in classes if name in support]
    return (ids[0] if len(classes) == 1 else listing_sha256(ids)[:16]) if ids else None


def _total(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    sums: dict[str, Any] = {
        key: None
        if any(result[key] is None for result in results.values())
        else sum(result[key] for result in results.values())
        for key in ("n_images", "n_anomalous", "seconds")
    }
    notes = list(dict.fromkeys(note for result in results.values() for note in result["notes"]))
    shots = {result["shots"] for result in results.values()}
    sums["shots"] = shots.pop() if len(shots) == 1 else None
    return {**sums, "notes": notes, "selected_on_test": any(r.get("selected_on_test") for r in results.values())}


def _reduced_precision(method: Method, settings: EvalSettings) -> Iterator[str]:
    """Why scores are not those of float32."""
    dtype = backbone(method).get("dtype", "float32")
    if dtype != "float32":
        yield f"computed with the backbone's blocks in {dtype} (clip.dtype)"
    if settings.amp != "off":
        yield f"computed under {settings.amp} autocast (eval.amp)"


def _transductive(method: Method, results: Mapping[str, Mapping[str, Any]], classes: Sequence[str]) -> Iterator[str]:
    """What a reader must know where the images of a class have scored each other."""
    if method.transductive:
        least, most = (of(results[name]["n_images"] for name in classes) for of in (min, max))
        number = f"{least}" if least == most else f"{least} to {most}"
        yield f"transductive: scored together with {number} images of the class"


def _marks(
    data: EvalData,
    classes: Sequence[str],
    record: WeightsRecord | None,
    result: Mapping[str, Any],
    further: Iterable[str],
    seen: Overlap,
) -> dict[str, Any]:
    """What is known against these results. Without a record nothing was trained: all is well."""
    notes = [*result["notes"], *further, *([data.note] if data.note else [])]
    selected = bool(result.get("selected_on_test"))
    if record is None:
        return {"zero_shot": True, "selected_on_test": selected, "notes": notes}
    marked = marks(data.name, classes, record, result["n_images"], seen)
    return {
        "zero_shot": marked["zero_shot"],
        "selected_on_test": selected or marked["selected_on_test"],
        "notes": notes + marked["notes"],
    }
