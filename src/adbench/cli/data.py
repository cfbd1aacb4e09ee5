"""`adbench data`: which data sets there are, whether a copy is whole, and what it looks like."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench.cli.console import print_table
from adbench.cli.grammar import parse, unknown_setting
from adbench.errors import UserError, unknown

if TYPE_CHECKING:
    from adbench.data.catalogue import DatasetSpec, Progress
    from adbench.data.check import Checked

SUMMARY = "list the data sets, check a copy for faults, show it as a picture"

HELP = """\
usage  python -m adbench data list [data_dir=DIR]
       python -m adbench data check NAME [NAME ...] [data_dir=DIR] [key=value ...]
       python -m adbench data show NAME [out=FILE.png] [images=N] [data_dir=DIR] [key=value ...]

  list    every data set: domain, classes, images as published, masks, licence, and where it was found
  check   compares numbers of images with the published ones, and finds missing images and masks, files that cannot be
          read or were cut short, masks of another size than their image, and identical images; one line per problem
          with its mend. Exit status 0: none found, 1: problems, 2: the data set is not there
  show    a contact sheet: per class normal and anomalous images with their masks drawn in

  data_dir=DIR              where data sets lie (./data, or $ADBENCH_DATA); one set lies in data_dir/NAME
  data.root=DIR             the folder of this one set            data.classes='[a,b]'      a part of the classes
  data.OPTION=VALUE         the set's own options (datasets.md)
  decode=true               check: read every pixel, not headers and ends of files alone; finds damage in their middle
  images=3                  show: of each class and kind          out=FILE.png              instead of NAME.png

examples
  python -m adbench data list data_dir=/data
  python -m adbench data check mvtec data_dir=/data
  python -m adbench data show visa data_dir=/data out=visa.png
"""

_OWN = ("root", "classes")
_KEYS = {"list": ("data_dir",), "check": ("data_dir", "decode"), "show": ("data_dir", "out", "images")}


@dataclass(frozen=True)
class _Asked:
    """The words of one of the actions: names of data sets, and settings by key."""

    names: list[str]
    given: dict[str, Any]

    @property
    def data_dir(self) -> Path:
        """Where data sets lie."""
        return Path(str(self.given.get("data_dir") or os.environ.get("ADBENCH_DATA", "data"))).expanduser()

    @property
    def root(self) -> Path | None:
        """The folder of the one set, where it is given."""
        root = self.given.get("data.root")
        return None if root is None else Path(str(root)).expanduser()

    @property
    def classes(self) -> list[str] | None:
        """The classes asked for, None for all."""
        value = self.given.get("data.classes") or []
        return [str(name) for name in (value if isinstance(value, list) else [value])] or None

    @property
    def options(self) -> dict[str, Any]:
        """The set's own options."""
        own = {key.removeprefix("data."): value for key, value in self.given.items() if key.startswith("data.")}
        return {key: value for key, value in own.items() if key not in _OWN}


def run(argv: Sequence[str]) -> int:
    """Run `adbench data` with these words."""
    actions: dict[str, Callable[[_Asked], int]] = {"list": _list, "check": _check, "show": _show}
    if not argv:
        print(HELP, end="")
        return 0
    action, *words = argv
    if action not in actions:
        raise unknown("action", action, actions, where="data")
    return actions[action](_asked(action, words))


def whereabouts(spec: DatasetSpec, data_dir: Path) -> tuple[bool, str]:
    """Whether the set can be used without giving its folder, and where it is, or what to do."""
    from adbench.data.tree import is_occupied

    root = spec.default_root(data_dir)
    if spec.bundled is not None:
        return True, "ships with adbench"
    if is_occupied(root):
        return True, str(root)
    if spec.domain == "any":
        return False, "data.root=DIR"
    if spec.prepare_root is not None:
        return True, "rendered on first use"
    return False, f"{root} is empty" if root.is_dir() else f"not in {data_dir}"


def has_masks(spec: DatasetSpec) -> bool:
    """Whether the set says which pixels are anomalous."""
    return "localisation" in spec.task or spec.metric_set == "road"


def _asked(action: str, words: Sequence[str]) -> _Asked:
    from adbench.data import catalogue

    names = [word for word in words if "=" not in word and not word.startswith("-")]
    given = {setting.key: setting.value for setting in parse([w for w in words if w not in names], f"data {action}")}
    named = given.pop("data", [])
    names += [str(name) for name in (named if isinstance(named, list) else [named])]
    for key in given:
        if key not in _KEYS[action] and not (key.startswith("data.") and action != "list"):
            known = [*_KEYS[action], "data.root", "data.classes"] if action != "list" else _KEYS[action]
            raise unknown_setting(key, key, known, f"data {action}")
    if action == "list":
        if names:
            raise UserError("data list takes no names", where=" ".join(names), mend=f"try: data check {names[0]}")
        return _Asked([], given)
    if not names:
        raise UserError(f"data {action} needs a data set", mend=f"name one: {', '.join(catalogue.names())}")
    for name in names:
        catalogue.get(name)
    if len(names) > 1 and (action == "show" or any(key.startswith("data.") for key in given)):
        raise UserError(f"{len(names)} data sets are named", where=" ".join(names), mend="name one")
    return _Asked(names, given)


def _list(asked: _Asked) -> int:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from adbench.data import catalogue

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for header in ("data", "what it is", "domain", "classes", "images", "masks", "licence", "where"):
        table.add_column(header, justify="right" if header in ("classes", "images") else "left")
    for name in catalogue.names():
        spec = catalogue.get(name)
        here, where = whereabouts(spec, asked.data_dir)
        n_images = spec.n_published
        cells = [spec.title, spec.domain, str(len(spec.classes) or "any"), f"{n_images:,}" if n_images else ""]
        cells += ["yes" if has_masks(spec) else "no", spec.licence]
        table.add_row(name, *map(Text, cells), Text(where, style="green" if here else "dim"))
    print_table(table, width=400)  # one line per data set, for grep and the like
    return 0


def _check(asked: _Asked) -> int:
    decode = asked.given.get("decode", False)
    if not isinstance(decode, bool):
        raise UserError(f"decode is {decode!r}", where="data check", mend="give true or false")
    return max([_check_one(asked, name, decode) for name in asked.names])


def _check_one(asked: _Asked, name: str, decode: bool) -> int:
    from adbench.data import catalogue
    from adbench.data.check import check_dataset

    spec = catalogue.get(name)
    with _progress(f"render {name}") as progress:
        root = catalogue.find_root(spec, root=asked.root, data_dir=asked.data_dir, progress=progress)
    start = time.monotonic()
    with _progress(f"check {name}") as progress:
        checked = check_dataset(
            spec, root, classes=asked.classes, options=asked.options, decode=decode, progress=progress
        )
    seconds = time.monotonic() - start
    _print_counts(spec, checked, root)
    for problem in checked.problems:
        print(f"{name}: {problem}")
    how = "every pixel read" if decode else "headers and ends of files read; decode=true reads every pixel"
    print(f"{len(checked.samples)} images in {seconds:.1f} s ({how})")
    print(f"fingerprint {checked.fingerprint or 'n/a: files are missing'}")
    print(f"{name}: {len(checked.problems) or 'no'} problem{'' if len(checked.problems) == 1 else 's'}")
    return 1 if checked.problems else 0


def _print_counts(spec: DatasetSpec, checked: Checked, root: Path) -> None:
    """Numbers of images, found and published, by class and split."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    found = spec.counts(checked.samples)
    print(f"{spec.name} in {root}: images found / published")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    parts = {"train": "train", "normal": "test, normal", "anomalous": "test, anomalous", "mapped": "label maps"}
    shown = [
        part
        for part in parts
        if part != "mapped" or any(counts.mapped for counts in [*found.values(), *spec.expected.values()])
    ]
    for header in ("class", *(parts[part] for part in shown)):
        table.add_column(header, justify="left" if header == "class" else "right")
    for name, counts in found.items():
        published = spec.expected.get(name)
        cells = []
        for part in shown:
            n, expected = getattr(counts, part), getattr(published, part, None)
            cells.append(
                Text(f"{n} / {'?' if expected is None else expected}", style="" if expected in (None, n) else "red")
            )
        table.add_row(Text(name), *cells)
    print_table(table)


def _show(asked: _Asked) -> int:
    from adbench.atomic import replacing
    from adbench.data import catalogue
    from adbench.report.contact_sheet import contact_sheet

    (name,) = asked.names
    count = asked.given.get("images", 3)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise UserError(f"images is {count!r}", where="data show", mend="give a whole number of at least 1")
    out = Path(str(asked.given.get("out", f"{name}.png"))).expanduser()
    if out.suffix.lower() != ".png":
        raise UserError("the picture is a PNG", where=f"out={out}", mend=f"write out={out.with_suffix('.png')}")
    with _progress(f"render {name}") as progress:
        spec, samples = catalogue.open_dataset(
            name,
            root=asked.root,
            data_dir=asked.data_dir,
            classes=asked.classes,
            options=asked.options,
            progress=progress,
        )
    classes = list(dict.fromkeys(sample.class_name for sample in samples))
    sheet = contact_sheet(samples, classes, title=f"{name}: {spec.title}", per_kind=count)
    with replacing(out) as temporary:
        sheet.save(temporary, format="PNG")
    print(out)
    return 0


@contextlib.contextmanager
def _progress(label: str) -> Iterator[Progress]:
    """Progress on standard error; nothing before the first step is done."""
    from adbench.engine.progress import make_reporter

    with contextlib.ExitStack() as stack:
        advance: Callable[[int, dict[str, float]], None] | None = None
        last = 0

        def progress(done: int, total: int) -> None:
            nonlocal advance, last
            if advance is None:
                advance = stack.enter_context(make_reporter().track(label, total))
            advance(done - last, {})
            last = done

        yield progress
