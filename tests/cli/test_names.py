"""Names in settings are taken as they were typed, or the advice in the error works when it is pasted into a shell."""

from __future__ import annotations

import re
import shlex

import pytest

from adbench.cli.config import TrainConfig, train_config
from adbench.cli.override_parser import parse
from adbench.cli.overrides import Overrides
from adbench.errors import UserError

# fmt: off
NAMES = [
    "4711", "2021_01_02", "1e3", "true", "007", "1.0", "1_000", "0x10", "-1", "nan", "NULL", "None", "no", "off",
    "电路板", "metal part (v2)", "C#", "a=b", "it's", '5" disk', '"A" part', "'a' and 'b'", "$HOME", "100%", "😀",
    "bolt (m3)", "{x}", "{x", "a[1]", "~x", "str(4711)", "int(3)", "choice(a)", "range(3)", "${oc.env:HOME}",
    "a\\b", "a:b", "a;b", "&", "<x>", "*", "?", "!", "@file", "a\tb", "\\", '"', "'",
]
# fmt: on
WITH_COMMAS = ["a,b", "true,false", "a b,c"]


def train(*words: str) -> TrainConfig:
    return train_config(Overrides("train", ["method=anomalyclip", "data=folder", *words]))


def pasted(error: UserError) -> list[str]:
    """The words that the advice in an error comes to in a shell, those that set something."""
    advice = str(error)[str(error).index(". ") :]
    advice = advice[min(place.start() for place in re.finditer(r"'?(data|method)\.", advice)) :]
    return [word.rstrip(",") for word in shlex.split(advice) if "=" in word]


@pytest.mark.parametrize("name", [*NAMES, "[x", "[x]", " x", "x "])
def test_text_is_taken_as_typed(name: str) -> None:
    config = train(
        *(f"{key}={name}" for key in ("data.class_name", "trainer.init_from")),
        *(f"{key}={name}/y" for key in ("out", "data.root", "trainer.cache_dir")),
    )
    assert config.data[0].options["class_name"] == name
    assert config.trainer.init_from == name
    assert str(config.out) == str(config.data[0].root) == config.trainer.cache_dir == f"{name}/y"


@pytest.mark.parametrize("name", [*NAMES, "null"])
def test_a_hyperparameter_is_no_name_where_it_reads_as_something_else(name: str) -> None:
    numbers = ("4711", "2021_01_02", "1e3", "true", "1.0", "1_000", "-1", "nan", "NULL", "int(3)", "null")
    if name not in numbers:
        assert train(f"method.object_word={name}").hyperparameters["object_word"] == name
        return
    with pytest.raises(UserError, match=re.escape(f"method.object_word is {name}. Give a word")) as caught:
        train(f"method.object_word={name}")
    assert train(*pasted(caught.value)).hyperparameters["object_word"] == name


@pytest.mark.parametrize("name", NAMES)
def test_so_it_is_in_lists(name: str) -> None:
    assert train(f"data.classes={name}").data[0].classes == (name,)
    if name in ('"', "'", "{x"):  # begins what is not closed
        with pytest.raises(UserError, match="cannot read the setting"):
            train(f"data.classes=[zz,{name}]")
        return
    config = train(f"data.classes=[zz, {name}, y]", f"data.normal_dir=[{name},zz]", f"data.mask_dir={name}")
    assert config.data[0].classes == ("zz", name, "y")
    assert config.data[0].options["normal_dir"] == [name, "zz"]
    assert config.data[0].options["mask_dir"] == name


@pytest.mark.parametrize("name", [*NAMES, *WITH_COMMAS, "null", "[x]", "[x", " x"])
def test_quotes_make_anything_a_name(name: str) -> None:
    quoted = "'" + re.sub(r"(\\*)(')", r"\1\1\\\2", re.sub(r"(\\+)$", r"\1\1", name)) + "'"
    config = train(f"data.class_name={quoted}", f"data.classes=[{quoted},x]")
    assert config.data[0].options["class_name"] == name
    assert config.data[0].classes == (name, "x")


@pytest.mark.parametrize("name", WITH_COMMAS)
def test_the_advice_about_commas_works_in_a_shell(name: str) -> None:
    with pytest.raises(UserError, match="asks for several runs") as caught:
        train(f"data.classes={name}")
    several, single = pasted(caught.value)
    assert train(several).data[0].classes == tuple(part.strip() for part in name.split(","))
    assert train(single).data[0].classes == (name,)


@pytest.mark.parametrize("word", ["data.classes=[a", "data.classes=['a", "data.classes=[a,'b]", "data.classes=[a,{b]"])
def test_a_list_that_is_not_closed_is_no_name(word: str) -> None:
    with pytest.raises(UserError, match="cannot read the setting") as caught:
        train(word)
    assert train(*pasted(caught.value)).data[0].classes == ("A", "B")


def test_null_is_nothing_where_nothing_may_be() -> None:
    config = train("data.class_name=null", "data.classes=null", "out=null", "method.prompt_suffix=null")
    assert (config.data[0].options["class_name"], config.data[0].classes, config.out) == (None, (), None)
    assert config.hyperparameters["prompt_suffix"] is None
    assert train("data.classes=[null]").data[0].classes == ("null",)


@pytest.mark.parametrize("path", ["4711", "C#", "a b/c (v2)", "it's", "x: y", "'a,b'", "电路板"])
def test_checkpoints_by_data_set_are_paths_as_typed(path: str) -> None:
    (override,) = parse([f"checkpoint={{visa: {path}, default: b}}"], "eval")
    assert override.value == {"visa": path.strip("'") if "," in path else path, "default": "b"}


@pytest.mark.parametrize("text", ["{visa: a, visa: b}", "{visa: , default: b}", "{visa: 'a, default: b}", "{a:b}"])
def test_checkpoints_that_cannot_be_told_apart_are_an_error(text: str) -> None:
    with pytest.raises(UserError, match="blanks behind the colons"):
        parse([f"checkpoint={text}"], "eval")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trainer.epochs=(3", "cannot read the setting"),
        ("trainer.epochs=2,3", "add -m for a run each"),
        ("trainer.epochs=range(3)", "asks for several runs"),
        ("trainer.optimizer={lr: 1", "cannot read the setting"),
        ("method.temperature=hot", "method.temperature is 'hot'"),
        ("method.deep_token_half_cast=no", "method.deep_token_half_cast is 'no'"),
        ("method.features_list=3", "method.features_list is 3"),
        ("data.exif=off", "data.exif is 'off'"),
        ("support.k=[1,x]", "support.k is 'x'"),
    ],
)
def test_where_no_name_is_wanted_there_is_an_error(word: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        train(word)
    assert message.lower() in str(caught.value).lower()
