"""The four pixel metrics: values, streaming, merging, spilling to disk, bad input."""

from __future__ import annotations

import multiprocessing
import pickle
import tempfile

import numpy as np
import pytest

from adbench.errors import UserError
from adbench.metrics import PixelMetrics, aupro
from adbench.metrics import exact as exact_module
from adbench.metrics import store as store_module
from metrics.reference import INPUTS, TOLERANCE, brute_force_aupro, random_masks, sklearn_values


def images(kind="tied", seed=0, n=6, size=24):
    rng = np.random.default_rng(seed)
    masks = random_masks(rng, n, size, size + 3)
    return INPUTS[kind](rng, masks), masks


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(store_module, "SMALLEST_SHARD_BYTES", 1 << 10)
    monkeypatch.setattr(store_module, "SHARD_BYTES", 1 << 10)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", INPUTS)
def test_equal_scikit_learn_and_brute_force(kind, seed):
    maps, masks = images(kind, seed, n=4, size=16)
    expected = {f"pixel_{name}": value for name, value in sklearn_values(maps, masks).items()}
    exact = maps.astype(np.float64)

    for limit in (0.3, 0.05, 1.0):
        values = PixelMetrics(aupro_limit=limit).update(maps, masks).compute()

        expected["pixel_aupro"] = brute_force_aupro(exact, masks, limit)
        assert values == pytest.approx(expected, abs=TOLERANCE, rel=0)


@pytest.mark.parametrize("seed", range(40))
def test_aupro_of_tiny_images_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    masks = rng.random((2, 5, 6)) < rng.uniform(0.05, 0.8)
    masks[0, 0, 0], masks[0, 0, 1] = True, False
    maps = rng.integers(0, rng.integers(2, 12), masks.shape).astype(np.float32)
    limit = rng.choice([0.01, 0.1, 0.3, 0.7, 1.0])

    assert aupro(maps, masks, limit) == pytest.approx(brute_force_aupro(maps, masks, limit), abs=TOLERANCE, rel=0)


def test_infinite_scores_are_ordinary_scores():
    maps, masks = images("random")
    maps[0, :2], maps[1, :2] = np.inf, -np.inf
    finite = np.nan_to_num(maps, posinf=1e9, neginf=-1e9)

    assert PixelMetrics().update(maps, masks).compute() == PixelMetrics().update(finite, masks).compute()


@pytest.mark.parametrize("kind", ["random", "tied", "double"])
@pytest.mark.parametrize("seed", range(4))
def test_any_split_gives_the_same_bits(kind, seed):
    maps, masks = images(kind, seed, n=9)
    whole = PixelMetrics(aupro200=True).update(maps, masks)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(maps))
    cuts = np.sort(rng.integers(0, len(maps) + 1, 3))

    parts = [PixelMetrics(aupro200=True).update(maps[i], masks[i]) for i in np.split(order, cuts)]
    merged = parts[0]
    for part in parts[1:]:
        before = part.compute()
        merged.merge(part)
        assert repr(part.compute()) == repr(before)

    assert merged.compute() == whole.compute()


def test_results_in_between_change_nothing():
    maps, masks = images("random")
    metrics = PixelMetrics()
    for i in range(len(maps)):
        metrics.update(maps[i : i + 1], masks[i : i + 1]).compute()

    assert metrics.compute() == PixelMetrics().update(maps, masks).compute()


@pytest.mark.usefixtures("small_shards")
def test_merging_with_itself_counts_twice():
    maps, masks = images("random")
    metrics = PixelMetrics().update(maps, masks)

    twice = PixelMetrics().update(np.concatenate([maps, maps]), np.concatenate([masks, masks]))
    assert metrics.merge(metrics).compute() == twice.compute()


def _accumulate(part):
    maps, masks = images("tied", 5, n=8)
    return PixelMetrics(aupro200=True).update(maps[part], masks[part])


def test_two_processes_give_the_table_of_one():
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        parts = pool.map(_accumulate, [slice(0, 3), slice(3, 8)])

    assert parts[1].merge(parts[0]).compute() == _accumulate(slice(None)).compute()


@pytest.mark.parametrize("mode", ["exact", "constant"])
def test_pickle_keeps_everything(mode):
    maps, masks = images("random")
    metrics = PixelMetrics(mode=mode, aupro_limit=0.1).update(maps, masks)

    copy = pickle.loads(pickle.dumps(metrics))

    assert copy.compute() == metrics.compute()
    twice = copy.merge(metrics).compute()
    assert twice == PixelMetrics(mode=mode, aupro_limit=0.1).update(maps, masks).update(maps, masks).compute()


def test_an_update_does_not_alias_the_callers_arrays():
    maps, masks = images("random")
    expected = PixelMetrics().update(maps, masks).compute()
    buffer, metrics = np.empty_like(maps[:1]), PixelMetrics()
    for one, mask in zip(maps, masks, strict=True):
        buffer[0] = one
        metrics.update(buffer, mask[None])
        buffer[:] = -7

    assert metrics.compute() == expected


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("kind", ["random", "tied", "double"])
def test_spilling_to_disk_equals_memory(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    maps, masks = images(kind, n=8)
    expected = PixelMetrics(aupro200=True, memory_limit=1 << 30).update(maps, masks).compute()

    spilled = PixelMetrics(aupro200=True, memory_limit=0)
    for i in range(0, 8, 2):
        spilled.update(maps[i : i + 2], masks[i : i + 2])

    assert len(list(tmp_path.rglob("*.npy"))) >= 4
    assert spilled.compute() == expected
    assert pickle.loads(pickle.dumps(spilled)).compute() == expected
    other = PixelMetrics(aupro200=True, memory_limit=0).merge(spilled)
    del spilled
    assert other.compute() == expected
    del other
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("small_shards")
def test_memory_stays_below_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    metrics = PixelMetrics(memory_limit=8 << 10)
    for seed in range(10):
        metrics.update(*images("random", seed, n=2))
        resident = sum(shard.n_bytes for shard in metrics._pixels.negatives._shards)
        assert resident + metrics._pixels.negatives._buffer.nbytes <= 8 << 10
    assert list(tmp_path.rglob("*.npy"))


def test_a_full_disk_is_a_user_error(tmp_path, monkeypatch, small_shards):
    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", no_room)
    with pytest.raises(UserError, match="No space left"):
        PixelMetrics(memory_limit=0).update(*images())


def test_several_shards_and_stretches_equal_one(monkeypatch, small_shards):
    maps, masks = images("tied", n=8)
    one = PixelMetrics().update(maps, masks).compute()

    monkeypatch.setattr(exact_module, "STRETCH", 3)
    many = PixelMetrics().update(maps, masks).compute()

    assert many == pytest.approx(one, abs=1e-13, rel=0)


def test_images_of_several_sizes_come_as_lists():
    maps, masks = images("random")
    expected = PixelMetrics().update(maps[:4], masks[:4]).update(maps[4:, :9, :7], masks[4:, :9, :7]).compute()

    metrics = PixelMetrics().update([*maps[:4], *maps[4:, :9, :7]], [*masks[:4], *masks[4:, :9, :7].astype(np.uint8)])

    assert metrics.compute() == expected


def test_a_missing_mask_means_a_normal_image():
    maps, masks = images("random")
    masks[:2] = False
    expected = PixelMetrics().update(maps, masks).compute()

    assert PixelMetrics().update(maps[:2]).update(maps[2:], masks[2:]).compute() == expected
    assert PixelMetrics().update(list(maps), [None, None, *masks[2:]]).compute() == expected
    assert PixelMetrics().update(maps, [None, None, *masks[2:]]).compute() == expected


@pytest.mark.parametrize("mode", ["exact", "constant"])
@pytest.mark.parametrize("value", [0, 1])
def test_one_label_only_is_undefined(mode, value):
    maps, masks = images("random")

    metrics = PixelMetrics(mode=mode).update(maps, np.full_like(masks, value))

    assert set(metrics.compute()) == {"pixel_auroc", "pixel_ap", "pixel_f1max", "pixel_aupro"}
    assert np.isnan(list(metrics.compute().values())).all()
    assert np.isnan(list(metrics.error_bounds().values())).all()


@pytest.mark.parametrize("mode", ["exact", "constant"])
def test_nothing_is_undefined(mode):
    empty = np.zeros((0, 4, 4), np.float32)

    assert np.isnan(list(PixelMetrics(mode=mode).compute().values())).all()
    assert np.isnan(list(PixelMetrics(mode=mode).update(empty, empty).update([], []).compute().values())).all()


@pytest.mark.parametrize(
    ("maps", "masks", "named"),
    [
        (np.full((1, 2, 2), np.nan, np.float32), np.zeros((1, 2, 2)), r"4 of 4 scores are NaN.*index \(0, 0, 0\)"),
        (np.zeros((1, 4, 4)), np.zeros((1, 4, 5)), r"\(1, 4, 5\).*\(1, 4, 4\)"),
        (np.zeros((1, 4, 4)), np.full((1, 4, 4), 255, np.uint8), "0 and 1"),
        (np.zeros((1, 4, 4)), np.full((1, 4, 4), 0.5), "0 and 1"),
        (np.zeros((1, 4, 4)), np.full((1, 4, 4), np.nan), "0 and 1"),
        (np.zeros((4, 4)), np.zeros((4, 4)), r"\(B, H, W\)"),
        (np.zeros((2, 1, 4, 4)), np.zeros((2, 1, 4, 4)), r"\(B, H, W\)"),
        ([np.zeros((4, 4))], [], "1 maps but 0 masks"),
        ([np.zeros((4, 4))], [np.zeros((4, 5))], "mask 0"),
        (np.zeros((1, 4, 4), complex), np.zeros((1, 4, 4)), "type complex"),
    ],
)
def test_bad_input_is_named_and_nothing_is_taken_in(maps, masks, named):
    metrics = PixelMetrics()
    with pytest.raises(UserError, match=named):
        metrics.update(maps, masks)
    assert metrics._pixels.negatives.size == 0


def test_a_bad_image_in_a_list_leaves_the_others_out_too():
    metrics = PixelMetrics()
    with pytest.raises(UserError, match="map 1"):
        metrics.update([np.zeros((2, 2)), np.full((2, 2), np.nan)], [np.zeros((2, 2)), np.zeros((2, 2))])
    assert metrics._pixels.negatives.size == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"aupro_limit": 0.0},
        {"aupro_limit": 1.5},
        {"mode": "fast"},
        {"grid": "numpy3"},
        {"mode": "constant", "aupro200": True},
    ],
)
def test_bad_settings_are_named(settings):
    with pytest.raises(UserError, match="Choose"):
        PixelMetrics(**settings)


def test_modes_do_not_mix():
    with pytest.raises(UserError, match="merge"):
        PixelMetrics().merge(PixelMetrics(mode="constant"))


@pytest.mark.parametrize("order", ["falling", "rising", "mixed"])
def test_counts_of_a_shard_in_slices_equal_counts_of_the_whole(monkeypatch, order):
    monkeypatch.setattr(store_module, "_SLICE", 64)
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 300, 5000).astype(np.float32)
    thresholds = rng.integers(-2, 303, 700).astype(np.float32)
    if order != "mixed":
        thresholds = np.sort(thresholds)[:: 1 if order == "rising" else -1]
    store = store_module.ScoreStore(1 << 30)
    store.add(scores)

    above, at_or_above = store.count(thresholds)

    np.testing.assert_array_equal(above, (scores[:, None] > thresholds).sum(0))
    np.testing.assert_array_equal(at_or_above, (scores[:, None] >= thresholds).sum(0))
