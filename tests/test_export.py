"""Detectors as ONNX files: what onnxruntime computes from a picture is what PyTorch does."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import adbench
from adbench.api.export import _as_seen, check_exportable
from adbench.clip.precision import hold
from adbench.errors import UserError
from adbench.methods import method_class, names
from small_methods import small_settings
from tiny import make_tiny_clip

ort = pytest.importorskip("onnxruntime", reason="needs the extra: pip install 'adbench-clip[export]'")

ADACLIP = {"prompting_depth": 2, "prompting_length": 2, "output_layers": (1, 2)}
OTHERS = ("vl4ad", "median_colour")  # windows follow the proportions; no graph has a median
OF_ONE_PICTURE = [name for name in names() if not method_class(name).transductive and name not in OTHERS]


def pictures(n, size=32):
    return list(np.random.default_rng(n).integers(0, 256, (n, size, size, 3), dtype=np.uint8))


def make_detector(name, **settings):
    return adbench.Detector(adbench.build(name, make_tiny_clip(), **settings), device="cpu")


@pytest.mark.parametrize(
    "name",
    [name if name == "clip_zeroshot" else pytest.param(name, marks=pytest.mark.slow) for name in OF_ONE_PICTURE],
)
def test_the_file_says_what_the_method_says(name, tmp_path):
    detector = make_detector(name, **small_settings(name, use_hsf=False, epochs=1, resolution=32))
    support = pictures(2) if detector.method.adapts else None
    if detector.method.fits:  # once: what is fitted depends on random numbers
        detector.method.memory_bank, support = detector._memory_bank("metal_nut", support), None
    card = adbench.export_onnx(detector, tmp_path / "m.onnx", class_name="metal_nut", support=support)

    session = ort.InferenceSession(str(tmp_path / "m.onnx"))
    images = pictures(5)
    seen = _as_seen(detector.method, images).numpy()
    if name != "promptad":  # it resizes twice
        np.testing.assert_array_equal(seen, np.stack(images))  # which have the method's own size
    score, maps = session.run(["score", "map"], {"image": seen})
    expected = detector.predict(images, class_name="metal_nut", support=support)
    np.testing.assert_allclose(score, [one.score for one in expected], atol=1e-4)
    if maps.shape[1] == 32:
        np.testing.assert_allclose(maps, np.stack([one.map for one in expected]), atol=1e-4)
    assert json.loads((tmp_path / "m.json").read_text()) == json.loads(json.dumps(card))
    assert card["input"]["shape"] == ["batch", 32, 32, 3]
    assert max(card["compared_with_pytorch"]["largest_difference"].values()) <= 1e-4


def test_the_threshold_is_on_the_card_and_preprocessing_makes_the_input(tmp_path):
    detector = make_detector("clip_zeroshot")
    threshold = detector.calibrate(pictures(29), fpr=0.1).value
    card = adbench.export_onnx(detector, tmp_path / "m.onnx", pictures=pictures(3))
    assert card["threshold"] == threshold
    large = pictures(1, size=57)[0]
    seen = np.asarray(Image.fromarray(large).resize((32, 32), Image.Resampling.BICUBIC))  # "squash", as the card says
    (score,) = ort.InferenceSession(str(tmp_path / "m.onnx")).run(["score"], {"image": seen[None]})
    assert score[0] == pytest.approx(detector.predict(large)[0].score, abs=1e-4)


def test_what_cannot_be_exported_says_why(tmp_path):
    with pytest.raises(UserError, match=r"k-means.*use_hsf=false"):
        adbench.export_onnx(make_detector("adaclip", **ADACLIP, k_clusters=3), tmp_path / "m.onnx")
    together = [name for name in names() if method_class(name).transductive]
    for name, reason in [*((name, "together") for name in together), ("vl4ad", "proportions")]:
        with pytest.raises(UserError, match=reason):
            check_exportable(method_class(name), {})
    with pytest.raises(UserError, match="mixes the pictures"):
        adbench.export_onnx(make_detector("inctrl", out_layers=(1,), batch_layout="official"), tmp_path / "m.onnx")
    detector = make_detector("clip_zeroshot")
    with pytest.raises(UserError, match=r"end in \.onnx"):
        adbench.export_onnx(detector, tmp_path / "m.bin")
    with pytest.raises(UserError, match=r"No ONNX function found for .*aten\.median"):
        adbench.export_onnx(make_detector("median_colour"), tmp_path / "m.onnx")
    hold(detector.method.clip, "bfloat16")
    with pytest.raises(UserError, match=r"held in bfloat16.*clip\.dtype=float32"):
        adbench.export_onnx(detector, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_model_card_is_not_replaced(tmp_path):
    (tmp_path / "weights.json").write_text("the record of a training")
    with pytest.raises(UserError, match="where the model card would be"):
        adbench.export_onnx(make_detector("clip_zeroshot"), tmp_path / "weights.onnx")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["the record of a training"]
    for name in ("m.onnx", "m.json"):
        (tmp_path / name).write_text("a model and its card may be written again")
    adbench.export_onnx(make_detector("clip_zeroshot"), tmp_path / "m.onnx")
