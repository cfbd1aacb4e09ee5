"""Methods that score the images of a class together: what `relate` is given, and what evaluation says of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adbench.api.detector import Detector
from adbench.data.sample import Batch
from adbench.engine.class_features import EncodedClass
from adbench.engine.evaluate import evaluate
from adbench.engine.settings import EvalData, EvalSettings
from adbench.errors import UserError
from adbench.methods import build
from adbench.methods.base import Prediction
from engine.tiny_engine import TinyMethod, build_method, fake_clip, write_dataset
from tiny import make_tiny_clip

CPU = torch.device("cpu")


class Ranked(TinyMethod):
    """The score of an image is the share of the class's images whose mean is not above its own."""

    name = "tiny"
    transductive = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen = []

    def relate(self, class_name, chunks, *, strata=None, progress=lambda share: None):
        for _ in range(2):  # may be read again
            means = {
                path: float(value)
                for features, paths in chunks
                for path, value in zip(paths, features["patches"].mean(dim=(1, 2, 3)), strict=True)
            }
        progress(1.0)
        self.seen.append((class_name, list(means), strata))
        self.memory_bank[class_name] = means

    def score(self, features, batch):
        means = self.memory_bank[batch.class_names[0]]
        scores = [np.mean([other <= means[path] for other in means.values()]) for path in batch.paths]
        return Prediction(torch.tensor(scores, dtype=torch.float32), super().score(features, batch).maps)


@pytest.fixture
def data(tmp_path):
    return EvalData(name="tiny", samples=write_dataset(tmp_path / "tiny", n_normal=5))


def evaluated(method, data, **settings):
    scores = []
    rows = evaluate(method, data, EvalSettings(**settings), device=CPU, scores=scores)
    return rows, [image["score"] for image in scores]


@pytest.mark.parametrize("batch_size", [1, 4, 9])
def test_the_whole_class_is_related_once_before_it_is_scored(data, batch_size):
    method = Ranked(fake_clip())
    rows, scores = evaluated(method, data, batch_size=batch_size)

    assert method.seen == [
        (name, [f"{name}/{number:03d}.png" for number in range(9)], None) for name in ("dots", "lines")
    ]
    assert [sorted(scores[:9]), sorted(scores[9:])] == [pytest.approx([n / 9 for n in range(1, 10)])] * 2
    assert [row["notes"] for row in rows] == [["transductive: scored together with 9 images of the class"]] * 3
    assert not any(row["selected_on_test"] for row in rows)
    assert method.memory_bank == {}


def test_the_mean_of_classes_of_several_sizes_says_so(data):
    method = Ranked(fake_clip())
    rows, _ = evaluated(method, EvalData(name="tiny", samples=data.samples[3:]))

    assert rows[2]["notes"] == ["transductive: scored together with 6 to 9 images of the class"]


def test_kinds_of_defects_are_told_to_who_asks(data):
    method = Ranked(fake_clip())
    method.divides_by_label = True
    evaluated(method, data, batch_size=4)

    assert method.seen[0][2] == ["good"] * 5 + ["square"] * 4


def test_other_methods_say_nothing(data):
    rows, _ = evaluated(build_method(), data)

    assert rows[0]["notes"] == []
    with pytest.raises(UserError, match="scores each image by itself"):
        build_method().relate("dots", [])


def batches(n, size=2):
    for start in range(0, n, size):
        images = torch.full((size, 3, 4, 4), float(start))
        batch = Batch(
            images=images,
            labels=torch.arange(start, start + size) % 2,
            class_names=["dots"] * size,
            paths=[str(number) for number in range(start, start + size)],
            dataset="tiny",
            masks=images[:, 0] > 1,
        )
        yield batch, {"small": images[:, 0, 0], "large": images.repeat(1, 9, 1, 1)[:, 1:]}, 0.5


@pytest.mark.parametrize("limit", [0, 12_000, 1 << 30])
def test_what_is_beyond_the_limit_lies_on_disk(limit):
    encoded = EncodedClass(batches(10), limit, progress=lambda n: None)

    assert encoded.spilled == (limit < 1 << 30)
    assert [paths for _, paths in encoded.chunks] == [tuple(map(str, (n, n + 1))) for n in range(0, 10, 2)]
    for _ in range(2):
        for (batch, features, seconds), (expected, given, _) in zip(encoded, batches(10), strict=True):
            assert torch.equal(batch.images, expected.images)
            assert torch.equal(batch.masks, expected.masks)
            assert (batch.labels.tolist(), batch.paths, seconds) == (expected.labels.tolist(), expected.paths, 0.5)
            assert features.keys() == given.keys()
            assert all(torch.equal(features[name], given[name]) for name in given)
    assert torch.equal(encoded.chunks[3][0]["large"], torch.full((2, 26, 4, 4), 6.0))


def test_spilled_features_give_the_same_rows_and_leave_nothing(data, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(
        "adbench.engine.class_features.EncodedClass", lambda batches, _, **more: EncodedClass(batches, 0, **more)
    )
    _, on_disk = evaluated(Ranked(fake_clip()), data, batch_size=4)

    assert not list(tmp_path.glob("adbench-features-*"))
    monkeypatch.undo()
    assert on_disk == evaluated(Ranked(fake_clip()), data, batch_size=4)[1]


def test_musc_runs_from_pictures_to_rows(tmp_path):
    data = EvalData(name="tiny", samples=write_dataset(tmp_path / "tiny", classes=("dots",), n_normal=6, n_anomalous=6))
    clip = make_tiny_clip()
    rows, scores = evaluated(build("musc", clip, divide_num=2), data, batch_size=1)
    others = evaluated(build("musc", clip, divide_num=2), data, batch_size=5)

    assert others[1] == pytest.approx(scores, abs=1e-4)
    assert rows[0]["notes"] == [
        "image scores are means over the k most similar images, k = 1, 2, 3",
        "subsets were drawn with the help of labels",
        "transductive: scored together with 12 images of the class",
    ]
    alone = Detector(build("musc", clip), device="cpu").predict([sample.path for sample in data.samples])
    _, expected = evaluated(build("musc", clip), data, batch_size=8)
    assert [one.score for one in alone] == pytest.approx(expected, abs=1e-4)


def test_a_full_disk_is_told_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="cannot write features to disk"):
        EncodedClass(batches(4), 0)


def test_a_detector_takes_the_pictures_of_a_call_as_the_class():
    pictures = [np.full((16, 16, 3), value, np.uint8) for value in (10, 200, 90, 90)]
    method = Ranked(fake_clip())
    found = Detector(method, device="cpu").predict(pictures, batch_size=3)

    assert [(one.score, one.scored_with) for one in found] == [(0.25, 4), (1.0, 4), (0.75, 4), (0.75, 4)]
    assert method.memory_bank == {}
    with pytest.raises(UserError, match="of no use for another set"):
        Detector(method, device="cpu").calibrate(pictures, fpr=0.5)
    assert Detector(build_method(), device="cpu").predict(pictures)[0].scored_with is None
