"""Every published layout, and what people make of it, as a tiny tree: what is read from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sklearn.model_selection import train_test_split

from adbench.data import catalogue
from adbench.data.check import check_dataset
from adbench.errors import UserError
from trees import REAL_IAD, Tree, check_tree, mvtec_like, plant


def pair(name: str, class_name: str, images: str, masks: str, image: str = "7.jpg", mask: str = "7.jpg") -> Tree:
    return Tree(
        what=images,
        name=name,
        images=[f"{images}/{image}"],
        masks=[f"{masks}/{mask}"],
        expected=[f"test {class_name} 1 {images}/{image} {masks}/{mask}"],
    )


def arranged(name: str, folder: str, class_name: str | None = None, *, masks: bool = True) -> Tree:
    """As AdaCLIP's scripts arrange a set with one class; the empty train folder they need may be missing."""
    mask = f"{folder}/ground_truth/defect/a_mask.png"
    return Tree(
        what="AdaCLIP's arrangement",
        name=name,
        images=[f"{folder}/test/good/a.png", f"{folder}/test/defect/a.png"],
        masks=[mask] if masks else [],
        expected=[
            f"test {class_name or folder} 1 {folder}/test/defect/a.png" + (f" {mask}" if masks else ""),
            f"test {class_name or folder} 0 {folder}/test/good/a.png",
        ],
    )


def sides(name: str, class_name: str, normal: str, anomalous: str, stray: str) -> Tree:
    return Tree(
        what="two folders",
        name=name,
        images=[f"{normal}/1 no.jpeg", f"{normal}/N2.JPG", f"{anomalous}/Y1.png", stray],
        expected=[
            f"test {class_name} 0 {normal}/1 no.jpeg",
            f"test {class_name} 0 {normal}/N2.JPG",
            f"test {class_name} 1 {anomalous}/Y1.png",
        ],
    )


DAGM_IMAGES = [
    f"Class7/{state}/{n:04d}.PNG" for state, numbers in (("Train", range(4)), ("Test", (8, 9))) for n in numbers
]
REAL_IAD_ROWS = [
    "train pcb 0 realiad_512/pcb/OK/S1/a.jpg",
    "test pcb 1 realiad_512/pcb/NG/HS/S2/b.jpg realiad_512/pcb/NG/HS/S2/b.png",
]

CASES = [
    mvtec_like("mpdd", "bracket_black"),
    mvtec_like("btad", "03", normal="ok", suffix=".png"),
    mvtec_like("dtd", "Woven_127"),
    *(arranged(*names) for names in (("sdd", "SDD"), ("dagm", "Class3"), ("isic", "isic"), ("tn3k", "tn3k"))),
    *(arranged(*names) for names in (("clinicdb", "ClinicDB"), ("kvasir", "colon"), ("endo", "endo", "colon"))),
    *(arranged(name, name, masks=False) for name in ("headct", "brain_mri", "br35h")),
    pair("kvasir", "colon", "images", "masks"),
    pair("endo", "colon", "images", "masks", mask="7_mask.png"),
    pair("colondb", "ColonDB", "images", "masks", image="7.tif", mask="7.png"),
    pair("tn3k", "tn3k", "test-image", "test-mask"),
    pair(
        "isic",
        "isic",
        "ISBI2016_ISIC_Part1_Test_Data",
        "ISBI2016_ISIC_Part1_Test_GroundTruth",
        image="ISIC_0000003.jpg",
        mask="ISIC_0000003_Segmentation.png",
    ),
    pair(  # a folder in a folder of the same name, as some programs unpack
        "isic",
        "isic",
        "ISIC2018_Task1-2_Test_Input/ISIC2018_Task1-2_Test_Input",
        "ISIC2018_Task1_Test_GroundTruth",
        image="ISIC_3.jpg",
        mask="ISIC_3_segmentation.png",
    ),
    Tree(
        what="superpixels beside the images",
        name="isic",
        images=["ISIC-2017_Test_v2_Data/ISIC_3.jpg", "ISIC-2017_Test_v2_Data/ISIC_3_superpixels.png"],
        masks=["ISIC-2017_Test_v2_Part1_GroundTruth/ISIC_3_segmentation.png"],
        expected=[
            "test isic 1 ISIC-2017_Test_v2_Data/ISIC_3.jpg ISIC-2017_Test_v2_Part1_GroundTruth/ISIC_3_segmentation.png"
        ],
    ),
    sides("brain_mri", "brain_mri", "no", "yes", "brain_tumor_dataset/no/N2.JPG"),
    sides("br35h", "br35h", "no", "yes", "pred/pred0.jpg"),
    sides("lag", "LAG", "non_glaucoma/image", "suspicious_glaucoma/image", "suspicious_glaucoma/attention_map/Y1.png"),
    sides("lag", "LAG", "non_glaucoma", "suspicious_glaucoma", "other/1.png"),
    Tree(
        what="another name in prompts",
        name="brain_mri",
        images=["no/1.png", "yes/1.png"],
        options={"class_name": "brainmri"},
        expected=["test brainmri 0 no/1.png", "test brainmri 1 yes/1.png"],
    ),
    *(
        Tree(
            what=f"table and images in {folder or 'the same folder'}",
            name="headct",
            images=[f"{folder}{n:03d}.png" for n in range(3)],
            texts={"labels.csv": "id, hemorrhage\n0,1\n1, 0\n\n2,1\n"},
            expected=[f"test headct {int(n != 1)} {folder}{n:03d}.png" for n in range(3)],
        )
        for folder in ("head_ct/head_ct/", "head_ct/", "")
    ),
    Tree(
        what="images with masks beside them",
        name="ksdd2",
        images=["train/10.png", "train/11.png", "test/20.png"],
        masks=["train/11_GT.png", "test/20_GT.png"],
        empty=["train/10_GT.png"],
        expected=[
            "train KSDD2 0 train/10.png",
            "train KSDD2 1 train/11.png train/11_GT.png",
            "test KSDD2 1 test/20.png test/20_GT.png",
        ],
    ),
    Tree(
        what="AdaCLIP's balanced split",
        name="dagm",
        images=DAGM_IMAGES,
        masks=["Class7/Train/Label/0001_label.PNG", "Class7/Test/Label/0009_label.PNG"],
        texts={"Class7/Train/Label/Labels.txt": "1"},
        expected=[
            "train Class7 0 Class7/Train/0002.PNG",
            "train Class7 0 Class7/Train/0003.PNG",
            "test Class7 0 Class7/Test/0008.PNG",
            "test Class7 1 Class7/Test/0009.PNG Class7/Test/Label/0009_label.PNG",
            "test Class7 0 Class7/Train/0000.PNG",
            "test Class7 1 Class7/Train/0001.PNG Class7/Train/Label/0001_label.PNG",
        ],
    ),
    Tree(
        what="the official split",
        name="dagm",
        images=DAGM_IMAGES,
        masks=["Class7/Train/Label/0001_label.PNG", "Class7/Test/Label/0009_label.PNG"],
        options={"official_split": True},
        expected=[
            *(f"train Class7 0 Class7/Train/{n:04d}.PNG" for n in (0,)),
            "train Class7 1 Class7/Train/0001.PNG Class7/Train/Label/0001_label.PNG",
            *(f"train Class7 0 Class7/Train/{n:04d}.PNG" for n in (2, 3)),
            "test Class7 0 Class7/Test/0008.PNG",
            "test Class7 1 Class7/Test/0009.PNG Class7/Test/Label/0009_label.PNG",
        ],
    ),
    # 11 pixels high: cut at 3 and 7, so that a mark in rows 2 to 5 lies in the first and the second piece.
    Tree(
        what="a defect across a cut",
        name="sdd",
        images=["kos01/Part0.jpg", "kos02/Part5.jpg"],
        masks=["kos01/Part0_label.bmp"],
        empty=["kos02/Part5_label.bmp"],
        size=(12, 11),
        expected=[
            "train SDD 0 kos01/Part0.jpg/0-7-12-11",
            "train SDD 0 kos02/Part5.jpg/0-3-12-7",
            "train SDD 0 kos02/Part5.jpg/0-7-12-11",
            "test SDD 1 kos01/Part0.jpg/0-0-12-3 kos01/Part0_label.bmp/0-0-12-3",
            "test SDD 1 kos01/Part0.jpg/0-3-12-7 kos01/Part0_label.bmp/0-3-12-7",
            "test SDD 0 kos02/Part5.jpg/0-0-12-3",  # as train_test_split(range(4), ...) says
        ],
    ),
    *(
        Tree(
            what=f"tables in {folder}",
            name="real_iad",
            images=["realiad_512/pcb/OK/S1/a.jpg", "realiad_512/pcb/NG/HS/S2/b.jpg"],
            masks=["realiad_512/pcb/NG/HS/S2/b.png"],
            texts={f"{folder}/pcb.json": REAL_IAD, f"{folder}/usb.json": REAL_IAD},  # of usb there are no pictures
            options=options,
            expected=REAL_IAD_ROWS,
        )
        for folder, options in (
            ("realiad_jsons", {}),
            ("realiad_jsons/realiad_jsons", {"pictures": "realiad_512"}),
            ("realiad_jsons/realiad_jsons_sv", {"table": "realiad_jsons_sv"}),
        )
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}: {case.what}")
@pytest.mark.parametrize("below", ["", "archive"])
def test_what_is_read(tmp_path: Path, draw: Callable[..., Path], case: Tree, below: str) -> None:
    check_tree(case, tmp_path / "set", below, draw)


@pytest.mark.parametrize("name", ["headct", "brain_mri", "br35h", "lag"])
def test_three_quarters_of_the_normal_images_for_few_shot_methods(
    tmp_path: Path, draw: Callable[..., Path], name: str
) -> None:
    normal, anomalous = ("non_glaucoma", "suspicious_glaucoma") if name == "lag" else ("no", "yes")
    images = [f"{side}/{n:03d}.png" for side in (normal, anomalous) for n in range(8)]
    texts = {}
    if name == "headct":
        images = [f"head_ct/{n:03d}.png" for n in range(16)]
        texts = {"labels.csv": "id,hemorrhage\n" + "".join(f"{n},{int(n >= 8)}\n" for n in range(16))}
    root = plant(Tree("", name, images, [], texts=texts), tmp_path, draw)
    samples = catalogue.get(name).index(root, options={"few_shot_split": True})
    train, test = train_test_split(images[:8], test_size=0.25, random_state=42)
    assert [s.key for s in samples if s.split == "train"] == sorted(train)
    assert [s.key for s in samples if s.split == "test" and not s.label] == sorted(test)
    assert [s.key for s in samples if s.label] == images[8:]
    spec = catalogue.get(name)
    assert len(spec.deviations(samples)) == 1
    assert spec.deviations(samples, {"few_shot_split": True}) == []  # published are the numbers without it


@pytest.mark.parametrize(
    ("name", "content", "own"),
    [
        ("isic", {"skin": ("ISIC_3.jpg", "ISIC_3.png")}, "skin"),
        ("sdd", {"electrical commutators": ("a/test/defect/1.png", "a/ground_truth/defect/1.png")}, None),
        ("dagm", {"Class1": ("Class1/x/1.PNG", "Class1/x/1_label.PNG")}, None),
        ("aitex", {"AITEX": ("test/1.png", "gt/1.png")}, None),
    ],
)
def test_repacked_sets_are_read_by_their_meta_json(
    tmp_path: Path, draw: Callable[..., Path], name: str, content: dict[str, tuple[str, str]], own: str | None
) -> None:
    ((class_name, (image, mask)),) = content.items()
    draw(tmp_path / image)
    draw(tmp_path / mask, mode="L", value=255)
    record = {"img_path": image, "mask_path": mask, "cls_name": own or class_name, "specie_name": "x", "anomaly": 1}
    (tmp_path / "meta.json").write_text(json.dumps({"test": {class_name: [record]}}))
    (sample,) = catalogue.get(name).index(tmp_path)
    assert (sample.class_name, sample.key, sample.mask_path, sample.dataset) == (
        class_name,
        image,
        tmp_path / mask,
        name,
    )
    assert catalogue.get(name).index(tmp_path, [class_name]) == [sample]
    with pytest.raises(UserError, match=r"unknown class of data set .* 'cable'"):
        catalogue.get(name).index(tmp_path, ["cable"])
    named = [str(problem) for problem in check_dataset(catalogue.get(name), tmp_path).problems]
    assert not any(f"class {name}/{class_name} " in line for line in named)
    if class_name not in catalogue.get(name).classes:
        assert not named
