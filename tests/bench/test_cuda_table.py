"""scripts/cuda_table.py: what `bench` measured, between the markers of a page."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "cuda_table.py"
ROW = {
    "method": "winclip",
    "clip": "c",
    "image_px": "8x8",
    "batch_size": 1,
    "precision": "float32",
    "milliseconds": 20.1,
}
ROW |= {"times_tower": 1.5, "evaluate": 40.0, "step": None, "host_mib": 1, "device_mib": None}
ROW |= {f"share_{part}": 0.2 for part in ("data", "tower", "text", "heads", "metrics")}


def test_the_table_replaces_what_stands_between_the_markers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, bench = tmp_path / "page.md", tmp_path / "bench.json"
    page.write_text("# P\n\nbefore\n<!-- cuda_check: begin -->\nold\n<!-- cuda_check: end -->\nafter\n")
    run = {"date": "2026-01-01", "device": "some GPU", "torch": "2"}
    bench.write_text(json.dumps({"run": run, "rows": [{**ROW, "batch_size": 8}, {**ROW, "method": "zero"}, ROW]}))
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"run": run, "rows": [{**ROW, "method": "aaclip"}]}))
    monkeypatch.setattr("sys.argv", ["cuda_table", str(page), str(bench), str(other)])
    for _ in range(2):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    text = page.read_text()
    assert "old" not in text
    assert text.startswith("# P\n\nbefore\n")
    assert text.endswith("<!-- cuda_check: end -->\nafter\n")
    assert "2026-01-01, some GPU" in text
    rows = [line.split(" | ") for line in text.splitlines() if " | c | " in line]
    assert [row[0] for row in rows] == ["| aaclip", "| winclip", "| winclip", "| zero"]
    assert [(row[3], row[7], row[8]) for row in rows[1:3]] == [("1", "201", "1/10"), ("8", "", "")]
