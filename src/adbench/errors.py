"""Errors that are the user's to mend: one line that names the thing, the place and the cure."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable


class UserError(Exception):
    """Bad input. The command line prints it as one line and exits with status 2, without a traceback.

    `what` names the fault, `where` the file, key or option it lies in, `mend` what to do about it. `unknown_name` tells
    that a name is not among the valid ones.
    """

    unknown_name = False

    def __init__(self, what: str, where: str = "", hint: str = "") -> None:
        super().__init__(what, where, hint)
        self.what, self.where, self.hint = what, where, hint

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        cure = f". {self.hint[:1].upper()}{self.hint[1:]}" if self.hint else ""
        return printable(" ".join(f"{self.what}{place}{cure}".split()))


def printable(text: str) -> str:
    """The text with control characters, which names in files may hold, written out: a terminal obeys them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class NotFinite(UserError):
    """What a method computes with its weights is not finite: they have diverged, or are damaged."""


def unknown(kind: str, name: object, choices: Iterable[str], *, where: str = "") -> UserError:
    """Describe an unknown `kind` called `name`: the nearest valid choice first, then all of them."""
    known, name = sorted(choices), name if isinstance(name, str) else str(name)
    folded = {choice.lower(): choice for choice in known}
    near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
    nearest = f"did you mean {folded[near[0]]!r}? " if near else ""
    error = UserError(f"unknown {kind} {name!r}", where=where, hint=f"{nearest}known: {', '.join(known) or 'none'}")
    error.unknown_name = True
    return error


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def from_system(error: OSError) -> UserError:
    """What the operating system said of a file, as one line with the system's words and the file."""
    hint = ""
    if error.errno in _FULL:
        hint = "free some space, or choose a folder on another disk; what was finished before is kept"
    elif error.errno in _REFUSED:
        hint = "choose a folder and files that you may use (out=DIR for results)"
    elif error.errno == errno.ENAMETOOLONG:
        hint = "give shorter names"
    where = "" if error.filename is None else os.fsdecode(error.filename)
    return UserError(error.strerror or str(error) or type(error).__name__, where=where, hint=hint)
