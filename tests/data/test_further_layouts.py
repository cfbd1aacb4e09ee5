"""GoodsAD, AutoVI, VAD, BMAD, COVID-19 X-rays and RSDDs as tiny trees: what is read, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adbench.data import catalogue
from adbench.errors import UserError
from trees import Tree, check_tree, mvtec_like, plant

CONFIG = json.dumps(
    [{"defect_name": "x", "pixel_value": 255, "saturation_threshold": 1.0, "relative_saturation": True}]
)


def vad(place: str = "", *, masks: bool = False) -> Tree:
    truth = [f"{place}ground_truth/{kind}/7.png" for kind in ("bad", "bad_unseen_defects")] if masks else ["", ""]
    return Tree(
        what=f"VAD{' with masks' * masks} in {place or 'its root'}",
        name="vad",
        images=[
            *(f"{place}train/{kind}/7.png" for kind in ("good", "bad")),
            *(f"{place}test/{kind}/7.png" for kind in ("good", "bad", "bad_unseen_defects")),
        ],
        masks=truth if masks else [],
        expected=[
            *(["train vad 1 train/bad/7.png"] if not masks else []),
            "train vad 0 train/good/7.png",
            f"test vad 1 test/bad/7.png {truth[0]}".strip(),
            f"test vad 1 test/bad_unseen_defects/7.png {truth[1]}".strip(),
            "test vad 0 test/good/7.png",
        ],
    )


def bmad(folder: str, name: str, *, image: str = "", train: str = "", masks: str | None = None) -> Tree:
    """One set of BMAD: `image` and `train` are the folders within good and Ungood, `masks` that of masks."""
    truth = [f"{folder}/{split}/Ungood/{masks}/00001_7.png" for split in ("test", "valid")] if masks else ["", ""]
    return Tree(
        what=f"{folder} with {masks or 'no masks'}",
        name="bmad",
        images=[
            f"{folder}/train/good/{train}00001_7.png",
            *(
                f"{folder}/{split}/{kind}/{image}00001_7.png"
                for split in ("valid", "test")
                for kind in ("good", "Ungood")
            ),
        ],
        masks=[*(truth if masks else []), *([f"{folder}/test/good/label/00001_7.png"] if masks == "label" else [])],
        expected=[
            f"train {name} 0 {folder}/train/good/{train}00001_7.png",
            f"test {name} 1 {folder}/test/Ungood/{image}00001_7.png {truth[0]}".strip(),
            f"test {name} 0 {folder}/test/good/{image}00001_7.png",
            f"validation {name} 1 {folder}/valid/Ungood/{image}00001_7.png {truth[1]}".strip(),
            f"validation {name} 0 {folder}/valid/good/{image}00001_7.png",
        ],
    )


def covid(what: str, normal: str, covid: str, *others: str, **options: object) -> Tree:
    return Tree(
        what=what,
        name="covid_cxr",
        images=[f"{normal}/Normal-1.png", f"{covid}/COVID-1.png", *others],
        options=options,
        expected=[f"test chest 1 {covid}/COVID-1.png", f"test chest 0 {normal}/Normal-1.png"],
    )


CASES = [
    mvtec_like("goodsad", "food_box", suffix=".png"),
    Tree(
        what="a folder of masks per image",
        name="autovi",
        images=["pipe_clip/train/good/0001.png", "pipe_clip/test/good/0001.png", "pipe_clip/test/unclipped/0001.png"],
        masks=[f"pipe_clip/ground_truth/unclipped/0001/{n:04d}.png" for n in (0, 1)],
        texts={"pipe_clip/defects_config.json": CONFIG},
        expected=[
            "train pipe_clip 0 pipe_clip/train/good/0001.png",
            "test pipe_clip 0 pipe_clip/test/good/0001.png",
            "test pipe_clip 1 pipe_clip/test/unclipped/0001.png pipe_clip/ground_truth/unclipped/0001/0000.png "
            "pipe_clip/ground_truth/unclipped/0001/0001.png",
        ],
    ),
    vad(),
    vad(masks=True),
    bmad("Brain", "Brain", image="img/", train="img/", masks="anomaly_mask"),
    bmad("Liver", "Liver", image="img/", masks="label"),
    bmad("RESC", "Retina_RESC", image="img/", masks="anomaly_mask"),
    bmad("camelyon16", "Histopathology"),
    bmad("chest", "Chest"),
    covid(
        "today's release",
        "Normal/images",
        "COVID/images",
        "Normal/masks/Normal-1.png",
        "COVID/masks/COVID-1.png",
        "Lung_Opacity/images/Lung_Opacity-1.png",
    ),
    covid("the first release", "NORMAL", "COVID-19", "Viral Pneumonia/Viral Pneumonia (1).png"),
    Tree(
        what="strips of either type",
        name="rsdds",
        images=[f"Type-{kind}_RSDDs_dataset/Rail_surface_images/rail_1.jpg" for kind in ("I", "II")],
        masks=[f"Type-{kind}_RSDDs_dataset/GroundTruth/rail_1.png" for kind in ("I", "II")],
        expected=[
            f"test Type-{kind} 1 Type-{kind}_RSDDs_dataset/Rail_surface_images/rail_1.jpg "
            f"Type-{kind}_RSDDs_dataset/GroundTruth/rail_1.png"
            for kind in ("I", "II")
        ],
    ),
    mvtec_like("rsdds", "RSDD-1", suffix=".png"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}: {case.what}")
@pytest.mark.parametrize("below", ["", "archive/archive"])
def test_what_is_read(tmp_path: Path, draw: Callable[..., Path], case: Tree, below: str) -> None:
    check_tree(case, tmp_path / "set", below, draw)


def test_vad_draws_support_from_good_images_and_tells_what_it_leaves_out(
    tmp_path: Path, draw: Callable[..., Path]
) -> None:
    spec = catalogue.get("vad")
    found = spec.survey(plant(vad(masks=True), tmp_path, draw))
    assert [note.text for note in found.notes] == [
        "1 defective training images are left out: their masks are not known"
    ]
    assert [sample.key for sample in spec.support_pool(found.samples, "vad")] == ["train/good/7.png"]


def test_autovi_knows_saturations(tmp_path: Path, draw: Callable[..., Path]) -> None:
    samples = catalogue.get("autovi").index(plant(CASES[1], tmp_path, draw))
    assert [sample.saturations for sample in samples if sample.label] == [{255: (1.0, True)}]


def test_units_are_patients_and_products() -> None:
    patient, product = catalogue.get("bmad").unit_of, catalogue.get("goodsad").unit_of
    assert patient is not None
    assert product is not None
    assert patient("Brain/test/good/img/00001_60.png") == patient("Brain/test/good/img/00001_61.png")
    assert patient("Liver/test/good/img/1_60.png") != patient("Liver/test/good/img/1_61.png")
    assert product("food_box/test/good/001002.jpg") == product("food_box/test/good/001003.jpg")
    assert product("food_box/test/good/001002.jpg") != product("food_box/test/good/002002.jpg")


def test_covid_rows_say_which_release_and_findings(tmp_path: Path, draw: Callable[..., Path]) -> None:
    spec = catalogue.get("covid_cxr")
    root = plant(covid("", "NORMAL", "COVID-19", "Viral Pneumonia/1.png"), tmp_path, draw)
    found = spec.survey(root, options={"anomalous": ["COVID", "Viral_Pneumonia"]})
    assert [(note.text, note.in_rows) for note in found.notes] == [
        ("the first release: 1 normal, 1 COVID, 1 Viral_Pneumonia images", True)
    ]
    assert [sample.defect for sample in found.samples] == ["COVID", "good", "Viral_Pneumonia"]
    with pytest.raises(UserError, match="the folder Lung_Opacity is missing"):
        spec.index(root, options={"anomalous": ["Lung_Opacity"]})
    with pytest.raises(UserError, match=r"unknown finding 'pneumonia' \(data\.anomalous\)"):
        spec.index(root, options={"anomalous": ["pneumonia"]})


def test_two_sets_called_rsdds_are_not_mixed(tmp_path: Path, draw: Callable[..., Path]) -> None:
    for case in CASES[-2:]:
        plant(case, tmp_path, draw)
    with pytest.raises(UserError, match="two sets are called RSDDs: 'Type-I_RSDDs_dataset' and 'RSDD-1'"):
        catalogue.get("rsdds").index(tmp_path)


def test_rsdds_rows_say_which_set_it_is(tmp_path: Path, draw: Callable[..., Path]) -> None:
    (note,) = catalogue.get("rsdds").survey(plant(CASES[-1], tmp_path, draw)).notes
    assert note.in_rows
    assert note.text == "RSDDS of NEU, arranged for anomaly detection"


VARIETY = {
    "train": [{"anomaly_class": "OK", "image_path": "OK/S1/a_1_OK_C1_7.jpg", "mask_path": None}],
    "test": [
        {"anomaly_class": "Pit", "image_path": "NG/Pit/S2/a_2_NG_C1_7.jpg", "mask_path": "NG/Pit/S2/a_2_NG_C1_7.png"},
        {"anomaly_class": "Pit", "image_path": "NG/Pit/S2/a_2_NG_C02_7.jpg", "mask_path": None},
    ],
}


@pytest.mark.parametrize("inner", ["", "Real-IAD_Variety_jsons/"])
@pytest.mark.parametrize("folder", ["VR_joystick", "VR-joystick/VR_joystick"])
def test_views_without_a_mask_are_normal_and_counted(
    tmp_path: Path, draw: Callable[..., Path], inner: str, folder: str
) -> None:
    place = f"realiadvariety_1024/{folder}"
    seen, hidden = (f"{place}/NG/Pit/S2/a_2_NG_{tag}_7" for tag in ("C1", "C02"))
    case = Tree(
        what="",
        name="real_iad_variety",
        images=[f"{place}/OK/S1/a_1_OK_C1_7.jpg", f"{seen}.jpg", f"{hidden}.jpg"],
        masks=[f"{seen}.png"],
        texts={f"realiadvariety_jsons/{inner}VR_joystick.json": json.dumps(VARIETY)},
        expected=[
            f"train VR_joystick 0 {place}/OK/S1/a_1_OK_C1_7.jpg",
            f"test VR_joystick 0 {hidden}.jpg",
            f"test VR_joystick 1 {seen}.jpg {seen}.png",
        ],
    )
    samples = check_tree(case, tmp_path, "", draw)
    spec = catalogue.get("real_iad_variety")
    assert spec.unit_of is not None
    assert len({spec.unit_of(sample.key) for sample in samples}) == 2
    (note,) = spec.survey(tmp_path).notes
    assert note.in_rows
    assert note.text == "1 views of defective parts have no mask and count as normal"
    with pytest.raises(UserError, match="an anomalous image has no mask"):
        spec.index(tmp_path, options={"label": "kind"})
    assert [sample.label for sample in spec.index(tmp_path, options={"label": "kind", "broken": "skip"})] == [0, 1]


def test_a_damaged_table_is_a_fault_of_its_class(tmp_path: Path, draw: Callable[..., Path]) -> None:
    draw(tmp_path / "realiadvariety_raw/a/OK/1.jpg")
    (tmp_path / "realiadvariety_jsons").mkdir()
    (tmp_path / "realiadvariety_jsons/a.json").write_text('{"train": []}')
    with pytest.raises(UserError, match=r"the table cannot be read: KeyError\('test'\)"):
        catalogue.get("real_iad_variety").index(tmp_path)
