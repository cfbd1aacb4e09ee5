"""Two machines, each with one process of torchrun, that share a run: what one process gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import adbench
from adbench.cli.main import main
from cli.test_vl4ad_commands import SMALL
from engine.test_ranks import free_port
from road_trees import write_all

TESTS, SOURCES = Path(__file__).parents[1], Path(adbench.__file__).parents[1]
SHARED = ["data=piped_mini", "clip=demo", "clip.image_size=48", "device=cpu"]


def commands(folder, alone):
    """Train for two steps, and evaluate what one process has trained: the same weights to the last bit.

    Beside an ordinary method: one whose classes are scored as a whole, one that is fitted to each, one of roads.
    """
    two_steps = ["trainer.epochs=1", "trainer.steps_per_epoch=2", "trainer.log_every=1"]
    testing = ["eval", *SHARED, "data.classes=[PA_BDP01_TL,PA_BRG02_RL]", "eval.batch_size=2"]
    fitted = ["support.k=2", "method.epochs=1", "method.resolution=24"]
    return [
        ["train", "method=anomalyclip", *SHARED, *two_steps, "trainer.batch_size=3", f"out={folder / 'train'}"],
        ["train", "method=vl4ad", "data=cityscapes", *SMALL, "device=cpu", f"out={folder / 'road'}"],
        [*testing, f"checkpoint={alone / 'train'}", f"out={folder / 'eval'}"],
        [*testing, "method=musc", f"out={folder / 'musc'}"],
        [*testing, "method=promptad", *fitted, f"out={folder / 'promptad'}"],
        ["eval", f"checkpoint={alone / 'road'}", "data=road_anomaly19", "device=cpu", f"out={folder / 'roads'}"],
    ]


def on_two_machines(*words):
    """Let each start one process, as over a network: they meet at an address."""
    environment = os.environ | {"PYTHONPATH": f"{SOURCES}:{TESTS}", "OMP_NUM_THREADS": "1"}
    place = ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port()}", "--local-addr=127.0.0.1"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", *place]
    machines = [
        subprocess.Popen(
            [*command, "-m", *map(str, words)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        said = [machine.communicate(timeout=300) for machine in machines]
    finally:
        for machine in machines:
            machine.terminate()  # torchrun stops what it has started
    assert [machine.returncode for machine in machines] == [0, 0], said


def rows(folder):
    timed = ("seconds", "images_per_second")
    found = json.loads((folder / "results.json").read_text())["rows"]
    return [json.dumps({key: value for key, value in row.items() if key not in timed}) for row in found]


@pytest.mark.slow
def test_two_machines_train_and_evaluate_into_one_run(tmp_path, monkeypatch):
    monkeypatch.setenv("ADBENCH_DATA", str(tmp_path / "data"))
    write_all(tmp_path / "data")
    alone, together = tmp_path / "alone", tmp_path / "together"
    for words in commands(alone, alone):
        assert main(words) == 0
    (tmp_path / "commands.json").write_text(json.dumps(commands(together, alone)))

    on_two_machines("engine.commands_job", tmp_path / "commands.json")

    for run in ("train", "road"):
        expected, found = (load_file(folder / run / "weights.safetensors") for folder in (alone, together))
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, atol=1e-4, rtol=0, msg=key)
    for run in ("eval", "musc", "promptad", "roads"):
        assert rows(together / run) == rows(alone / run)
