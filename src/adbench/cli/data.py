"""`adbench data`: which data sets there are, whether a copy is whole, and what it looks like."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adbench.cli.console import print_lines
from adbench.cli.override_parser import choices, entry_name
from adbench.cli.overrides import Overrides, check_choice
from adbench.errors import UserError, unknown

if TYPE_CHECKING:
    from adbench.cli.config import DataConfig
    from adbench.data.catalogue import DatasetSpec, Progress
    from adbench.data.check import Checked

SUMMARY = "list the data sets, check a copy for faults, show it as a picture"

HELP = """\
usage  python -m adbench data list [NAME ...] [-v] [data_dir=DIR]
       python -m adbench data check NAME [NAME ...] [data_dir=DIR] [key=value ...]
       python -m adbench data show NAME [out=FILE.png] [images=N] [data_dir=DIR] [key=value ...]

  list    every data set: domain, and whether it was found; of those that are named all that is known: classes, images
          as published, masks, licence, source, how to get it, its quirks; -v: a long line of each, for grep and
          the like
  check   compares numbers of images with the published ones, and finds missing images and masks, files that cannot be
          read or were cut short, masks of another size than their image or that mark nothing or everything, and
          identical images; one line per problem with its mend. Exit status 0: none found, 1: problems, 2: the data
          set is not there
  show    a contact sheet: per class normal and anomalous images with their masks drawn in

  NAME                      also FILE.py: a data set of your own (docs/plugins.md)
  data_dir=DIR              where data sets lie (./data, or $ADBENCH_DATA); one set lies in data_dir/NAME
  data.root=DIR             the folder of this one set            data.classes='[a,b]'      a part of the classes
  data.OPTION=VALUE         the set's own options (datasets.md)
  decode=true               check: read every pixel, not headers and ends of images alone; finds damage in their middle
                            and gives the fingerprint of all files that results.json keeps
  images=3                  show: of each class and kind          out=FILE.png              instead of NAME.png

examples
  python -m adbench data list data_dir=/data
  python -m adbench data list visa
  python -m adbench data check mvtec data_dir=/data
  python -m adbench data show visa data_dir=/data out=visa.png
"""

_KEYS = {
    "list": ("data", "data_dir", "verbose"),
    "check": ("data", "data_dir", "decode", "data.*"),
    "show": ("data", "data_dir", "out", "images", "data.*"),
}


def run(argv: Sequence[str]) -> int:
    """Run `adbench data` with these words."""
    actions: dict[str, Callable[[Overrides, list[str]], int]] = {"list": _list, "check": _check, "show": _show}
    if not argv:
        print(HELP, end="")
        return 0
    action, *overrides = argv
    if action not in actions:
        raise unknown("action", action, actions, where="data")
    overrides = ["verbose=true" if (action, word) == ("list", "-v") else word for word in overrides]
    names = [word for word in overrides if "=" not in word and not word.startswith("-")]
    typed = Overrides(f"data {action}", [word for word in overrides if word not in names])
    typed.only(*_KEYS[action])
    return actions[action](typed, [*names, *typed.data])


def _masks(spec: DatasetSpec) -> str:
    """Whether the set says which pixels are anomalous."""
    return "yes" if "localisation" in spec.task or spec.metric_set == "road" else "no"


def _named(overrides: Overrides, names: Sequence[str], *, single: bool = False) -> list[DataConfig]:
    """The data sets that are named, with their settings. Raises UserError for none, and for settings of several."""
    from adbench.cli.config import data_config

    if not names:
        raise UserError(f"{overrides.command} needs a data set", hint=f"name one: {', '.join(choices('data'))}")
    if len(names) > 1 and (single or any(key.startswith("data.") for key in overrides.by_key)):
        raise UserError(f"{len(names)} data sets are named", where=" ".join(names), hint="name one")
    return [data_config(overrides, entry_name("data", name)) for name in names]


def _list(overrides: Overrides, names: Sequence[str]) -> int:
    from adbench.data import catalogue

    for number, name in enumerate(entry_name("data", name) for name in names):
        check_choice("data", name, "data list")
        print("\n" * (number > 0) + "\n".join(_described(catalogue.get(name), overrides.data_dir)))
    if not names:
        specs = [catalogue.get(name) for name in catalogue.names()]
        _print_all(specs, overrides.data_dir, verbose="verbose" in overrides)
    return 0


def _place(spec: DatasetSpec, data_dir: Path) -> tuple[bool, str]:
    """Whether the set can be used without giving its folder; where it is, or what to do."""
    from adbench.data.tree import is_occupied

    root = spec.default_root(data_dir)
    if spec.bundled is not None:
        return True, "ships with adbench"
    if is_occupied(root):
        return True, f"yes, in {root.name}"
    if spec.domain == "any":
        return False, "give data.root=DIR"
    if spec.prepare_root is not None:
        return True, "rendered on first use"
    return False, "no: its folder is empty" if root.is_dir() else "no"


def _print_all(specs: Sequence[DatasetSpec], data_dir: Path, *, verbose: bool) -> None:
    from rich.text import Text

    headers = ["data", "domain", "found"]
    headers += ["what it is", "classes", "images", "masks", "licence", "folder"] if verbose else []
    lines = []
    for spec in specs:
        is_there, where = _place(spec, data_dir)
        cells: list[str | Text] = [spec.name, spec.domain, Text(where, style="green" if is_there else "dim")]
        if verbose:
            images = f"{spec.n_published:,}" if spec.n_published else ""
            cells += [spec.title, str(len(spec.classes) or "any"), images, _masks(spec), spec.licence]
            cells.append(str(spec.default_root(data_dir)))
        lines.append(cells)
    print(f"looked for in {data_dir}; data list NAME says more of one")
    print_lines(headers, lines, left={*headers} - {"classes", "images"}, width=400 if verbose else 80)


def _described(spec: DatasetSpec, data_dir: Path) -> Iterator[str]:
    """All that is known of a set, in lines of 80 columns."""
    import textwrap

    there, where = _place(spec, data_dir)
    facts = [
        ("domain", spec.domain),
        ("task", spec.task),
        ("classes", f"{len(spec.classes)}: {', '.join(spec.classes)}" if spec.classes else "as found"),
        ("images", _numbers(spec)),
        ("masks", _masks(spec)),
        ("options", ", ".join(f"data.{option}" for option in spec.options)),
        ("licence", spec.licence),
        ("source", spec.source),
        ("get it", spec.how_to_get),
        ("found", where if spec.bundled or not there else f"{where}: {spec.default_root(data_dir)}"),
        ("looked for", "" if there or spec.domain == "any" else str(spec.default_root(data_dir))),
        *(("to know" if number == 0 else "", quirk) for number, quirk in enumerate(spec.quirks)),
    ]
    yield f"{spec.name}: {spec.title}"
    for name, value in facts:
        if value:
            indent = f"  {name:<12}"
            yield from textwrap.wrap(
                value,
                80,
                initial_indent=indent,
                subsequent_indent=" " * 14,
                break_long_words=False,
                break_on_hyphens=False,
            )


def _numbers(spec: DatasetSpec) -> str:
    """How many images are published, or that nobody knows for certain."""
    if spec.n_published:
        return f"{spec.n_published:,} as published"
    if spec.domain == "any" or spec.prepare_root is not None:
        return ""
    known = f"known for certain of {len(spec.expected)} of {len(spec.classes)} classes alone"
    return f"{known if spec.expected else 'not known for certain'}: data check cannot compare their number"


def _check(overrides: Overrides, names: Sequence[str]) -> int:
    decode = overrides.get("decode", False)
    if not isinstance(decode, bool):
        raise UserError(f"decode is {decode!r}", where="data check", hint="give true or false")
    return max([_check_one(data, overrides.data_dir, decode) for data in _named(overrides, names)])


def _check_one(data: DataConfig, data_dir: Path, decode: bool) -> int:
    from adbench.data import catalogue
    from adbench.data.check import check_dataset

    name, spec = data.name, catalogue.get(data.name)
    with _progress(f"render {name}") as progress:
        root = catalogue.find_root(spec, root=data.root, data_dir=data_dir, progress=progress)
    start = time.monotonic()
    with _progress(f"check {name}") as progress:
        checked = check_dataset(
            spec, root, classes=data.classes or None, options=data.options, decode=decode, progress=progress
        )
    seconds = time.monotonic() - start
    _print_counts(spec, checked, root)
    for problem in checked.problems:
        print(f"{name}: {problem}")
    for note in checked.notes:
        print(f"{name}: note: {note}")
    how = "every pixel read" if decode else "masks and headers and ends of images read; decode=true reads every pixel"
    print(f"{len(checked.samples)} images in {seconds:.1f} s ({how})")
    missing = "files are missing" if decode else "decode=true reads every byte"
    print(f"fingerprint {(checked.fingerprint if decode else None) or f'n/a: {missing}'}")
    print(f"{name}: {len(checked.problems) or 'no'} problem{'' if len(checked.problems) == 1 else 's'}")
    return 1 if checked.problems else 0


def _print_counts(spec: DatasetSpec, checked: Checked, root: Path) -> None:
    """Numbers of images, found and published, by class and split."""
    from rich.text import Text

    from adbench.data.counts import PARTS, parts_of

    counted = spec.count(checked.samples)
    print(f"{spec.name} in {root}: images found / published")
    shown, lines = parts_of([*counted.values(), *spec.expected.values()]), []
    for name, counts in counted.items():
        published = spec.expected.get(name)
        cells: list[str | Text] = [name]
        for part in shown:
            n, expected = getattr(counts, part), getattr(published, part, None)
            cells.append(
                Text(f"{n} / {'?' if expected is None else expected}", style="" if expected in (None, n) else "red")
            )
        lines.append(cells)
    print_lines(["class", *(PARTS[part] for part in shown)], lines, left=("class",))


def _show(overrides: Overrides, names: Sequence[str]) -> int:
    from adbench.api.dataset import open_dataset
    from adbench.atomic import replacing
    from adbench.report.contact_sheet import contact_sheet

    (data,) = _named(overrides, names, single=True)
    name, count = data.name, overrides.get("images", 3)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise UserError(f"images is {count!r}", where="data show", hint="give a whole number of at least 1")
    out = Path(str(overrides.get("out", f"{name}.png"))).expanduser()
    if out.suffix.lower() != ".png":
        raise UserError(
            "the picture is a PNG", where=f"out={out}", hint="write " + shlex.quote(f"out={out.with_suffix('.png')}")
        )
    with _progress(f"render {name}") as progress:
        opened = open_dataset(
            name,
            root=data.root,
            data_dir=overrides.data_dir,
            classes=data.classes,
            progress=progress,
            **data.options,
        )
    title = f"{name}: {opened.facts.title}"
    sheet = contact_sheet(opened.samples, opened.classes, title=title, per_kind=count)
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
