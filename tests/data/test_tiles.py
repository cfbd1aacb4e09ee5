"""Pictures that are used in pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import train_test_split

from adbench.data import catalogue
from adbench.data.containers import content_sha256, content_size, tile
from adbench.data.images import open_image, open_mask, stored_size
from adbench.data.tiles import thirds
from adbench.errors import UserError


def test_fabric_is_used_in_tiles(tmp_path: Path, draw: Callable[..., Path]) -> None:
    def strip(name: str, marks: Sequence[int] | None = None, width: int = 600) -> None:
        pixels = np.zeros((4, width), np.uint8)
        for column in marks or ():
            pixels[1, column] = 255
        draw(tmp_path / name, size=(width, 4), mode="L")
        if marks is not None:
            Image.fromarray(pixels).save(tmp_path / name)

    strip("NODefect_images/2306881-210020u/0001_000_00.png")
    strip("NODefect_images/2608691-202020u/0018_00_06.png", width=512)
    for name, masks in {
        "0002_002_00": {"_mask": [255, 256]},
        "0044_019_04": {"_mask1": [0], "_mask2": [1, 599]},
        "0100_025_08": {},
        "0106_010_03": {"_mask": []},
    }.items():
        strip(f"Defect_images/Defect_images/{name}.png")
        for suffix, marks in masks.items():
            strip(f"Mask_images/{name}{suffix}.png", marks)
    samples = catalogue.get("aitex").index(tmp_path)
    anomalous = [sample for sample in samples if sample.label]
    found = [(s.key.rsplit("/", 2)[1][:4], s.path.name, s.defect, len(s.further_masks)) for s in anomalous]
    assert found == [
        ("0002", "0-0-256-4", "Broken_end", 0),
        ("0002", "256-0-512-4", "Broken_end", 0),
        ("0044", "0-0-256-4", "Fuzzyball", 1),
        ("0044", "512-0-600-4", "Fuzzyball", 1),
    ]
    assert [np.asarray(open_mask(s, open_image(s.path).size)).nonzero()[1].tolist() for s in anomalous] == [
        [255],
        [0],
        [0, 1],
        [87],
    ]
    normal = [s.key for s in samples if not s.label]
    assert len(normal) == 5
    assert [s.key for s in samples if s.split == "test" and not s.label] == sorted(
        train_test_split(sorted(normal), test_size=0.25, random_state=42)[1]
    )
    (tmp_path / "Mask_images/0002_002_00_mask.png").unlink()
    with pytest.raises(UserError, match=r"1 of 2 anomalous images have no mask .*first '0002_002_00\.png'"):
        catalogue.get("aitex").index(tmp_path)


def test_a_mask_of_another_size_cannot_be_cut_with_its_picture(tmp_path: Path, draw: Callable[..., Path]) -> None:
    draw(tmp_path / "kos01/Part0.jpg", size=(12, 11), mode="L")
    draw(tmp_path / "kos01/Part0_label.bmp", size=(12, 10), mode="L", value=255)
    with pytest.raises(UserError, match=r"mask is 12x10 pixels but its image 12x11 .*Part0_label\.bmp.*Part0\.jpg"):
        catalogue.get("sdd").index(tmp_path)


def test_tiles_have_pixels_hashes_and_sizes(tmp_path: Path, draw: Callable[..., Path]) -> None:
    file = draw(tmp_path / "a.png", size=(12, 9), mode="L")
    parts = [tile(file, box) for box in thirds((12, 9))]
    assert [part.name for part in parts] == ["0-0-12-3", "0-3-12-6", "0-6-12-9"]
    np.testing.assert_array_equal(np.concatenate([open_image(part) for part in parts]), open_image(file))
    assert len({content_sha256(part) for part in parts}) == 3
    assert {content_size(part) for part in parts} == {file.stat().st_size}
    assert stored_size(parts[0]) == (3, 12)
    with pytest.raises(UserError, match="missing"):
        open_image(tile(tmp_path / "gone.png", (0, 0, 1, 1)))
