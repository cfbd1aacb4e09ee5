"""MuSc against loops that follow the paper's formulas, whatever the chunks, the memory and the order."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from adbench.errors import UserError
from adbench.methods import build
from adbench.methods.musc.aggregation import aggregate, standardise
from adbench.methods.musc.division import divide
from adbench.methods.musc.image_scores import neighbour_means
from adbench.methods.musc.mutual import bounds, interval_means, nearest_distances
from cli.on_benchmarks import rows_of_a_set_alone
from tiny import make_batch, make_tiny_clip, rows

N, K_LIST = 9, (1, 2, 4)


@pytest.fixture(scope="module")
def clip():
    return make_tiny_clip()


def one_class(n=N, seed=3):
    return replace(make_batch(n, seed=seed), class_names=["carpet"] * n)


def chunked(method, batch, size):
    parts = [rows(batch, slice(start, start + size)) for start in range(0, len(batch), size)]
    return [(method.encode(part), part.paths) for part in parts]


def related(method, batch, size=4, **facts):
    method.memory_bank = {}
    method.relate("carpet", chunked(method, batch, size), **facts)
    return method.score({}, batch)


def expected_patch_scores(clip, images, layers, degrees):
    """By definition, in float64, image by image and patch by patch."""
    side, n = clip.grid, len(images)
    streams = clip.image_blocks(clip.embed_image(images), collect=layers)
    scores = np.zeros((n, side * side))
    for layer in layers:
        for r in degrees:
            vectors = []
            for tokens in streams.blocks[layer][:, 1:].double().numpy():
                grid = ((tokens - tokens.mean()) / np.sqrt(tokens.var() + 1e-5)).reshape(side, side, -1)
                means = np.zeros_like(grid)
                for row in range(side):
                    for column in range(side):
                        top, left = max(0, row - r // 2), max(0, column - r // 2)
                        means[row, column] = grid[top : row + r // 2 + 1, left : column + r // 2 + 1].sum((0, 1))
                vectors.append((means / np.linalg.norm(means, axis=-1, keepdims=True)).reshape(side * side, -1))
            for i in range(n):
                for t in range(side * side):
                    distances = sorted(
                        np.linalg.norm(vectors[j] - vectors[i][t], axis=-1).min() for j in range(n) if j != i
                    )
                    kept = distances[: int(0.3 * (n - 1))]
                    scores[i, t] += np.mean(kept) / (len(layers) * len(degrees))
    return scores


def test_scores_and_maps_are_those_of_the_formulas(clip):
    batch, layers, degrees = one_class(), (2, 4), (1, 3)
    method = build("musc", clip, feature_layers=layers, r_list=degrees, k_list=K_LIST)
    prediction = related(method, batch)

    patches = torch.from_numpy(expected_patch_scores(clip, batch.images, layers, degrees))
    maps = F.interpolate(patches.view(N, 1, 4, 4), size=(32, 32), mode="bilinear", align_corners=True)[:, 0]
    assert_close(prediction.maps, maps.float(), atol=2e-6, rtol=0)
    tops = maps.flatten(1).amax(1).numpy()
    scaled = (tops - tops.min()) / (tops.max() - tops.min())
    features = F.normalize(clip.encode_image(batch.images), dim=-1).double().numpy()
    cosines = features @ features.T
    means = []
    for k in K_LIST:
        nearest = [np.argsort(-line)[:k] for line in cosines]
        means.append(
            [np.average(scaled[near], weights=line[near]) for near, line in zip(nearest, cosines, strict=True)]
        )
    assert_close(prediction.scores, torch.tensor(np.mean(means, axis=0)).float(), atol=2e-5, rtol=0)


@pytest.mark.parametrize("size", [1, 3, N])
def test_chunks_change_nothing(clip, size):
    method, batch = build("musc", clip), one_class()
    whole, parts = related(method, batch, size=5), related(method, batch, size)
    assert_close(parts.maps, whole.maps, atol=1e-6, rtol=0)
    assert_close(parts.scores, whole.scores, atol=1e-5, rtol=0)


def test_order_changes_nothing(clip):
    method, batch, order = build("musc", clip), one_class(), [4, 0, 8, 2, 1, 7, 3, 6, 5]
    shuffled = replace(batch, images=batch.images[order], paths=[batch.paths[i] for i in order])
    straight, other = related(method, batch), related(method, shuffled)
    assert_close(other.maps, straight.maps[order], atol=1e-6, rtol=0)
    assert_close(other.scores, straight.scores[order], atol=1e-5, rtol=0)


def test_another_image_in_the_set_changes_the_scores(clip):
    method, batch = build("musc", clip), one_class()
    assert not torch.allclose(related(method, rows(batch, slice(0, 8))).scores, related(method, batch).scores[:8])


def unit_vectors(n, n_patches=6, width=5, seed=0):
    return F.normalize(torch.randn(n, n_patches, width, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.mark.parametrize("memory", [1, 4 * 6 * 5 * 4 * 3, 1 << 30])
def test_any_memory_gives_the_same_distances_of_pairs_computed_once(memory, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    vectors, done = unit_vectors(8), []
    expected = torch.cdist(vectors[:, None], vectors[None], compute_mode="donot_use_mm_for_euclid_dist").amin(-1)
    with (
        FlopCounterMode(display=False) as counter,
        nearest_distances(vectors.__getitem__, 8, (6, 5), memory=memory, advance=done.append) as distances,
    ):
        others = ~torch.eye(8, dtype=torch.bool)
        assert_close(distances[others], expected[others], atol=1e-6, rtol=1e-5)
        assert distances.diagonal().isinf().all()
        assert bool(list(tmp_path.rglob("distances"))) == (memory == 1 or memory < 4 * 4 * 8 * 8 * 6)
    assert sum(done) == 28
    assert counter.get_total_flops() == 28 * 2 * 6 * 6 * 5
    assert not list(tmp_path.iterdir())


def test_the_interval_counts_fractions_of_the_others_or_images():
    assert all(bounds((0.0, 0.3), n) == (0, 3 * n // 10) for n in range(20_000))
    assert bounds((0.1, 0.5), 19) == (1, 9)
    assert bounds((2, 5), 19) == (2, 5)
    assert bounds((0, 1), 19) == (0, 1)  # 1 is one image, not all
    distances = torch.tensor([[[torch.inf], [3.0], [1.0], [2.0], [9.0]]])
    assert interval_means(distances, 1, 3, torch.device("cpu")).tolist() == [[2.5]]


def test_one_mean_and_variance_serve_the_whole_image():
    patches = torch.randn(2, 9, 5) * 3 + 1
    expected = (patches - patches.mean((1, 2), keepdim=True)) / patches.std((1, 2), correction=0, keepdim=True)
    assert_close(standardise(patches), expected, atol=1e-5, rtol=1e-4)
    assert_close(aggregate(expected, 3, 1), F.normalize(expected, dim=-1))


def test_subsets_are_dealt_from_each_stratum_in_turn():
    strata = ["cut", "good", "cut", "good", "good", "cut", "good", "cut"]
    random.seed(42)  # as the authors' code has it: one generator for all groups
    groups = [[0, 2, 5, 7], [1, 3, 4, 6]]
    for group in groups:
        random.shuffle(group)
    assert divide(strata, 2, 42) == [groups[0][::2] + groups[1][::2], groups[0][1::2] + groups[1][1::2]]
    assert divide(strata, 2, 43) != divide(strata, 2, 42)
    assert divide(strata, 1, 42) == [list(range(8))]
    assert [len(subset) for subset in divide("aab", 2, 0)] == [2, 1]


def test_a_subset_scores_as_if_it_were_alone_until_images_are_scored(clip):
    batch = one_class(12)
    method = build("musc", clip, divide_num=2, divide_by="none")
    whole = related(method, batch)
    alone = build("musc", clip)
    for subset in divide([""] * 12, 2, 42):
        part = replace(one_class(6), images=batch.images[subset], paths=[batch.paths[i] for i in subset])
        found = related(alone, part)
        assert_close(found.maps, whole.maps[subset], atol=1e-6, rtol=0)
        assert not torch.allclose(found.scores, whole.scores[subset])


def test_kinds_of_defects_decide_the_subsets_and_are_named(clip):
    batch, strata = one_class(12), ["cut"] * 6 + ["good"] * 6
    method = build("musc", clip, divide_num=2)
    assert method.divides_by_label
    assert "subsets were drawn with the help of labels" in method.remarks
    assert not build("musc", clip).divides_by_label
    with pytest.raises(UserError, match=r"not known here.*divide_by=none"):
        related(method, batch)
    by_defect = related(method, batch, strata=strata)
    given = build("musc", clip)
    given.relate_subsets("carpet", chunked(given, batch, 4), divide(strata, 2, 42))
    assert_close(by_defect.maps, given.score({}, batch).maps)


def test_neighbours_include_the_image_and_equal_maxima_give_zero():
    features = F.normalize(torch.tensor([[1.0, 0.1], [1.0, 0.0], [0.0, 1.0]]), dim=-1)
    maxima = torch.tensor([1.0, 3.0, 2.0], dtype=torch.float64)
    assert neighbour_means(maxima, features, [1]).tolist() == [0, 1, 0.5]
    cosine = float(features[0] @ features[1])
    assert_close(neighbour_means(maxima, features, [2])[0], torch.tensor(cosine / (1 + cosine)))
    assert neighbour_means(torch.ones(3), features, [1, 2]).tolist() == [0, 0, 0]


def test_autocast_leaves_the_class_wide_part_precise(clip):
    method, batch = build("musc", clip), one_class()
    chunks = chunked(method, batch, 4)
    method.relate("carpet", chunks)
    precise = method.score({}, batch)
    with torch.autocast("cpu", torch.bfloat16):
        method.relate("carpet", chunks)
    assert_close(method.score({}, batch).maps, precise.maps, atol=0, rtol=0)


def test_progress_reaches_the_whole(clip):
    shares = []
    related(build("musc", clip, divide_num=2, divide_by="none"), one_class(12), progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_an_image_outside_a_set_has_no_score(clip):
    method, batch = build("musc", clip), one_class()
    with pytest.raises(UserError, match=r"score the images|of no set"):
        method.predict(batch)
    related(method, rows(batch, slice(0, 8)))
    with pytest.raises(UserError, match=r"of no set that it knows \(class carpet: 8\.png\)"):
        method.score({}, batch)


@pytest.mark.parametrize(
    ("settings", "n", "said"),
    [
        ({}, 4, "4 images are too few .* keeps none of the distances to 3 others"),
        ({"divide_num": 2, "divide_by": "none"}, 9, "4 images are too few"),
        ({"interval": [0, 8]}, 8, "8 images are too few"),
        ({"k_list": [1, 8]}, 7, "k_list names 8 images, there are 7"),
    ],
)
def test_sets_that_are_too_small_are_refused(clip, settings, n, said):
    with pytest.raises(UserError, match=said):
        related(build("musc", clip, **settings), one_class(n))


def test_five_images_are_enough(clip):
    assert related(build("musc", clip), one_class(5)).maps.isfinite().all()


@pytest.mark.parametrize(
    "wrong", [{"r_list": [1, 2]}, {"feature_layers": [2, 9]}, {"interval": [0.3, 0.1]}, {"divide_by": "colour"}]
)
def test_bad_settings_are_refused(clip, wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        build("musc", clip, **wrong)


def test_layers_are_the_quarters_of_the_tower_unless_named(clip):
    assert build("musc", clip).layers == (1, 2, 3, 4)
    assert build("musc", clip, feature_layers=[4, 2]).feature_settings() == {"feature_layers": [4, 2]}


def test_mask_rules_count_the_rim_or_leave_it_out(clip):
    from PIL import Image

    drawn = np.zeros((80, 80), np.uint8)
    drawn[21:53, 21:53] = 3  # a label number: any value above 0 is anomalous
    areas = {
        rule: int(build("musc", clip, mask_rule=rule).transform.mask(Image.fromarray(drawn)).sum())
        for rule in ("half", "full", "any")
    }
    assert areas["full"] < areas["half"] < areas["any"]
    resized = np.asarray(
        Image.fromarray((drawn > 0).astype(np.uint8) * 255).resize((32, 32), Image.Resampling.BILINEAR)
    )
    assert (areas["full"], areas["any"]) == (int((resized / 255).astype(int).sum()), int((resized > 0).sum()))
    method = build("musc", clip, mask_rule="full")
    assert method.transform.describe()["mask_filter"].endswith("== 1")
    assert any("mask_rule=full" in remark for remark in method.remarks)
    picture = Image.fromarray(drawn)
    assert_close(method.transform.image(picture), build("musc", clip).transform.image(picture))


def test_a_set_has_the_rows_alone_that_it_has_in_a_benchmark(tmp_path, monkeypatch):
    found = rows_of_a_set_alone("musc", tmp_path, monkeypatch)
    assert all("transductive: scored together with 10 images of the class" in row["notes"] for row in found)
