"""Whether two runs saw the same data: every field of every sample, and the bytes of every file that they are read from.

Where the files lie and when they were written is left out: a copy on another machine is the same data.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

from adbench.data.containers import content_sha256, is_member, tile_box
from adbench.data.sample import Sample
from adbench.errors import UserError

_THREADS = min(8, 2 * (os.cpu_count() or 1))
_Stamp = tuple[int, int, int, int]
_TICK_NS = 2_000_000_000
"""Longer than the clock of any file system takes from one time to the next (FAT: 2 s)."""

_KNOWN: dict[Path, tuple[_Stamp, str]] = {}
"""Hashes of this process: a file is read again when its inode, size or one of its times has changed."""


def fingerprint(samples: Iterable[Sample]) -> str:
    """The sha256 (hex) over everything that samples say and everything in their files, in any order.

    Reads every byte once per process: about a second per GB and thread from memory, else as fast as the disk. Raises
    UserError for a missing file.
    """
    samples = list(samples)
    hashes = file_hashes(path for sample in samples for path in sample.files)
    digest = hashlib.sha256()
    for line in sorted(mark(sample, hashes) for sample in samples):
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def mark(sample: Sample, hashes: Mapping[Path, str]) -> str:
    """One line of all that a sample says, each path replaced by the hash of what lies there."""
    return f"{[(entry.name, _plain(getattr(sample, entry.name), hashes)) for entry in fields(sample)]}\n"


def file_hashes(paths: Iterable[Path]) -> dict[Path, str]:
    """The content hash of each file. Raises UserError for a missing one."""
    wanted = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(_THREADS) as threads:
        return dict(zip(wanted, threads.map(_hash, wanted), strict=True))


def recall(record: Any) -> None:
    """Take hashes that `remembered` gave to another process, of files that are as they were then; else nothing."""
    for name, entry in record.items() if isinstance(record, dict) else ():
        match entry:
            case [[int(), int(), int(), int()] as stamp, str() as sha256]:
                _KNOWN.setdefault(Path(name), (tuple(stamp), sha256))


def remembered(paths: Iterable[Path]) -> dict[str, Any]:
    """Known hashes, for `recall`; not of files changed a moment ago: another change could leave the same times."""
    settled = time.time_ns() - _TICK_NS
    known = {str(path): _KNOWN[path] for path in map(Path.absolute, paths) if path in _KNOWN}
    return {name: [list(stamp), sha256] for name, (stamp, sha256) in known.items() if max(stamp[2:]) < settled}


def _hash(path: Path) -> str:
    path = path.absolute()
    stamp = _stamp(path)
    known = _KNOWN.get(path)
    if known is None or known[0] != stamp:
        known = _KNOWN[path] = (stamp, content_sha256(path))
    return known[1]


def _stamp(path: Path) -> _Stamp:
    try:
        status = (path.parent if is_member(path) or tile_box(path) else path).stat()
    except OSError as error:
        raise UserError("file is missing", where=str(path), hint="restore it or index the folder again") from error
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _plain(value: Any, hashes: Mapping[Path, str]) -> Any:
    if isinstance(value, Path):
        return hashes[value]
    if isinstance(value, Mapping):
        return sorted(value.items())
    if isinstance(value, tuple):
        return [_plain(item, hashes) for item in value]
    return value
