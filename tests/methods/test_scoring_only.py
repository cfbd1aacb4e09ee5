"""Hyperparameters that an evaluation may change: what each leaves as it is."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from adbench.methods import build, method_class, names
from tiny import make_batch, make_tiny_clip

SETTINGS = {"adaclip": {"k_clusters": 3}, "anomalyclip": {"dpam_layer": 2}, "faprompt": {"dpam_layer": 2}}
TRAINED = [name for name in names() if method_class(name).supervision == "anomaly"]


@pytest.mark.parametrize("name", [name for name in TRAINED if "gaussian_sigma" in method_class(name).scoring_only])
def test_smoothing_changes_maps_and_no_loss(name):
    clip, batch, found = make_tiny_clip(), make_batch(), []
    settings = SETTINGS.get(name, {})
    for sigma in (1.0, 3.0):
        torch.manual_seed(0)
        method = build(name, clip, gaussian_sigma=sigma, **settings).eval()
        features = method.encode(batch)
        found.append((method.loss(features, batch), method.predict(batch).maps))
    (losses, maps), (same, others) = found
    for key, value in losses.items():
        assert_close(value, same[key], rtol=0, atol=0)
    assert not torch.allclose(maps, others)


def test_the_clusters_of_adaclip_change_scores_and_no_map():
    clip, batch = make_tiny_clip(), make_batch()
    trained = build("adaclip", clip, k_clusters=3, use_hsf=True).eval()
    without = build("adaclip", clip, k_clusters=3, use_hsf=False).eval()
    without.load_learnable_state(trained.learnable_state())
    expected, found = trained.predict(batch), without.predict(batch)
    assert_close(found.maps, expected.maps, rtol=0, atol=1e-6)
    assert (found.scores - expected.scores).abs().max() > 1e-4
