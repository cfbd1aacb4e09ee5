from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import adbench
from adbench.data import catalogue
from adbench.errors import UserError

MVTEC = [
    *(f"{name}/train/good/{n:03d}.png" for name in ("screw", "bottle") for n in range(3)),
    *(
        f"{name}/test/{kind}/{n:03d}.png"
        for name in ("screw", "bottle")
        for kind in ("good", "crack")
        for n in range(2)
    ),
    *(f"{name}/ground_truth/crack/{n:03d}_mask.png" for name in ("screw", "bottle") for n in range(2)),
]
NAMES = ["demo", "elpv", "folder", "meta", "mvtec", "piped", "piped_mini", "visa"]


@pytest.fixture
def mvtec(tmp_path: Path, tree: Callable[..., Path]) -> Path:
    return tree(tmp_path / "mvtec", MVTEC)


def test_names_and_facts_are_there_for_every_set() -> None:
    assert set(NAMES) <= set(catalogue.names())
    for name in catalogue.names():
        spec = catalogue.get(name)
        assert spec.name == name
        assert all([spec.title, spec.domain, spec.task, spec.licence, spec.source, spec.citation, spec.how_to_get])
        assert not set(spec.expected) - set(spec.classes or spec.expected)
        assert spec.metric_set in ("industrial", "road")


def test_listing_data_sets_imports_no_torch() -> None:
    code = "import sys; from adbench.data import catalogue; catalogue.names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown data set 'mvtek'.*Did you mean 'mvtec'"):
        catalogue.get("Mvtek".lower())


def test_the_name_of_a_built_in_set_is_taken() -> None:
    catalogue.names()
    with pytest.raises(UserError, match="'mvtec', as one of adbench itself"):
        catalogue.register("mvtec", title="another")(lambda root, classes: [])


def test_the_order_does_not_depend_on_the_file_system(tmp_path: Path, tree: Callable[..., Path], mvtec: Path) -> None:
    shuffled = list(MVTEC)
    random.Random(0).shuffle(shuffled)
    other = tree(tmp_path / "other", shuffled)
    keys = [sample.key for sample in catalogue.get("mvtec").index(mvtec)]
    assert keys == [sample.key for sample in catalogue.get("mvtec").index(other)]
    assert keys[0] == "bottle/train/good/000.png"  # classes in the official order, train before test
    assert keys.index("bottle/test/good/001.png") < keys.index("screw/train/good/000.png")


def test_parts_of_a_set(mvtec: Path) -> None:
    opened = adbench.open_dataset("mvtec", root=mvtec)
    spec, samples = opened.facts, opened.samples
    assert len(samples) == 14
    assert {sample.split for sample in spec.evaluation(samples)} == {"test"}
    assert spec.auxiliary(samples) == spec.evaluation(samples)
    pool = spec.support_pool(samples, "screw")
    assert [sample.key for sample in pool] == [f"screw/train/good/00{n}.png" for n in range(3)]
    assert spec.deviations(samples)[0].startswith("mvtec/bottle has 3 training, 2 normal and 2 anomalous test images")


def test_a_selection_of_classes(mvtec: Path) -> None:
    spec = catalogue.get("mvtec")
    assert {sample.class_name for sample in spec.index(mvtec, ["screw"])} == {"screw"}
    assert spec.index(mvtec, []) == spec.index(mvtec)
    with pytest.raises(UserError, match="Did you mean 'screw'"):
        spec.index(mvtec, ["screws"])
    with pytest.raises(UserError, match=r"'zipper'.*nown: bottle, screw"):
        spec.index(mvtec, ["zipper"])


def test_options_are_checked(mvtec: Path) -> None:
    with pytest.raises(UserError, match=r"unknown option of data set elpv 'uncertan'.*Did you mean 'uncertain'"):
        catalogue.get("elpv").index(mvtec, options={"uncertan": "drop"})
    for name, options in (("elpv", {"uncertain": "keep"}), ("fs_static", {"version": 4}), ("folder", {"bits": 9})):
        with pytest.raises(UserError, match=r"unknown value .*data\."):
            catalogue.get(name).check_options(options)


def test_a_missing_folder_says_where_it_looked_and_how_to_get_the_data(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mvtec is missing .*looked for .*/mvtec.*data\.root=DIR.*Download"):
        adbench.open_dataset("mvtec", data_dir=tmp_path)
    with pytest.raises(UserError, match=r"looked for .*/nowhere\)"):
        adbench.open_dataset("mvtec", root=tmp_path / "nowhere")


def test_a_folder_with_something_else_says_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    with pytest.raises(UserError, match=r"does not hold data set mvtec.*train/good"):
        adbench.open_dataset("mvtec", root=tmp_path)


def test_the_archives_own_folder_name_is_found_too(tmp_path: Path, tree: Callable[..., Path]) -> None:
    tree(tmp_path / "mvtec_anomaly_detection", MVTEC)
    assert len(adbench.open_dataset("mvtec", data_dir=tmp_path).samples) == 14


def test_the_fingerprint_sees_files_and_labels_but_not_order_or_place(
    tmp_path: Path, tree: Callable[..., Path], mvtec: Path
) -> None:
    samples = catalogue.get("mvtec").index(mvtec)
    mark = catalogue.fingerprint(samples)
    assert len(mark) == 64
    assert catalogue.fingerprint(reversed(samples)) == mark
    assert catalogue.fingerprint(catalogue.get("mvtec").index(tree(tmp_path / "copy", MVTEC))) == mark
    assert catalogue.fingerprint(samples[1:]) != mark
    assert catalogue.fingerprint([replace(samples[0], label=1), *samples[1:]]) != mark
    samples[0].path.write_bytes(samples[0].path.read_bytes() + b" ")
    assert catalogue.fingerprint(samples) != mark
    samples[0].path.unlink()
    with pytest.raises(UserError, match="000"):
        catalogue.fingerprint(samples)


def test_the_home_folder_may_be_written_as_a_tilde(mvtec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(mvtec.parent))
    assert adbench.open_dataset("mvtec", root="~/mvtec") == adbench.open_dataset("mvtec", data_dir="~")


def test_an_empty_folder_is_not_taken_for_a_data_set(mvtec: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "mvtec").mkdir(parents=True)
    mvtec.rename(tmp_path / "data" / "mvtec_ad")
    spec = catalogue.get("mvtec")
    assert spec.default_root(tmp_path / "data") == tmp_path / "data" / "mvtec_ad"
