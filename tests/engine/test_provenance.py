"""A result names what it was made with, and devices that are not there are refused."""

from __future__ import annotations

import json
import subprocess

import pytest
import torch

import adbench
from adbench.engine.device import autocast, check_amp, check_held, resolve_device
from adbench.engine.provenance import describe_run, git_revision
from adbench.errors import UserError
from engine.tiny_engine import write_dataset


def test_provenance_names_versions_command_seed_device_and_data(tmp_path):
    samples = write_dataset(tmp_path)
    facts = describe_run(command=["eval", "data=tiny"], seed=7, device="cpu", data={"tiny": samples}, method="tiny")

    assert json.loads(json.dumps(facts)) == facts
    assert facts["adbench"] == adbench.__version__
    assert torch.__version__.startswith(facts["versions"]["torch"].split("+")[0])
    assert (facts["command"], facts["seed"], facts["device"]) == (["eval", "data=tiny"], 7, "cpu")
    assert facts["method"] == "tiny"
    assert facts["data"][0] | {"name": "tiny", "classes": ["dots", "lines"], "n_images": 16} == facts["data"][0]


def test_the_fingerprint_follows_the_files(tmp_path):
    samples = write_dataset(tmp_path)
    before = describe_run(command=[], seed=1, device="cpu", data={"tiny": samples})["data"][0]["fingerprint"]
    samples[0].path.write_bytes(b"other")

    assert describe_run(command=[], seed=1, device="cpu", data={"tiny": samples})["data"][0]["fingerprint"] != before


def test_only_a_tracked_package_has_a_revision(tmp_path):
    package = tmp_path / "site-packages" / "adbench"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    assert git_revision(package) is None
    _git(tmp_path, "init", "--quiet")
    assert git_revision(package) is None  # installed inside somebody else's repository
    _git(tmp_path, "add", ".")
    _git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "first")
    revision = git_revision(package)
    assert len(revision) == 40
    (package / "__init__.py").write_text("edited")
    assert git_revision(package) == f"{revision}+changes"


def test_devices():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda")
    with pytest.raises(UserError, match="unknown device 'gpu'"):
        resolve_device("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_that_is_absent_is_named():
    with pytest.raises(UserError, match=r"cuda was asked for, but PyTorch sees no CUDA devices.*device=auto"):
        resolve_device("cuda")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_offers_half_precision():
    device = resolve_device("cuda")
    check_amp("fp16", device)
    with autocast("fp16", device):
        assert (torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)).dtype == torch.float16


@pytest.mark.parametrize("learns", [False, True])
def test_a_held_precision_and_autocast_must_agree(learns):
    for dtype, amp in (("float32", "fp16"), ("bfloat16", "off"), ("bfloat16", "bf16"), ("float16", "fp16")):
        check_held(dtype, amp, learns=learns)
    with pytest.raises(UserError, match=r"amp=bf16 would compute in another precision than clip\.dtype=float16"):
        check_held("float16", "bf16", learns=learns)


def test_nothing_is_learned_through_float16_unscaled():
    check_held("float16", "off", learns=False)
    with pytest.raises(UserError, match=r"vanish unless the loss is scaled.*clip\.dtype=bfloat16"):
        check_held("float16", "off", learns=True)


def _git(folder, *arguments):
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)
