"""A check finds every seeded fault once, and nothing in a clean tree."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.data import catalogue
from adbench.data.catalogue import Counts
from adbench.data.check import check_dataset
from adbench.data.images import open_image
from adbench.data.probe import probe_image
from adbench.data.sample import Sample
from adbench.errors import UserError

SPEC = dataclasses.replace(
    catalogue.get("mvtec"),
    classes=("bottle", "screw"),
    expected={name: Counts(train=3, normal=2, anomalous=3) for name in ("bottle", "screw")},
)


def write_image(path: Path, seed: int, size: tuple[int, int] = (24, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_mask(path: Path, size: tuple[int, int] = (24, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((size[1], size[0]), np.uint8)
    mask[4:9, 5:11] = 255
    Image.fromarray(mask).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of three training images, two normal and three anomalous test images, all different."""
    seed = 0
    for name in SPEC.classes:
        for folder, n in (("train/good", 3), ("test/good", 2), ("test/hole", 2), ("test/cut", 1)):
            for number in range(n):
                seed += 1
                write_image(tmp_path / name / folder / f"{number:03d}.png", seed)
                if folder in ("test/hole", "test/cut"):
                    write_mask(tmp_path / name / "ground_truth" / folder[5:] / f"{number:03d}_mask.png")
    return tmp_path


def problems(root: Path, *, decode: bool = False) -> list[str]:
    return [str(problem) for problem in check_dataset(SPEC, root, decode=decode).problems]


@pytest.mark.parametrize("decode", [False, True])
def test_a_clean_tree_has_no_problems(root: Path, decode: bool) -> None:
    checked = check_dataset(SPEC, root, decode=decode)
    assert checked.problems == []
    assert len(checked.samples) == 16
    assert checked.fingerprint == catalogue.fingerprint(SPEC.index(root))


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def overwritten(file: Path) -> None:
    file.write_text("<html>not found</html>")


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def enlarged(file: Path) -> None:
    write_mask(file, (30, 20))


IMAGE, MASK = "screw/test/hole/001.png", "screw/ground_truth/hole/001_mask.png"


@pytest.mark.parametrize(
    ("place", "fault", "said"),
    [
        (IMAGE, cut_short, "image file cannot be read"),
        (IMAGE, overwritten, "image file cannot be read"),
        (IMAGE, emptied, "image file cannot be read"),
        (MASK, Path.unlink, "mask file is missing"),
        (MASK, cut_short, "mask file cannot be read"),
        (MASK, overwritten, "mask file cannot be read"),
        (MASK, enlarged, "mask is 30x20 pixels but its image 24x20"),
    ],
)
@pytest.mark.parametrize("decode", [False, True])
def test_each_fault_of_a_file_is_found_once(
    root: Path, place: str, fault: Callable[[Path], None], said: str, decode: bool
) -> None:
    fault(root / place)
    (line,) = problems(root, decode=decode)
    assert said in line
    assert str(root / place) in line
    assert line.count("\n") == 0


def test_a_missing_image_is_a_wrong_count(root: Path) -> None:
    (root / "bottle/train/good/002.png").unlink()
    (line,) = problems(root)
    assert "bottle has 2 training" in line
    assert "published: 3 training" in line


def test_a_missing_image_that_a_list_names_is_missing(root: Path) -> None:
    meta = '{"test": {"widget": [{"img_path": "a.png", "anomaly": 0}, {"img_path": "b.png", "anomaly": 0}]}}'
    (root / "meta.json").write_text(meta)
    write_image(root / "a.png", 90)
    (problem,) = check_dataset(catalogue.get("meta"), root).problems
    assert "image file is missing" in str(problem)
    assert str(root / "b.png") in str(problem)


def test_a_missing_class_is_named(root: Path) -> None:
    for file in (root / "screw").rglob("*.png"):
        file.unlink()
    assert ["class mvtec/screw is missing" in line for line in problems(root)] == [True]


def test_masks_that_are_all_gone_are_each_named(root: Path) -> None:
    for file in (root / "bottle/ground_truth/hole").iterdir():
        file.unlink()
    (root / "bottle/ground_truth/hole").rmdir()
    lines = problems(root)
    assert len(lines) == 2
    assert all("mask file is missing" in line for line in lines)


@pytest.mark.parametrize(("copy", "said"), [("test/good/001.png", "across test and train"), ("train/good/000.png", "")])
def test_identical_images_are_found_within_and_across_splits(root: Path, copy: str, said: str) -> None:
    original = root / "bottle/train/good/001.png"
    (root / "bottle" / copy).write_bytes(original.read_bytes())
    (line,) = problems(root)
    assert f"2 images are identical{' ' * bool(said)}{said} (" in line
    assert "bottle/train/good/001.png (train, bottle)" in line
    assert f"bottle/{copy}" in line


def test_faults_do_not_hide_one_another(root: Path) -> None:
    cut_short(root / "bottle/test/hole/000.png")
    (root / MASK).unlink()
    enlarged(root / "bottle/ground_truth/cut/000_mask.png")
    (root / "screw/train/good/000.png").write_bytes((root / "bottle/train/good/000.png").read_bytes())
    (root / "bottle/test/good/001.png").unlink()
    assert len(problems(root)) == 5


def test_a_class_that_cannot_be_indexed_does_not_hide_the_others(root: Path) -> None:
    write_mask(root / "bottle/ground_truth/hole/000.png")  # beside 000_mask.png: fine
    write_mask(root / "bottle/ground_truth/hole/000_mask.bmp")  # two masks of one name
    cut_short(root / "screw/test/good/000.png")
    first, second = problems(root)
    assert "two masks have the same stem" in first
    assert "screw/test/good/000.png" in second


def test_damage_in_the_middle_is_found_by_decoding(root: Path) -> None:
    file = root / "bottle/train/good/000.png"
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 60] = bytes(60)
    file.write_bytes(content)
    assert problems(root) == []
    (line,) = problems(root, decode=True)
    assert str(file) in line


@pytest.mark.parametrize(("value", "said"), [(0, "mark nothing (empty)"), (9, "mark the whole picture (full)")])
def test_masks_that_mark_nothing_or_everything_are_counted_by_class(root: Path, value: int, said: str) -> None:
    Image.new("L", (24, 20), value).save(root / MASK)
    (line,) = problems(root)
    assert f"1 of 3 masks of anomalous images {said}, first screw/test/hole/001.png (class screw)" in line


def test_check_tells_what_is_good_to_know_apart_from_problems(root: Path) -> None:
    soft = np.zeros((20, 24), np.uint8)
    soft[5:9, 5:9], soft[4, 5:9] = 255, 100
    Image.fromarray(soft).save(root / MASK)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 4), dtype=np.uint8)
    Image.fromarray(pixels, "CMYK").save(root / "screw/test/good/000.png", format="TIFF")
    Image.fromarray(pixels, "RGBA").save(root / "screw/test/good/001.png")
    checked = check_dataset(dataclasses.replace(SPEC, sizes={}), root)
    assert checked.problems == []
    faint, print_colours, misnamed, transparent = checked.notes
    assert faint.startswith("class screw: 1 masks hold values between 1 and 127, up to 0.8% of the pixels")
    assert "screw: 1 images are stored in CMYK" in print_colours
    assert "screw: 1 images are stored in another format than their name says" in misnamed
    assert (
        "screw: 1 images have transparent pixels: transparency is dropped, first screw/test/good/001.png" in transparent
    )


def test_sizes_that_are_not_the_published_ones_are_told(root: Path) -> None:
    bottle, screw = check_dataset(SPEC, root).notes
    assert "class bottle: 8 images are not of the published size, first bottle/train/good/000.png of 24x20" in bottle
    assert "published: 1024x1024. Results do not compare" in screw
    as_they_are = dataclasses.replace(SPEC, sizes={"bottle": (24, 20), "screw": (24, 20)})
    assert check_dataset(as_they_are, root).notes == []


def test_sixteen_bit_images_that_look_black_are_found(root: Path) -> None:
    for number, file in enumerate((root / "screw").rglob("*.png")):
        if "ground_truth" not in str(file):
            deep = np.random.default_rng(number).integers(0, 4096, (20, 24), dtype=np.uint16)
            Image.fromarray(deep).save(file)
    (line,) = problems(root)
    assert "16-bit images is at 6.25% of their range: fewer bits may carry values (data.bits) (class screw)" in line


def road_problems(
    root: Path, *, mask_path: Path | None = None, overlay_path: Path | None = None, decode: bool = True
) -> list[str]:
    """Problems of a road set of one picture."""
    sample = Sample(
        path=root / "bottle/test/good/000.png",
        key="road.png",
        class_name="road",
        label=-1,
        mask_path=mask_path,
        split="test",
        defect="",
        dataset="roads",
        label_ids={0: 0, 1: 1},
        overlay_path=overlay_path,
    )
    spec = dataclasses.replace(SPEC, index_files=lambda _root, _classes: [sample], classes=("road",), expected={})
    return [str(problem) for problem in check_dataset(spec, root, decode=decode).problems]


def test_label_maps_are_held_against_their_ids(root: Path) -> None:
    file = root / "labels.png"
    Image.fromarray(np.full((20, 24), 7, np.uint8)).save(file)
    (line,) = road_problems(root, mask_path=file)
    assert "unexpected value 7" in line


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize(
    ("fault", "said"),
    [(None, None), (Path.unlink, "is missing"), (cut_short, "cannot be read"), ("other size", "(3, 3, 3)")],
)
def test_overlays_are_checked(root: Path, fault: object, said: str | None, decode: bool) -> None:
    overlay = root / "overlay.npz"
    np.savez(overlay, rgb=np.zeros((3, 3, 3) if fault == "other size" else (20, 24, 3), np.int16))
    if callable(fault):
        fault(overlay)
    lines = road_problems(root, overlay_path=overlay, decode=decode)
    found = said is not None and (decode or fault != "other size")
    assert [said in line and str(overlay) in line for line in lines] == [True] * found


def test_what_is_no_copy_of_the_set_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    with pytest.raises(UserError, match="does not hold data set mvtec"):
        check_dataset(SPEC, tmp_path)


def test_an_unknown_class_is_bad_input(root: Path) -> None:
    with pytest.raises(UserError, match="unknown class of data set mvtec 'screws'"):
        check_dataset(SPEC, root, classes=["screws"])


@pytest.mark.parametrize("repeated", [False, True])
def test_images_inside_containers_are_checked(tmp_path: Path, repeated: bool) -> None:
    records = np.random.default_rng(0).integers(0, 256, (40, 3073), dtype=np.uint8)
    if repeated:
        records[30] = records[2]
    records[:, 0] = np.arange(40) % 10
    for number in range(5):
        records[number * 5 : number * 5 + 5].tofile(tmp_path / f"data_batch_{number + 1}.bin")
    records[25:].tofile(tmp_path / "test_batch.bin")
    spec = dataclasses.replace(catalogue.get("cifar10"), expected={})
    lines = [str(problem) for problem in check_dataset(spec, tmp_path).problems]
    assert ["identical across test and train" in line for line in lines] == [True] * repeated


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif", "gif", "webp", "ppm"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_cut_file_of_any_format_is_found(tmp_path: Path, ending: str, mode: str) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    stored = io.BytesIO()
    form = {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending.upper())
    Image.fromarray(pixels).convert(mode).save(stored, format=form)
    whole = stored.getvalue()
    file = tmp_path / f"a.{ending}"
    file.write_bytes(whole)
    assert probe_image(file).size == (40, 50)
    for length in (len(whole) - 30, len(whole) // 2, 10):
        file.write_bytes(whole[:length])
        assert probe_image(file).error is not None, length


def test_a_jpeg_with_bytes_behind_its_end_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    Image.new("RGB", (16, 12), "red").save(file)
    file.write_bytes(file.read_bytes() + b"\0" * 100)
    assert probe_image(file).size == (12, 16)


def test_images_are_decoded_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bottle" / "train" / "good"
    folder.mkdir(parents=True)
    (tmp_path / "bottle" / "test" / "good").mkdir(parents=True)
    for number in range(50):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number:04d}.png")
    spec = dataclasses.replace(SPEC, classes=("bottle",), expected={})
    decoded: list[Path] = []
    monkeypatch.setattr(
        "adbench.data.probe.open_image", lambda file, reading: (decoded.append(file), open_image(file, reading))[1]
    )
    assert len(check_dataset(spec, tmp_path).samples) == 50
    assert not decoded
    check_dataset(spec, tmp_path, decode=True)
    assert len(set(decoded)) == 50
