"""Words of a command line become settings, or one line that says what is wrong with them."""

from __future__ import annotations

import pytest

from adbench.cli.config import train_config
from adbench.cli.override_parser import choices, parse
from adbench.cli.overrides import Overrides, unknown_setting
from adbench.errors import UserError
from adbench.shipped import configs_dir
from adbench.typed import read

AWKWARD_PATHS = [
    "~/my data (v2)",
    "it's",
    "a=b,c",
    "C:\\data\\",
    "x\\'y",
    "[1]",
    "é/ü",
    "12",
    "${HOME}x".replace("$", ""),
]


@pytest.mark.parametrize("path", AWKWARD_PATHS)
@pytest.mark.parametrize("key", ["data.root", "data_dir", "out", "checkpoint", "clip.checkpoint", "data.mvtec.root"])
def test_paths_are_taken_as_typed(key: str, path: str) -> None:
    (setting,) = parse([f"{key}={path}"], "train")
    assert (setting.key, setting.value, setting.word) == (key, path, f"{key}={path}")


def test_values_are_read_in_hydras_grammar() -> None:
    words = ["data=[mvtec,visa]", "seed=3", "trainer.optimizer={lr: 1e-3}", "method.use_hsf=false", "clip=ViT-B-16"]
    assert [read(setting.value) for setting in parse(words, "train")] == [
        ["mvtec", "visa"],
        3,
        {"lr": 1e-3},
        False,
        "ViT-B-16",
    ]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("epochs", "'epochs' is not a setting"),
        ("=3", "'=3' is not a setting"),
        ("a b=1", "is not a setting"),
        ("--shwo", "did you mean '--show'"),
        ("seed=1,2", "asks for several runs at once"),
        ("trainer.optimizer={lr: 1", "cannot read the setting"),
    ],
)
def test_what_cannot_be_read(word: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(parse([word], "train")[0].value)
    assert message.lower() in str(caught.value).lower()


def test_a_key_is_given_once() -> None:
    with pytest.raises(UserError, match="seed is given twice"):
        parse(["seed=1", "seed=2"], "train")


def test_the_nearest_key_is_found_by_its_last_part() -> None:
    known = ["trainer.epochs", "trainer.batch_size", "seed"]
    assert "did you mean trainer.epochs?" in str(unknown_setting("epoch=2", "epoch", known, "train")).lower()
    assert "did you mean trainer.batch_size?" in str(unknown_setting("t", "trainer.batchsize", known, "train")).lower()


def test_the_configuration_files_are_found() -> None:
    assert (configs_dir() / "train.yaml").is_file()
    assert "adaclip" in choices("method")


def mosaics(*words: str) -> object:
    return train_config(Overrides("train", ["method=adaclip", "data=mvtec", *words])).trainer.mosaic


def test_keys_of_a_mapping_are_added_set_and_deleted() -> None:
    assert mosaics() == {"mvtec": 0.2}
    assert mosaics("~trainer.mosaic.mvtec") == {}
    assert mosaics("+trainer.mosaic.visa=0.5") == {"mvtec": 0.2, "visa": 0.5}
    assert mosaics("++trainer.mosaic.mvtec=0.5") == {"mvtec": 0.5}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("+trainer.mosaic.mvtec=0.5", "trainer.mosaic.mvtec is there already"),
        ("~trainer.epochs", "trainer.epochs cannot be deleted"),
        ("~trainer.mosaic.vis", "unknown setting 'trainer.mosaic.vis'"),
        ("trainer.mosaic.visa=0.5", "unknown setting 'trainer.mosaic.visa'"),
    ],
)
def test_what_cannot_be_added_or_deleted(word: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        mosaics(word)
    assert message in str(caught.value)
