# ruff: noqa: E501 - tables read best with one case a line
"""What real copies of data sets look like, as tiny trees: read where the meaning is certain, else refused by name."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

import adbench
from adbench.data import catalogue
from adbench.data.catalogue import survey_dataset
from adbench.data.sample import Sample
from adbench.errors import UserError
from data.test_layouts import CASES
from trees import Tree as Layout
from trees import plant

Tree = Callable[..., Path]
MVTEC = ("train/good/0.png", "test/good/1.png", "test/crack/2.png", "ground_truth/crack/2_mask.png")


def index(name: str, root: Path, classes: list[str] | None = None, **options: object) -> list[Sample]:
    return adbench.open_dataset(name, root=root, classes=classes, **options).samples


def rows(samples: list[Sample], root: Path) -> list[str]:
    """ "split class label key [mask ...]" of each sample."""
    found = []
    for s in samples:
        masks = [path for path in (s.mask_path, *s.further_masks) if path is not None]
        files = [path.relative_to(root).as_posix() for path in masks]
        found.append(" ".join([s.split, s.class_name, str(s.label), s.key, *files]))
    return found


@pytest.mark.parametrize("tree", CASES, ids=lambda tree: f"{tree.name}: {tree.what}")
def test_a_relative_root_gives_what_an_absolute_one_gives(
    tmp_path: Path, draw: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tree: Layout
) -> None:
    root = plant(tree, tmp_path / "data" / tree.name, draw)
    spec = catalogue.get(tree.name)
    absolute = rows(spec.index(root, options=tree.options), root)
    monkeypatch.chdir(tmp_path)
    relative = Path("data") / tree.name
    assert rows(spec.index(relative, options=tree.options), relative) == absolute
    monkeypatch.chdir(root)
    assert rows(spec.index(Path(), options=tree.options), Path()) == absolute


# Folders


@pytest.mark.parametrize("below", ["", "a", "a/mvtec_anomaly_detection", "a/b/c"])
@pytest.mark.parametrize("inner", ["", "bottle/", "bottle/bottle/"])
def test_sets_and_classes_lie_some_folders_deeper(tmp_path: Path, tree: Tree, below: str, inner: str) -> None:
    tree(tmp_path / below, [f"{name}/{inner}{file}" for name in ("bottle", "screw") for file in MVTEC])
    for name in ("mvtec", "folder"):
        assert [(s.class_name, s.split, s.label) for s in index(name, tmp_path)] == [
            (one, split, label)
            for one in ("bottle", "screw")
            for split, label in (("train", 0), ("test", 1), ("test", 0))
        ]


def test_names_of_folders_are_compared_without_case_blanks_and_strokes(tmp_path: Path, tree: Tree) -> None:
    files = ["Train/GOOD/0.png", "TEST/Good/1.png", "TEST/Broken Large/2.png", "GroundThruth/broken_large/2_mask.png"]
    samples = index("mvtec", tree(tmp_path, [f"Metal-Nut/{file}" for file in files]))
    assert rows(samples, tmp_path) == [
        "train metal_nut 0 Metal-Nut/Train/GOOD/0.png",
        "test metal_nut 1 Metal-Nut/TEST/Broken Large/2.png Metal-Nut/GroundThruth/broken_large/2_mask.png",
        "test metal_nut 0 Metal-Nut/TEST/Good/1.png",
    ]


def test_two_folders_of_one_name_are_refused(tmp_path: Path, tree: Tree) -> None:
    tree(tmp_path, [f"{name}/{file}" for name in ("Bottle", "BOTTLE") for file in MVTEC])
    with pytest.raises(UserError, match="two folders have one name: 'BOTTLE' and 'Bottle'"):
        index("mvtec", tmp_path)


def test_two_sets_in_one_root_are_named(tmp_path: Path, tree: Tree) -> None:
    tree(tmp_path, [f"{place}/{name}/{MVTEC[1]}" for place in ("mvtec", "mvtec_ad") for name in ("bottle", "screw")])
    with pytest.raises(UserError, match=r"holds 2 data sets: 'mvtec' and 'mvtec_ad'.*data\.root=.*/mvtec"):
        index("mvtec", tmp_path)
    with pytest.raises(UserError, match=r"several data sets .*'mvtec', 'mvtec_ad'.*data\.root="):
        index("folder", tmp_path)
    tree(tmp_path / "mine", ["mvtec/screw/test/good/0.png", "visa/candle/test/good/0.png"])
    assert {s.class_name for s in index("mvtec", tmp_path / "mine")} == {"screw"}


def test_archives_left_packed_are_named(tmp_path: Path, tree: Tree) -> None:
    (tmp_path / "bottle.zip").write_bytes(b"PK")
    for name in ("mvtec", "folder"):
        with pytest.raises(UserError, match=r"bottle\.zip is not unpacked"):
            index(name, tmp_path)
    tree(tmp_path, [f"screw/{file}" for file in MVTEC])
    with pytest.raises(UserError, match=r"bottle\.zip is not unpacked"):
        index("mvtec", tmp_path)
    with pytest.raises(UserError, match=r"bottle\.zip is not unpacked"):
        index("mvtec", tmp_path, ["bottle"])
    assert {s.class_name for s in index("mvtec", tmp_path, ["screw"])} == {"screw"}
    assert {s.class_name for s in index("mvtec", tmp_path, broken="skip")} == {"screw"}
    assert any("bottle.zip" in note.text and note.in_rows for note in survey_dataset("folder", root=tmp_path)[1].notes)
    (tmp_path / "own").mkdir()
    (tmp_path / "own/bad.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"bad\.zip is not unpacked"):
        index("folder", tree(tmp_path / "own", ["good/1.png"]))


def test_broken_links_are_named_with_what_they_lead_to(tmp_path: Path, tree: Tree) -> None:
    root = tree(tmp_path / "set", [f"{name}/{file}" for name in ("bottle", "screw") for file in MVTEC])
    (root / "bottle/test/crack/3.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(UserError, match=r"(link that leads nowhere|no mask).*"):
        index("mvtec", root)
    assert len(index("mvtec", root, broken="skip")) == 6
    (root / "bottle/test/crack/3.png").unlink()
    (root / "bottle/train/good/3.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(UserError, match=r"image file is a link that leads nowhere .*3\.png, to .*gone\.png"):
        index("mvtec", root)
    (root / "bottle/train/good/3.png").unlink()
    (root / "zipper").symlink_to(tmp_path / "share")
    with pytest.raises(UserError, match=r"link leads nowhere .*zipper -> .*share"):
        index("mvtec", root)
    assert {s.class_name for s in index("mvtec", root, broken="skip")} == {"bottle", "screw"}


def test_links_that_lead_back_end(tmp_path: Path, tree: Tree) -> None:
    root = tree(tmp_path, ["good/1.png", "bad/1.png"])
    (root / "bad/again").symlink_to(root / "bad")
    with pytest.raises(UserError, match="nested without end"):
        index("folder", root)


@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_what_is_no_file_is_named(tmp_path: Path, tree: Tree, kind: str) -> None:
    root = tree(tmp_path, ["good/1.png", "bad/1.png"])
    if kind == "fifo":
        os.mkfifo(root / "bad/2.png")
    else:
        os.mknod(root / "bad/2.png", 0o140600)
    with pytest.raises(UserError, match=r"a pipe, socket or device .*bad/2\.png"):
        index("folder", root)


def test_mvtec_loco_and_ad_2_as_any_folder(tmp_path: Path, tree: Tree) -> None:
    loco = tree(
        tmp_path / "loco",
        [
            *("box/train/good/0.png", "box/validation/good/0.png", "box/test/good/0.png"),
            *("box/test/logical/0.png", "box/test/logical/1.png"),
            *(f"box/ground_truth/logical/{file}" for file in ("0/0.png", "0/1.png", "1/0.png")),
        ],
    )
    assert rows(index("folder", loco), loco) == [
        "train box 0 box/train/good/0.png",
        "test box 0 box/test/good/0.png",
        "test box 1 box/test/logical/0.png box/ground_truth/logical/0/0.png box/ground_truth/logical/0/1.png",
        "test box 1 box/test/logical/1.png box/ground_truth/logical/1/0.png",
        "validation box 0 box/validation/good/0.png",
    ]
    ad2 = tree(
        tmp_path / "ad2",
        [
            *("can/can/train/good/0.png", "can/can/validation/good/0.png", "can/can/test_private/0.png"),
            *("can/can/test_public/good/0.png", "can/can/test_public/bad/1.png"),
            "can/can/test_public/ground_truth/bad/1_mask.png",
        ],
    )
    assert rows(index("folder", ad2), ad2) == [
        "train can 0 can/can/train/good/0.png",
        "test can 1 can/can/test_public/bad/1.png can/can/test_public/ground_truth/bad/1_mask.png",
        "test can 0 can/can/test_public/good/0.png",
        "validation can 0 can/can/validation/good/0.png",
    ]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["test/good/0.png", "test_public/good/0.png"], "two folders hold test images"),
        (["test/good/0.png", "extra/0.png"], r"not clear what 'extra' beside 'test' holds.*folders extra, test"),
    ],
)
def test_unknown_splits_are_refused(tmp_path: Path, tree: Tree, files: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        index("folder", tree(tmp_path, files))


def test_masks_of_something_else_are_never_ground_truth(tmp_path: Path, tree: Tree) -> None:
    files = [*MVTEC, "fg_mask/crack/2.png", "masks/crack/2.png"]
    (mask,) = [s.mask_path for s in index("folder", tree(tmp_path, files)) if s.label]
    assert mask == tmp_path / "ground_truth/crack/2_mask.png"


# Repacks


REPACKS: dict[str, tuple[dict[str, str], str]] = {
    "parquet": ({"data/train-00000.parquet": "PAR1"}, "parquet"),
    "Supervisely": ({"ds/img/1.png": "", "ds/ann/1.png.json": "{}", "meta.json": '{"classes": [], "tags": []}'}, "Supervisely"),
    "FiftyOne": ({"data/data_0/1.png": "", "fields/defect_mask_0/1.png": "", "samples.json": "{}"}, "FiftyOne"),
    "Roboflow": ({"train/001_png.rf.0123456789abcdef0123456789abcdef.jpg": ""}, "Roboflow"),
    "an image folder of a hub": ({"train/0.png": "", "train/metadata.jsonl": "{}"}, r"metadata\.jsonl"),
    "COCO": ({"images/0.png": "", "annotations/a.json": '{"images": [], "annotations": []}'}, "annotations in JSON .COCO"),
    "LabelMe": ({"images/0.png": "", "images/0.json": '{"shapes": []}'}, "annotations in JSON .LabelMe"),
    "YOLO": ({"images/0.png": "", "labels/0.txt": "0 0.5 0.5 0.1 0.2\n"}, "annotations as text .YOLO"),
    "VOC": ({"JPEGImages/0.png": "", "Annotations/0.xml": "<annotation/>"}, "Pascal VOC"),
}  # fmt: skip


@pytest.mark.parametrize("what", REPACKS)
@pytest.mark.parametrize("name", ["mvtec", "folder"])
def test_repacks_are_named(tmp_path: Path, what: str, name: str) -> None:
    files, said = REPACKS[what]
    for file, text in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        index(name, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["annotations/1.json", "bad/1.json"])
def test_annotations_that_are_no_masks_are_named(tmp_path: Path, tree: Tree, place: str) -> None:
    root = tree(tmp_path, ["good/1.png", "bad/1.png"])
    (root / place).parent.mkdir(exist_ok=True)
    (root / place).write_text('{"shapes": []}')
    with pytest.raises(UserError, match=r"annotations in JSON .LabelMe., no mask files"):
        index("folder", root)


# Files


def test_twins_by_case_or_extension(tmp_path: Path, tree: Tree) -> None:
    root = tree(tmp_path, ["good/a.png", "good/A.png", "bad/1.png"])
    with pytest.raises(UserError, match=r"one name but for case and extension: 'A\.png' and 'a\.png'"):
        index("folder", root)
    (root / "good/A.png").unlink()
    tree(root, ["good/a.bmp"])  # other pixels
    with pytest.raises(UserError, match=r"one name but for case and extension: 'a\.bmp' and 'a\.png'"):
        index("folder", root)
    assert [s.key for s in index("folder", root, broken="skip")] == ["bad/1.png"]
    from PIL import Image

    Image.open(root / "good/a.png").save(root / "good/a.bmp")  # the same pixels
    found = survey_dataset("folder", root=root)[1]
    assert [s.key for s in found.samples] == ["bad/1.png", "good/a.bmp"]
    assert [note.text for note in found.notes] == ["1 images are there twice, taken once: first good/a.png"]


def test_names_are_compared_in_their_composed_form(tmp_path: Path, tree: Tree) -> None:
    composed, split = (unicodedata.normalize(form, "M\u00fctter") for form in ("NFC", "NFD"))
    root = tree(tmp_path, [f"{split}/good/\u00e9.png", f"{split}/bad/{split}.png", f"{split}/masks/{composed}.png"])
    samples = index("folder", root, [composed])
    assert {s.class_name for s in samples} == {composed}
    assert {s.mask_path.name for s in samples if s.mask_path} == {f"{composed}.png"}
    record = {"img_path": f"{composed}/bad/{composed}.png", "mask_path": f"{composed}/masks/{split}.png", "anomaly": 1}
    (root / "meta.json").write_text(json.dumps({"test": {composed: [record]}}))
    (sample,) = index("meta", root)
    assert sample.path == root / split / "bad" / f"{split}.png"
    assert sample.mask_path == root / split / "masks" / f"{composed}.png"


def test_piped_as_published(tmp_path: Path, draw: Callable[..., Path]) -> None:
    for number in (1, 2, 10):
        draw(tmp_path / f"data/PA_ZPB01_RL/Defects/PA_ZPB01_RL_S_D_01_{number:02d}.bmp")
        draw(tmp_path / f"data/PA_ZPB01_RL/Defects/GroundTruth/PA_ZPB01_RL_S_GT_1_{number}.bmp", mode="1", value=255)
        for name, folder in (("PA_ZPB01_RL", "NoDefects"), ("PU_PNG01_TL", "NoDefect")):
            draw(tmp_path / f"data/{name}/{folder}/{name}_S_ND_01_{number}.bmp")
    samples = index("piped", tmp_path)
    assert {s.class_name: 0 for s in samples} == {"PA_ZPB01_RL": 0, "PU_PNG01_TL": 0}
    assert {s.path.name[-6:-4]: s.mask_path.stem.split("_")[-1] for s in samples if s.mask_path} == {
        "01": "1",
        "02": "2",
        "10": "10",
    }
    spec = catalogue.get("piped")
    assert {s.class_name for s in spec.evaluation(samples)} == {"PA_ZPB01_RL"}
    assert len(spec.support_pool(samples, "PU_PNG01_TL")) == 1


# What is broken


def test_a_broken_class_does_not_make_the_others_unusable(tmp_path: Path, tree: Tree) -> None:
    tree(tmp_path, [f"{name}/{file}" for name in ("bottle", "screw", "wood") for file in MVTEC])
    tree(tmp_path, ["screw/ground_truth/crack/2_mask.bmp"])  # two masks of one name
    tree(tmp_path, ["wood/test/crack/3.png", "wood/ground_truth/crack/3_mask.png"])
    (tmp_path / "wood/ground_truth/crack/2_mask.png").unlink()
    (tmp_path / "wood/test/good/1.png").write_bytes(b"")
    for name in ("mvtec", "folder"):
        with pytest.raises(UserError, match="two masks have the same stem"):
            index(name, tmp_path)
        assert {s.class_name for s in index(name, tmp_path, ["bottle"])} == {"bottle"}
        spec, found = survey_dataset(name, root=tmp_path, options={"broken": "skip"})
        assert [(s.class_name, s.split, s.label) for s in spec.usable(found, {"broken": "skip"})] == [
            ("bottle", "train", 0),
            ("bottle", "test", 1),
            ("bottle", "test", 0),
            ("wood", "train", 0),
            ("wood", "test", 1),
        ]
        left_out = found.left_out()
        assert ["screw" in left_out[0], "1 image of wood" in left_out[1], "1 image of wood" in left_out[2]] == [
            True
        ] * 3
    with pytest.raises(UserError, match=r"unknown value 'no' \(data\.broken\)\. Known: error, skip"):
        index("mvtec", tmp_path, broken="no")
