"""Which device a run takes, and what goes there and back while the host goes on."""

from __future__ import annotations

import pytest
import torch

from adbench.data.sample import Batch
from adbench.engine.device import to_host
from adbench.engine.evaluate import evaluate
from adbench.engine.settings import EvalData, EvalSettings
from adbench.methods.base import Prediction
from engine.tiny_engine import build_method, write_dataset
from simulated_gpu import simulated_gpu, waits


@pytest.mark.parametrize("listed", [False, True])
def test_a_prediction_comes_back_without_what_is_begun_behind_it(listed):
    with simulated_gpu() as gpu:
        images, labels = torch.zeros(2, 3, 4, 4), torch.tensor([0, 1])
        batch = Batch(images, labels, ["a", "a"], ["0", "1"], "made", torch.ones(2, 4, 4) > 0).to(gpu)
        scores, maps = torch.ones(2, device=gpu), torch.ones(2, 4, 4, device=gpu)
        waits.clear()
        wait = to_host(Prediction(scores, list(maps) if listed else maps), batch)
        later = maps.to("cpu", non_blocking=True)
        assert waits == []
        prediction, back = wait()
        assert (prediction.scores.tolist(), back.labels.tolist()) == ([1, 1], [0, 1])
        assert torch.stack(list(prediction.maps)).eq(1).all()
        assert back.masks.device.type == "cpu"
        assert back.images.device == gpu
        assert later.isnan().all()


def test_what_a_host_has_is_not_copied():
    batch = Batch(torch.zeros(1, 3, 4, 4), torch.tensor([0]), ["a"], ["0"], "made")
    prediction = Prediction(torch.zeros(1), None)
    assert to_host(prediction, batch)() == (prediction, batch)


def test_metrics_behind_the_loop_wait_for_no_later_batch(tmp_path):
    data = EvalData(name="tiny", samples=write_dataset(tmp_path))
    with simulated_gpu() as gpu:
        evaluate(build_method(), data, EvalSettings(batch_size=2, workers=0), device=gpu)
        assert [what for thread, what in waits if thread == "adbench-behind"] == []
