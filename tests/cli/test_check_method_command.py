"""`check-method`: one line per check, and the status says whether all hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adbench.cli.main import main
from plugged import METHOD, forgotten, write_plugin

# Line of the method -> what is wrong with it, and the check that finds it.
FAULTS = {
    "return Prediction(maps.flatten(1).amax(1), maps)": (
        "return Prediction(maps.flatten(1).amax(1) - maps.mean(), maps)",
        ("batch invariance", "score of image"),
    ),
    'return {"image": image}': (
        'return {"image": image.detach() + 0 * self.colour.sum()}',
        ("gradients", "no gradient reaches colour"),
    ),
    'return {"images": batch.images}': (
        'return {"images": batch.images + 0 * torch.rand(())}',
        ("no side effects", "encode draws from torch's global stream"),
    ),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    with forgotten():
        yield tmp_path


def test_a_sound_plugin_passes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_plugin(folder / "mine.py", METHOD)
    assert main(["check-method", "./mine.py", "method.norm=l1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "colour: no checks failed"
    assert {line.split()[0] for line in lines[:-1]} == {"ok", "skipped"}
    assert any(line.startswith("ok       gradients          1 tensors") for line in lines)


def test_faults_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = METHOD
    for sound, (faulty, _) in FAULTS.items():
        assert sound in text
        text = text.replace(sound, faulty)
    write_plugin(folder / "mine.py", text)
    assert main(["check-method", "./mine.py"]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("failed")]
    for name, what in (fault for _, fault in FAULTS.values()):
        assert any(line.startswith(f"failed   {name}") and what in line for line in failed), name


def test_an_exception_of_the_method_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_plugin(folder / "mine.py", METHOD.replace('return {"image": image}', "return 1 / 0"))
    assert main(["check-method", "./mine.py"]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("failed   loss ")]
    assert "ZeroDivisionError: division by zero" in line
    assert f"{folder / 'mine.py'}, line" in line


def test_what_cannot_be_checked_is_bad_input(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        ([], "0 methods are named"),
        (["winclop"], "Did you mean 'winclip'"),
        (["winclip", "k=1"], "k"),
    ):
        assert main(["check-method", *words]) == 2
        assert said in capsys.readouterr().err
