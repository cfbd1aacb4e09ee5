"""What is left out of a data set, and what is doubtful in it, reaches whoever reads the results."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adbench.api.dataset import Dataset
from adbench.cli import components
from adbench.cli.config import DataConfig
from adbench.errors import UserError


def picture(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((8, 8), 90, np.uint8)
    pixels[:4] = value
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A class with masks, of which one image lacks its own, and a class of normal images alone."""
    for number in range(3):
        picture(tmp_path / f"nut/good/{number}.png", number)
        picture(tmp_path / f"nut/bad/{number}.png", 100 + number)
        picture(tmp_path / f"bolt/good/{number}.png", 200 + number)
        if number:
            picture(tmp_path / f"nut/masks/{number}.png", 255)
    return tmp_path


def opened(root: Path, name: str = "folder", **options: Any) -> tuple[Dataset, list[str]]:
    said: list[str] = []
    data = DataConfig(name=name, root=root, options=options)
    return components.open_data(data, root.parent, SimpleNamespace(say=said.append)), said  # type: ignore[arg-type]


def test_what_is_left_out_is_in_the_note_of_the_rows(root: Path) -> None:
    with pytest.raises(UserError, match=r"1 of 3 anomalous images have no mask among 2 files, first '0\.png'"):
        opened(root)
    data, said = opened(root, broken="skip")
    assert len(data.test) == 5
    assert list(data.pools) == ["nut"]
    for words in ("left out: 1 image of nut: mask file is missing", "not evaluated: bolt (no anomalous test images)"):
        assert words in "; ".join(data.remarks)
        assert any(words in line for line in said)


def test_doubts_about_an_index_are_in_the_note_of_the_rows(root: Path) -> None:
    bad = {"img_path": "nut/bad/1.png", "mask_path": "nut/masks/1.png", "cls_name": "nut", "anomaly": 1}
    content = {"train": {"nut": []}, "test": {"nut": [bad, bad | {"img_path": "nut/bad/2.png"}]}}
    (root / "meta.json").write_text(json.dumps(content))
    data, _ = opened(root, "meta")
    assert data.remarks[0].startswith("1 masks serve several images")
