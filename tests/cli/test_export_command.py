"""`adbench export`: a file and its card, or at once the reason why there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adbench.cli import components
from adbench.cli.main import main

pytest.importorskip("onnxruntime", reason="needs the extra: pip install 'adbench-clip[export]'")


@pytest.mark.slow
def test_a_detector_becomes_a_file_with_a_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "gear.onnx"
    assert main(["export", "method=clip_zeroshot", "clip=demo", "class_name=gear", f"out={out}"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{out}\n"
    assert "largest difference from PyTorch: score" in said.err
    assert json.loads(out.with_suffix(".json").read_text())["prompt_words"] == "gear"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gear.json", "gear.onnx"]


def test_what_cannot_be_exported_is_refused_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components, "load_backbone", lambda *_: pytest.fail("the backbone was loaded"))
    monkeypatch.chdir(tmp_path)
    # Of VL4AD there are no weights here; what one has to train first is no use to ask for.
    for method, why in (("musc", "scores the pictures of a class together"), ("vl4ad", "proportions")):
        assert main(["export", f"method={method}", "clip=demo", "out=m.onnx"]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert why in line
    assert not list(tmp_path.iterdir())


def test_a_file_to_write_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "method=winclip", "clip=demo"]) == 2
    assert "out=model.onnx" in capsys.readouterr().err
