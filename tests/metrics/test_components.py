"""Component metrics against naive loops, and every subtlety of their definition."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import pytest

from adbench.metrics.components import TAUS, component_metrics, components, components_above, counts


def regions(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    """8-connected components by flood filling, in scan order."""
    todo = {tuple(pixel) for pixel in np.argwhere(mask).tolist()}
    found = []
    for start in sorted(todo):
        if start not in todo:
            continue
        todo.remove(start)
        queue, members = deque([start]), {start}
        while queue:
            y, x = queue.popleft()
            for near in ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
                if near in todo:
                    todo.remove(near)
                    members.add(near)
                    queue.append(near)
        found.append(members)
    return found


def naive(predicted: np.ndarray, labels: np.ndarray, min_pred: int, min_gt: int):
    """sIoU-gt, sIoU-pred and PPV of every component, straight from their definition."""
    found = [one for one in regions(predicted & (labels != 255)) if len(one) >= min_pred]
    marked = regions(labels == 1)
    void = {tuple(p) for p in np.argwhere(labels == 255).tolist()}.union(*(k for k in marked if len(k) < min_gt))
    gts = [k for k in marked if len(k) >= min_gt]
    preds = [p - void for p in found if p - void]

    def siou(one, others, rivals):
        union = set().union(*(other for other in others if other & one))
        adjusted = union & set().union(*(rival for rival in rivals if rival is not one))
        return len(one & union) / len((one | union) - adjusted)

    every_gt = set().union(*gts)
    return (
        [siou(k, preds, gts) for k in gts],
        [siou(p, gts, preds) for p in preds],
        [len(p & every_gt) / len(p) for p in preds],
    )


def blobs(random: np.random.Generator, size=(24, 32), rate=0.06) -> np.ndarray:
    seeds = random.random(size) < rate
    grown = np.zeros(size, bool)
    for y, x in np.argwhere(seeds):
        h, w = random.integers(1, 6, 2)
        grown[y : y + h, x : x + w] = True
    return grown


@pytest.mark.parametrize("seed", range(30))
def test_random_maps_agree_with_the_naive_loops(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = blobs(random, rate=0.02).astype(np.uint8)
    labels[blobs(random, rate=0.015)] = 255
    predicted = blobs(random, rate=0.03)
    min_pred, min_gt = (int(n) for n in random.integers(0, 12, 2))
    ours = components(predicted, labels, min_pred=min_pred, min_gt=min_gt)
    expected = naive(predicted, labels, min_pred, min_gt)
    np.testing.assert_allclose(ours.siou_gt, expected[0], atol=1e-12)
    np.testing.assert_allclose(ours.siou_pred, expected[1], atol=1e-12)
    np.testing.assert_allclose(ours.ppv, expected[2], atol=1e-12)


def strip(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Maps and labels one row high: '.' normal, 'g' missed, 'p' false alarm, 'b' both, '#' unknown, '@' also scored."""
    scores = np.array([[float(c in "pb@") for c in line] for line in text.split("/")])
    values = {".": 0, "p": 0, "g": 1, "b": 1, "#": 255, "@": 255}
    return scores, np.array([[values[c] for c in line] for line in text.split("/")])


def measure(text: str, *, min_pred: int = 0, min_gt: int = 0):
    scores, labels = strip(text)
    return components_above(0.5, scores, labels, min_pred=min_pred, min_gt=min_gt)


def test_a_prediction_over_two_annotations_is_not_blamed_for_the_other() -> None:
    one = measure("bbppbbbb")
    assert one.siou_gt.tolist() == [2 / 4, 4 / 6]
    assert one.ppv.tolist() == [6 / 8]
    assert one.siou_pred.tolist() == [6 / 8]


def test_two_predictions_on_one_annotation_count_together() -> None:
    one = measure("pbbgbb..")
    assert one.siou_gt.tolist() == [4 / 6]
    assert one.ppv.tolist() == [2 / 3, 1.0]
    assert one.siou_pred.tolist() == [2 / 4, 2 / 3]


def test_unknown_pixels_are_not_predicted_and_split_components() -> None:
    assert measure("pp@pp").size_pred.tolist() == [2, 2]
    assert measure("pp@pp", min_pred=3).size_pred.tolist() == []  # removed before sizes are counted
    assert measure("@@@@@").size_pred.tolist() == []


def test_small_annotations_leave_the_region_after_components_were_found() -> None:
    one = measure("ppbpp", min_gt=2)
    assert one.size_gt.tolist() == []
    assert one.size_pred.tolist() == [4]  # still one component, without the pixel
    assert one.ppv.tolist() == [0.0]
    kept = measure("ppbpp", min_gt=2, min_pred=5)
    assert kept.size_pred.tolist() == [4]  # its size was 5 when it was compared with min_pred


def test_a_prediction_inside_a_small_annotation_does_not_count() -> None:
    one = measure("..b..", min_gt=2)
    assert (one.size_pred.tolist(), one.ppv.tolist()) == ([], [])


def test_size_limits_are_fewer_than() -> None:
    assert measure("ppp..gg", min_pred=3, min_gt=2).size_pred.tolist() == [3]
    assert measure("ppp..gg", min_pred=3, min_gt=2).size_gt.tolist() == [2]
    assert measure("ppp..gg", min_pred=4, min_gt=3).size_pred.tolist() == []
    assert measure("ppp..gg", min_pred=4, min_gt=3).size_gt.tolist() == []


def test_diagonal_neighbours_are_one_component() -> None:
    assert measure("p../.p./..p").size_pred.tolist() == [3]
    assert measure("g../.g./..g").size_gt.tolist() == [3]


def test_components_come_in_scan_order() -> None:
    assert measure("....g.../gg....../g....ggg/......g.").size_gt.tolist() == [1, 3, 4]
    assert measure(".g....g./.g.g..g./.gggg.g.").size_gt.tolist() == [7, 3]
    assert measure("..gg./g..../ggggg").size_gt.tolist() == [2, 6]


def test_the_threshold_itself_is_not_predicted() -> None:
    scores = np.float32([[0.5, np.nextafter(np.float32(0.5), np.float32(1))]])
    found = components_above(0.5, scores, np.zeros((1, 2), np.uint8), min_pred=0, min_gt=0)
    assert found.size_pred.tolist() == [1]


def test_scores_are_compared_in_double_precision() -> None:
    score = np.float32(0.1)  # a little above 0.1
    found = components_above(0.1, score.reshape(1, 1), np.zeros((1, 1), np.uint8), min_pred=0, min_gt=0)
    assert found.size_pred.tolist() == [1]


def test_a_component_at_tau_is_found() -> None:
    # sIoU 1/2, PPV 1/2: found at tau = 0.5, a false alarm only above
    found = components_above(0.5, *strip("bbpp"), min_pred=0, min_gt=0)
    at = TAUS.index(0.5)
    numbers = {name: values.tolist() for name, values in counts([found], TAUS).items()}
    assert numbers["tp"] == [1] * (at + 1) + [0] * (10 - at)
    assert numbers["fn"] == [0] * (at + 1) + [1] * (10 - at)
    assert numbers["fp"] == [0] * (at + 1) + [1] * (10 - at)


def test_taus_are_eleven_evenly_spaced_ones() -> None:
    np.testing.assert_allclose(TAUS, 0.25 + 0.05 * np.arange(11))


def test_means_are_over_the_components_of_all_images() -> None:
    texts = ("bb.gg..pp", "bbbb", "....")
    values = component_metrics([components_above(0.5, *strip(text), min_pred=0, min_gt=0) for text in texts])
    assert values["component_siou_gt"] == pytest.approx((1 + 0 + 1) / 3)
    assert values["component_ppv"] == pytest.approx((1 + 0 + 1) / 3)
    assert (values["component_tp"], values["component_fn"], values["component_fp"]) == (2, 1, 1)
    assert values["component_f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))


def test_without_predictions_ppv_is_undefined_and_f1_is_zero() -> None:
    values = component_metrics([components_above(2.0, *strip("bb.."))])
    assert math.isnan(values["component_ppv"])
    assert values["component_f1"] == 0.0
    small = component_metrics([components_above(0.5, *strip("gg.."), min_gt=1, min_pred=1)])
    assert (small["component_siou_gt"], small["component_f1"]) == (0.0, 0.0)


def test_without_annotations_siou_is_undefined() -> None:
    values = component_metrics([components_above(0.5, *strip("pp.."), min_pred=0)])
    assert math.isnan(values["component_siou_gt"])
    assert (values["component_ppv"], values["component_f1"]) == (0.0, 0.0)
    nothing = component_metrics([])
    assert math.isnan(nothing["component_siou_gt"])
    assert nothing["component_f1"] == 0.0


def test_the_smallest_components_that_count_are_the_benchmarks():
    masks = np.zeros((2, 40, 40), np.uint8)
    masks[0, :10, :10] = 1  # 100 pixels
    masks[1, :9, :11] = 1  # 99
    scores = np.zeros(masks.shape, np.float32)
    scores[0, :20, :25] = 1  # 500 pixels
    scores[1, :1, :40] = 1
    images = [components_above(0.5, *pair) for pair in zip(scores, masks, strict=True)]
    assert [image.size_gt.tolist() for image in images] == [[100], []]
    assert [image.size_pred.tolist() for image in images] == [[500], []]
