"""What an evaluation keeps of its PRO curves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import auc

from adbench.engine.class_results import tidy
from adbench.engine.curves import read_curves
from adbench.engine.evaluate import evaluate
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings
from engine.tiny_engine import build_method, write_dataset


def test_an_evaluation_leaves_the_curve_of_each_class(tmp_path):
    samples = write_dataset(tmp_path / "tiny")
    run = RunFolder.create("eval", "tiny", "tiny", out=tmp_path / "run")
    data = EvalData(name="tiny", samples=samples, classes=["dots", "lines"])
    rows = evaluate(build_method(), data, EvalSettings(), device=torch.device("cpu"), run=run)
    curves = read_curves(run, "tiny")
    for row in rows[:2]:
        x, y = np.array(curves[row["class_name"], 0, None]).T
        assert auc(x, y) / 0.3 == pytest.approx(row["pixel_aupro"], abs=0.01)
    tidy(run, rows)
    assert read_curves(run, "tiny") == curves
    tidy(run, [{**row, "dataset": "other"} for row in rows])
    assert read_curves(run, "tiny") == {}


def test_a_damaged_file_shows_no_curve(tmp_path):
    run = RunFolder.create("eval", "tiny", "tiny", out=tmp_path / "run")
    run.curves_dir.mkdir()
    for text in ('{"dots": 3}', '{"dots": [{"pro": [[1]]}]}', "{"):
        (run.curves_dir / "tiny.json").write_text(text)
        assert read_curves(run, "tiny") == {}
