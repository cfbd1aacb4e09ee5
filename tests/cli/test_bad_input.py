"""Bad input ends with one line that names the thing, the place and the mend; status 2; no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from adbench.cli.main import main
from adbench.methods import method_class, names
from cli.few_pictures import TRAIN, write_pictures


@pytest.fixture
def complaint(trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a command that fails; gives the line that it printed as its last."""
    monkeypatch.chdir(trained)

    def run(*words: str) -> str:
        assert main(words) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[-1].startswith("adbench: error: ")
        assert not any("Traceback" in line for line in lines)
        return lines[-1]

    return run


def test_an_unknown_method(complaint) -> None:
    line = complaint("eval", "method=adacilp", "data=mvtec")
    assert "unknown method 'adacilp' (method=adacilp)" in line
    assert "Did you mean 'adaclip'?" in line


def test_an_unknown_data_set(complaint) -> None:
    line = complaint("train", "method=adaclip", "data=mvtek")
    assert "unknown data set 'mvtek' (data=mvtek)" in line
    assert "Did you mean 'mvtec'?" in line


def test_a_missing_data_folder(complaint, tmp_path: Path) -> None:
    line = complaint("train", "method=adaclip", "clip=demo", "data=mvtec", f"data_dir={tmp_path}")
    assert str(tmp_path / "mvtec") in line
    assert "data.root=DIR" in line


def test_a_folder_of_something_else(complaint, tmp_path: Path) -> None:
    line = complaint("train", "method=adaclip", "clip=demo", "data=visa", f"data.root={tmp_path}")
    assert str(tmp_path) in line


def test_an_unknown_class(complaint) -> None:
    line = complaint("eval", "method=median_colour", "data=folder", "data.root=pictures", "data.classes=[papr]")
    assert "papr" in line
    assert "'paper'" in line


def test_an_unknown_option_of_the_data_set(complaint) -> None:
    assert "Did you mean data.mask_dir?" in complaint("eval", "method=median_colour", "data=folder", "data.masks_dir=x")


def test_a_truncated_image(complaint, tmp_path: Path) -> None:
    write_pictures(tmp_path / "paper")
    victim = tmp_path / "paper" / "bad" / "1.png"
    victim.write_bytes(victim.read_bytes()[:200])
    line = complaint("eval", "method=median_colour", "data=folder", f"data.root={tmp_path}", f"out={tmp_path / 'o'}")
    assert str(victim) in line


def test_no_run_to_take_weights_from(complaint, tmp_path: Path) -> None:
    line = complaint("eval", "method=adaclip", "data=folder", f"outputs={tmp_path}")
    assert "no finished train run of method adaclip" in line
    assert "checkpoint=untrained" in line


def test_neither_method_nor_checkpoint(complaint) -> None:
    assert "add method=NAME" in complaint("eval", "data=folder").replace("Add", "add")


def test_a_checkpoint_that_is_not_there(complaint) -> None:
    assert "nowhere/run" in complaint("eval", "method=adaclip", "checkpoint=nowhere/run", "data=folder")


def test_a_checkpoint_for_a_method_without_weights(complaint) -> None:
    line = complaint("eval", "method=median_colour", "checkpoint=latest", "data=folder")
    assert "is not trained" in line
    assert "Leave out checkpoint" in line


def test_a_checkpoint_of_another_method(complaint, trained: Path) -> None:
    (run,) = (trained / "outputs" / "train" / "adaclip" / "folder").iterdir()
    line = complaint("eval", "method=anomalyclip", f"checkpoint={run}", "data=folder", "data.root=others")
    assert "weights of method adaclip, not anomalyclip" in line
    assert str(run) in line


def test_a_checkpoint_of_another_backbone(complaint, trained: Path, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    from adbench.demo.clip import FILE

    with safe_open(FILE, framework="pt") as stored:
        tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
        tensors["logit_scale"] = tensors["logit_scale"] + 1
        save_file(tensors, tmp_path / "other.safetensors", metadata=stored.metadata())
    words = ["clip=demo", f"clip.checkpoint={tmp_path / 'other.safetensors'}", "data=folder", "data.root=others"]
    assert "another backbone" in complaint("eval", "method=adaclip", *words)


def test_a_checkpoint_of_other_hyperparameters(complaint) -> None:
    words = ["method=adaclip", "method.prompting_length=4", "data=folder", "data.root=others"]
    assert "prompting_length" in complaint("eval", *words)


def test_a_value_that_the_method_refuses(complaint) -> None:
    line = complaint("train", *TRAIN, "method.prompting_depth=99")
    assert "prompting_depth" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is present")
def test_a_device_that_is_not_there(complaint) -> None:
    line = complaint("train", *TRAIN, "device=cuda")
    assert "no CUDA device" in line
    assert "device=cpu" in line


def test_a_gpu_that_is_full_before_the_first_image(complaint, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr("adbench.cli.components.load_backbone", full)
    line = complaint("predict", "checkpoint=latest", "input=pictures")
    assert "the GPU has not enough memory: CUDA out of memory. Tried to allocate 2 GiB" in line


def test_an_unknown_device(complaint) -> None:
    assert "unknown device 'gpu'" in complaint("train", *TRAIN, "device=gpu")


@pytest.mark.parametrize("method", [name for name in names() if method_class(name).supervision == "none"])
def test_a_method_that_is_not_trained(complaint, tmp_path: Path, method: str) -> None:
    line = complaint("train", f"method={method}", "data=[visa,folder]", f"out={tmp_path / 'run'}")
    support = " support.k=4" if method == "promptad" else ""
    assert f"method {method} is not trained" in line
    assert f"un python -m adbench eval method={method} data='[visa,folder]'{support}" in line
    assert list(tmp_path.iterdir()) == []
    assert "is not trained" in complaint("train", f"method={method}", "data=folder", "--show")


def test_a_folder_that_is_no_run(complaint) -> None:
    assert "pictures" in complaint("train", *TRAIN, "out=pictures")


def test_a_weights_file_of_the_backbone_that_is_missing(complaint) -> None:
    line = complaint("eval", "method=clip_zeroshot", "data=folder", "data.root=others", "clip.checkpoint=no.pt")
    assert "no.pt" in line


def test_the_same_from_a_shell(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "adbench", "train", "method=adaclip", "data=mvtec", "epochs=2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Did you mean trainer.epochs?" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_debug_gives_the_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "adbench", "train", "method=adaclop", "data=mvtec", "--debug"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "UserError: unknown method 'adaclop'" in done.stderr
