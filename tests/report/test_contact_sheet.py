"""The contact sheet shows every class, both kinds of images, and where the annotation is."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.data.sample import Sample
from adbench.report.contact_sheet import GAP, SIDE, annotated, contact_sheet
from adbench.report.heatmaps import OUTLINE


def sample(folder: Path, name: str, label: int, *, defect: str = "hole", **more: object) -> Sample:
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}.png"
    if not file.exists():
        Image.new("RGB", (80, 60), (90, 90, 200)).save(file)
    facts = {"class_name": "nut", "mask_path": None, "split": "test", "dataset": "made", **more}
    return Sample(path=file, key=file.name, label=label, defect=defect if label else "good", **facts)


def saved(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


def test_a_mask_is_outlined_and_tinted(tmp_path: Path) -> None:
    mask = np.zeros((60, 80))
    mask[20:40, 30:50] = 3
    pixels = np.asarray(annotated(sample(tmp_path, "a", 1, mask_path=saved(tmp_path / "m.png", mask))))
    assert pixels.shape == (120, 160, 3)
    edge = (pixels == OUTLINE).all(axis=2)
    rows, columns = np.nonzero(edge)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (40, 79, 60, 99)
    assert not edge[60, 80]
    assert not (pixels[60, 80] == pixels[5, 5]).all()


def test_a_defect_of_one_pixel_is_seen(tmp_path: Path) -> None:
    Image.new("RGB", (1600, 1200), "white").save(tmp_path / "b.png")
    mask = np.zeros((1200, 1600))
    mask[600, 803] = 1
    pixels = np.asarray(annotated(sample(tmp_path, "b", 1, mask_path=saved(tmp_path / "m.png", mask))))
    assert (pixels == OUTLINE).all(axis=2).sum() == 1


def test_what_a_label_map_ignores_is_dark(tmp_path: Path) -> None:
    labels = np.zeros((60, 80))
    labels[:, :40] = 255
    labels[10:30, 50:70] = 2
    ids = {0: 0, 2: 1, 255: 255}
    file = saved(tmp_path / "l.png", labels)
    pixels = np.asarray(annotated(sample(tmp_path, "a", -1, mask_path=file, label_ids=ids)))
    assert pixels[100, 20].sum() < 0.5 * pixels[100, 150].sum()
    assert (pixels == OUTLINE).all(axis=2).any()


def test_a_segmentation_has_one_colour_per_class(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(4), 20)[None].repeat(60, 0)
    file = saved(tmp_path / "l.png", labels)
    pixels = np.asarray(annotated(sample(tmp_path, "a", -1, mask_path=file, label_ids={i: i for i in range(4)})))
    assert len({tuple(pixels[60, x]) for x in (20, 60, 100, 140)}) == 4


def test_every_class_and_kind_has_its_place(tmp_path: Path) -> None:
    samples = [sample(tmp_path / "x", f"{i}", 0) for i in range(5)]
    samples += [sample(tmp_path / "y", f"{i}", 1, defect=f"kind{i % 2}") for i in range(4)]
    samples += [sample(tmp_path / "z", "only", 0, class_name="bolt", split="train")]
    sheet = contact_sheet(samples, ["nut", "bolt"], title="made", per_kind=2)
    pixels = np.asarray(sheet)
    blue = (pixels == (90, 90, 200)).all(axis=2)
    assert blue.sum() == 5 * 160 * 120  # two normal and two anomalous nuts, one bolt
    assert 4 * (SIDE + GAP) < sheet.width < 5 * (SIDE + GAP)


def test_kinds_of_defects_take_turns(tmp_path: Path) -> None:
    from adbench.report.contact_sheet import _chosen

    samples = [sample(tmp_path, f"{i:02d}", 1, defect="hole" if i < 17 else "cut") for i in range(20)]
    assert {one.defect for one in _chosen(samples, 2)[1]} == {"hole", "cut"}
    assert len(_chosen(samples, 3)[1]) == 3


@pytest.mark.parametrize("name", ["data list", "data check piped_mini", "data show piped_mini out=sheet.png images=1"])
def test_data_commands_need_no_torch(name: str, tmp_path: Path) -> None:
    code = f"import sys; from adbench.cli.main import main; sys.exit(main({name.split()!r}) or 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_tile_is_called_by_its_picture_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(
        "adbench.report.contact_sheet._text", lambda _draw, _place, text, _fill, _size: written.append(text)
    )
    whole = sample(tmp_path, "a", 0)
    part = replace(whole, path=whole.path / "0-0-40-30", key="kos01/a.png/0-0-40-30")
    contact_sheet([whole, part], ["nut"], title="t", per_kind=2)
    assert {"test/a.png", "kos01/a.png/0-0-40-30"} <= set(written)
