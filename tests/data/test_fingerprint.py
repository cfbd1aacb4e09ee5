"""What decides whether two runs saw the same data."""

from __future__ import annotations

import os
import shutil
from dataclasses import fields, replace
from pathlib import Path

import pytest
from PIL import Image

from adbench.data.fingerprint import file_hashes, fingerprint
from adbench.data.reading import Reading
from adbench.data.sample import Sample
from adbench.errors import UserError

CHANGES = {
    "saturations": {255: (0.6, True)},
    "key": "b.png",
    "class_name": "nut",
    "label": 0,
    "split": "val",
    "defect": "scratch",
    "dataset": "other",
    "reading": Reading(True, 0, 0, False, 16),
    "label_ids": {0: 0, 1: 255},
}
FILES = {"path": "other.png", "mask_path": "other.png", "overlay_path": "other.png", "further_masks": ("other.png",)}


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    for number, name in enumerate(("a.png", "mask.png", "overlay.png", "more.png", "other.png")):
        Image.new("L", (8, 8), 40 * number).save(tmp_path / name)
    at = tmp_path.joinpath
    return Sample(
        path=at("a.png"),
        key="a.png",
        class_name="bolt",
        label=1,
        mask_path=at("mask.png"),
        split="test",
        defect="dent",
        dataset="tiny",
        label_ids={0: 0, 1: 1},
        overlay_path=at("overlay.png"),
        further_masks=(at("more.png"),),
        saturations={255: (0.5, True)},
    )


@pytest.mark.parametrize("name", [one.name for one in fields(Sample)])
def test_every_field_of_a_sample_decides(sample: Sample, tmp_path: Path, name: str) -> None:
    before = fingerprint([sample])
    if name in FILES:
        named = FILES[name]
        value = tuple(tmp_path / one for one in named) if isinstance(named, tuple) else tmp_path / named
    else:
        value = CHANGES[name]  # a new field needs an entry here
    assert fingerprint([replace(sample, **{name: value})]) != before
    if name in ("mask_path", "label_ids", "overlay_path", "saturations"):
        assert fingerprint([replace(sample, **{name: None})]) != before


@pytest.mark.parametrize("name", ["a.png", "mask.png", "overlay.png", "more.png"])
def test_an_edit_that_keeps_size_and_time_is_seen(sample: Sample, tmp_path: Path, name: str) -> None:
    before, file = fingerprint([sample]), tmp_path / name
    times, content = file.stat(), bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file.stat().st_size == times.st_size
    assert fingerprint([sample]) != before


def test_place_time_and_order_do_not_matter(sample: Sample, tmp_path: Path) -> None:
    other = replace(sample, key="b.png", path=tmp_path / "other.png")
    before = fingerprint([sample, other])
    assert fingerprint([other, sample]) == before
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("a.png", "mask.png", "overlay.png", "more.png"):
        shutil.copyfile(tmp_path / name, moved / name)
        os.utime(moved / name, (1, 1))
    here = {"path": "a.png", "mask_path": "mask.png", "overlay_path": "overlay.png"}
    copy = replace(sample, further_masks=(moved / "more.png",), **{key: moved / name for key, name in here.items()})
    assert fingerprint([copy, other]) == before


def test_files_are_read_once_until_they_change(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint([sample])
    monkeypatch.setattr("adbench.data.fingerprint.content_sha256", lambda path: "read again")
    assert fingerprint([sample]) == before
    sample.path.write_bytes(b"other content")
    assert file_hashes([sample.path]) == {sample.path: "read again"}


def test_a_missing_file_is_named(sample: Sample) -> None:
    sample.path.unlink()
    with pytest.raises(UserError, match=r"file is missing .*a\.png"):
        fingerprint([sample])
