"""`bench` measures what it says: shares of time, ratios to the bare tower, peaks of memory; on made pictures."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from adbench import methods
from adbench.bench.clock import PartClock, watching
from adbench.bench.measure import Case, bare_tower, measure
from adbench.bench.memory import peak_of
from adbench.bench.pictures import make_pictures
from adbench.bench.table import HEADERS, lines, markdown
from adbench.cli.main import main
from adbench.clip.precision import hold
from adbench.engine.settings import EvalSettings
from simulated_gpu import simulated_gpu
from tiny import make_tiny_clip, make_tiny_convnext

CPU = torch.device("cpu")


def bench(out: Path, *words: str) -> list[dict]:
    assert main(["bench", "picture=64", "repeats=1", f"out={out}", *words]) == 0
    return json.loads((out / "bench.json").read_text())["rows"]


def test_a_row_for_every_combination(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = bench(tmp_path, "method=clip_zeroshot,anomalyclip", "clip=demo", "batch_size=1,2")
    assert [(row["method"], row["batch_size"]) for row in rows] == [
        ("clip_zeroshot", 1),
        ("clip_zeroshot", 2),
        ("anomalyclip", 1),
        ("anomalyclip", 2),
    ]
    for row in rows:
        assert sum(row[f"share_{part}"] for part in ("data", "tower", "text", "heads", "metrics")) == pytest.approx(1)
        seconds = 1 / row["encode"] + 1 / row["score"]
        assert row["milliseconds"] == pytest.approx(1000 * seconds)
        assert row["times_tower"] == pytest.approx(seconds * row["tower"])
        assert row["host_mib"] > 100
        assert row["device_mib"] is None
        assert ("step" in row) == (row["method"] == "anomalyclip")
    table = (tmp_path / "bench.md").read_text()
    assert table.count("| clip_zeroshot |") == 2
    assert "anomalyclip" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["inctrl", "musc"])
def test_normal_images_and_whole_classes_are_taken_in_first(method: str, tmp_path: Path) -> None:
    (row,) = bench(tmp_path, f"method={method}", "clip=demo", "batch_size=2")
    assert row["adapt" if method == "inctrl" else "relate"] > 0
    assert row["n_images"] == (4 if method == "inctrl" else 8)


def test_a_batch_that_a_method_does_not_train_on_leaves_out_the_step(tmp_path: Path) -> None:
    (row,) = bench(tmp_path, "method=inctrl", "clip=demo")
    assert "step" not in row
    assert "at least 2 images" in row["notes"][0]


def test_a_trace_lies_beside_the_rows(tmp_path: Path) -> None:
    (row,) = bench(tmp_path, "method=clip_zeroshot", "clip=demo", "--profile")
    events = json.loads((tmp_path / row["trace"]).read_text())["traceEvents"]
    assert any("scaled_dot_product" in str(event.get("name")) for event in events)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["methd=winclip"], "Did you mean method"),
        (["method=wincip"], "winclip"),
        (["method=winclip", "device=cpu,cuda"], "device takes one value"),
        (["method=winclip", "clip=demo", "batch_size=0"], "at least 1"),
    ],
)
def test_bad_words_are_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_case_that_fails_leaves_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["method=vl4ad,clip_zeroshot", "clip=demo", "method.temperature=50", "picture=64", "repeats=1"]
    assert main(["bench", *words, f"out={tmp_path}"]) == 1
    assert "left out" in capsys.readouterr().err
    assert [row["method"] for row in json.loads((tmp_path / "bench.json").read_text())["rows"]] == ["clip_zeroshot"]


def test_what_torch_refuses_leaves_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("Expected all tensors to be on the same device\nand a trace of C++")

    monkeypatch.setattr("adbench.methods.median_colour.MedianColour.score", refused)
    words = ["method=median_colour,clip_zeroshot", "clip=demo", "picture=64", "repeats=1"]
    assert main(["bench", *words, f"out={tmp_path}"]) == 1
    assert "left out     Expected all tensors to be on the same device\n" in capsys.readouterr().err
    assert [row["method"] for row in json.loads((tmp_path / "bench.json").read_text())["rows"]] == ["clip_zeroshot"]


def test_a_part_within_a_part_stops_the_others_time() -> None:
    ticks = iter([0.0, 1.0, 3.0, 6.0, 10.0, 15.0])
    clock = PartClock(lambda: next(ticks))
    clock.begin("heads")  # 1 s of data
    clock.begin("tower")  # 2 of heads
    clock.end()  # 3 of the tower
    clock.end()  # 4 of heads
    assert clock.shares() == {"data": 6 / 15, "tower": 3 / 15, "text": 0, "heads": 6 / 15, "metrics": 0}


def test_parts_behind_the_loop_count_as_processor_time() -> None:
    def work() -> None:
        clock.begin("metrics")
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass
        clock.end()

    for timer, counted in ((time.thread_time, True), (time.perf_counter, False)):
        clock = PartClock(timer)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert (clock.seconds["metrics"] > 0.015) is counted


@pytest.mark.parametrize(("make", "size"), [(make_tiny_clip, 32), (make_tiny_convnext, 64)])
def test_towers_are_told_from_heads(make, size: int) -> None:
    clip = make()

    def encode(images: torch.Tensor) -> torch.Tensor:
        seen = clip.encode_image(images) if clip.kind == "vit" else clip.dense(images).dense
        return seen.sum() + clip.encode_text(clip.tokenize(["a"])).sum()

    method = SimpleNamespace(clip=clip, encode=encode, encode_support=None, adapt=None, relate=None, score=None)
    clock = PartClock(time.perf_counter)
    with watching(method, clock), torch.no_grad():
        method.encode(torch.randn(1, 3, size, size))
    assert all(clock.seconds[part] > 0 for part in ("tower", "text", "heads"))
    before = dict(clock.seconds)
    method.encode(torch.randn(1, 3, size, size))
    assert clock.seconds == before  # nothing is left behind
    assert method.encode is encode


@pytest.mark.parametrize(("make", "size"), [(make_tiny_clip, 48), (make_tiny_convnext, 64)])
def test_the_bare_tower_is_open_clips_own_at_any_size(make, size: int) -> None:
    clip = make()
    images = torch.randn(2, 3, size, size)
    ours = (
        clip.encode_image(images) if clip.kind == "vit" else clip.project_dense(clip.dense(images).dense.mean((2, 3)))
    )
    native = clip.model.state_dict()
    torch.testing.assert_close(bare_tower(clip, images)(), ours, atol=1e-4, rtol=1e-4)
    assert clip.model.state_dict().keys() == native.keys()


def test_the_bare_tower_has_the_precision_of_what_it_is_held_against() -> None:
    clip, images = make_tiny_clip(), torch.randn(1, 3, 32, 32)
    run = bare_tower(clip, images)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert run().dtype == torch.bfloat16
    assert run().dtype == torch.float32
    held = bare_tower(hold(make_tiny_clip(), "bfloat16"), images)
    assert held().dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["clip_zeroshot", "musc", "winclip"])
def test_a_gpu_is_measured(name: str) -> None:
    with simulated_gpu() as gpu:
        method = methods.build(name, make_tiny_clip(image_size=64))
        method.clip.to(gpu)
        settings = EvalSettings(batch_size=2, workers=0, amp="bf16")
        case = Case(method=method.to(gpu), settings=settings, training=None, shots=2, device=gpu, repeats=1, side=64)
        row = measure(replace(case, shots=2 if method.adapts else 0))
    assert row["seconds"] == "wall"
    assert row["device_mib"] == 7
    assert row["milliseconds"] > 0 < row["evaluate"]


def test_the_peak_is_of_what_is_done_within() -> None:
    with peak_of(CPU) as idle:
        pass
    with peak_of(CPU) as busy:
        np.ones(64 << 20, np.uint8).sum()
    if idle.host_mib is None or busy.host_mib is None:
        pytest.skip("the system does not tell")
    assert busy.host_mib >= idle.host_mib + 48


def test_made_pictures_of_each_kind(tmp_path: Path) -> None:
    industrial = make_pictures(tmp_path, 4, side=64, supervision="anomaly", split="test")
    assert [sample.label for sample in industrial] == [0, 1, 0, 1]
    assert industrial[1].mask_path is not None
    assert np.asarray(Image.open(industrial[1].mask_path)).mean() == pytest.approx(255 / 16)
    (road,) = make_pictures(tmp_path / "road", 1, side=64, supervision="segmentation", split="auxiliary")
    assert Image.open(road.path).size == (128, 64)
    assert road.mask_path is not None
    assert set(np.unique(np.asarray(Image.open(road.mask_path)))) == set(range(19))


def test_a_table_prints_what_is_no_work_as_a_dash() -> None:
    row = {"method": "m", "clip": "c", "image_px": "8x8", "batch_size": 1, "precision": "float32", "milliseconds": 12.3}
    row |= {"times_tower": 1.234, "tower": 100.4, "encode": None, "score": 1234.5, "evaluate": 3.456}
    row |= {f"share_{part}": 0.2 for part in ("data", "tower", "text", "heads", "metrics")}
    row |= {"host_mib": 5, "step_host_mib": 9}
    (cells,) = lines([row])
    printed = dict(zip(HEADERS, cells, strict=True))
    assert (printed["x tower"], printed["tower/s"], printed["encode/s"]) == ("1.23", "100", "-")
    assert (printed["score/s"], printed["eval/s"], printed["host MiB"], printed["GPU MiB"]) == (
        "1234",
        "3.46",
        "9",
        "-",
    )
    text = markdown({"date": "d", "device": "x", "torch": "t", "adbench": "a", "command": "c"}, [row])
    assert text.count("\n|") == 3
