"""Several processes (gloo) give what one gives; started by torchrun where it is about how they start and stop."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import adbench
from adbench.cli.main import main
from engine import ranks_job
from engine.ranks_job import SELECTED
from small_methods import TRAINED

TESTS = Path(__file__).parents[1]
SOURCES = Path(adbench.__file__).parents[1]


def torchrun(n, *arguments, **more):
    environment = os.environ | {"PYTHONPATH": f"{SOURCES}:{TESTS}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}", "-m", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def as_rank(rank, n, port, *arguments):
    """Be a rank as torchrun starts it; forked from a process that has the libraries: these take seconds to load."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(n), "LOCAL_WORLD_SIZE": str(n)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
    ranks_job.main(*arguments)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["engine.ranks_job", "open_clip", "sklearn.cluster", "torch.distributed"])
    running = []
    for n in (2, 3):
        port = free_port()
        places = (folder / f"data{n}", folder / str(n))
        running += [server.Process(target=as_rank, args=(rank, n, port, *places)) for rank in range(n)]
    for process in running:
        process.start()
    here = Path.cwd()
    try:
        ranks_job.main(folder / "data1", folder / "1")
    finally:
        os.chdir(here)  # it changes to its data
    for process in running:
        process.join(300)
        assert process.exitcode == 0
    return {n: folder / str(n) for n in (1, 2, 3)}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("name", [*TRAINED, "vl4ad", *(f"selected/{name}" for name in SELECTED)])
def test_ranks_train_the_weights_of_one_process(jobs, name, n):
    expected, found = (load_file(jobs[count] / name / "weights.safetensors") for count in (1, n))
    double = any(value.dtype == torch.float64 for value in expected.values())
    assert double or name == "vl4ad"
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-9 if double else 1e-6, rtol=0, msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("name", ["tiny", "in_order", "winclip", "fitting", "chosen_on_test", "transductive", "roads"])
def test_ranks_give_the_rows_scores_and_pictures_of_one_process(jobs, name, n):
    expected, found = (json.loads((jobs[count] / "rows.json").read_text())[name] for count in (1, n))
    assert found["scores"] == expected["scores"]
    timed = ("seconds", "images_per_second")
    rows = [
        [json.dumps({k: v for k, v in row.items() if k not in timed}) for row in x["rows"]] for x in (found, expected)
    ]
    assert rows[0] == rows[1]
    pictures = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")}
        for folder in (jobs[count] / f"eval_{name}" / "heatmaps" for count in (1, n))
    ]
    assert pictures[0]
    assert pictures[0] == pictures[1]
    kept = [sorted((jobs[count] / f"eval_{name}" / "maps" / "tiny").iterdir()) for count in (1, n)]
    assert [file.name for file in kept[0]] == [file.name for file in kept[1]]
    for alone, shared in zip(*kept, strict=True):
        expected, found = dict(np.load(alone).items()), dict(np.load(shared).items())
        assert expected.keys() == found.keys()
        assert all(np.array_equal(expected[key], found[key]) for key in expected)


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 3])
def test_ranks_predict_and_calibrate_as_one_process_does(jobs, n):
    table = (jobs[1] / "first.csv").read_bytes()
    assert table.count(b"\n") == 8  # two pictures of nine are broken
    assert [(jobs[n] / name).read_bytes() for name in ("first.csv", "predict/predictions.csv")] == [table, table]
    for name in ("out0", "few_shot/predictions.csv", "winclip/thresholds.json"):
        expected, found = (
            re.sub(rf'{jobs[count]}|"created".*', "", (jobs[count] / name).read_text()) for count in (1, n)
        )
        assert found == expected
    for folder in ("maps", "overlays"):
        expected, found = (
            {path.name: path.read_bytes() for path in (jobs[count] / "predict" / folder).iterdir()} for count in (1, n)
        )
        assert len(expected) == 7
        assert found == expected
    said = [(jobs[n] / f"said{rank}").read_text() for rank in range(n)]
    assert said[0].count("skipped") == 8  # two pictures, four times predict
    assert "of 9 pictures were scored before" in said[0]
    refused = "adbench: error: rank {}: method musc scores pictures within their set: processes cannot share them"
    for rank in range(1, n):
        assert said[rank].startswith(refused.format(rank))
        assert said[rank].count("\n") == 1


TRAIN = (
    *("adbench", "train", "method=anomalyclip", "data=piped_mini", "clip=demo", "device=cpu", "trainer.cache=off"),
    *("trainer.batch_size=4", "trainer.epochs=2", "trainer.checkpoint_steps=1", "trainer.log_every=1"),
)


def child_of(process, rank, seconds=60):
    """The process id of a rank that torchrun has started."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                named = f"\0RANK={rank}\0" in (folder / "environ").read_text()
            except (OSError, ValueError):
                continue
            if parent == process.pid and named:
                return int(folder.name)
        time.sleep(0.2)
    raise AssertionError(process.communicate())


def wait_for(path, process, seconds=120):
    until = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes by /proc")
def test_a_rank_that_dies_stops_the_others_and_one_process_goes_on(tmp_path):
    places = [f"data_dir={tmp_path / 'data'}", f"out={tmp_path / 'run'}"]
    process = torchrun(2, *TRAIN, *places)
    victim = child_of(process, 1)
    wait_for(tmp_path / "run" / "checkpoint.safetensors", process)
    os.kill(victim, signal.SIGKILL)
    started = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - started < 60
    assert process.returncode != 0
    (line,) = (line for line in errors.splitlines() if "adbench: " in line)
    # The other rank loses its connection, or is told to stop by torchrun, whichever comes first.
    assert "adbench: error: another process of this run has stopped" in line or "adbench: interrupted" in line, errors

    assert main([*TRAIN[1:], *places]) == 0
    assert main([*TRAIN[1:], places[0], f"out={tmp_path / 'alone'}"]) == 0
    expected = load_file(tmp_path / "alone" / "weights.safetensors")
    for key, value in load_file(tmp_path / "run" / "weights.safetensors").items():
        torch.testing.assert_close(value, expected[key], atol=1e-4, rtol=0)


@pytest.mark.slow
def test_all_ranks_stop_at_the_same_step_when_asked_to(tmp_path):
    process = torchrun(2, *TRAIN, f"data_dir={tmp_path / 'data'}", f"out={tmp_path / 'run'}")
    wait_for(tmp_path / "run" / "checkpoint.safetensors", process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert "is kept in" in errors
    (line,) = (line for line in errors.splitlines() if "adbench: interrupted" in line)
    assert "Go on with" in line


@pytest.mark.parametrize(("command", "said"), [(["export"], "export is"), (["eval", "-m", "seed=1,2"], "eval -m is")])
def test_what_processes_cannot_share_is_refused(monkeypatch, capsys, command, said):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(command) == 2
    assert f"{said} not shared among processes (torchrun)" in capsys.readouterr().err


@pytest.mark.slow
def test_a_mistake_is_said_once(tmp_path):
    process = torchrun(2, "adbench", "eval", "method=adaclipp", "data=piped_mini", cwd=tmp_path)
    _, errors = process.communicate(timeout=60)
    assert errors.count("unknown method 'adaclipp'") == 1
