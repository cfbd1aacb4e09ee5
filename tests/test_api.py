"""What a notebook uses: everything by name from `adbench`, light until it is used."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import adbench
from adbench.errors import UserError

MODULES = ("adbench.api.dataset", "adbench.api.running", "adbench.api.detector")


@pytest.fixture(scope="module")
def clip() -> object:
    return adbench.load_clip("demo")


@pytest.fixture(scope="module")
def gloss() -> adbench.Dataset:
    return adbench.open_dataset("piped_mini", classes=["PA_GLA01_TL"])


def pictures(n: int, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(n)]


def test_every_name_is_there() -> None:
    for name in adbench.__all__:
        assert getattr(adbench, name) is not None
    assert {"adaclip", "winclip"} <= set(adbench.list_methods())
    assert "mvtec" in adbench.list_data()
    assert "demo" in adbench.list_clips()
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = adbench.trian


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import adbench, sys; sys.exit(bool({'torch', 'numpy', 'hydra', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_run(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0


def test_a_data_set_has_train_test_classes_and_facts(gloss: adbench.Dataset) -> None:
    assert gloss.classes == ["PA_GLA01_TL"]
    assert {(sample.split, sample.label) for sample in gloss.train} == {("train", 0)}
    assert [sum(sample.label == label for sample in gloss.test) for label in (0, 1)] == [5, 9]
    assert gloss.facts.licence == "CC BY 4.0"


def test_scores_of_single_images_give_the_metric(clip: object, gloss: adbench.Dataset) -> None:
    from sklearn.metrics import roc_auc_score

    results = adbench.evaluate(adbench.build("clip_zeroshot", clip), gloss, batch_size=4)
    labels, scores = zip(*((one["label"], one["score"]) for one in results.scores), strict=True)
    assert len(results.scores) == results.mean["n_images"] == 14
    assert results.rows[0]["image_auroc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert set(results.scores[0]) == {
        *("dataset", "class_name", "path", "defect", "label", "score", "map_max", "shots", "support_seed")
    }
    assert {one["path"] for one in results.scores} == {sample.key for sample in gloss.test}


def test_several_shots_give_scores_of_each(clip: object, gloss: adbench.Dataset) -> None:
    results = adbench.evaluate(adbench.build("winclip", clip), gloss, support_k=(1, 2), batch_size=8)
    assert {row["shots"] for row in results.rows} == {1, 2}
    assert [sum(one["shots"] == k for one in results.scores) for k in (1, 2)] == [14, 14]


def test_results_are_the_tables_that_pandas_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, scores = [{"class_name": "mean", "image_auroc": 0.5}], [{"path": "a.png", "score": 0.25}]
    results = adbench.Results(rows, scores)
    monkeypatch.setitem(sys.modules, "pandas", None)  # as where it is not installed
    with pytest.raises(UserError, match=r"pandas is not installed\. Pip install pandas, or take \.scores"):
        results.to_pandas("scores")
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=tuple))
    assert results.to_pandas() == tuple(rows)
    assert results.to_pandas("scores") == tuple(scores)


def test_a_finished_run_is_read_as_results(clip: object, gloss: adbench.Dataset, tmp_path: Path) -> None:
    from adbench.report.results import write_results
    from adbench.report.scores import write_scores

    results = adbench.evaluate(adbench.build("median_colour", clip), gloss)
    write_results(tmp_path, results.rows, {})
    write_scores(tmp_path, results.scores)
    assert adbench.load_results(tmp_path) == results
    assert results.rows[0]["image_auroc_low"] <= results.rows[0]["image_auroc"] <= results.rows[0]["image_auroc_high"]


def test_a_training_is_loaded_again_as_a_detector(clip: object, gloss: adbench.Dataset, tmp_path: Path) -> None:
    method = adbench.build("adaclip", clip, prompting_depth=2, prompting_length=2, k_clusters=3)
    result = adbench.train(method, gloss, out=tmp_path / "run", steps_per_epoch=2, batch_size=2, device="cpu")
    assert result.steps == 2
    detector = adbench.load_run(tmp_path / "run", device="cpu")
    sample = gloss.test[0]
    (prediction,) = detector.predict(sample.path, class_name=sample.class_name)
    results = adbench.evaluate(detector.method, gloss, record=detector.record)
    (expected,) = (one["score"] for one in results.scores if one["path"] == sample.key)
    assert prediction.score == pytest.approx(expected, abs=1e-6)
    with Image.open(sample.path) as image:
        assert prediction.map is not None
        assert prediction.map.shape == (image.height, image.width)
    assert results.rows[0]["zero_shot"] is False


def test_pictures_of_any_kind_and_size(clip: object, tmp_path: Path) -> None:
    detector = adbench.Detector(adbench.build("clip_zeroshot", clip))
    arrays = [*pictures(2), *pictures(1, (30, 90))]
    Image.fromarray(arrays[0]).save(tmp_path / "a.png")
    mixed = [tmp_path / "a.png", Image.fromarray(arrays[1]), arrays[2]]
    found = detector.predict(mixed, class_name="gear", threshold=0.5, batch_size=2)
    alone = [detector.predict(one, class_name="gear")[0] for one in arrays]
    for one, other, array in zip(found, alone, arrays, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert one.map is not None
        assert one.map.shape == array.shape[:2]
        assert one.map.dtype == np.float32
        assert one.is_anomalous is (one.score > 0.5)
        assert other.is_anomalous is None


def test_support_is_taken_for_the_call_alone(clip: object) -> None:
    method = adbench.build("winclip", clip)
    detector = adbench.Detector(method)
    without = detector.predict(pictures(1), class_name="gear")[0]
    with_support = detector.predict(pictures(1), class_name="gear", support=pictures(2))[0]
    assert method.memory_bank == {}
    assert with_support.score != without.score
    needy = adbench.Detector(adbench.build("promptad", clip, resolution=24, epochs=0))
    with pytest.raises(UserError, match="no normal images"):
        needy.predict(pictures(1), class_name="gear")


def test_the_part_that_a_crop_leaves_out_is_not_a_number(clip: object) -> None:
    from adbench.data.transforms import ClipTransform

    method = adbench.build("clip_zeroshot", clip)
    size = method.transform.image_size
    method.transform = ClipTransform(size, method.clip.mean, method.clip.std, resize="short_side")
    map_ = adbench.Detector(method).predict(pictures(1, (40, 100)))[0].map
    assert map_ is not None
    assert np.isnan(map_).sum() == 40 * 60
    assert not np.isnan(map_[:, 30:70]).any()


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((4, 4), np.uint8), r"the array is uint8 \(4, 4\)"),
        (np.zeros((4, 4, 3)), "the array is float64"),
        ("missing.png", "missing"),
    ],
)
def test_what_is_no_picture_is_named(clip: object, image: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        adbench.Detector(adbench.build("clip_zeroshot", clip)).predict(image)


def test_settings_are_checked(clip: object, gloss: adbench.Dataset) -> None:
    method = adbench.build("clip_zeroshot", clip)
    with pytest.raises(UserError, match=r"unknown setting 'eval\.batchsize'"):
        adbench.evaluate(method, gloss, batchsize=2)
    with pytest.raises(UserError, match="is not trained"):
        adbench.train(method, gloss)
