"""File names made of other names: unique, bounded, portable, and plain names as they are."""

from __future__ import annotations

import re
import unicodedata

import pytest

from adbench.engine.names import MAX_BYTES, file_name, file_names

PLAIN = ["screw", "PA_ZPB01_RL", "metal nut", "2021-01", "v1.5", "x_y", "图案", "k=10,seed=1"]
ODD = [
    *(
        "x/y",
        "..",
        ".",
        "",
        " ",
        "a ",
        "a.",
        ".hidden",
        "-rf",
        "a\\b",
        "a:b",
        "a\nb",
        "a\x00b",
        "a\x1b[31mb",
        "a\u202eb",
    ),
    *("con", "NUL", "com1.x", "lpt9", "a.png", "x_y-0123abcd", "n" * 300, "图" * 90, "e\u0301", "a\udcffb", "a?b"),
]


@pytest.mark.parametrize("text", PLAIN)
def test_plain_names_stay(text):
    assert file_name(text) == text


@pytest.mark.parametrize("text", ODD)
def test_odd_names_become_portable_ones(text):
    name = file_name(text)

    assert name != text
    assert len(name.encode()) <= MAX_BYTES
    assert re.fullmatch(r".+-[0-9a-f]{8}", name)
    assert not re.search(r'[<>:"/\\|?*\x00-\x1f]', name)
    assert name[0] not in ".- "
    assert name == unicodedata.normalize("NFC", name)


def test_different_names_stay_different():
    texts = [*PLAIN, *ODD, *map(file_name, ODD), "n" * 299, "x:y", "\u00e9"]
    names = file_names(texts)

    assert len(set(names.values())) == len(set(texts))


def test_names_that_differ_in_case_alone_are_kept_apart_on_every_disk():
    names = file_names(["cable", "Cable", "CABLE"])

    assert names["cable"] == "cable"
    assert len({name.casefold() for name in names.values()}) == 3
