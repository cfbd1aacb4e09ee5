"""Which device a run takes, and what goes there and back while the host goes on."""

from __future__ import annotations

import pytest
import torch

from adbench import launch
from adbench.data.sample import Batch
from adbench.engine import ranks
from adbench.engine.device import resolve_device, to_host
from adbench.engine.evaluate import evaluate
from adbench.engine.settings import EvalData, EvalSettings
from adbench.errors import UserError
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


@pytest.fixture
def four_gpus(monkeypatch):
    """Those that are chosen, in a list."""
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    yield chosen
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def test_a_gpu_of_a_number_becomes_the_current_one_and_computes_in_float32(four_gpus):
    assert (str(resolve_device("auto")), four_gpus) == ("cuda", [])
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert (str(resolve_device("cuda:3")), four_gpus) == ("cuda:3", [3])
    with pytest.raises(UserError, match="cuda:4 was asked for, but PyTorch sees 4 CUDA devices"):
        resolve_device("cuda:4")


@pytest.mark.usefixtures("four_gpus")
def test_each_rank_takes_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(launch, "processes", lambda: 6)
    for variable, value in {"LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "3"}.items():
        monkeypatch.setenv(variable, value)
    assert str(ranks.local_device(torch.device("cuda"))) == "cuda:2"
    assert str(ranks.local_device(torch.device("cpu"))) == "cpu"
    with pytest.raises(UserError, match=r"device=cuda:1 is one GPU for 3 processes.*Use device=cuda"):
        ranks.local_device(torch.device("cuda:1"))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "6")  # more than GPUs: they share, over gloo
    monkeypatch.setenv("LOCAL_RANK", "5")
    assert str(ranks.local_device(torch.device("cuda"))) == "cuda:1"
    assert str(ranks.local_device(torch.device("cuda:1"))) == "cuda:1"
