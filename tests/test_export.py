"""Detectors as ONNX files: what onnxruntime computes from a picture is what PyTorch does."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import adbench
from adbench.errors import UserError
from tiny import make_tiny_clip

ort = pytest.importorskip("onnxruntime", reason="needs the extra: pip install 'adbench-clip[export]'")

SMALL = {
    "anomalyclip": {"dpam_layer": 3, "n_ctx": 4, "deep_depth": 2, "deep_tokens": 2},
    "faprompt": {"dpam_layer": 3, "num_prior_patches": 4, "num_abnormal_prompts": 3, "n_ctx_pos": 3, "n_ctx_neg": 2},
    "inctrl": {"out_layers": (2, 3)},
    "promptad": {"epochs": 1, "resolution": 24},
    "clip_zeroshot": {},
    "winclip": {"scales": (2,)},
}
NEEDS_SUPPORT = ("inctrl", "promptad", "winclip")


def pictures(n, size=32):
    return list(np.random.default_rng(n).integers(0, 256, (n, size, size, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", SMALL)
def test_the_file_says_what_the_method_says(name, tmp_path):
    detector = adbench.Detector(adbench.build(name, make_tiny_clip(), **SMALL[name]), device="cpu")
    support = pictures(2) if name in NEEDS_SUPPORT else None
    card = adbench.export_onnx(detector, tmp_path / "m.onnx", class_name="metal_nut", support=support)

    session = ort.InferenceSession(str(tmp_path / "m.onnx"))
    images = pictures(5)  # of the method's own size: nothing is resized
    score, maps = session.run(["score", "map"], {"image": np.stack(images)})
    expected = detector.predict(images, class_name="metal_nut", support=support)
    np.testing.assert_allclose(score, [one.score for one in expected], atol=1e-4)
    if maps.shape[1] == 32:
        np.testing.assert_allclose(maps, np.stack([one.map for one in expected]), atol=1e-4)
    assert json.loads((tmp_path / "m.json").read_text()) == json.loads(json.dumps(card))
    assert card["input"]["shape"] == ["batch", 32, 32, 3]
    assert max(card["compared_with_pytorch"]["largest_difference"].values()) <= 1e-4


def test_the_threshold_is_on_the_card_and_preprocessing_makes_the_input(tmp_path):
    detector = adbench.Detector(adbench.build("clip_zeroshot", make_tiny_clip()), device="cpu")
    threshold = detector.calibrate(pictures(29), fpr=0.1).value
    card = adbench.export_onnx(detector, tmp_path / "m.onnx", pictures=pictures(3))
    assert card["threshold"] == threshold
    large = pictures(1, size=57)[0]
    seen = np.asarray(Image.fromarray(large).resize((32, 32), Image.Resampling.BICUBIC))  # "squash", as the card says
    (score,) = ort.InferenceSession(str(tmp_path / "m.onnx")).run(["score"], {"image": seen[None]})
    assert score[0] == pytest.approx(detector.predict(large)[0].score, abs=1e-4)


def test_what_cannot_be_exported_says_why(tmp_path):
    detector = adbench.Detector(
        adbench.build("adaclip", make_tiny_clip(), prompting_depth=2, prompting_length=2, k_clusters=3), device="cpu"
    )
    with pytest.raises(UserError, match="k-means"):
        adbench.export_onnx(detector, tmp_path / "m.onnx")
    detector = adbench.Detector(adbench.build("clip_zeroshot", make_tiny_clip()), device="cpu")
    with pytest.raises(UserError, match=r"end in \.onnx"):
        adbench.export_onnx(detector, tmp_path / "m.bin")
    assert not list(tmp_path.iterdir())
