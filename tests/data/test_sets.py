"""Every published layout as a tiny tree, with the quirks that occur in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

import adbench
from adbench.data import catalogue
from adbench.data.images import open_mask
from adbench.data.sample import Sample
from adbench.errors import UserError

Tree = Callable[..., Path]


def index(name: str, root: Path, **options: object) -> list[Sample]:
    return catalogue.get(name).index(root, options=options)


def masks(samples: list[Sample]) -> dict[str, str]:
    return {sample.key: sample.mask_path.name for sample in samples if sample.mask_path is not None}


# MVTec AD


def test_mvtec_ignores_stray_files_and_strangers(tmp_path: Path, tree: Tree) -> None:
    root = tree(
        tmp_path,
        [
            "bottle/train/good/.DS_Store",
            "bottle/train/good/._000.png",
            "bottle/train/good/000.png",
            "bottle/test/good/Thumbs.db",
            "bottle/test/crack/000.png",
            "bottle/test/crack/001.PNG",
            "bottle/ground_truth/crack/.hidden.png",
            "bottle/ground_truth/crack/001_mask.png",
            "bottle/ground_truth/crack/000_mask.PNG",
            "bottle/license.txt",
            "results/crack/000.png",
            "__MACOSX/bottle/000.png",
        ],
    )
    samples = index("mvtec", root)
    assert [sample.key for sample in samples] == [
        "bottle/train/good/000.png",
        "bottle/test/crack/000.png",
        "bottle/test/crack/001.PNG",
    ]
    assert masks(samples) == {
        "bottle/test/crack/000.png": "000_mask.PNG",
        "bottle/test/crack/001.PNG": "001_mask.png",
    }
    assert [sample.defect for sample in samples] == ["good", "crack", "crack"]


def test_mvtec_without_training_images(tmp_path: Path, tree: Tree) -> None:
    root = tree(tmp_path, ["bottle/test/good/000.png"])
    (root / "bottle/train").mkdir()
    assert [sample.split for sample in index("mvtec", root)] == ["test"]


def test_mvtec_with_missing_masks_fails_loudly(tmp_path: Path, tree: Tree) -> None:
    root = tree(tmp_path, ["bottle/test/crack/000.png", "bottle/test/crack/001.png"])
    with pytest.raises(UserError, match=r"2 of 2 anomalous images have no mask .*the folder is not there"):
        index("mvtec", root)
    tree(root, ["bottle/ground_truth/crack/000_mask.png"])
    with pytest.raises(UserError, match=r"1 of 2 anomalous images have no mask.*001\.png"):
        index("mvtec", root)


def test_unicode_and_blanks_in_names(tmp_path: Path, tree: Tree) -> None:
    root = tree(tmp_path / "été 2024", ["bottle/test/grain de café/né 1.png"])
    tree(root, ["bottle/ground_truth/grain de café/né 1_mask.png"])
    (sample,) = index("mvtec", root)
    assert sample.key == "bottle/test/grain de café/né 1.png"
    assert catalogue.fingerprint([sample])


# VisA

VISA_HEADER = "object,split,label,image,mask\n"
VISA_ROWS = [
    "candle,train,normal,candle/Data/Images/Normal/0000.JPG,",
    "candle,test,normal,candle/Data/Images/Normal/0001.JPG,",
    "candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png",
    "pcb1,test,anomaly,pcb1/Data/Images/Anomaly/000.JPG,pcb1/Data/Masks/Anomaly/000.png",
]


@pytest.fixture
def visa(tmp_path: Path, draw: Callable[..., Path]) -> Path:
    for row in VISA_ROWS:
        image, mask = row.split(",")[3:]
        (tmp_path / image).parent.mkdir(parents=True, exist_ok=True)
        draw(tmp_path / "x.jpg").replace(tmp_path / image)
        if mask:
            draw(tmp_path / mask, mode="L", value=2)
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv/1cls.csv").write_text(VISA_HEADER + "\n".join(VISA_ROWS) + "\n")
    return tmp_path


def test_visa_by_its_table(visa: Path) -> None:
    samples = index("visa", visa)
    assert [(s.class_name, s.split, s.label) for s in samples] == [
        ("candle", "train", 0),
        ("candle", "test", 1),
        ("candle", "test", 0),
        ("pcb1", "test", 1),
    ]
    assert masks(samples) == {s.key: "000.png" for s in samples if s.label}
    assert np.unique(np.asarray(open_mask(samples[1], (12, 10)))).tolist() == [0, 255]  # stored as label number 2
    assert len(catalogue.get("visa").index(visa, ["pcb1"])) == 1


def test_visa_with_missing_files_or_odd_rows(visa: Path) -> None:
    (visa / "pcb1/Data/Images/Anomaly/000.JPG").unlink()
    (visa / "candle/Data/Images/Normal/0001.JPG").unlink()
    with pytest.raises(UserError, match=r"2 of 4 files are missing.*candle/Data/Images/Normal/0001\.JPG"):
        index("visa", visa)
    (visa / "split_csv/1cls.csv").write_text(VISA_HEADER + "candle,validation,normal,a.JPG,\n")
    with pytest.raises(UserError, match=r"1cls\.csv, line 2"):
        index("visa", visa)
    (visa / "split_csv/1cls.csv").write_text(VISA_HEADER + "\ncandle,test,bad,a.JPG,\n")
    with pytest.raises(UserError, match=r"1cls\.csv, line 3.*normal or anomaly"):
        index("visa", visa)


@pytest.mark.parametrize("below", ["", "1cls"])
def test_visa_as_the_authors_script_arranges_it(tmp_path: Path, tree: Tree, below: str) -> None:
    tree(
        tmp_path / below,
        [
            "candle/train/good/0000.jpg",
            "candle/test/good/0001.jpg",
            "candle/test/bad/000.jpg",
            "candle/ground_truth/bad/000.png",
        ],
    )
    samples = index("visa", tmp_path)
    assert [sample.key for sample in samples] == [
        "candle/train/good/0000.jpg",
        "candle/test/bad/000.jpg",
        "candle/test/good/0001.jpg",
    ]
    assert masks(samples) == {"candle/test/bad/000.jpg": "000.png"}


# PIPED


@pytest.mark.parametrize("spelling", ["GroundTruth", "GroundThruth"])
@pytest.mark.parametrize("below", ["", "data", "DATA"])
def test_piped_both_spellings_inverted_masks_and_our_split(
    tmp_path: Path, draw: Callable[..., Path], spelling: str, below: str
) -> None:
    root = tmp_path / below / "PA_X01_TL"
    for number in range(5):
        draw(root / "NoDefects" / f"PA_X01_TL_S_ND_01_{number}.bmp")
    for number in range(2):
        draw(root / "Defects" / f"PA_X01_TL_S_D_01_{number}.bmp")
        mask = draw(root / "Defects" / spelling / f"PA_X01_TL_S_GT_01_{number}.bmp", mode="1", value=255)
    samples = index("piped", tmp_path)
    assert [sample.split for sample in samples if not sample.label] == ["train"] * 2 + ["test"] * 3
    assert samples[0].key == "PA_X01_TL/NoDefects/PA_X01_TL_S_ND_01_0.bmp"
    defective = [sample for sample in samples if sample.label]
    assert [sample.mask_path for sample in defective][1] == mask
    drawn = np.asarray(open_mask(defective[1], (12, 10)))
    assert drawn[0, 0] == 255  # black in the file
    assert drawn[3, 4] == 0
    mask.unlink()
    with pytest.raises(UserError, match=r"1 of 2 .* have no mask.*looked for .*PA_X01_TL_S_GT_01_1\.bmp"):
        index("piped", tmp_path)


def test_piped_mini_ships_with_the_package() -> None:
    opened = adbench.open_dataset("piped_mini")
    spec, samples = opened.facts, opened.samples
    root = spec.default_root(Path("anywhere"))
    assert spec.deviations(samples) == []
    assert len(samples) == 54
    assert {sample.class_name for sample in samples} == set(spec.classes)
    assert sum(file.stat().st_size for file in root.rglob("*") if file.is_file()) < 3_000_000
    assert "CC BY 4.0" in (root / "ATTRIBUTION.md").read_text()
    for sample in samples:
        share = np.asarray(open_mask(sample, (128, 128))).mean() / 255
        assert 0 < share < 0.5 if sample.label else share == 0


# ELPV


@pytest.mark.parametrize("below", ["", "src/elpv_dataset/data"])
def test_elpv_grades_and_split(tmp_path: Path, draw: Callable[..., Path], below: str) -> None:
    grades = [0.0, 1.0, 0.3333333333333333, 0.0, 0.6666666666666666, 0.0, 0.0, 0.0, 0.0, 1.0]
    rows = []
    for number, grade in enumerate(grades):
        draw(tmp_path / below / f"images/cell{number:04d}.png", mode="L")
        rows.append(f"images/cell{number:04d}.png  {grade:<20} {'mono' if number % 2 else 'poly'}")
    (tmp_path / below / "labels.csv").write_text("\n".join(rows) + "\n")
    samples = index("elpv", tmp_path)
    normal = [row.split()[0] for row, grade in zip(rows, grades, strict=True) if grade == 0]
    train, test = train_test_split(normal, test_size=0.25, random_state=42)
    assert {sample.key for sample in samples if sample.split == "train"} == set(train)
    assert {sample.key for sample in samples if sample.split == "test" and not sample.label} == set(test)
    assert [sample.key for sample in samples if sample.label] == ["images/cell0001.png", "images/cell0009.png"]
    assert masks(samples) == {}
    assert sum(sample.label for sample in index("elpv", tmp_path, uncertain="anomaly")) == 4
    with pytest.raises(UserError, match="maybe"):
        index("elpv", tmp_path, uncertain="maybe")


def test_elpv_with_an_odd_row_or_missing_image(tmp_path: Path) -> None:
    for row in ("images/cell0002.png", "images/cell0002.png nan mono", "images/cell0002.png 100 mono"):
        (tmp_path / "labels.csv").write_text(f"images/cell0001.png  0.0  mono\n{row}\n")
        with pytest.raises(UserError, match=rf"{row}.*labels\.csv, line 2"):
            index("elpv", tmp_path)
    (tmp_path / "labels.csv").write_text("images/cell0001.png  0.0  mono\n")
    with pytest.raises(UserError, match=r"a file is missing, first 'images/cell0001\.png'"):
        index("elpv", tmp_path)


@pytest.mark.parametrize(
    ("name", "table"), [("elpv", "labels.csv"), ("headct", "labels.csv"), ("visa", "split_csv/1cls.csv")]
)
def test_a_table_that_is_no_text_is_named(tmp_path: Path, name: str, table: str) -> None:
    (tmp_path / table).parent.mkdir(exist_ok=True)
    (tmp_path / table).write_bytes("größe".encode("latin-1"))
    with pytest.raises(UserError, match=rf"the table cannot be read.*{table}"):
        index(name, tmp_path)


# demo


def test_demo_has_held_out_and_auxiliary_classes(tmp_path: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["test/good/000.png", "test/crack/000.png", "ground_truth/crack/000_mask.png"]
    held_out, auxiliary = "gear", "wood"

    def rendered(root: Path, progress: object) -> None:
        tree(root, [f"{held_out}/train/good/000.png", *(f"{held_out}/{name}" for name in names)])
        tree(root, [f"auxiliary/{auxiliary}/{name}" for name in names])

    monkeypatch.setattr("adbench.demo.sets.demo.render_demo", rendered)
    opened = adbench.open_dataset("demo", data_dir=tmp_path)
    spec, samples = opened.facts, opened.samples
    assert spec.default_root(tmp_path) == tmp_path / "demo"
    assert [s.key for s in spec.auxiliary(samples)] == [
        f"auxiliary/{auxiliary}/test/crack/000.png",
        f"auxiliary/{auxiliary}/test/good/000.png",
    ]
    assert {s.class_name for s in spec.evaluation(samples)} == {held_out}
    assert len(spec.support_pool(samples, held_out)) == 1
    assert spec.support_pool(samples, auxiliary) == []
    assert {s.class_name for s in spec.index(tmp_path / "demo", [auxiliary])} == {auxiliary}
