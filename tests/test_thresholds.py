"""Thresholds of a detector: found from normal pictures, kept beside weights, refused with another detector."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import adbench
from adbench.engine.thresholds import read_thresholds, write_thresholds
from adbench.errors import UserError
from adbench.metrics import conformal_threshold


@pytest.fixture(scope="module")
def clip() -> object:
    return adbench.load_clip("demo")


def pictures(n: int, seed: int = 0) -> list[np.ndarray]:
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 3, 4, 3), dtype=np.uint8)
    return list(coarse.repeat(8, axis=1).repeat(8, axis=2))


def detector(clip: object, **hyperparameters: object) -> adbench.Detector:
    return adbench.Detector(adbench.build("clip_zeroshot", clip, **hyperparameters), device="cpu")


def test_the_threshold_is_that_of_the_scores(clip: object) -> None:
    ours, normal = detector(clip), pictures(46)
    found = ours.calibrate(normal, fpr=0.1, class_name="gear")

    scores = [one.score for one in ours.predict(normal, class_name="gear")]
    assert found.value == conformal_threshold(scores, 0.1).value == sorted(scores)[-2]
    assert (found.n, found.n_above, found.rule) == (46, 1, "conformal")
    verdicts = [one.verdict for one in ours.predict(normal, class_name="gear")]
    assert verdicts.count("anomalous") == 1
    assert ours.predict(normal[0], class_name="gear", threshold=-9.0)[0].verdict == "anomalous"
    assert ours.predict(normal[0], class_name="bolt")[0].verdict == ""
    assert ours.threshold("bolt") is None


def test_thresholds_are_kept_by_class_and_taken_again(clip: object, tmp_path: Path) -> None:
    first = detector(clip)
    first.calibrate(pictures(29), fpr=0.1, class_name="gear")
    assert first.save_thresholds(tmp_path) == tmp_path / "thresholds.json"
    second = detector(clip)
    second.calibrate(pictures(30, seed=1), fpr=0.2, class_name="bolt", confidence="average")
    second.save_thresholds(tmp_path)

    third = detector(clip)
    third.load_thresholds(tmp_path)
    assert third.thresholds == {**first.thresholds, **second.thresholds}
    assert third.threshold("gear") == first.threshold("gear")
    with pytest.raises(UserError, match="no weights beside which"):
        detector(clip).save_thresholds()


def test_a_calibration_beside_others_takes_nothing_of_theirs_back(clip: object, tmp_path: Path) -> None:
    first, second, third = (detector(clip) for _ in range(3))
    first.calibrate(pictures(29), fpr=0.1, class_name="gear")
    first.save_thresholds(tmp_path)
    second.load_thresholds(tmp_path)  # a long calibration of another class begins
    first.calibrate(pictures(40, seed=3), fpr=0.1, class_name="gear")
    first.save_thresholds()
    second.calibrate(pictures(30, seed=1), fpr=0.1, class_name="bolt")
    second.save_thresholds()

    third.load_thresholds(tmp_path)
    assert third.thresholds == {"gear": first.thresholds["gear"], "bolt": second.thresholds["bolt"]}


def test_calibrations_that_end_together_are_all_kept(clip: object, tmp_path: Path) -> None:
    ours = detector(clip)
    found = ours.calibrate(pictures(29), fpr=0.1)
    path = tmp_path / "thresholds.json"
    names = [f"class {number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as threads:
        list(threads.map(lambda name: write_thresholds(path, {name: found}), names))

    assert sorted(read_thresholds(path)) == names


def test_another_detector_is_refused(clip: object, tmp_path: Path) -> None:
    first = detector(clip)
    first.calibrate(pictures(29), fpr=0.1, class_name="gear")
    first.save_thresholds(tmp_path)
    other = detector(clip, gaussian_sigma=2.5)
    other.load_thresholds(tmp_path)
    with pytest.raises(
        UserError,
        match=r"found with another detector: hyperparameters\.\w+ \S+ then, 2\.5 now \(class.*Calibrate again",
    ):
        other.predict(pictures(1), class_name="gear")
    assert other.predict(pictures(1), class_name="gear", threshold=0.5)[0].verdict
    content = json.loads((tmp_path / "thresholds.json").read_text())
    content["classes"]["gear"]["detector"]["weights_sha256"] = "0" * 64
    (tmp_path / "thresholds.json").write_text(json.dumps(content))
    first.load_thresholds(tmp_path)
    with pytest.raises(UserError, match="weights_sha256 '0000"):
        first.threshold("gear")


def test_other_support_pictures_are_refused(clip: object) -> None:
    ours, support = adbench.Detector(adbench.build("winclip", clip)), pictures(2, seed=7)
    ours.calibrate(pictures(11), fpr=0.2, confidence=0.9, support=support)
    assert ours.threshold("object", support[::-1]) is not None
    for others in (None, support[:1]):
        with pytest.raises(UserError, match=r"support pictures then"):
            ours.predict(pictures(1), support=others)


def test_what_the_detector_has_seen_is_no_calibration(clip: object, tmp_path: Path) -> None:
    normal = pictures(29)
    ours = adbench.Detector(adbench.build("winclip", clip))
    with pytest.raises(UserError, match="2 of the calibration pictures are support pictures"):
        ours.calibrate(normal, fpr=0.1, support=normal[:2])
    data = adbench.open_dataset("piped_mini", classes=["PA_GLA01_TL"])
    method = adbench.build("adaclip", clip, prompting_depth=2, prompting_length=2, k_clusters=3)
    adbench.train(method, data, out=tmp_path / "run", steps_per_epoch=1, batch_size=2, device="cpu")
    trained = adbench.load_run(tmp_path / "run", device="cpu")
    seen = next(sample.path for sample in data.auxiliary().samples if sample.label == 0)
    with pytest.raises(UserError, match="1 of the calibration pictures is pictures that the weights were trained on"):
        trained.calibrate([*normal, seen], fpr=0.1)
    trained.calibrate(normal, fpr=0.1, class_name="pipe")
    assert trained.save_thresholds() == tmp_path / "run" / "thresholds.json"
    again = adbench.load_run(tmp_path / "run" / "weights.safetensors", device="cpu")
    assert again.threshold("pipe") == trained.threshold("pipe")


def test_copies_count_once_and_too_few_are_refused(clip: object) -> None:
    with pytest.raises(UserError, match=r"n = 28 normal images supports no rate below 0\.102.*at least 29"):
        detector(clip).calibrate(pictures(28) * 2, fpr=0.1)


def test_a_broken_file_is_named_or_left_out(clip: object, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    files = [tmp_path / "broken.png"]
    for number, picture in enumerate(pictures(29)):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
        files.append(tmp_path / f"{number}.png")
    with pytest.raises(UserError, match=r"broken\.png"):
        detector(clip).calibrate(files, fpr=0.1)
    errors: list[UserError] = []
    assert detector(clip).calibrate(files, fpr=0.1, broken=errors.append).n == 29
    assert len(errors) == 1
    with pytest.raises(UserError, match="n = 28"):
        detector(clip).calibrate(files[:-1], fpr=0.1, broken=errors.append)


def test_a_stream_goes_on_behind_broken_files(clip: object, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"nothing")
    given = [*pictures(3), tmp_path / "broken.png", *pictures(2, seed=1)]
    results = [result for _, result in detector(clip).stream(given, batch_size=2)]
    assert [isinstance(result, UserError) for result in results] == [False] * 3 + [True] + [False] * 2
    alone = detector(clip).predict(given[5])[0]
    assert results[5].score == pytest.approx(alone.score, abs=1e-5)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read as JSON"),
        ('{"version": 2, "classes": {}}', "another version"),
        ('{"version": 1, "classes": {"gear": {"value": 1}}}', "gear lacks adbench_version, created, detector"),
        ('{"version": 1, "classes": {"gear": 3}}', "gear lacks"),
    ],
)
def test_damaged_files_are_refused(clip: object, tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "thresholds.json").write_text(content)
    with pytest.raises(UserError, match=said):
        detector(clip).load_thresholds(tmp_path)
