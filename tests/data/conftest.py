"""Pictures and folder trees for the tests of the data layer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def draw() -> Callable[..., Path]:
    """Write one small image: random content that depends on the path's name only."""

    def write(path: Path, *, size: tuple[int, int] = (12, 10), mode: str = "RGB", value: int | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(sum(path.name.encode()))
        bands = len(Image.new(mode, (1, 1)).getbands())
        pixels = random.integers(0, 256, (size[1], size[0], bands), dtype=np.uint8)
        if value is not None:
            pixels[:] = 0
            pixels[2:6, 3:8] = value
        if mode == "P":
            image = Image.fromarray(pixels[..., 0]).convert("P")
        elif mode in ("1", "L"):
            image = Image.fromarray(pixels[..., 0]).convert(mode)
        else:
            image = Image.fromarray(pixels, mode=None if bands > 2 else mode).convert(mode)
        image.save(path)
        return path

    return write


@pytest.fixture
def tree(draw: Callable[..., Path]) -> Callable[[Path, Iterable[str]], Path]:
    """Write images (and masks, where a name says so) at many relative paths; texts for other extensions."""

    def write(root: Path, names: Iterable[str], **options: object) -> Path:
        for name in names:
            path = root / name
            if path.suffix.lower() in {".png", ".jpg", ".bmp", ".tif"}:
                is_mask = "mask" in name.lower() or "ground" in name.lower()
                draw(path, **({"mode": "L", "value": 255} if is_mask else {}), **options)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("stray")
        root.mkdir(parents=True, exist_ok=True)
        return root

    return write


@pytest.fixture
def shared_data() -> Path:
    """Folder of real data sets: ADBENCH_SHARED_DATA or a folder `shared/data` beside the repository; else skip."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("ADBENCH_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip("no real data here: set ADBENCH_SHARED_DATA")
    return folder
