"""`adbench support`: write the support sets that `eval` would draw as a file that anybody can read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adbench.cli.override_parser import choices
from adbench.cli.overrides import Overrides
from adbench.errors import UserError, unknown

SUMMARY = "write the support sets of a data set to a file"

HELP = """\
usage  python -m adbench support data=NAME support.k=1,2,4 [support.seed=S] [key=value ...] [out=FILE]

Writes the normal training images that `eval` takes as support, by relative path:
  {"version": 1, "dataset": NAME, "classes": {CLASS: {"K": [paths]}}}
With such a file (support=file support.path=FILE) a run can be repeated whatever draws the sets.

  data=NAME                 or --dataset NAME              data_dir=DIR        or --data-dir DIR
  data.root=DIR             or --root DIR                  data.classes=[a,b]  or --classes a,b
  support.k=1,2,4           or --k 1,2,4                   support=SOURCE      or --source SOURCE
  support.seed=S            or --seed S                    support.path=PATH   or --path PATH
  out=FILE                  or --out FILE; without it the list is printed. Several seeds: {seed} in its name

examples
  python -m adbench support data=mvtec support.k=1,2,4 support.seed=0 out=mvtec_seed0.json
  python -m adbench support --dataset visa --k 4 --source promptad --out visa_promptad.json
"""

_OPTIONS = {
    "--dataset": "data",
    "--data-dir": "data_dir",
    "--root": "data.root",
    "--classes": "data.classes",
    "--k": "support.k",
    "--seed": "support.seed",
    "--source": "support",
    "--path": "support.path",
    "--out": "out",
}


def run(argv: Sequence[str]) -> int:
    """Run `adbench support` with these words."""
    from adbench.cli import components
    from adbench.cli.config import data_config, support_settings
    from adbench.data.support import draw_supports
    from adbench.engine.progress import make_reporter

    overrides = Overrides("support", _as_settings(argv))
    overrides.only("data", "data_dir", "data.*", "support", "support.k", "support.seed", "support.path", "out")
    if "support.k" not in overrides:
        raise UserError("support needs the number of images per class", hint="add support.k=1,2,4")
    if not overrides.data:
        raise UserError("support needs data", hint=f"add data=NAME, one of {', '.join(choices('data'))}")
    data = data_config(overrides, overrides.data[0])
    asked = {key: overrides.get(f"support.{key}", default) for key, default in (("k", 0), ("seed", 0), ("path", None))}
    settings = support_settings({"source": overrides.get("support", "seeded"), **asked})
    opened = components.open_data(data, overrides.data_dir, make_reporter())
    supports = draw_supports(settings, opened.pools, dataset=opened.facts.part_of or opened.name)
    for seed in dict.fromkeys(seed for _, seed in supports):
        of_seed = {k: sets for (k, drawn_seed), sets in supports.items() if drawn_seed == seed}
        text = json.dumps(_file(opened.name, settings.source, seed, of_seed), indent=1, ensure_ascii=False)
        _write(text, overrides.get("out"), seed, several=len({drawn_seed for _, drawn_seed in supports}) > 1)
    return 0


def _as_settings(argv: Sequence[str]) -> list[str]:
    """Options such as --k 1,2 as key=value."""
    overrides, rest = [], list(argv)
    while rest:
        word = rest.pop(0)
        option, equals, value = word.partition("=")
        if option not in _OPTIONS:
            if word.startswith("--"):
                raise unknown("option", option, _OPTIONS, where="support")
            overrides.append(word)
            continue
        if not equals and not rest:
            raise UserError(f"{option} lacks its value", where="support", hint=f"write {option} VALUE")
        value = value if equals else rest.pop(0)
        listed = option == "--classes" and not value.startswith("[")
        overrides.append(f"{_OPTIONS[option]}={f'[{value}]' if listed else value}")
    return overrides


def _file(dataset: str, source: str, seed: int | None, sets: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    classes: dict[str, dict[str, list[str]]] = {}
    for k, by_class in sets.items():
        for name, support_set in by_class.items():
            classes.setdefault(name, {})[str(k)] = list(support_set.names)
    return {"version": 1, "dataset": dataset, "source": source, "seed": seed, "classes": classes}


def _write(text: str, out: Any, seed: int | None, *, several: bool) -> None:
    if out is None:
        print(text)
        return
    if several and "{seed}" not in str(out):
        raise UserError(
            "a file holds the sets of one seed, and there are several",
            where=f"out={out}",
            hint="write {seed} into its name",
        )
    from adbench.atomic import write_text

    path = Path(str(out).replace("{seed}", str(seed))).expanduser()
    write_text(path, text + "\n")
    print(path)
