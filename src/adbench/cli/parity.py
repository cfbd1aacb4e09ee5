"""Compare our implementation with tensors recorded from the authors' code.

usage  python -m adbench parity CASE_DIR [CASE_DIR ...]        compare; exit status 1 if any tensor differs
       python -m adbench parity CASE_DIR --out FILE.npz        write our tensors under the fixture's expected/ keys
       ... --device cuda                                       compute on a GPU instead of the CPU

A case is a folder with case.json and tensors.npz. The method comes from the registry with the case's
hyper-parameters, its weights through the loader for the authors' checkpoints, its numbers from the ordinary
encode / loss / score path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adbench.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from adbench.parity.comparison import TensorRow

SUMMARY = "compare with tensors recorded from the authors' code"


def run(argv: Sequence[str]) -> int:
    """Compare the cases named in `argv`, or write our tensors of one. Returns the exit status."""
    folders, out, device = _arguments(argv)
    from adbench.engine.device import resolve_device
    from adbench.parity.cases import compute, read_case
    from adbench.parity.comparison import compare

    worst = 0
    for folder in folders:
        case, tensors = read_case(folder)
        ours = compute(case, tensors, device=None if device == "cpu" else resolve_device(device))
        if out is not None:
            _write(out, ours)
            print(f"{len(ours)} tensors of {folder.name} written to {out}")
        else:
            worst |= _report(folder, compare(case, tensors, ours))
    return worst


def _arguments(argv: Sequence[str]) -> tuple[list[Path], Path | None, str]:
    """The cases, the file of --out, and the device."""
    rest, values = list(argv), {"--out": "", "--device": "cpu"}
    for option in values:
        if option in rest:
            place = rest.index(option)
            if place + 1 == len(rest):
                raise UserError(f"{option} lacks its value", where="parity", hint="see parity --help")
            values[option] = rest[place + 1]
            del rest[place : place + 2]
    wrong = [word for word in rest if word.startswith("-")]
    if wrong:
        raise UserError(f"unknown option {wrong[0]!r}", where="parity", hint=f"known: {', '.join(values)}")
    if not rest:
        raise UserError("no case given", where="parity", hint="write python -m adbench parity CASE_DIR")
    out = Path(values["--out"]) if values["--out"] else None
    if out is not None and len(rest) > 1:
        raise UserError("--out takes one case at a time", where="parity", hint="name one CASE_DIR")
    return [Path(word) for word in rest], out, values["--device"]


def _write(out: Path, ours: Mapping[str, np.ndarray]) -> None:
    import numpy as np

    from adbench.atomic import replacing

    with replacing(out) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **ours)


def _report(folder: Path, rows: Sequence[TensorRow]) -> int:
    """Print a line per tensor and a summary; 1 if any differs."""
    width = max((len(row.name) for row in rows), default=0)
    shapes = ["x".join(map(str, row.shape)) or "scalar" for row in rows]
    print(f"{folder.parent.name}/{folder.name}")
    for row, shape in zip(rows, shapes, strict=True):
        error = "-" if row.status == "not computed" else f"{row.error:.2e}"
        print(f"  {row.name:<{width}}  {shape:<{max(map(len, shapes))}}  {error:>8}  {row.status}  ({row.tolerance})")
    computed, differing = sum(row.status != "not computed" for row in rows), sum(row.differs for row in rows)
    print(f"{folder.name}: {computed} of {len(rows)} tensors computed, {differing} differ")
    return int(differing > 0)
