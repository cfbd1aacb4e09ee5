"""Thresholds from labelled scores against trying every threshold."""

from __future__ import annotations

import numpy as np
import pytest

from adbench.errors import UserError
from adbench.metrics import f1_max
from adbench.metrics.labelled_threshold import threshold_at_f1max, threshold_at_recall


@pytest.mark.parametrize("seed", range(20))
def test_they_are_the_best_of_all_thresholds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.r_[0, 1, rng.integers(0, 2, 30)]
    scores = np.round(rng.normal(labels, 1), 1)
    above = scores > threshold_at_f1max(scores, labels)
    hits = int((above & (labels == 1)).sum())
    assert 2 * hits / (above.sum() + labels.sum()) == pytest.approx(f1_max(scores, labels))

    t = threshold_at_recall(scores, labels, 0.8)
    assert (scores[labels == 1] > t).mean() >= 0.8
    higher = scores[scores > t]
    assert (scores[labels == 1] > higher.min()).mean() < 0.8


def test_what_has_no_answer_is_refused() -> None:
    with pytest.raises(UserError, match="all normal"):
        threshold_at_f1max([1, 2], [0, 0])
    with pytest.raises(UserError, match="recall is 1"):
        threshold_at_recall([1, 2], [0, 1], 1.5)
