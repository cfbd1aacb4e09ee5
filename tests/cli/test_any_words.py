"""Whatever words follow a command: settings that say what was typed, or one line."""

from __future__ import annotations

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from adbench.cli.config import train_config
from adbench.cli.overrides import Overrides
from adbench.cli.plan import preview
from adbench.errors import UserError

READ = {
    "train": lambda words: train_config(Overrides("train", words)),
    "eval": lambda words: preview(Overrides("eval", words)),
}
METHODS = st.sampled_from(["adaclip", "anomalyclip", "promptad", "median_colour"])
KEYS = st.sampled_from(
    [
        *("method", "data", "clip", "seed", "out", "data_dir", "checkpoint", "clip.image_size"),
        *("clip.checkpoint", "clip.pretrained", "data.root", "data.classes", "data.exif", "data.bits"),
        *("method.use_hsf", "method.k_clusters", "method.temperature", "method.gaussian_sigma"),
        *("method.scales", "method.prompting_depth", "method.variant", "trainer.epochs"),
        *("trainer.batch_size", "trainer.amp", "trainer.optimizer", "trainer.optimizer.lr", "trainer.mosaic"),
        *("eval.protocol", "eval.batch_size", "support", "support.k", "support.seed"),
    ]
)
# What a shell hands over: numbers and what looks like them, Hydra's signs, other scripts, control characters.
SIGNS = st.text(st.sampled_from("ab01.-+~,:=[]{}()'\"\\$#%&*!?@/ \t\n_é木☃\0"), max_size=8)
VALUES = st.one_of(
    SIGNS,
    st.text(max_size=6),
    st.sampled_from(
        [
            "1",
            "0",
            "-1",
            "1e3",
            "1.5",
            "nan",
            "inf",
            "-inf",
            "1_000",
            "0x10",
            "010",
            "1e999",
            "true",
            "no",
            "null",
            "None",
            "[]",
            "{}",
            "[1]",
            "[1,a]",
            "{a:1}",
            "''",
            "'''",
            "$",
        ]
    ),
    st.integers().map(str),
    st.floats().map(str),
)


def outcome(command, words):
    """The settings, or the line that refuses the words."""
    try:
        return READ[command](words)
    except UserError as error:
        return str(error)


@settings(max_examples=15)  # a YAML tree is composed for each
@given(st.sampled_from([*READ]), METHODS, st.lists(st.tuples(KEYS, VALUES), max_size=2))
def test_any_values_give_settings_or_one_line(command, method, pairs):
    words = [f"{key}={value}" for key, value in pairs]
    words += [word for word in (f"method={method}", "data=folder") if word.split("=")[0] not in dict(pairs)]
    found = outcome(command, words)
    if isinstance(found, str):
        assert found.strip()
        assert "\n" not in found
        return
    kept, typed = yaml.safe_load(found.to_yaml()), dict(pairs)
    assert kept["method"]["name"] == method if isinstance(kept["method"], dict) else kept["method"] == method
    if "seed" in typed:
        assert kept["seed"] == int(typed["seed"])
    for key, kind in (("clip.image_size", int), ("clip.pretrained", str)):
        assert typed.get(key) is None or isinstance(kept["clip"][key.partition(".")[2]], (kind, type(None)))


@given(st.sampled_from([*READ]), st.lists(st.text(max_size=10), max_size=3))
def test_any_words_are_settings_or_one_line(command, words):
    found = outcome(command, ["method=adaclip", "data=folder", *words])
    assert not isinstance(found, str) or (found.strip() and "\n" not in found)


# What a folder may be called, but for what makes lists, maps and quotes and for null, which is none.
CLASS_NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="/,[]{}\"'"), min_size=1, max_size=8
).filter(lambda name: name.lower() != "null")


@settings(max_examples=10)
@given(CLASS_NAMES)
def test_a_class_name_is_taken_as_typed_or_refused(name):
    found = outcome("eval", ["method=median_colour", "data=folder", f"data.classes={name}"])
    if isinstance(found, str):
        assert "\n" not in found
    else:
        assert found.data[0].classes == (name,)
