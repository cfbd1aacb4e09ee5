"""MVTec LOCO AD and sets like it: masks one by one, each with the area from which on its defect counts as found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.data import catalogue
from adbench.data.check import check_dataset
from adbench.data.images import read_masks
from adbench.data.sample import Sample
from adbench.data.saturation import defect_masks, read_saturations
from adbench.errors import UserError
from trees import Tree, check_tree, plant

ENTRIES = [
    {"defect_name": "box", "pixel_value": 255, "saturation_threshold": 0.5, "relative_saturation": True},
    {"defect_name": "pin", "pixel_value": 236, "saturation_threshold": 6, "relative_saturation": False},
]
SATURATIONS = {255: (0.5, True), 236: (6.0, False)}
LOGICAL = [
    "test pushpins 1 pushpins/test/logical_anomalies/001.png pushpins/ground_truth/logical_anomalies/001/000.png "
    "pushpins/ground_truth/logical_anomalies/001/001.png"
]
STRUCTURAL = [
    "test pushpins 1 pushpins/test/structural_anomalies/001.png pushpins/ground_truth/structural_anomalies/001/000.png"
]
GOOD = ["test pushpins 0 pushpins/test/good/001.png"]


def loco(name: str, *anomalous: str, config: object = ENTRIES, validation: str = "validation") -> Tree:
    truth = "pushpins/ground_truth"
    return Tree(
        what="MVTec LOCO AD",
        name=name,
        images=[
            "pushpins/train/good/001.png",
            f"pushpins/{validation}/good/001.png",
            *(f"pushpins/test/{kind}/001.png" for kind in ("good", "logical_anomalies", "structural_anomalies")),
        ],
        masks=[f"{truth}/{kind}" for kind in ("logical_anomalies/001/000.png", "structural_anomalies/001/000.png")],
        texts={} if config is None else {"pushpins/defects_config.json": json.dumps(config)},
        expected=[
            "train pushpins 0 pushpins/train/good/001.png",
            *anomalous,
            f"validation pushpins 0 pushpins/{validation}/good/001.png",
        ],
    )


def second_defect(root: Path, draw: Callable[..., Path], value: int = 236) -> None:
    """Another defect of the logical anomaly, which overlaps the first."""
    draw(root / "pushpins/ground_truth/logical_anomalies/001/001.png", mode="L", value=value)


@pytest.mark.parametrize("validation", ["validation", "Validate", "val"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mvtec_loco", [*GOOD, *LOGICAL, *STRUCTURAL]),
        ("mvtec_loco_logical", [*GOOD, *LOGICAL]),
        ("mvtec_loco_structural", [*GOOD, *STRUCTURAL]),
    ],
)
def test_logical_and_structural_anomalies_are_sets_of_their_own(
    tmp_path: Path, draw: Callable[..., Path], name: str, expected: list[str], validation: str
) -> None:
    second_defect(tmp_path / "archive", draw)
    samples = check_tree(loco(name, *expected, validation=validation), tmp_path, "archive", draw)
    assert [sample.saturations for sample in samples if sample.label] == [SATURATIONS] * (len(expected) - 1)
    assert {sample.defect for sample in samples if sample.label} == {
        line.split()[3].split("/")[2] for line in expected if " 1 " in line
    }


def test_the_whole_set_says_that_it_is_not_the_authors_protocol(tmp_path: Path, draw: Callable[..., Path]) -> None:
    plant(loco("mvtec_loco"), tmp_path, draw)
    for name, notes in (("mvtec_loco", 1), ("mvtec_loco_logical", 0)):
        assert sum(note.in_rows for note in catalogue.get(name).survey(tmp_path).notes) == notes


def read(root: Path, draw: Callable[..., Path]) -> Sample:
    plant(loco("mvtec_loco_logical"), root, draw)
    return next(sample for sample in catalogue.get("mvtec_loco_logical").index(root) if sample.label)


def test_defects_stay_apart(tmp_path: Path, draw: Callable[..., Path]) -> None:
    second_defect(tmp_path, draw)
    sample = read(tmp_path, draw)
    defects = defect_masks(sample, read_masks(sample, (12, 10)))
    assert [defect.saturation for defect in defects] == [(0.5, True), (6.0, False)]
    assert all(defect.mask.shape == (10, 12) and defect.mask.sum() == 20 for defect in defects)


def test_a_mask_that_marks_nothing_is_no_defect(tmp_path: Path, draw: Callable[..., Path]) -> None:
    second_defect(tmp_path, draw)
    sample = read(tmp_path, draw)
    Image.new("L", (12, 10)).save(sample.further_masks[0])
    (defect,) = defect_masks(sample, read_masks(sample, (12, 10)))
    assert defect.saturation == (0.5, True)


def test_a_mask_that_the_config_does_not_know_is_named(tmp_path: Path, draw: Callable[..., Path]) -> None:
    second_defect(tmp_path, draw, value=250)
    sample = read(tmp_path, draw)
    with pytest.raises(UserError, match=r"mask holds the values 250 .*001\.png, of image .*knows 255, 236"):
        defect_masks(sample, read_masks(sample, None))
    problems = check_dataset(catalogue.get("mvtec_loco"), tmp_path).problems
    assert any("mask holds the values 250" in str(problem) for problem in problems)
    values = np.zeros((10, 12), np.uint8)
    values[0, :2] = 236, 255
    Image.fromarray(values).save(tmp_path / "pushpins/ground_truth/logical_anomalies/001/001.png")
    with pytest.raises(UserError, match="mask holds the values 236 to 255"):
        defect_masks(sample, read_masks(sample, None))


def test_without_a_config_or_with_joined_masks_there_is_no_saturation(
    tmp_path: Path, draw: Callable[..., Path]
) -> None:
    spec = catalogue.get("mvtec_loco_logical")
    bare, joined = tmp_path / "bare", tmp_path / "joined"
    plant(loco(spec.name, config=None), bare, draw)
    plant(loco(spec.name), joined, draw)
    mask = joined / "pushpins/ground_truth/logical_anomalies"
    (mask / "001/000.png").rename(mask / "001_mask.png")
    (mask / "001").rmdir()
    for root, said in ((bare, "defects_config.json is missing"), (joined, "1 masks do not tell defects apart")):
        found = spec.survey(root)
        assert found.error() is None
        assert all(sample.saturations is None for sample in found.samples)
        assert [said in note.text for note in found.notes if note.in_rows] == [True]


@pytest.mark.parametrize(
    "change",
    [
        {"pixel_value": 0},
        {"pixel_value": "255"},
        {"pixel_value": 236},
        {"saturation_threshold": 0},
        {"saturation_threshold": 1.5},
        {"saturation_threshold": "1"},
        {"relative_saturation": "yes"},
        {"relative_saturation": None},
    ],
)
def test_a_damaged_config_is_one_line(tmp_path: Path, change: dict[str, object]) -> None:
    file = tmp_path / "defects_config.json"
    file.write_text(json.dumps([{**ENTRIES[0], **change}, ENTRIES[1]]))
    with pytest.raises(UserError, match=r"config of defects .*defects_config\.json\)\. Unpack"):
        read_saturations(file)


def test_a_damaged_config_is_a_fault_of_its_class(tmp_path: Path, draw: Callable[..., Path]) -> None:
    plant(loco("mvtec_loco"), tmp_path, draw)
    (tmp_path / "pushpins/defects_config.json").write_text("[")
    with pytest.raises(UserError, match="config of defects cannot be read"):
        catalogue.get("mvtec_loco").index(tmp_path)
