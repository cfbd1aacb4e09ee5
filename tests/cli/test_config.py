"""YAML files and the command line compose into typed configurations."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest
import yaml

from adbench.cli import layers
from adbench.cli.benchmark import requested
from adbench.cli.config import EvalConfig, TrainConfig, eval_config, train_config
from adbench.cli.layers import Layer
from adbench.cli.override_parser import choices
from adbench.cli.overrides import Overrides
from adbench.cli.plan import preview
from adbench.errors import UserError
from adbench.shipped import configs_dir


def train(*words: str) -> TrainConfig:
    return train_config(Overrides("train", words))


def evaluation(*words: str) -> EvalConfig:
    return preview(Overrides("eval", words))


@pytest.mark.parametrize("method", choices("method"))
def test_every_method_composes(method: str) -> None:
    config = evaluation(f"method={method}", "data=visa")
    assert config.method == method
    assert train(f"method={method}", "data=visa").hyperparameters == config.hyperparameters


def test_every_data_set_composes() -> None:
    names = choices("data")
    config = evaluation("method=adaclip", f"data=[{','.join(names)}]")
    assert [data.name for data in config.data] == names


@pytest.mark.parametrize("clip", choices("clip"))
@pytest.mark.parametrize("method", choices("method"))
def test_every_method_composes_with_every_backbone(method: str, clip: str) -> None:
    assert train(f"method={method}", f"clip={clip}", "data=demo").clip.name == clip


def test_adaclips_own_recipe() -> None:
    config = train("method=adaclip", "data=mvtec")
    assert (config.clip.name, config.clip.pretrained, config.clip.image_size) == ("ViT-L-14-336", "openai", 518)
    assert config.clip.quick_gelu is False
    assert (config.trainer.epochs, config.trainer.batch_size, config.seed) == (5, 1, 111)
    optimizer = config.trainer.optimizer
    assert (optimizer.name, optimizer.lr, optimizer.betas) == ("adamw", 0.01, (0.5, 0.999))
    assert (optimizer.eps, optimizer.weight_decay) == (1e-8, 0.01)
    assert config.trainer.mosaic == {"mvtec": 0.2}


def test_the_demo_backbone_brings_its_own_size() -> None:
    clip = train("method=adaclip", "data=demo", "clip=demo").clip
    assert (clip.name, clip.image_size, clip.quick_gelu, clip.pretrained) == ("demo", None, None, None)


def test_the_command_line_wins() -> None:
    config = train(
        "method=adaclip",
        "data=mvtec",
        "trainer.epochs=2",
        "trainer.optimizer={lr: 0.5}",
        "trainer.mosaic={visa: 0.1}",
        "trainer.amp=bf16",
        "clip.image_size=336",
        "seed=7",
        "validation=visa",
        "data.classes=[screw,bottle]",
    )
    assert (config.trainer.epochs, config.trainer.amp, config.trainer.seed, config.seed) == (2, "bf16", 7, 7)
    assert (config.trainer.optimizer.lr, config.trainer.optimizer.betas) == (0.5, (0.5, 0.999))
    assert config.trainer.mosaic == {"mvtec": 0.2, "visa": 0.1}
    assert config.clip.image_size == 336
    assert config.data[0].classes == ("screw", "bottle")
    assert config.validation is not None
    assert (config.validation.name, config.validation.root) == ("visa", None)


def test_several_data_sets_each_have_their_own_settings() -> None:
    config = evaluation("method=adaclip", "data=[mvtec,elpv]", "data.mvtec.root=a b", "data.elpv.uncertain=anomaly")
    first, second = config.data
    assert (first.name, first.root, first.options) == ("mvtec", Path("a b"), {"broken": "error"})
    assert (second.name, second.root, second.options) == ("elpv", None, {"uncertain": "anomaly", "broken": "error"})
    assert config.data_names == "mvtec+elpv"


def test_one_class_needs_no_brackets_and_may_look_like_a_number() -> None:
    assert evaluation("method=adaclip", "data=mvtec", "data.classes=screw").data[0].classes == ("screw",)
    assert evaluation("method=adaclip", "data=folder", "data.classes=[01,2]").data[0].classes == ("01", "2")


def test_the_data_folder_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADBENCH_DATA", raising=False)
    assert evaluation("method=adaclip", "data=mvtec").data_dir == Path("data")
    monkeypatch.setenv("ADBENCH_DATA", "/somewhere/my data")
    assert evaluation("method=adaclip", "data=mvtec").data_dir == Path("/somewhere/my data")
    assert evaluation("method=adaclip", "data=mvtec", "data_dir=~/x").data_dir == Path("~/x").expanduser()


def test_a_checkpoint_stands_between_the_files_and_the_command_line() -> None:
    words = Overrides("eval", ["method=adaclip", "data=mvtec", "method.prompting_depth=2", "clip.image_size=96"])
    restored = Layer(
        {"method": "adaclip", "clip": "ViT-B-16"},
        {
            "method": {"prompting_depth": 3, "prompting_length": 7},
            "clip": {"name": "ViT-B-16", "pretrained": "openai", "image_size": 224},
        },
    )
    config = eval_config(words, requested(words), ["mvtec"], [restored], "untrained")
    assert (config.hyperparameters["prompting_depth"], config.hyperparameters["prompting_length"]) == (2, 7)
    assert (config.clip.name, config.clip.image_size) == ("ViT-B-16", 96)


def test_the_kept_yaml_holds_what_was_resolved() -> None:
    config = train("method=adaclip", "data=mvtec", "data.root=some/where", "trainer.epochs=2")
    kept = yaml.safe_load(config.to_yaml())
    assert kept["data"] == {"mvtec": {"root": "some/where", "classes": [], "broken": "error"}}
    assert (kept["method"]["name"], kept["method"]["k_clusters"]) == ("adaclip", 20)
    assert (kept["trainer"]["epochs"], kept["trainer"]["amp"], kept["clip"]["quick_gelu"]) == (2, "off", False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=mvtec"], f"train needs a method. Add method=NAME, one of {', '.join(choices('method'))}"),
        (["method=adaclip"], "train needs data. Add data=NAME"),
        (["method=adaclop", "data=mvtec"], "unknown method 'adaclop' (method=adaclop). Did you mean 'adaclip'?"),
        (["method=adaclip", "data=mvtc"], "unknown data set 'mvtc' (data=mvtc). Did you mean 'mvtec'?"),
        (["method=adaclip", "data=[visa,mvtc]"], "Did you mean 'mvtec'?"),
        (["method=adaclip", "data=[visa,visa]"], "data set 'visa' is named twice"),
        (["method=adaclip", "data=[]"], "no data set is named"),
        (["method=[adaclip]", "data=visa"], "names no method"),
        (["method=adaclip", "data=mvtec", "clip=ViT-L-14-33"], "unknown backbone 'ViT-L-14-33'"),
        (["method=adaclip", "data=mvtec", "validation=viza"], "unknown data set 'viza' (validation=viza)"),
        (["method=adaclip", "data=mvtec", "epochs=3"], "Did you mean trainer.epochs?"),
        (["method=adaclip", "data=mvtec", "method.promting_length=3"], "Did you mean method.prompting_length?"),
        (["method=adaclip", "data=mvtec", "method.name=other"], "unknown setting 'method.name'"),
        (["method=adaclip", "data=mvtec", "data.name=other"], "unknown setting 'data.name'"),
        (["method=adaclip", "data=mvtec", "data.uncertain=drop"], "unknown setting 'data.uncertain'"),
        (["method=adaclip", "data=mvtec", "trainer.optimizer={lrr: 3}"], "Did you mean 'trainer.optimizer.lr'?"),
        (["method=adaclip", "data=mvtec", "trainer.epochs=two"], "trainer.epochs is 'two'. Give a whole number"),
        (["method=adaclip", "data=mvtec", "trainer.epochs=1.5"], "trainer.epochs is 1.5. Give a whole number"),
        (["method=adaclip", "data=mvtec", "trainer.epochs=0"], "trainer.epochs is 0. Give a number of at least 1"),
        (["method=adaclip", "data=mvtec", "trainer.epochs=true"], "trainer.epochs is True"),
        (["method=adaclip", "data=mvtec", "trainer.amp=fp61"], "Did you mean 'fp16'?"),
        (["method=adaclip", "data=mvtec", "trainer.mosaic=3"], "trainer.mosaic is 3"),
        (["method=adaclip", "data=mvtec", "trainer.mosaic={mvtec: 3}"], "trainer.mosaic.mvtec is 3. Give a number"),
        (["method=adaclip", "data=mvtec", "seed=x"], "seed is 'x'. Give a whole number"),
        (["method=adaclip", "data=mvtec", "clip.quick_gelu=2"], "clip.quick_gelu is 2. Give true or false"),
        (["method=adaclip", "data=[mvtec,visa]", "data.root=x"], "Write data.mvtec.root="),
        (["method=adaclip", "data=[mvtec,elpv]", "data.uncertain=drop"], "Write data.elpv.uncertain="),
        (["method=adaclip", "data=[mvtec,visa]", "data.elpv.root=x"], "Did you mean data.visa.root?"),
        (["method=adaclip", "data=mvtec", "eval.protocol=exact"], "unknown setting 'eval.protocol'"),
    ],
)
def test_bad_settings_are_named(words: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        train(*words)
    assert message in str(caught.value)


def test_eval_does_not_take_settings_of_training() -> None:
    with pytest.raises(UserError, match=r"unknown setting 'trainer\.epochs'"):
        evaluation("method=adaclip", "data=mvtec", "trainer.epochs=3")


def test_a_yaml_file_that_was_edited_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(configs_dir(), tmp_path / "configs")
    monkeypatch.setattr(layers, "configs_dir", lambda: folder)
    words = ("method=anomalyclip", "data=mvtec")
    before = train(*words)
    file = folder / "method" / "anomalyclip.yaml"
    file.write_text(
        file.read_text().replace(f"epochs: {before.trainer.epochs}", f"epochs: {before.trainer.epochs + 1}")
    )
    assert train(*words).trainer.epochs == before.trainer.epochs + 1


def test_what_is_done_to_settings_reaches_no_others() -> None:
    given = [Layer(choices={"method": "adaclip"})]
    first = layers.settle("train", given, ["mvtec"])
    expected = copy.deepcopy(first)
    first["trainer"]["optimizer"]["lr"] = 17.0
    first["method"].clear()
    assert layers.settle("train", given, ["mvtec"]) == expected
