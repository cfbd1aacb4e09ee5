"""CIFAR-10 and MNIST from their raw files: tasks, pictures, and files that are not what they say."""

from __future__ import annotations

import contextlib
import gzip
import pickle
import struct

import numpy as np
import pytest

from adbench.data import catalogue
from adbench.data.containers import open_member, read_container
from adbench.data.images import open_image
from adbench.data.support import SupportSettings, draw_supports
from adbench.errors import UserError

N = 20


@pytest.fixture(autouse=True)
def _forget_files():
    read_container.cache_clear()


def cifar(root, *, python, seed=0):
    random = np.random.default_rng(seed)
    folder = root / ("cifar-10-batches-py" if python else "cifar-10-batches-bin")
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        pixels = random.integers(0, 256, (N, 3072), dtype=np.uint8)
        labels = (np.arange(N) % 10).astype(np.uint8)
        if python:
            (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": labels.tolist()}, protocol=2))
        else:
            np.hstack([labels[:, None], pixels]).tofile(folder / f"{name}.bin")
    return root


def mnist(root, *, packed):
    for name, n in (("train", 30), ("t10k", N)):
        for kind, axes, shape in (("images", 3, (n, 28, 28)), ("labels", 1, (n,))):
            values = (np.arange(np.prod(shape)) % (10 if axes == 1 else 256)).astype(np.uint8)
            data = struct.pack(f">HBB{axes}I", 0, 8, axes, *shape) + values.tobytes()
            file = root / f"{name}-{kind}-idx{axes}-ubyte{'.gz' if packed else ''}"
            root.mkdir(parents=True, exist_ok=True)
            file.write_bytes(gzip.compress(data) if packed else data)
    return root


@pytest.mark.parametrize("python", [True, False])
def test_every_class_of_cifar10_is_a_task_against_the_others(tmp_path, python):
    samples = catalogue.get("cifar10").index(cifar(tmp_path, python=python))
    assert list(dict.fromkeys(sample.class_name for sample in samples))[:2] == ["airplane", "automobile"]
    bird = [sample for sample in samples if sample.class_name == "bird"]
    assert sum(sample.split == "train" for sample in bird) == 5 * 2
    assert not any(sample.label for sample in bird if sample.split == "train")
    test = [sample for sample in bird if sample.split == "test"]
    assert (len(test), sum(sample.label for sample in test)) == (N, N - 2)
    assert {sample.defect for sample in test if sample.label} == set(catalogue.get("cifar10").classes) - {"bird"}


def test_both_versions_of_cifar10_hold_the_same_pictures(tmp_path):
    one = catalogue.get("cifar10").index(cifar(tmp_path / "a", python=True), ["cat"])
    other = catalogue.get("cifar10").index(cifar(tmp_path / "b", python=False), ["cat"])
    first, second = open_image(one[0].path), open_image(other[0].path)
    assert first.mode == "RGB"
    assert first.size == (32, 32)
    assert first.tobytes() == second.tobytes()


def test_several_classes_are_normal_together(tmp_path):
    options = {"normal_classes": ["bird", "cat"], "prompt_name": "animal"}
    samples = catalogue.get("cifar10").index(cifar(tmp_path, python=False), options=options)
    assert {sample.class_name for sample in samples} == {"animal"}
    assert sum(sample.split == "train" for sample in samples) == 5 * 4
    assert sum(sample.label for sample in samples) == N - 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normal_classes": ["brid"], "prompt_name": "x"}, "Did you mean 'bird'"),
        ({"normal_classes": ["bird"]}, "no name is given"),
        ({"prompt_name": "animal"}, "no normal classes"),
    ],
)
def test_a_task_that_makes_no_sense_is_refused(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        catalogue.get("cifar10").index(cifar(tmp_path, python=False), options=options)


@pytest.mark.parametrize("packed", [True, False])
def test_mnist_is_read_packed_or_not(tmp_path, packed):
    samples = catalogue.get("mnist").index(mnist(tmp_path, packed=packed), ["3"])
    assert [(s.split, s.label) for s in samples].count(("train", 0)) == 3
    assert sum(sample.label for sample in samples) == N - 2
    image = open_image(samples[0].path)
    assert (image.mode, image.size) == ("L", (28, 28))


def test_support_is_drawn_and_hashed_from_inside_of_files(tmp_path):
    samples = catalogue.get("mnist").index(mnist(tmp_path, packed=True), ["3"])
    sets = draw_supports(SupportSettings(k=(2,)), {"3": samples}, dataset="mnist")[2, 0]
    record = sets["3"].record()
    assert all(path.startswith("train-images-idx3-ubyte.gz/") for path in record["paths"])
    assert len(set(record["sha256"])) == 2
    assert len(catalogue.fingerprint(samples)) == 64


def test_pickles_that_hold_more_than_arrays_are_refused(tmp_path):
    folder = cifar(tmp_path, python=True) / "cifar-10-batches-py"
    (folder / "test_batch").write_bytes(pickle.dumps({"data": print, "labels": []}))
    with pytest.raises(UserError, match=r"holds an object of type \w+\.print"):
        catalogue.get("cifar10").index(tmp_path)


def damaged(data):
    """The file with another byte at one place after another."""
    for place in range(0, 320, 3):
        for value in (0, 40, 93, 150, 255):
            yield data[:place] + bytes([value]) + data[place + 1 :]


@pytest.mark.parametrize("name", ["test_batch", "t10k-images-idx3-ubyte.gz"])
def test_damaged_files_are_read_or_named(tmp_path, name):
    root = (
        cifar(tmp_path, python=True) / "cifar-10-batches-py" if name == "test_batch" else mnist(tmp_path, packed=True)
    )
    file = root / name
    for content in (b"]q\x00.", *damaged(file.read_bytes())):
        file.write_bytes(content)
        read_container.cache_clear()
        with contextlib.suppress(UserError):
            read_container(file)


def test_files_that_are_cut_short_are_named(tmp_path):
    folder = cifar(tmp_path / "c", python=False) / "cifar-10-batches-bin"
    (folder / "data_batch_2.bin").write_bytes(b"123")
    with pytest.raises(UserError, match=r"not a multiple of 3073 bytes \(.*data_batch_2.bin"):
        catalogue.get("cifar10").index(tmp_path / "c")
    root = mnist(tmp_path / "m", packed=False)
    (root / "t10k-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + b"\0\0\0\x09" * 3)
    with pytest.raises(UserError, match="its header says"):
        catalogue.get("mnist").index(root)
    with pytest.raises(UserError, match="holds 20 images, not number 00099"):
        open_member(folder / "test_batch.bin" / "00099")
