"""Which images a training step sees: balanced, endless, resumable, with support of the query's own class."""

from __future__ import annotations

from pathlib import Path

import pytest

from adbench.data.episodes import EpisodePlan
from adbench.data.sample import Sample
from adbench.errors import UserError


def samples(n_normal=7, n_anomalous=5, classes=("a", "b")):
    return [
        Sample(Path(f"{c}/{i}"), f"{c}/{i}", c, int(i >= n_normal), None, "test", "x", "made")
        for c in classes
        for i in range(n_normal + n_anomalous)
    ]


def plan(data, **settings):
    return EpisodePlan(data, **{"batch_size": 4, "seed": 1, **settings})


def test_half_of_a_balanced_batch_is_normal_and_comes_first():
    data = samples()
    for episode in plan(data, sampler="balanced", steps_per_epoch=9, batch_size=5).batches(0):
        assert [data[i].label for i in episode.queries] == [0, 0, 1, 1, 1]


def test_a_stream_walks_all_its_images_before_any_comes_again():
    data = samples()
    episodes = [e for epoch in range(2) for e in plan(data, sampler="balanced", steps_per_epoch=7).batches(epoch)]
    normals = [i for e in episodes for i in e.queries[:2]]  # 28 of 14
    assert sorted(normals[:14]) == sorted(normals[14:]) == [i for i, s in enumerate(data) if s.label == 0]
    assert normals[:14] != normals[14:]


def test_every_query_gets_different_normal_images_of_its_class_and_not_itself():
    data = samples()
    for episode in plan(data, sampler="balanced", steps_per_epoch=40, shots=6).batches(0):
        for row, query in enumerate(episode.queries):
            own = episode.support[6 * row : 6 * row + 6]
            assert len(set(own)) == 6
            assert query not in own
            assert all(data[i].label == 0 and data[i].class_name == data[query].class_name for i in own)


def test_a_query_may_be_its_own_support_where_that_is_asked_for():
    data = samples(n_normal=2)
    episodes = plan(data, shots=2, exclude_query=False).batches(0)
    assert any(q in e.support[2 * r : 2 * r + 2] for e in episodes for r, q in enumerate(e.queries))
    with pytest.raises(UserError, match="class a of made has 2 normal images to train with, every query needs 2"):
        plan(data, shots=2)


def test_shuffled_epochs_see_every_image_once():
    data = samples()
    for epoch in (0, 1):
        seen = [i for episode in plan(data).batches(epoch) for i in episode.queries]
        assert sorted(seen) == list(range(len(data)))
    assert len(plan(data, steps_per_epoch=2).batches(0)) == 2


def test_balanced_batches_need_both_labels():
    with pytest.raises(UserError, match="hold no anomalous images"):
        plan(samples(n_anomalous=0), sampler="balanced")
