"""The authors' checkpoints: text_adapter.pth and image_adapter.pth (or image_adapter_N.pth), given as their folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from adbench.atomic import replacing
from adbench.errors import UserError
from adbench.weight_files import open_weights

PARTS = ("text_adapter", "image_adapter")


def read_folder(path: str | Path, *, with_text: bool) -> dict[str, Tensor]:
    """The state of both files, under names that begin with the part's.

    Raises UserError for a folder without them, or with the image adapters of several epochs, and for another file.
    """
    folder = Path(path)
    if not folder.is_dir():
        return _joined(open_entries(folder), with_text, str(path))
    files = sorted(folder.glob("image_adapter*.pth"))
    if (plain := folder / "image_adapter.pth") in files and len(files) > 1:
        files = [plain]
    if len(files) != 1:
        raise UserError(
            f"the folder holds {len(files)} files image_adapter*.pth" + (": one epoch each" if files else ""),
            where=str(path),
            hint="keep text_adapter.pth and one of them in a folder",
        )
    states = {"image_adapter": open_entries(files[0]).get("image_adapter", {})}
    if with_text:
        states["text_adapter"] = open_entries(folder / "text_adapter.pth").get("text_adapter", {})
    return _joined(states, with_text, str(path))


def open_entries(file: Path) -> dict[str, dict[str, Tensor]]:
    """The parts that a file holds."""
    opened = open_weights(file)
    states = {part: opened.state(part) for part in PARTS}
    return {part: state for part, state in states.items() if state is not None}


def _joined(states: Mapping[str, Mapping[str, Tensor]], with_text: bool, where: str) -> dict[str, Tensor]:
    for part in PARTS if with_text else PARTS[1:]:
        if not states.get(part):
            raise UserError(
                f"no entry {part!r} in the checkpoint",
                where=where,
                hint="give the folder with text_adapter.pth and image_adapter.pth; without the first: "
                "method.adapt_text=false",
            )
    wanted = PARTS if with_text else PARTS[1:]
    return {f"{part}.{name}": tensor for part in wanted for name, tensor in states[part].items()}


def write_folder(path: str | Path, state: Mapping[str, Tensor]) -> None:
    """Write the files that the authors' code loads into a folder, which is made."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        tensors = {n.removeprefix(f"{part}."): t.detach().cpu() for n, t in state.items() if n.startswith(f"{part}.")}
        if tensors:
            with replacing(folder / f"{part}.pth") as temporary:
                torch.save({part: tensors, "epoch": 0}, temporary)
