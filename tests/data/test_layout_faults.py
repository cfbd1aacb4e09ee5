"""Trees of which it is not clear what they hold: every one is refused, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adbench.data import catalogue
from adbench.errors import UserError
from trees import REAL_IAD, Tree, plant

SINGLE_VIEW = {"realiad_jsons/realiad_jsons_sv/pcb.json": REAL_IAD, "realiad_jsons/realiad_jsons/pcb.json": REAL_IAD}

# what: (set, tree, options, what the error says)
FAULTS = {
    "a label without an image": (
        Tree("", "dagm", ["Class1/Train/0000.PNG"], [], masks=["Class1/Train/Label/0007_label.PNG"]),
        r"0007_label\.PNG belongs to no image",
    ),
    "arranged images have no official split": (
        Tree("", "dagm", ["Class1/test/good/0.png"], [], options={"official_split": True}),
        r"Class1 does not have the folders Train and Test \(data\.official_split\)",
    ),
    "a picture without its label": (
        Tree("", "sdd", ["kos01/Part0.jpg", "kos01/Part1.jpg"], [], masks=["kos01/Part1_label.bmp"]),
        r"1 of 2 anomalous images have no mask.*Part0\.jpg",
    ),
    "an image without its mask": (
        Tree("", "ksdd2", ["train/1.png", "train/2.png", "test/3.png"], [], masks=["train/1_GT.png", "test/3_GT.png"]),
        r"have no mask among 1 files, first '2\.png'",
    ),
    "masks of one kind are missing": (
        Tree("", "mpdd", ["tubes/test/bent/0.png"], []),
        r"1 of 1 anomalous images have no mask .*the folder is not there .*ground_truth/bent/0_mask\.png",
    ),
    "fewer masks than images": (
        Tree("", "tn3k", ["test-image/1.jpg", "test-image/2.jpg"], [], masks=["test-mask/9.jpg"]),
        r"2 of 2 anomalous images have no mask among 1 files, first '1\.jpg'",
    ),
    "two challenges in one folder": (
        Tree(
            "",
            "isic",
            ["ISBI2016_ISIC_Part1_Test_Data/a.jpg", "ISIC2018_Task1-2_Test_Input/a.jpg"],
            [],
            masks=["ISBI2016_ISIC_Part1_Test_GroundTruth/a.png", "ISIC2018_Task1_Test_GroundTruth/a.png"],
        ),
        r"test images of 2 challenges are there: ISBI2016\S+, ISIC2018\S+",
    ),
    "images without the folder of masks": (
        Tree("", "isic", ["ISBI2016_ISIC_Part1_Test_Data/a.jpg"], []),
        r"no folders of images and masks.*ISBI2016_ISIC_Part1_Test_Data \+ ISBI2016_ISIC_Part1_Test_GroundTruth",
    ),
    "an odd row": (
        Tree("", "headct", ["000.png"], [], texts={"labels.csv": "id,hemorrhage\n0,2\n"}),
        r"a row is '0,2' .*labels\.csv, line 2",
    ),
    "a listed image is missing": (
        Tree("", "headct", ["000.png"], [], texts={"labels.csv": "id,hemorrhage\n0,1\n12,0\n"}),
        r"a?.*missing, first '012\.png'",
    ),
    "one side is missing": (Tree("", "br35h", ["yes/1.png"], []), r"folder cannot be listed .*/no\)"),
    "training images are there": (
        Tree("", "br35h", ["br35h/train/good/1.png", "br35h/test/good/1.png"], [], options={"few_shot_split": True}),
        "training images of its own",
    ),
    "several resolutions": (
        Tree(
            "",
            "real_iad",
            ["realiad_512/pcb/a.jpg", "realiad_1024/pcb/a.jpg"],
            [],
            texts={"realiad_jsons/pcb.json": REAL_IAD},
        ),
        r"several resolutions are there: realiad_1024, realiad_512.*data\.pictures=NAME",
    ),
    "an unknown table": (
        Tree("", "real_iad", ["realiad_512/pcb/a.jpg"], [], texts=SINGLE_VIEW, options={"table": "realiad_json_sv"}),
        r"unknown folder of tables 'realiad_json_sv'.*Did you mean 'realiad_jsons_sv'",
    ),
    "an unknown resolution": (
        Tree("", "real_iad", ["realiad_512/pcb/a.jpg"], [], texts=SINGLE_VIEW, options={"pictures": "realiad_256"}),
        r"unknown folder of images 'realiad_256'.*realiad_512",
    ),
    "listed pictures are missing": (
        Tree("", "real_iad", ["realiad_512/pcb/a.jpg"], [], texts={"realiad_jsons/pcb.json": REAL_IAD}),
        r"2 of 2 files are missing, first 'realiad_512/pcb/OK/S1/a\.jpg'",
    ),
    "a table cut short": (
        Tree("", "real_iad", ["realiad_512/pcb/a.jpg"], [], texts={"realiad_jsons/pcb.json": REAL_IAD[:99]}),
        r"the table cannot be read.*pcb\.json",
    ),
    "an option of the raw layout": (
        Tree("", "br35h", ["a.png"], [], texts={"meta.json": '{"test": {}}'}, options={"few_shot_split": True}),
        r"the option is for the raw layout, not for a meta\.json \(data\.few_shot_split",
    ),
    "another set": (Tree("", "mpdd", ["bolt/test/good/0.png"], []), r"does not hold data set mpdd.*<class>/train/good"),
}


def test_a_link_that_leads_back_to_itself_is_named(tmp_path: Path, draw: Callable[..., Path]) -> None:
    case = Tree("", "ksdd2", ["train/1.png", "test/3.png"], [], masks=["train/1_GT.png", "test/3_GT.png"])
    root = plant(case, tmp_path, draw)
    (root / "test/3.png").unlink()
    (root / "test/3.png").symlink_to("3.png")
    with pytest.raises(UserError, match=r"image file is a link that leads nowhere .*test/3\.png, to 3\.png"):
        catalogue.get("ksdd2").index(root)


@pytest.mark.parametrize("what", FAULTS)
def test_unclear_trees_are_refused(tmp_path: Path, draw: Callable[..., Path], what: str) -> None:
    case, message = FAULTS[what]
    with pytest.raises(UserError, match=message):
        catalogue.get(case.name).index(plant(case, tmp_path, draw), options=case.options)
