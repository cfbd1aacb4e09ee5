"""The config.yaml of a run is input too: `rerun=FILE.yaml`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from adbench.cli.config import Config, train_config
from adbench.cli.main import main
from adbench.cli.override_parser import choices
from adbench.cli.overrides import Overrides
from adbench.cli.plan import preview
from adbench.errors import UserError


def settings(command: str, *words: str) -> Config:
    read = Overrides(command, words)
    return train_config(read) if command == "train" else preview(read)


def saved(tmp_path: Path, command: str, *words: str) -> str:
    file = tmp_path / "config.yaml"
    file.write_text(settings(command, *words).to_yaml())
    return f"rerun={file}"


@pytest.mark.parametrize("method", choices("method"))
@pytest.mark.parametrize("command", ["train", "eval"])
def test_the_settings_of_every_method_come_back(tmp_path: Path, command: str, method: str) -> None:
    words = [f"method={method}", "data=[mvtec,folder]", "seed=7", "data.folder.classes=[01,b]", "clip.image_size=96"]
    given = settings(command, *words)
    assert settings(command, saved(tmp_path, command, *words)).to_yaml() == given.to_yaml()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train", ["method=adaclip", "data=visa", "trainer.mosaic={visa: 0.5}", "trainer.optimizer.lr=0.5"]),
        ("train", ["method=adaclip", "data=mvtec", "~trainer.mosaic.mvtec", "validation=visa"]),
        ("train", ["method=aaclip", "data=visa", "trainer.stages.text.epochs=9", "support.k=2"]),
        ("eval", ["method=winclip", "data=mvtec", "support=promptad", "support.k=1,2", "eval.metrics=image_fpr95"]),
        ("eval", ["method=winclip", "benchmark=fewshot", "eval.aupro_limit=0.3,0.05"]),
        ("eval", ["method=adaclip", "benchmark=zeroshot14", "data=[mvtec,btad]", "checkpoint={mvtec: a, default: b}"]),
    ],
)
def test_what_was_set_comes_back(tmp_path: Path, command: str, words: list[str]) -> None:
    assert settings(command, saved(tmp_path, command, *words)) == settings(command, *words)


def test_further_words_win(tmp_path: Path) -> None:
    words = ["method=adaclip", "data=mvtec", "data.root=there", "trainer.optimizer.lr=0.5", "seed=7"]
    file = saved(tmp_path, "train", *words, "out=finished", "method.k_clusters=3")
    again = settings("train", file, "trainer.optimizer.lr=0.25", "data.root=here", "clip=ViT-B-16")
    assert isinstance(again, type(settings("train", *words)))
    assert again.trainer.optimizer.lr == 0.25  # type: ignore[attr-defined]
    assert (again.data[0].root, again.clip.name, again.clip.image_size) == (Path("here"), "ViT-B-16", 518)
    assert (again.seed, again.hyperparameters["k_clusters"], again.out) == (7, 3, None)
    assert settings("train", file, "data=visa").data[0].root is None
    assert settings("train", file, "data=[visa,mvtec]").data[1].root == Path("there")
    other = settings("train", file, "method=anomalyclip")
    assert other.hyperparameters == settings("train", "method=anomalyclip", "data=mvtec").hyperparameters


@pytest.mark.parametrize(
    ("command", "content", "message"),
    [
        ("train", {"parts": []}, "settings for several checkpoints"),
        ("eval", {"trainer": {}, "data": {"mvtec": {}}}, "are not settings of eval"),
        ("train", {"eval": {}, "data": {"mvtec": {}}}, "are not settings of train"),
        ("eval", {"method": {"name": "winclip"}, "data": {"mvtec": None}}, "data.mvtec is None"),
        ("eval", {"method": {"name": "winclip", "x": 1}, "data": {"mvtec": {}}}, "unknown setting 'method.x' (rerun="),
        ("eval", {"method": {"name": "winclip"}, "data": {"mvtec": {}}, "seeed": 1}, "Did you mean seed?"),
        ("eval", {"method": {"name": "winclop"}, "data": {"mvtec": {}}}, "eval needs a method"),
        (
            "eval",
            {"method": {"name": "winclip"}, "data": {"mvtec": {}}, "seed": "x"},
            "seed is 'x'. Give a whole number",
        ),
        ("eval", {"method": {"name": "winclip"}, "data": {"mvtek": {}}}, "unknown data set 'mvtek' (rerun="),
    ],
)
def test_what_is_no_config_of_the_command(tmp_path: Path, command: str, content: object, message: str) -> None:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UserError) as caught:
        settings(command, f"rerun={tmp_path / 'c.yaml'}")
    assert message in str(caught.value)


def test_a_run_by_its_file_is_what_the_file_says(tmp_path: Path, capsys: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path, "eval", "method=winclip", "data=folder", "eval.heat_maps=3")
    assert main(["eval", file, "--show"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == yaml.safe_load((tmp_path / "config.yaml").read_text())  # type: ignore[attr-defined]
