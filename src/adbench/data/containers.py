"""Images that lie inside larger files: `file/00042` is image 42 of a file that holds many, as CIFAR-10 and MNIST are
published; `Part0.jpg/0-420-500-840` is a tile: the box (left, upper, right, lower) of a picture that is used in pieces.

Such paths do not exist on disk: their parent is a file. Everything that opens, hashes or measures the image files of a
data set goes through `open_member`, `tile_box`, `content_sha256` and `content_size`, which know both kinds.

Read are CIFAR-10's binary (.bin) and Python (pickled) batches and MNIST's idx files, packed (.gz) or not.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import re
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adbench.data.decoding import require_regular
from adbench.errors import UserError

Box = tuple[int, int, int, int]  # left, upper, right, lower
_BOX = re.compile(r"(\d+)-(\d+)-(\d+)-(\d+)")
_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE
# All that a pickled array of numpy 1 needs. Anything else in a file is refused.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"): ("numpy", "ndarray"),
    ("numpy", "dtype"): ("numpy", "dtype"),
    ("_codecs", "encode"): ("_codecs", "encode"),
}


def member(file: Path, number: int) -> Path:
    """The path that stands for image `number` of a container file."""
    return file / f"{number:05d}"


def is_member(path: Path) -> bool:
    """Whether `path` stands for an image inside a file."""
    return path.name.isdecimal() and path.parent.is_file()


def tile(file: Path, box: Box) -> Path:
    """The path that stands for a part of an image file."""
    return file / "-".join(map(str, box))


def tile_box(path: Path) -> Box | None:
    """The box of a path that stands for a part of an image file, None for any other path."""
    match = _BOX.fullmatch(path.name)
    if match is None or not path.parent.is_file():
        return None
    left, upper, right, lower = map(int, match.groups())
    return left, upper, right, lower


def file_of(path: Path) -> Path:
    """The file of an image or, of a tile, the picture's, whether it is there or not."""
    return path.parent if _BOX.fullmatch(path.name) else path


def open_member(path: Path) -> Image.Image:
    """The image as 8-bit RGB (CIFAR-10) or grey (MNIST). Raises UserError for one that the file does not hold."""
    images, _ = read_container(path.parent)
    if int(path.name) >= len(images):
        hint = "get the file again: it may be cut short"
        raise UserError(
            f"the file holds {len(images)} images, not number {path.name}", where=str(path.parent), hint=hint
        )
    return Image.fromarray(np.ascontiguousarray(images[int(path.name)]))


def content_sha256(path: Path) -> str:
    """Hash of a file's bytes, or of the pixels of an image inside a file; for a tile, of its file's bytes and its box.

    Raises UserError for a missing file.
    """
    if is_member(path):
        return hashlib.sha256(open_member(path).tobytes()).hexdigest()
    digest = hashlib.sha256()
    if tile_box(path) is not None:
        digest.update(path.name.encode())
        path = path.parent
    try:
        require_regular(path)
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        hint = "restore it or index the folder again"
        raise UserError(f"the file cannot be read: {error.strerror}", where=str(path), hint=hint) from error
    return digest.hexdigest()


def content_size(path: Path) -> int:
    """Size of an image file, or of the file that an image lies in."""
    return (path.parent if is_member(path) or tile_box(path) else path).stat().st_size


@lru_cache(maxsize=8)
def read_container(file: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """All images (N, H, W, 3) or (N, H, W), and their labels where the same file holds them.

    Raises UserError for a file that is missing, cut short or of another format.
    """
    try:
        if file.suffix == ".bin":
            return _cifar_binary(file)
        if "idx" in file.name:
            return read_idx(file), None
        return _cifar_python(file)
    except Exception as error:  # damaged files raise whatever a step of reading them can raise
        raise UserError(f"the file cannot be read: {error}", where=str(file), hint="get the file again") from error


def read_idx(file: Path) -> NDArray[np.uint8]:
    """An array of unsigned bytes in the idx format of MNIST; raises ValueError where the header does not fit."""
    data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    zero, kind, n_axes = struct.unpack(">HBB", data[:4])
    shape = struct.unpack(f">{n_axes}I", data[4 : 4 + 4 * n_axes])
    values: NDArray[np.uint8] = np.frombuffer(data, np.uint8, offset=4 + 4 * n_axes)
    if zero or kind != 8 or values.size != np.prod(shape):
        raise ValueError(f"its header says {shape}, it holds {values.size} values")
    return values.reshape(shape)


def _cifar_binary(file: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    records = np.fromfile(file, np.uint8)
    if not records.size or records.size % (1 + _PIXELS):
        raise ValueError(f"its size is not a multiple of {1 + _PIXELS} bytes")
    records = records.reshape(-1, 1 + _PIXELS)
    return _pixels(records[:, 1:]), records[:, 0].astype(np.int64)


def _cifar_python(file: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    stored: Any = _ArraysOnly(io.BytesIO(file.read_bytes()), encoding="latin1").load()
    data = np.asarray(stored["data"])
    labels = np.asarray(stored["labels"], dtype=np.int64)
    if data.dtype != np.uint8 or data.shape != (len(labels), _PIXELS):
        raise ValueError(f"its array is {data.dtype} {data.shape}")
    return _pixels(data), labels


def _pixels(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    images: NDArray[np.uint8] = rows.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    return images


class _ArraysOnly(pickle._Unpickler):
    """Reads dictionaries, lists and numpy arrays; refuses every other object, so that no code of a file ever runs.

    In Python: by damaged files the machine in C ends the process.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it holds an object of type {module}.{name}")
        module, name = _ALLOWED[module, name]
        if module.startswith("numpy._core") and not hasattr(np, "_core"):
            module = module.replace("numpy._core", "numpy.core")
        return super().find_class(module, name)
