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
from engine.test_ranks import free_port

TESTS, SOURCES = Path(__file__).parents[1], Path(adbench.__file__).parents[1]
SHARED = ["data=piped_mini", "clip=demo", "clip.image_size=48", "device=cpu"]


def commands(folder, alone):
    """Train for two steps, and evaluate what one process has trained: the same weights to the last bit."""
    training = ["trainer.batch_size=3", "trainer.epochs=1", "trainer.steps_per_epoch=2", "trainer.log_every=1"]
    testing = [f"checkpoint={alone / 'train'}", "data.classes=[PA_BDP01_TL]", "eval.batch_size=2"]
    return [
        ["train", "method=anomalyclip", *SHARED, *training, f"out={folder / 'train'}"],
        ["eval", *SHARED, *testing, f"out={folder / 'eval'}"],
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
    found = json.loads((folder / "eval" / "results.json").read_text())["rows"]
    return [json.dumps({key: value for key, value in row.items() if key not in timed}) for row in found]


@pytest.mark.slow
def test_two_machines_train_and_evaluate_into_one_run(tmp_path, monkeypatch):
    monkeypatch.setenv("ADBENCH_DATA", str(tmp_path / "data"))
    alone, together = tmp_path / "alone", tmp_path / "together"
    for words in commands(alone, alone):
        assert main(words) == 0
    (tmp_path / "commands.json").write_text(json.dumps(commands(together, alone)))

    on_two_machines("engine.commands_job", tmp_path / "commands.json")

    expected = load_file(alone / "train" / "weights.safetensors")
    found = load_file(together / "train" / "weights.safetensors")
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-4, rtol=0, msg=key)
    assert rows(together) == rows(alone)
