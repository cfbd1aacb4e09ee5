"""Road sets in their published layouts, as miniature trees with the faults that real copies have."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import adbench
from adbench.data import catalogue
from adbench.data.images import open_picture
from adbench.data.label_maps import open_labels
from adbench.data.sample import Sample
from adbench.errors import UserError
from road_trees import (
    FRAMES,
    HEIGHT,
    LAF,
    STATIC,
    WIDTH,
    base_pictures,
    cityscapes,
    fishyscapes,
    labels,
    picture,
    scene,
    smiyc,
    static,
)


def index(name: str, root: Path, **options: object) -> list[Sample]:
    return catalogue.get(name).index(root, options=options)


def read(sample: Sample) -> list[int]:
    """The label values of a sample, from left to right without repetition."""
    row = open_labels(sample, open_picture(sample).size)[0]
    return [int(value) for i, value in enumerate(row) if i == 0 or value != row[i - 1]]


# Cityscapes


def test_cityscapes_maps_ids_to_train_ids(tmp_path: Path) -> None:
    samples = index("cityscapes", cityscapes(tmp_path, {**FRAMES, "bonn_000000_000019": "test"}))
    assert [sample.split for sample in samples] == ["train", "train", "test", "val"]
    assert samples[0].key == "leftImg8bit/train/bad-honnef/bad-honnef_000001_000019_leftImg8bit.png"
    assert read(samples[0]) == [0, 1, 255, 18, 255]  # road, sidewalk, caravan and trailer, bicycle, unlabelled
    assert samples[2].mask_path is None
    spec = catalogue.get("cityscapes")
    assert spec.auxiliary(samples) == samples[:2]
    assert len(spec.class_names) == 19
    every = samples[0].label_ids
    assert every is not None
    known = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
    assert [every[one] for one in known] == list(range(19))
    assert {value for one, value in every.items() if one not in known} == {255}
    assert (spec.class_names[10], spec.class_names[16]) == ("sky", "train")


def test_cityscapes_has_nothing_to_evaluate(tmp_path: Path) -> None:
    samples = index("cityscapes", cityscapes(tmp_path, FRAMES))
    with pytest.raises(UserError, match="holds no anomalies to be found"):
        catalogue.get("cityscapes").evaluation(samples)


def test_cityscapes_dummy_labels_of_the_test_split_are_left_alone(tmp_path: Path) -> None:
    root = cityscapes(tmp_path, {"bonn_000000_000019": "test", **FRAMES})
    labels(root / "gtFine/test/bonn/bonn_000000_000019_gtFine_labelIds.png", 3)
    assert next(sample for sample in index("cityscapes", root) if sample.split == "test").mask_path is None


def test_a_missing_label_is_named_or_left_out(tmp_path: Path) -> None:
    root = cityscapes(tmp_path, FRAMES)
    gone = root / "gtFine/val/munster/munster_000000_000019_gtFine_labelIds.png"
    gone.unlink()
    with pytest.raises(UserError, match=r"no label file.*munster_000000_000019_gtFine_labelIds\.png"):
        index("cityscapes", root)
    left = index("cityscapes", root, broken="skip")
    assert gone not in [sample.mask_path for sample in left]
    assert len(left) == len(FRAMES) - 1


# RoadAnomaly


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("with_list", [False, True])
def test_road_anomaly_value_2_is_anomalous(tmp_path: Path, channels: int, with_list: bool) -> None:
    root = tmp_path / "RoadAnomaly_jpg"
    for name in ("animals01", "cones02", "unlisted"):
        picture(root / "frames" / f"{name}.jpg")
        labels(root / f"frames/{name}.labels/labels_semantic.png", 0, 2, 1, 255, channels=channels)
        labels(root / f"frames/{name}.labels/labels_semantic_color.png", 77)
    if with_list:
        (root / "frame_list.json").write_text(json.dumps(["cones02.jpg", "animals01.jpg"]))
    samples = index("road_anomaly19", tmp_path)
    names = ["animals01", "cones02"] + ([] if with_list else ["unlisted"])
    assert [sample.key for sample in samples] == [f"frames/{name}.jpg" for name in names]
    assert all(read(sample) == [0, 1, 255] for sample in samples)
    assert {(sample.split, sample.label, sample.class_name) for sample in samples} == {("test", -1, "road")}


def test_road_anomaly_faults_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "frames/a.jpg")
    with pytest.raises(UserError, match=r"no label file.*a\.labels/labels_semantic\.png"):
        index("road_anomaly19", tmp_path)
    labels(tmp_path / "frames/a.labels/labels_semantic.png", 0, 3)
    with pytest.raises(UserError, match=r"unexpected value 3.*a\.labels/labels_semantic\.png"):
        read(index("road_anomaly19", tmp_path)[0])
    (tmp_path / "frame_list.json").write_text('["a.jpg", "b.jpg"]')
    with pytest.raises(UserError, match=r"missing, first 'frames/b\.jpg'"):
        index("road_anomaly19", tmp_path)
    for text, message in (("[", "cannot be read"), ("7", r"frame_list\.json"), ('{"a.jpg": 1}', r"frame_list\.json")):
        (tmp_path / "frame_list.json").write_text(text)
        with pytest.raises(UserError, match=message):
            index("road_anomaly19", tmp_path)


# SegmentMeIfYouCan


def test_road_anomaly21_splits_by_name(tmp_path: Path) -> None:
    root = smiyc(
        tmp_path / "dataset_AnomalyTrack",
        ".jpg",
        {"validation0000": True, "validation0009": True, "airplane0000": False, "zebra0001": False},
    )
    spec, samples = catalogue.get("smiyc_ra21"), index("smiyc_ra21", root)
    assert [(sample.path.stem, sample.split) for sample in samples] == [
        *(("airplane0000", "test"), ("zebra0001", "test"), ("validation0000", "val"), ("validation0009", "val")),
    ]
    assert spec.evaluation(samples) == samples[2:]
    assert all(read(sample) == [0, 1, 255] for sample in samples[2:])
    assert [sample.mask_path for sample in spec.evaluation(samples, "test")] == [None, None]
    assert "validation" in str(spec.note())
    assert spec.note({"split": "test"}) is None
    (root / "labels_masks/validation0009_labels_semantic.png").unlink()
    with pytest.raises(UserError, match=r"no label file.*validation0009_labels_semantic\.png"):
        index("smiyc_ra21", root)


def test_road_obstacle21_takes_the_benchmarks_pictures(tmp_path: Path) -> None:
    val = ["validation_1", "validation_10", "validation_18", "validation_2", "validation_20", "validation_3"]
    excluded = [
        "validation_19",
        "validation_190",
        *(f"validation_{number}" for number in range(21, 30)),
        "validation_21_x",
    ]
    test = ["curvy-street_07", "darkasphalt2_dog", "darkasphalt_1", "gravel_1_2", "paving_9"]
    others = ["snowstorm1_00", "driveway_1", "night_02", "darkasphalt3_1"]
    root = smiyc(tmp_path, ".webp", {**dict.fromkeys(val, True), **dict.fromkeys([*excluded, *test, *others], False)})
    spec, samples = catalogue.get("smiyc_ro21"), index("smiyc_ro21", root)
    assert [sample.path.stem for sample in spec.evaluation(samples)] == val
    assert [sample.path.stem for sample in spec.evaluation(samples, "test")] == test
    assert len(samples) == len(val) + len(test)
    assert spec.component_sizes == (50, 10)


def test_webp_is_decoded(tmp_path: Path) -> None:
    root = smiyc(tmp_path, ".webp", {"validation_1": True})
    (sample,) = index("smiyc_ro21", root)
    expected = np.random.default_rng([0, zlib.crc32(b"validation_1.webp")])
    pixels = expected.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(open_picture(sample).convert("RGB")), pixels)


# Lost and Found, Fishyscapes


@pytest.mark.parametrize("place", ["given", "beside", "together", "flat", "flat given"])
def test_fishyscapes_finds_pictures_in_both_splits(tmp_path: Path, place: str) -> None:
    root = fishyscapes(tmp_path / "fs_lostandfound")
    base = {"beside": tmp_path / "lostandfound", "together": root, "flat": root / "laf_images"}.get(
        place, tmp_path / "x/y"
    )
    for number, (frame, split) in enumerate(LAF.items()):
        folder = base if "flat" in place else base / "leftImg8bit" / split / scene(frame)
        picture(folder / f"{frame}_leftImg8bit.png", value=10 + number)
    samples = index("fs_lostandfound", root, **({"images": str(base)} if "given" in place else {}))
    assert [sample.key for sample in samples] == sorted(f"{frame}_leftImg8bit.png" for frame in LAF)
    values = {
        sample.path.name.split("_leftImg8bit")[0]: int(np.asarray(open_picture(sample))[0, 0, 0]) for sample in samples
    }
    assert values == {frame: 10 + number for number, frame in enumerate(LAF)}
    assert all(read(sample) == [0, 1, 255] for sample in samples)
    assert catalogue.get("fs_lostandfound").evaluation(samples) == samples


def test_fishyscapes_archives_bring_a_folder_of_their_own(tmp_path: Path) -> None:
    fishyscapes(tmp_path / "fs_lostandfound/fishyscapes_lostandfound")
    for frame, split in LAF.items():
        picture(tmp_path / "lostandfound/leftImg8bit" / split / scene(frame) / f"{frame}_leftImg8bit.png")
    assert len(index("fs_lostandfound", tmp_path / "fs_lostandfound")) == 2


def test_a_missing_picture_of_lost_and_found_is_named(tmp_path: Path) -> None:
    root = fishyscapes(tmp_path / "fs_lostandfound")
    with pytest.raises(UserError, match=r"picture of Lost and Found .*04_Maurener_Weg.*data\.images=DIR"):
        index("fs_lostandfound", root)
    with pytest.raises(UserError, match=r"folder of the pictures is missing.*nowhere"):
        index("fs_lostandfound", root, images=str(tmp_path / "nowhere"))


def test_a_gamma_value_is_not_applied(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", value=100)
    content = path.read_bytes()
    data = struct.pack(">I", 20000)  # gamma 0.2
    chunk = struct.pack(">I", 4) + b"gAMA" + data + struct.pack(">I", zlib.crc32(b"gAMA" + data))
    path.write_bytes(content[:33] + chunk + content[33:])
    assert "gamma" in Image.open(path).info
    plain = Sample(path, "a.png", "road", -1, None, "val", "?", "made")
    assert np.asarray(open_picture(plain)).max() == 100


@pytest.mark.parametrize("given", [False, True])
def test_static_pictures_are_put_together(tmp_path: Path, given: bool) -> None:
    root = static(static(tmp_path / "fs_static"), version=1)
    cs = base_pictures(tmp_path / ("elsewhere" if given else "cityscapes"))
    options = {"cityscapes": str(cs)} if given else {}
    for version in (1, 2):
        samples = index("fs_static", root, version=version, **options)
        assert [sample.key for sample in samples] == [f"{fid}_{frame}_leftImg8bit.png" for fid, frame in STATIC.items()]
        for sample in samples:
            assert np.asarray(open_picture(sample))[0, :4, 0].tolist() == [0, 255, 100 + version, 100]
            assert read(sample) == [0, 1, 255]
    spec = catalogue.get("fs_static")
    assert str(spec.note({"version": 1})).endswith("data.version=1")
    assert str(spec.note()).endswith("data.version=2")


def test_static_versions_are_told_apart(tmp_path: Path) -> None:
    base_pictures(tmp_path / "cityscapes")
    root = static(tmp_path / "fs_static")
    with pytest.raises(UserError, match="version 3 of Fishyscapes Static is not here"):
        index("fs_static", root, version=3)
    with pytest.raises(UserError, match="version 1 of"):
        index("fs_static", root / "fs_val_v2", version=1, cityscapes=str(tmp_path / "cityscapes"))
    assert len(index("fs_static", root / "fs_val_v2", cityscapes=str(tmp_path / "cityscapes"))) == 2
    with pytest.raises(UserError, match="unknown value"):
        index("fs_static", root, version=4)
    directly = static(tmp_path / "mine", nested=False)
    assert len(index("fs_static", directly, version=1)) == 2


def test_static_faults_are_named(tmp_path: Path) -> None:
    root = static(tmp_path / "fs_static")
    with pytest.raises(UserError, match=r"picture of Cityscapes .*frankfurt_000000_000294.*data\.cityscapes=DIR"):
        index("fs_static", root)
    base_pictures(tmp_path / "cityscapes")
    (root / "fs_val_v2/0000_rgb.npz").unlink()
    with pytest.raises(UserError, match=r"overlay file is missing .*0000_rgb\.npz"):
        index("fs_static", root)
    assert len(index("fs_static", root, broken="skip")) == 1


def test_lost_and_found_by_its_own_labels(tmp_path: Path) -> None:
    frames = {**LAF, "15_Rechbergstr_Deckenpfronn_000000_000010": "test", "10_Schlossberg_9_000005_000010": "test"}
    for frame, split in frames.items():
        picture(tmp_path / "leftImg8bit" / split / scene(frame) / f"{frame}_leftImg8bit.png")
        labels(tmp_path / "gtCoarse" / split / scene(frame) / f"{frame}_gtCoarse_labelIds.png", 0, 1, 2, 43, 200)
    spec, samples = catalogue.get("lostandfound"), index("lostandfound", tmp_path)
    assert [sample.split for sample in samples] == ["train", "test", "test", "test"]
    assert read(samples[0]) == [255, 0, 1]
    fewer = spec.evaluation(index("lostandfound", tmp_path, known=False))
    assert [sample.path.name.split("_")[0] for sample in fewer] == ["02", "10"]
    labels(samples[0].mask_path, 201)
    with pytest.raises(UserError, match="unexpected value 201"):
        read(samples[0])


# All of them


def test_only_full_sets_match_the_published_numbers(tmp_path: Path) -> None:
    root = smiyc(tmp_path, ".jpg", {f"validation{number:04d}": True for number in range(10)})
    spec = catalogue.get("smiyc_ra21")
    assert spec.deviations(index("smiyc_ra21", root)) == []
    (root / "images/validation0003.jpg").unlink()
    (line,) = spec.deviations(index("smiyc_ra21", root))
    assert line == "smiyc_ra21/road has 0 training and 9 evaluation images; published: 0 training and 10 evaluation"


@pytest.mark.parametrize(
    "name", ["cityscapes", "road_anomaly19", "smiyc_ra21", "smiyc_ro21", "fs_lostandfound", "fs_static", "lostandfound"]
)
def test_every_road_set_says_what_it_is(tmp_path: Path, name: str) -> None:
    spec = catalogue.get(name)
    assert spec.metric_set == "road"
    assert spec.classes == ("road",)
    assert spec.supervision == ("segmentation" if name == "cityscapes" else "none")
    with pytest.raises(UserError, match=f"does not hold data set {name}"):
        index(name, tmp_path)
    with pytest.raises(UserError, match=f"the folder of data set {name} is missing"):
        adbench.open_dataset(name, data_dir=tmp_path)
