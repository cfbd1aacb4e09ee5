"""In every published layout a check finds each seeded fault once, and nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.data import catalogue
from adbench.data.check import check_dataset
from adbench.data.containers import file_of
from data.test_further_layouts import CASES as FURTHER
from data.test_layouts import CASES as LAYOUTS
from trees import Tree, plant

CASES = [*LAYOUTS, *FURTHER]
# DAGM: no label, no defect. AutoVI: nothing tells how many masks an image has.
MASKED = [tree for tree in CASES if tree.masks and "Label" not in tree.masks[0] and tree.name != "autovi"]


@pytest.fixture
def grow(tmp_path: Path):
    """Write a tree in which no two images are alike."""
    seed = iter(range(1000))

    def draw(path: Path, *, size: tuple[int, int] = (12, 10), mode: str = "RGB", value: int | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(next(seed)).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        if value is not None:
            pixels[:] = 0
            pixels[2:6, 3:8] = value
        Image.fromarray(pixels).convert(mode).save(path)
        return path

    return lambda tree: plant(tree, tmp_path, draw)


def problems(tree: Tree, root: Path) -> list[str]:
    spec = dataclasses.replace(catalogue.get(tree.name), expected={}, classes=())
    return [str(problem) for problem in check_dataset(spec, root, options=tree.options).problems]


def named(tree: Tree) -> str:
    return f"{tree.name}: {tree.what}"


@pytest.mark.parametrize("tree", CASES, ids=named)
def test_a_clean_tree_has_no_problems(tree: Tree, grow) -> None:
    assert problems(tree, grow(tree)) == []


@pytest.mark.parametrize("tree", CASES, ids=named)
def test_a_cut_image_is_found_once(tree: Tree, grow) -> None:
    root = grow(tree)
    file = file_of(catalogue.get(tree.name).index(root, options=tree.options)[0].path)
    file.write_bytes(file.read_bytes()[:-30])
    (line,) = problems(tree, root)
    assert str(file) in line


@pytest.mark.parametrize("tree", MASKED, ids=named)
@pytest.mark.parametrize("cut", [True, False])
def test_a_mask_that_is_cut_or_missing_is_found_once(tree: Tree, cut: bool, grow) -> None:
    root = grow(tree)
    mask = root / tree.masks[0]
    if cut:
        mask.write_bytes(mask.read_bytes()[:-30])
    else:
        mask.unlink()
    (line,) = problems(tree, root)
    assert str(mask.parent) in line
    assert ("cannot be read" if cut else "mask file is missing") in line
