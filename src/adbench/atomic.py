"""Files that appear whole or not at all: written under a temporary name in the same folder, then moved into place.

Whoever is killed in the middle of a write leaves the old file under its name, and at most one hidden
`.adbench.*.tmp`, which `sweep` removes. Its name does not hold the file's: a name of 255 bytes leaves no room.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind
    fcntl = None  # type: ignore[assignment]

_PREFIX, _SUFFIX = ".adbench.", ".tmp"
# What file systems answer that have no permissions, or nothing to synchronise (FAT, some network drives, folders).
_UNSUPPORTED = frozenset(
    {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EBADF, errno.ENOLCK}
)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on any exception it is removed.

    An OSError names `path`, whatever was being done for it.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(path.parent) as temporary:
            try:
                yield temporary
                _settle(temporary)
                os.replace(temporary, path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        _settle(path.parent)


@contextlib.contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """Yield a new file, locked meanwhile: that tells it from those whose writer was killed."""
    while True:
        path = folder / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
        with path.open("xb") as file:
            if fcntl is None:
                file.close()  # an open one cannot be moved there
            else:
                with _where_supported():
                    fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(file.fileno()).st_nlink == 0:  # taken for abandoned before it was locked
                    continue
            yield path
            return


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until no other process or thread is in here for `folder`: to read a file in it and write it changed."""
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with _where_supported():
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError that names no file, or a temporary one, name `path`: writing to an open file never does."""
    try:
        yield
    except OSError as error:
        if error.filename is None or is_temporary(Path(os.fsdecode(error.filename))):
            error.filename = str(path)
            del error.filename2
        raise


def _settle(path: Path) -> None:
    """Make sure that what was written reaches the disk: a rename must not overtake the data it names."""
    with _where_supported():
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _where_supported() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8 with plain line feeds, whole or not at all.

    Bytes of file names that are no UTF-8 are written out (\\udcff), as JSON takes them.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all. NaN and infinity are refused with ValueError."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def is_temporary(path: Path) -> bool:
    """Whether `path` is named as `replacing` names its temporary files."""
    return path.name.startswith(_PREFIX) and path.name.endswith(_SUFFIX)


def sweep(folder: Path, *, alone: bool = False) -> None:
    """Remove the temporary files that killed processes left in `folder`; `alone`: nobody else may write there."""
    for stale in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        if alone:
            stale.unlink(missing_ok=True)
        elif fcntl is not None:
            with contextlib.suppress(OSError), stale.open("ab") as file:  # refused where its writer lives
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stale.unlink()
