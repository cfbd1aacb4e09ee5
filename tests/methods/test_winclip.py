"""WinCLIP: windows, harmonic means, zero-shot and few-shot, whatever the batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from adbench.clip.prompts import WINCLIP_ENSEMBLE
from adbench.errors import UserError
from adbench.methods import build
from adbench.methods.winclip.windows import harmonic_mean, harmonic_to_patches, window_masks
from tiny import make_batch, make_tiny_clip


def adapted(method, k=3):
    support = make_batch(k, seed=9)
    for name in ("metal_nut", "pipe-fryum", "carpet"):
        method.adapt(name, support)
    return method


def test_windows_are_row_major_with_stride_one():
    assert window_masks(3, 2).T.tolist() == [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]]


def test_a_window_sees_its_own_patches_only():
    clip, batch = make_tiny_clip(), make_batch(1)
    method = build("winclip", clip)
    tokens = clip.embed_image(batch.images)
    alone = clip.project(clip.image_blocks(tokens[:, [0, 6, 7, 10, 11]]).tokens[:, 0])  # the window at row 1, column 1
    assert_close(method.encode(batch)["windows_2"][:, 4], alone, atol=1e-5, rtol=1e-4)


def test_harmonic_means_against_loops():
    scores = torch.rand(2, 9) + 0.1
    maps = harmonic_to_patches(scores, 4, 2)
    masks = window_masks(4, 2)
    for patch in range(16):
        inside = (masks == patch).any(0)
        expected = inside.sum() / scores[:, inside].reciprocal().sum(1)
        assert_close(maps.flatten(1)[:, patch], expected)


def test_a_zero_makes_its_patches_zero():
    scores = torch.ones(1, 9)
    scores[0, 0] = 0
    assert harmonic_to_patches(scores, 4, 2)[0].eq(0).sum() == 4
    assert harmonic_mean(torch.tensor([[0.0, 1.0], [1.0, 1.0]])).tolist() == [0, 1]


def test_the_memory_bound_changes_nothing():
    batch = make_batch(3)
    maps = [build("winclip", make_tiny_clip(), max_tokens=n).predict(batch).maps for n in (1, 37, 16384)]
    assert_close(maps[0], maps[2], atol=1e-5, rtol=0)
    assert_close(maps[1], maps[2], atol=1e-5, rtol=0)


def test_text_is_averaged_before_it_is_normalised():
    clip = make_tiny_clip()
    normal, _ = WINCLIP_ENSEMBLE.sentences("metal_nut")
    assert len(normal) == 147
    expected = clip.encode_text(clip.tokenize(normal)).mean(0)
    assert_close(build("winclip", clip).text_embeddings("metal_nut")[0], expected)


def test_few_shot_scores_are_means_with_the_zero_shot_ones():
    batch = make_batch(2)
    method = build("winclip", make_tiny_clip())
    zero = method.predict(batch)
    features = method.encode(batch)
    few = adapted(method).few_shot_map(features, batch)
    both = method.score(features, batch)
    assert_close(both.scores, (zero.scores + few.flatten(1).amax(1)) / 2)
    up = F.interpolate(few[:, None], size=(32, 32), mode="bilinear", align_corners=False)[:, 0]
    assert_close(both.maps, (zero.maps + up) / 2)


def test_order_of_the_support_does_not_matter_and_given_features_are_used():
    batch, support = replace(make_batch(2), class_names=["carpet"] * 2), make_batch(3, seed=9)
    one, other = build("winclip", make_tiny_clip()), build("winclip", make_tiny_clip())
    one.adapt("carpet", support)
    other.adapt("carpet", make_batch(3, seed=1), {key: value.flip(0) for key, value in one.encode(support).items()})
    assert_close(one.predict(batch).maps, other.predict(batch).maps, atol=1e-6, rtol=0)


def test_a_class_without_memory_is_named():
    method = build("winclip", make_tiny_clip())
    method.adapt("carpet", make_batch(2))
    with pytest.raises(UserError, match="no normal images of class 'metal_nut'"):
        method.predict(make_batch(1))


@pytest.mark.parametrize("wrong", [{"scales": [2, 9]}, {"prompt_ensemble": "x"}, {"temperature": 0.0}])
def test_bad_settings_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        build("winclip", make_tiny_clip(), **wrong)
