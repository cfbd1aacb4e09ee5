"""The metrics of a road data set as one accumulator: threshold from its own curve, bounded memory, mergeable."""

from __future__ import annotations

import math
import pickle
import tempfile

import numpy as np
import pytest

from adbench.errors import UserError
from adbench.metrics import ROAD_METRICS, RoadMetrics
from adbench.metrics.components import component_metrics, components_above
from adbench.metrics.inputs import labelled_images
from adbench.metrics.road_pixels import road_curve

SIZES = {"min_pred": 4, "min_gt": 3}


def scenes(seed: int = 0, sizes=((30, 40), (30, 40), (24, 50))):
    random = np.random.default_rng(seed)
    maps, labels = [], []
    for height, width in sizes:
        known = np.zeros((height, width), np.uint8)
        known[:5] = 255
        for _ in range(3):
            y, x = random.integers(6, height - 8), random.integers(0, width - 8)
            known[y : y + 6, x : x + 7] = 1
        scores = random.normal(size=known.shape).cumsum(1) * 0.05 + (known == 1)
        maps.append(scores.astype(np.float32))
        labels.append(known)
    return maps, labels


@pytest.mark.parametrize("protocol", ["exact", "smiyc"])
def test_components_are_found_at_the_best_f1_of_the_same_curve(protocol: str) -> None:
    maps, labels = scenes()
    values = RoadMetrics(protocol=protocol, **SIZES).update(maps, labels).compute()
    curve = road_curve(labelled_images(maps, labels), protocol)
    images = zip(maps, labels, strict=True)
    parts = component_metrics([components_above(curve.best_threshold, *image, **SIZES) for image in images])
    pixels = {"pixel_ap": curve.ap, "pixel_auroc": curve.auroc, "pixel_fpr95": curve.fpr95}
    assert tuple(values) == ROAD_METRICS
    assert values == pixels | {name: parts[name] for name in ROAD_METRICS if name in parts}
    assert values["component_f1"] > 0.3


def test_batches_shards_processes_and_disk_do_not_matter(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    maps, labels = scenes()
    whole = RoadMetrics(**SIZES).update(maps, labels).compute()
    first, second = RoadMetrics(**SIZES).update(maps[2:], labels[2:]), RoadMetrics(**SIZES).update(maps[:2], labels[:2])
    sent = pickle.loads(pickle.dumps(second))
    assert first.merge(sent).compute() == pytest.approx(whole, abs=1e-12)
    assert second.compute() == RoadMetrics(**SIZES).update(np.stack(maps[:2]), np.stack(labels[:2])).compute()
    spilling = RoadMetrics(memory_limit=8000, **SIZES)
    for one, label in zip(maps, labels, strict=True):
        spilling.update([one], [label])
    assert any(tmp_path.rglob("*.npy"))
    assert spilling.compute() == whole
    assert pickle.loads(pickle.dumps(spilling)).compute() == whole
    assert RoadMetrics(**SIZES).merge(spilling).compute() == whole


def test_without_anomalies_nothing_is_predicted() -> None:
    values = RoadMetrics().update(np.random.default_rng(0).random((2, 30, 30)), np.zeros((2, 30, 30))).compute()
    assert values.pop("component_f1") == 0.0
    assert all(math.isnan(value) for value in values.values())
    assert math.isnan(RoadMetrics().compute()["pixel_ap"])


def test_updates_copy_and_may_follow_a_result() -> None:
    maps, labels = scenes()
    metrics = RoadMetrics(**SIZES).update([maps[0]], [labels[0]])
    before = metrics.compute()
    kept = maps[0].copy()
    maps[0][:] = 0
    assert metrics.compute() == before
    maps[0][:] = kept
    assert metrics.update(maps[1:], labels[1:]).compute() == RoadMetrics(**SIZES).update(maps, labels).compute()


def test_bad_input_is_refused() -> None:
    with pytest.raises(UserError, match="protocol of road scenes"):
        RoadMetrics(protocol="official")
    with pytest.raises(UserError, match="Did you mean 'smiyc'"):
        RoadMetrics(protocol="smyic")
    with pytest.raises(UserError, match="smallest components"):
        RoadMetrics(min_pred=-1)
    with pytest.raises(UserError, match="cannot be merged"):
        RoadMetrics().merge(RoadMetrics(min_pred=1))
    with pytest.raises(UserError, match="other than 0, 1 and 255"):
        RoadMetrics().update(np.zeros((1, 2, 2)), np.full((1, 2, 2), 3))
