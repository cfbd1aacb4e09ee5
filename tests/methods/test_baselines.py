"""The floors of every table: plain CLIP and the median colour."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.testing import assert_close

from adbench.clip.prompts import ADACLIP_ENSEMBLE, encode_ensemble
from adbench.methods import build, method_class, names
from tiny import make_batch, make_tiny_clip


def test_plain_clip_score_is_the_softmax_of_cosines():
    clip, batch = make_tiny_clip(), make_batch()
    scores = build("clip_zeroshot", clip).predict(batch).scores
    features = torch.nn.functional.normalize(clip.encode_image(batch.images), dim=-1)
    for index, name in enumerate(["metal nut", "pipe fryum", "metal nut", "carpet"]):
        logits = 100 * features[index] @ encode_ensemble(clip, ADACLIP_ENSEMBLE, name)
        assert_close(scores[index], logits.softmax(-1)[1], atol=1e-5, rtol=1e-4)


def test_median_colour_marks_the_odd_pixel():
    clip, batch = make_tiny_clip(), make_batch(1)
    images = torch.zeros_like(batch.images)
    images[0, :, 5, 7] = 2.0
    prediction = build("median_colour", clip).predict(replace(batch, images=images))
    assert prediction.maps[0].argmax().item() == 5 * 32 + 7
    assert_close(prediction.scores[0], 2.0 * torch.tensor(clip.std).norm())


def test_training_free_methods_have_nothing_to_learn():
    for name in ("clip_zeroshot", "median_colour"):
        assert method_class(name).supervision == "none"
        assert build(name, make_tiny_clip()).learnable_state() == {}
        assert name in names()
