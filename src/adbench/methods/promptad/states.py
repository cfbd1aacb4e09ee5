"""The manual anomaly suffixes of PromptAD: what may be wrong with an object. The words are in states.yaml."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

from adbench.structured import read_yaml

Source = Literal["auto", "own", "generic"]


@cache
def _words() -> dict[str, Any]:
    return read_yaml(Path(__file__).with_name("states.yaml"))


def noun(class_name: str) -> str:
    """What a prompt calls the class."""
    name: str = _words()["nouns"].get(class_name, " ".join(class_name.replace("_", " ").split()))
    return name


def templates_of(class_name: str, dataset: str, source: Source = "auto") -> list[str]:
    """Templates of anomalous states, `{}` standing for the noun: the generic ones, then the class's own.

    source  "auto": own ones for the classes of the data sets mvtec and visa; "own": for a class of such a name in any
            data set; "generic": none
    """
    by_dataset = _words()["classes"]
    tables = {"auto": [by_dataset.get(dataset, {})], "own": list(by_dataset.values()), "generic": []}[source]
    suffixes = next((table[class_name] for table in tables if class_name in table), ())
    return [*_words()["generic"], *(words if "{}" in words else f"{{}} with {words}" for words in suffixes)]


def after_noun(template: str) -> str:
    """The template with all its words behind the noun: "damaged {}" -> "{} damaged"."""
    before, _, after = template.partition("{}")
    return f"{{}} {before.strip()}{after}" if before.strip() else template
