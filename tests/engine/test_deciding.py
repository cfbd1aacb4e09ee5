"""What makes a kept result another one's: every part of the keys of trainings and of kept classes."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import torch

from adbench.data.support import SupportSettings, draw_supports
from adbench.data.transforms import ClipTransform
from adbench.engine.class_results import ClassResultCache, FinishedClass
from adbench.engine.resume import check_same_training, clear, deciding_settings
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings, MetricSet, TrainSettings
from adbench.engine.weights import WeightsRecord
from adbench.errors import UserError
from engine.tiny_engine import MEAN, STD, TinyMethod, fake_clip, write_dataset

SPEED = {"workers", "checkpoint_minutes", "checkpoint_steps", "log_every", "heat_maps"}
SPEED |= {"cache", "cache_mib", "cache_dir", "image_cache"}
SELECTION = {"select_metric", "validate_every"}


def test_every_setting_decides_the_weights_but_those_of_speed_and_of_a_selection_that_is_not_made():
    names = {field.name for field in fields(TrainSettings)}
    assert set(deciding_settings(TrainSettings())) == names - SPEED - SELECTION
    assert set(deciding_settings(TrainSettings(select="best_on_test"))) == names - SPEED


RECORD = WeightsRecord(
    method="tiny",
    hyperparameters={"gain": 1.0},
    backbone={"name": "fake", "weights_sha256": "0" * 64},
    data=[{"name": "visa", "classes": ["candle"], "fingerprint": "abc"}],
    transform={"size": 16},
    training={"epochs": 2, "optimizer": {"lr": 0.1}},
)
OTHERS = {
    "method 'tiny' then, 'other' now": {"method": "other"},
    "hyperparameters.gain 1.0 then, 2.0 now": {"hyperparameters": {"gain": 2.0}},
    "backbone.name 'fake' then, 'real' now": {"backbone": {**RECORD.backbone, "name": "real"}},
    "backbone.weights_sha256": {"backbone": {**RECORD.backbone, "weights_sha256": "1" * 64}},
    "transform.size 16 then, 32 now": {"transform": {"size": 32}},
    "data.visa.fingerprint": {"data": [{**RECORD.data[0], "fingerprint": "abd"}]},
    "data.mvtec": {"data": [{**RECORD.data[0], "name": "mvtec"}]},
    "training.epochs 2 then, 3 now": {"training": {**RECORD.training, "epochs": 3}},
    "training.optimizer.lr 0.1 then, 0.2 now": {"training": {**RECORD.training, "optimizer": {"lr": 0.2}}},
}


@pytest.mark.parametrize("named", OTHERS)
def test_a_training_is_another_one_by_every_part_of_its_record(named):
    check_same_training(asdict(RECORD), RECORD, Path("run"))
    with pytest.raises(UserError) as caught:
        check_same_training(asdict(RECORD), replace(RECORD, **OTHERS[named]), Path("run"))
    assert named in str(caught.value)
    assert "data.visa.name" not in str(caught.value)


def test_clearing_a_run_leaves_nothing_of_the_training(tmp_path):
    run = RunFolder.create("train", "tiny", "tiny", out=tmp_path / "run")
    left = (run.weights_path.with_suffix(".json"), run.weights_path, run.checkpoint_path, run.history_path)
    for path in left:
        path.write_text("old")
    run.tensorboard_dir.mkdir(exist_ok=True)
    clear(run)
    assert not any(path.exists() for path in (*left, run.tensorboard_dir))


class Evaluation:
    """One evaluation of a class; `kept(**changes)` is what another one, so changed, would keep or find."""

    def __init__(self, folder: Path):
        self.run = RunFolder.create("eval", "tiny", "tiny", out=folder / "run")
        self.samples = write_dataset(folder / "tiny", n_normal=2, n_anomalous=1)
        pools = {}
        for sample in self.samples:
            pools.setdefault(sample.class_name, []).append(replace(sample, split="train"))
        supports = [draw_supports(SupportSettings(k=(1,), seed=(i,)), pools, dataset="tiny") for i in range(4)]
        sets = [one[1, i] for i, one in enumerate(supports)]
        self.sets = [sets[0], next(other for other in sets if other["dots"].id != sets[0]["dots"].id)]

    def kept(self, *, clip="fake", gain=1.0, side=16, sha256="0" * 64, settings=None, draw=(1, 0), which=0, road=False):
        torch.manual_seed(0)
        method = TinyMethod(fake_clip(clip), gain=gain)
        method.transform = ClipTransform(side, MEAN, STD)
        metric_set = MetricSet(name="road") if road else MetricSet()
        data = EvalData(name="tiny", samples=self.samples, supports={draw: self.sets[which]}, metric_set=metric_set)
        record = replace(RECORD, sha256=sha256)
        return ClassResultCache(self.run, method, data, settings or EvalSettings(), record)


class Remembering(TinyMethod):
    """What it has fitted is one tensor per class."""

    name = "remembering"
    supervision = "none"
    adapts = needs_support = fits = True

    def learnable_state(self):
        return dict(self.memory_bank)

    def load_learnable_state(self, state):
        self.memory_bank = dict(state)


def test_what_a_class_has_fitted_is_kept_draw_by_draw(tmp_path):
    one = Evaluation(tmp_path)
    samples = [sample for sample in one.samples if sample.class_name == "dots"]
    data = EvalData(name="tiny", samples=one.samples, supports={(1, seed): one.sets[seed] for seed in (0, 1)})
    method = Remembering(fake_clip())
    method.memory_bank = {"before": torch.zeros(1)}
    kept = ClassResultCache(one.run, method, data, EvalSettings(), None)
    kept.save("dots", samples, FinishedClass([{}, {}], [{"dots": torch.ones(2)}, {"dots": torch.full((3,), 2.0)}]))
    found = kept.load("dots", samples)
    assert [{name: value.tolist() for name, value in memory_bank.items()} for memory_bank in found.memory_banks] == [
        {"dots": [1.0, 1.0]},
        {"dots": [2.0, 2.0, 2.0]},
    ]
    assert list(method.memory_bank) == ["before"]


def test_a_kept_class_is_of_one_evaluation_only(tmp_path):
    one = Evaluation(tmp_path)
    samples = [sample for sample in one.samples if sample.class_name == "dots"]
    one.kept().save("dots", samples, FinishedClass([{"metrics": {"image_ap": 0.5}}], []))
    found = one.kept().load("dots", samples)
    assert found == FinishedClass([{"metrics": {"image_ap": 0.5}}], [])
    changes = [
        *({"clip": "other"}, {"gain": 2.0}, {"side": 32}, {"sha256": "1" * 64}, {"draw": (2, 0)}, {"which": 1}),
        {"road": True},
        *({"settings": EvalSettings(**change)} for change in OTHER_SETTINGS),
    ]
    for change in changes:
        assert one.kept(**change).load("dots", samples) is None, change
    assert one.kept().load("dots", samples[1:]) is None
    assert one.kept(settings=EvalSettings(workers=2, heat_maps=3)).load("dots", samples) == found


OTHER_SETTINGS = [
    *({"batch_size": 2}, {"seed": 1}, {"amp": "bf16"}, {"protocol": "official"}, {"aupro200": True}),
    *({"metrics_mode": "constant"}, {"memory_limit_mib": 1}),
]
