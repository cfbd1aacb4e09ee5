"""Where below a folder a data set lies, and why it does not: archives left packed, two sets in one folder, repacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from adbench.data.meta import META_NAME
from adbench.data.repacks import foreign_format
from adbench.data.stems import plain
from adbench.data.survey import Entry, Fault, Note
from adbench.data.tree import DEPTH, archives, has, listing
from adbench.errors import UserError


def is_here(folder: Path, marks: Sequence[str]) -> bool:
    """Whether a folder has one of the marks of a layout at least; without marks any folder has."""
    return not marks or any(has(folder, mark) for mark in marks)


def place_of(root: Path, marks: Sequence[str], names: Sequence[str]) -> Path:
    """The folder at or below `root` that has the marks, or a meta.json; `root` itself where that leads nowhere.

    Followed are lone folders and folders with one of the set's `names`. Raises UserError where two of several folders
    hold the set.
    """
    place = root
    for _ in range(DEPTH):
        if is_here(place, marks) or (place / META_NAME).is_file():
            return place
        inner = listing(place).folders
        named = [name for name in inner if plain(name) in {plain(known) for known in names}]
        candidates = inner if len(inner) == 1 else named
        if len(candidates) != 1:
            holding = [name for name in candidates or inner if marks and is_here(place / name, marks)]
            if len(holding) > 1:
                raise _several(place, holding)
            return place / holding[0] if len(holding) == 1 and holding[0] in named else root
        place = place / candidates[0]
    return root


def _several(folder: Path, names: Sequence[str]) -> UserError:
    shown = " and ".join(repr(name) for name in names[:3])
    hint = f"give one of them: data.root={folder / names[0]}"
    return UserError(f"the folder holds {len(names)} data sets: {shown}", where=str(folder), hint=hint)


def with_packed(
    root: Path,
    known: Sequence[str],
    classes: Sequence[str] | None,
    index: Callable[[Sequence[str] | None], Iterable[Entry]],
) -> Iterator[Entry]:
    """Entries of `index(classes)`, and a fault for each of several `known` classes that is there as an archive only."""
    folders = {plain(name) for name in listing(root).folders}
    stems = {plain(archive.split(".")[0]): archive for archive in archives(root)} if len(known) > 1 else {}
    packed = [name for name in classes or known if plain(name) in stems and plain(name) not in folders]
    unpacked = None if classes is None else [name for name in classes if name not in packed]
    entries = [] if classes and not unpacked else list(index(unpacked))
    present = {entry.class_name for entry in entries if not isinstance(entry, Note)}
    yield from entries
    yield from (Fault(name, _packed(root, stems[plain(name)])) for name in packed if name not in present)


def refusal(root: Path, what: str, hint: str) -> UserError:
    """Why a folder cannot be read as a data set: `what`, or a cause that can be named."""
    packed = archives(root)
    if packed:
        return _packed(root, packed[0], f" and {len(packed) - 1} more" * (len(packed) > 1))
    form = foreign_format(root)
    if form is not None:
        return UserError(
            f"{what}: {form}", where=str(root), hint="get the set from its own source, or write a meta.json"
        )
    inner = [name for name in listing(root).folders]
    shown = f". There are the folders {', '.join(inner[:4])}{', ...' * (len(inner) > 4)}" if inner else ""
    return UserError(what, where=str(root), hint=f"{hint}{shown}")


def _packed(root: Path, archive: str, more: str = "") -> UserError:
    return UserError(f"{archive}{more} is not unpacked", where=f"in {root}", hint="unpack it there")
