"""MuSc, AA-CLIP and VisualAD over a benchmark of industrial and medical sets, and over a set of it alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adbench.cli.main import main
from cli.tiny_sets import DATA, write_sets


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five normal and five anomalous test images a class: what MuSc needs of sets with anomalous ones alone."""
    folder = tmp_path_factory.mktemp("sets")
    write_sets(folder, n_test=5)
    return folder


@pytest.mark.parametrize("method", ["musc", "aaclip", "visualad"])
def test_a_benchmark_is_run_and_a_set_of_it_alone_has_the_same_rows(
    method: str, sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADBENCH_DATA", str(sets))
    words = [
        f"method={method}",
        "clip=demo",
        "clip.image_size=48",
        *(() if method == "musc" else ("checkpoint=untrained",)),
    ]

    def rows(data: str, out: str) -> list[dict]:
        assert main(["eval", *words, data, f"out={out}", "eval.feature_cache=true", "eval.batch_size=4"]) == 0
        return json.loads(Path(out, "results.json").read_text())["rows"]

    of_all, alone = rows("benchmark=zeroshot14", "all"), rows("data=mvtec", "alone")

    assert list(dict.fromkeys(row["dataset"] for row in of_all)) == [*DATA, "mean:industrial", "mean:medical", "mean"]
    assert [row["class_name"] for row in alone] == ["bottle", "screw", "mean"]
    keys = ("dataset", "class_name", "n_images", "image_auroc", "pixel_auroc", "pixel_aupro", "notes")
    assert [{key: row[key] for key in keys} for row in alone] == [{key: row[key] for key in keys} for row in of_all[:3]]
    together = "transductive: scored together with 10 images of the class"
    assert [together in row["notes"] for row in alone] == [method != "visualad"] * 3
