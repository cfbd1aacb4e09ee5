"""Support sets: the seeded draw against published check values, the published lists, and refusals in one line."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from adbench.data.containers import content_sha256
from adbench.data.promptad_lists import INDICES, N_TRAIN
from adbench.data.reading import Reading
from adbench.data.sample import Sample
from adbench.data.support import SupportSettings, check_leaks, draw
from adbench.data.support_sources import relative_path
from adbench.errors import UserError


def image(key, *, class_name="bottle", split="train", label=0, root="/nowhere", dataset="mvtec"):
    return Sample(
        path=Path(root) / key,
        key=key,
        class_name=class_name,
        label=label,
        mask_path=None,
        split=split,
        defect="bad" if label else "good",
        dataset=dataset,
    )


def bottle(n=209):
    return [image(f"bottle/train/good/{i:03d}.png") for i in range(n)]


def chosen(pool, *, k=4, seed: int | None = 0, class_name="bottle", dataset="mvtec", **settings):
    settings = SupportSettings(k=(k,), **settings)
    return draw(settings, pool, dataset=dataset, class_name=class_name, k=k, seed=seed)


def stems(support):
    return [Path(name).stem for name in support.names]


@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        (0, "086 208 016 153 100 014 181 146"),
        (1, "179 041 000 053 142 120 077 143"),
        (2, "123 121 005 004 119 191 033 077"),
    ],
)
def test_the_seeded_draw_gives_the_conventions_check_values(seed, expected):
    support = chosen(bottle(), k=8, seed=seed)
    assert " ".join(stems(support)) == expected
    assert support.pool_sha256.startswith("9e077545")
    assert support.pool_size == 209


def test_the_draw_does_not_depend_on_listing_order_and_sets_are_nested():
    pool = bottle()
    shuffled = random.Random(5).sample(pool, len(pool))
    assert chosen(pool, k=4).names == chosen(shuffled, k=4).names == chosen(pool, k=8).names[:4]


def test_anomalous_and_test_images_are_never_drawn():
    pool = [*bottle(5), image("bottle/test/good/000.png", split="test"), image("bottle/train/bad/1.png", label=1)]
    assert chosen(pool, k=5).pool_size == 5


@pytest.mark.parametrize(
    ("key", "class_name", "name"),
    [
        ("bottle/train/good/000.png", "bottle", "train/good/000.png"),
        ("1cls/candle/train/good/0.JPG", "candle", "train/good/0.JPG"),
        ("candle/Data/Images/Normal/0001.JPG", "candle", "candle/Data/Images/Normal/0001.JPG"),
        ("images/cell0001.png", "elpv", "images/cell0001.png"),
        ("train/ok/1.png", "part", "train/ok/1.png"),
    ],
)
def test_names_are_paths_below_the_class_folder(key, class_name, name):
    assert relative_path(image(key, class_name=class_name)) == name


def test_promptads_lists_are_python_samples_of_their_seeds():
    seeds = {
        ("mvtec", 2): 88,
        ("mvtec", 4): 499,
        ("visa", 2): 799,
        ("visa", 4): 60,
        ("mvtec", 1): 120,
        ("visa", 1): 718,
    }
    assert len(INDICES) == 27 * 3
    for (dataset, class_name, k), indices in INDICES.items():
        drawn = random.Random(seeds[dataset, k]).sample(range(N_TRAIN[dataset][class_name]), k)
        assert tuple(drawn) == indices, (dataset, class_name, k)


def test_promptads_lists_count_in_the_sorted_pool():
    support = chosen(bottle()[::-1], k=2, seed=None, source="promptad")
    assert stems(support) == ["101", "048"]
    assert support.flags["order_assumed"] is True


def test_promptads_lists_refuse_another_number_of_training_images():
    with pytest.raises(UserError, match="209 training images of bottle, here are 208"):
        chosen(bottle(208), k=2, seed=None, source="promptad")


def test_promptads_own_files(tmp_path):
    file = tmp_path / "bottle" / "selected_samples_per_run.txt"
    file.parent.mkdir()
    file.write_text("#1: 131\n#2: 101 048")  # no newline at the end
    support = chosen(bottle(), k=2, seed=None, source="promptad_dir", path=tmp_path)
    assert stems(support) == ["101", "048"]
    with pytest.raises(UserError, match="no line #4"):
        chosen(bottle(), k=4, seed=None, source="promptad_dir", path=tmp_path)


def test_slices_and_repeated_draws():
    assert stems(chosen(bottle(), k=4, seed=2, source="anomalydino")) == ["008", "009", "010", "011"]
    assert stems(chosen(bottle(), k=2, seed=None, source="first")) == ["000", "001"]
    repeated = chosen(bottle(3), k=8, seed=None, source="random_with_replacement")
    assert repeated.flags["duplicates"] == 8 - len(set(repeated.names)) > 0


def test_ready_made_tensors_are_used_as_they_are(tmp_path):
    tensors = [torch.randn(3, 8, 8) for _ in range(2)]
    (tmp_path / "2").mkdir()
    torch.save(tensors, tmp_path / "2" / "bottle.pt")
    support = chosen([], k=2, seed=None, source="inctrl", path=tmp_path / "{k}")
    batch = support.load(_Transform(8))
    assert torch.equal(batch.images, torch.stack(tensors))
    assert all(name.startswith("sha256:") for name in support.names)
    with pytest.raises(UserError, match=r"are \(3, 8, 8\), the method takes \(3, 16, 16\)"):
        support.load(_Transform(16))
    with pytest.raises(UserError, match="holds 2 images, K is 4"):
        chosen([], k=4, seed=None, source="inctrl", path=tmp_path / "2")


class _Transform:
    def __init__(self, image_size):
        self.image_size = image_size


def test_a_list_in_a_file_and_what_it_may_not_name(tmp_path):
    pool = [*bottle(4), image("bottle/test/good/000.png", split="test")]
    file = tmp_path / "sets.json"
    sets = {"2": ["train/good/003.png", "train/good/001.png"], "1": ["bottle/test/good/000.png"]}
    file.write_text(json.dumps({"version": 1, "dataset": "mvtec", "classes": {"bottle": sets}}))
    assert stems(chosen(pool, k=2, seed=None, source="file", path=file)) == ["003", "001"]
    with pytest.raises(UserError, match="an image of the test split"):
        chosen(pool, k=1, seed=None, source="file", path=file)
    allowed = chosen(pool, k=1, seed=None, source="file", path=file, allow_any=True)
    assert allowed.flags["from_test"] is True
    with pytest.raises(UserError, match="no set of 4 images"):
        chosen(pool, k=4, seed=None, source="file", path=file)
    with pytest.raises(UserError, match="of data set 'mvtec', not 'visa'"):
        chosen(pool, k=2, seed=None, source="file", path=file, dataset="visa")


def test_a_folder_of_own_pictures(tmp_path):
    for name in ("b.png", "a.png", "c.png"):
        (tmp_path / name).write_bytes(name.encode())
    support = chosen([], k=2, seed=None, source="folder", path=tmp_path)
    assert support.names == ("a.png", "b.png")
    deep = [replace(sample, reading=Reading(bits=12)) for sample in bottle()]
    taken = chosen(deep, k=2, seed=None, source="folder", path=tmp_path)
    assert {sample.reading for sample in taken.samples} == {Reading(bits=12)}  # as the images to be scored
    with pytest.raises(UserError, match="holds 3 images, 4 are needed"):
        chosen([], k=4, seed=None, source="folder", path=tmp_path)


def test_a_record_repeats_the_set(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(bytes([i]))
    pool = [replace(image(f"bottle/train/good/{i}.png"), path=tmp_path / f"{i}.png") for i in range(3)]
    support = chosen(pool, k=2, seed=1)
    record = support.record()
    assert record["paths"] == list(support.names)
    assert record["sha256"] == [content_sha256(sample.path) for sample in support.samples]
    assert (record["k"], record["seed"], record["source"], record["pool_size"]) == (2, 1, "seeded", 3)
    assert len(record["id"]) == 16
    json.dumps(record)


@pytest.mark.parametrize(
    ("pool", "k", "message"),
    [
        (bottle(3), 4, "class bottle of mvtec has 3 normal training images, 4 are needed"),
        ([], 1, "class bottle of mvtec has no normal training images"),
    ],
)
def test_too_few_normals_are_an_error(pool, k, message):
    with pytest.raises(UserError, match=message) as caught:
        chosen(pool, k=k)
    assert "\n" not in str(caught.value)


def test_a_support_image_that_is_also_a_query_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"same")
    (tmp_path / "query.png").write_bytes(b"same")
    query = replace(image("bottle/test/good/q.png", split="test"), path=tmp_path / "query.png")
    support = chosen([], k=1, seed=None, source="folder", path=tmp_path)
    with pytest.raises(UserError, match="is also one to be scored"):
        check_leaks([support], [query])
    own = [replace(image("bottle/train/good/0.png"), path=tmp_path / "a.png")]
    support = chosen(own, k=1)
    check_leaks([support], [query])  # the data set's own split is trusted
    with pytest.raises(UserError, match="is also one to be scored"):
        check_leaks([support], [replace(query, path=tmp_path / "a.png")])


def test_settings_list_their_draws():
    settings = SupportSettings(k=(0, 1, 2), seed=(0, 1))
    assert settings.draws == [(0, None), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert SupportSettings(source="first", k=(2,)).draws == [(2, None)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": "sedeed"},
        {"k": ()},
        {"k": (-1,)},
        {"k": (1, 1)},
        {"seed": (0.5,)},
        {"source": "first", "seed": (0, 1)},
    ],
)
def test_settings_refuse_what_makes_no_sense(wrong):
    with pytest.raises(UserError):
        SupportSettings(**wrong)
