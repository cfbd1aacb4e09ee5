"""What selects weights: one number of the validation sets, or an error; and what is noted of it."""

from __future__ import annotations

import math

import pytest
import torch

from adbench.engine import validate
from adbench.engine.progress import Quiet
from adbench.engine.settings import EvalData, TrainSettings
from adbench.engine.validate import check_selection, select_value, selection_record, snapshot, validation_rows
from adbench.engine.zero_shot import pictures
from adbench.errors import UserError
from engine.tiny_engine import build_method, write_dataset

BEST = TrainSettings(select="best_on_test", select_metric="image_ap", seed=5, amp="bf16", batch_size=3)


@pytest.fixture
def held(tmp_path):
    return EvalData(name="held", samples=write_dataset(tmp_path / "held", n_normal=1, n_anomalous=1))


def test_a_selection_needs_validation_data_and_a_metric_that_there_is(held):
    check_selection(BEST, [held])
    check_selection(TrainSettings(), [])
    with pytest.raises(UserError, match="there are none"):
        check_selection(BEST, [])
    with pytest.raises(UserError, match=r"Did you mean 'image_ap'\?"):
        check_selection(TrainSettings(select_metric="image_app"), [held])


def test_the_value_is_the_mean_over_the_sets_of_their_means_over_classes():
    rows = [{"class_name": name, "image_ap": value} for name, value in (("a", 0.9), ("mean", 0.2), ("mean", 0.4))]
    assert select_value(rows, "image_ap") == pytest.approx(0.3)
    for undefined in ({"class_name": "mean", "image_ap": math.nan}, {"class_name": "mean"}):
        with pytest.raises(UserError, match="image_ap, which is n/a"):
            select_value([*rows, undefined], "image_ap")


def test_the_record_of_a_selection_names_rule_metric_and_data(held):
    assert selection_record(BEST, [held], {"value": 0.5, "epoch": 2, "step": 9}) == {
        "rule": "best_on_test",
        "metric": "image_ap",
        "value": 0.5,
        "epoch": 2,
        "step": 9,
        "data": [{"name": "held", "classes": ["dots", "lines"], "images": pictures(held.samples)}],
    }


def test_validation_uses_the_trainings_own_settings(monkeypatch, held):
    seen = []
    monkeypatch.setattr(validate, "evaluate", lambda *a, **k: seen.append((*a, k["reporter"])) or [{"row": len(seen)}])
    reporter = Quiet()
    rows = validation_rows(build_method(), [held, held], BEST, device=torch.device("cpu"), reporter=reporter)
    assert rows == [{"row": 1}, {"row": 2}]
    for _, data, settings, told in seen:
        assert data is held
        assert told is reporter
        assert (settings.batch_size, settings.seed, settings.amp, settings.workers) == (3, 5, "bf16", "auto")


def test_a_snapshot_stays_as_it_is():
    method = build_method()
    kept = snapshot(method)
    before = kept["head.weight"].clone()
    with torch.no_grad():
        method.head.weight.add_(1)
    assert torch.equal(kept["head.weight"], before)
