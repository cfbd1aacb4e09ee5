"""Label maps: stored values whatever the file's mode, and errors that name the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.data.label_maps import open_labels
from adbench.data.sample import Sample
from adbench.errors import UserError

IDS = np.array([[0, 1, 2, 255], [1, 1, 0, 0], [2, 255, 2, 0]], np.uint8)
MAPPING = {0: 0, 1: 1, 2: 1, 255: 255}
VALUES = np.array([[0, 1, 1, 255], [1, 1, 0, 0], [1, 255, 1, 0]], np.uint8)


def sample(path: Path, mapping: dict[int, int] = MAPPING) -> Sample:
    return Sample(path.with_suffix(".jpg"), "a.jpg", "road", -1, path, "val", "?", "made", label_ids=mapping)


def palette(ids: np.ndarray) -> Image.Image:
    image = Image.fromarray(ids, mode="P")
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    return image


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(IDS),
        palette(IDS),
        Image.fromarray(np.stack([IDS, IDS, IDS], -1)),
        Image.fromarray(np.stack([IDS, IDS * 0 + 7, IDS * 0 + 9], -1)),
        Image.fromarray(np.stack([IDS, IDS, IDS, IDS * 0 + 3], -1)),
        Image.fromarray(IDS.astype(np.uint16)),
    ],
    ids=["grey", "palette", "three channels", "first of three", "RGBA", "16 bits"],
)
def test_values_are_read_as_stored(tmp_path: Path, image: Image.Image) -> None:
    image.save(tmp_path / "a.png")
    labels = open_labels(sample(tmp_path / "a.png"), (4, 3))
    assert labels.dtype == np.uint8
    assert labels.tolist() == VALUES.tolist()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_png_files_of_few_bits_are_not_stretched(tmp_path: Path, bits: int) -> None:
    """Optimisers write labels of few values with few bits; PIL reads such grey values stretched to 8 bits."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = {1: [1, 0, 1, 1], 2: [1, 0, 2, 1], 4: [2, 0, 1, 1]}[bits]
    packed = int("".join(f"{value:0{bits}b}" for value in row).ljust(-(-4 * bits // 8) * 8, "0"), 2)
    line = b"\0" + packed.to_bytes(-(-4 * bits // 8), "big")
    header = struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(line)) + chunk(b"IEND", b"")
    )
    identity = {value: value for value in range(3)}
    assert open_labels(sample(tmp_path / "a.png", identity), (4, 1)).tolist() == [row]


@pytest.mark.parametrize(("value", "shown"), [(7, "7"), (300, "300")])
def test_an_unexpected_value_names_the_file(tmp_path: Path, value: int, shown: str) -> None:
    ids = IDS.astype(np.uint16)
    ids[1, 1] = value
    Image.fromarray(ids).save(tmp_path / "b.png")
    with pytest.raises(UserError, match=rf"unexpected value {shown}\b.*b\.png"):
        open_labels(sample(tmp_path / "b.png"), (4, 3))


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing.*gone\.png"):
        open_labels(sample(tmp_path / "gone.png"), (4, 3))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(UserError, match=r"cannot be read.*text\.png"):
        open_labels(sample(tmp_path / "text.png"), (4, 3))
    Image.fromarray(IDS.astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(UserError, match=r"floating-point.*float\.tif"):
        open_labels(sample(tmp_path / "float.tif"), (4, 3))
    Image.fromarray(IDS).save(tmp_path / "size.png")
    with pytest.raises(UserError, match=r"4x3 pixels but its image 5x3.*size\.png"):
        open_labels(sample(tmp_path / "size.png"), (5, 3))
