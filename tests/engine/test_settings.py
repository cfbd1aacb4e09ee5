"""Settings refuse what makes no sense, naming the setting."""

from __future__ import annotations

import pytest

from adbench.engine.settings import EvalData, EvalSettings, OptimizerSpec, TrainData, TrainSettings
from adbench.errors import UserError
from engine.tiny_engine import write_dataset


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: OptimizerSpec(name="adamww"),
            r"unknown value 'adamww' \(trainer.optimizer.name\).*Did you mean 'adamw'",
        ),
        (lambda: OptimizerSpec(lr=-1.0), "trainer.optimizer.lr is -1.0. Give a number of at least 0"),
        (lambda: OptimizerSpec(lr=float("nan")), "trainer.optimizer.lr is nan. Give a number"),
        (
            lambda: OptimizerSpec(betas=(0.9, 1.0)),
            "trainer.optimizer.betas is 1.0. Give a number of at least 0 and below 1",
        ),
        (lambda: TrainSettings(epochs=0), "trainer.epochs is 0. Give a number of at least 1$"),
        (lambda: TrainSettings(batch_size=1.5), "trainer.batch_size is 1.5. Give a whole number"),
        (lambda: TrainSettings(amp="fp8"), r"unknown value 'fp8' \(trainer.amp\)"),
        (lambda: TrainSettings(select="best"), "unknown value 'best'.*best_on_test"),
        (
            lambda: TrainSettings(mosaic={"mvtec": 2.0}),
            "trainer.mosaic.mvtec is 2.0. Give a number of at least 0 and at most 1",
        ),
        (lambda: EvalSettings(protocol="papers"), r"unknown value 'papers' \(eval.protocol\)"),
        (lambda: EvalSettings(heat_maps=2**31), "eval.heat_maps is 2147483648. Give a number .* at most 2147483647"),
        (lambda: EvalSettings(memory_limit_mib=0), "eval.memory_limit_mib is 0. Give a number of at least 1"),
        (lambda: TrainData(name="mvtec", samples=[]), "no images of data set 'mvtec'"),
    ],
)
def test_nonsense_is_named(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_betas_may_be_a_list():
    assert OptimizerSpec(betas=[0.5, 0.999]).betas == (0.5, 0.999)


def test_an_unknown_class_is_named(sample):
    with pytest.raises(UserError, match=r"unknown class of d 'scrw'.*Did you mean 'screw'"):
        EvalData(name="d", samples=[sample("screw")], classes=["scrw"])


def test_classes_default_to_the_order_of_the_samples(sample):
    data = EvalData(name="d", samples=[sample("screw"), sample("bolt"), sample("screw")])

    assert data.classes == ("screw", "bolt")


@pytest.fixture
def sample(tmp_path):
    from adbench.data.sample import Sample

    def make(class_name):
        return Sample(tmp_path, "k", class_name, 0, None, "test", "good", "d")

    return make


@pytest.mark.parametrize(
    ("name", "class_name", "match"),
    [
        ("tiny", "mean", r"a class is called 'mean'.*\(tiny\)\. Rename its folder, or take .*data\.classes='\[dots\]'"),
        ("mean", "lines", r"a data set is called as rows of means are \(mean\)"),
        ("mean:industrial", "lines", "a data set is called as rows of means are"),
    ],
)
def test_names_of_rows_of_means_are_refused_before_anything_is_scored(tmp_path, name, class_name, match):
    samples = write_dataset(tmp_path, classes=("dots", class_name))
    with pytest.raises(UserError, match=match):
        EvalData(name=name, samples=samples)
    assert EvalData(name="tiny", samples=samples, classes=["dots"]).classes == ("dots",)
    assert EvalData(name="meander", samples=write_dataset(tmp_path, classes=("Mean",))).classes == ("Mean",)
