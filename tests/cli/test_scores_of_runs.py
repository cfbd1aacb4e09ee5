"""scores.csv of whole runs: every image metric of the table follows from it, to the bit."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from adbench.cli.main import main
from adbench.engine import evaluate as engine
from adbench.metrics import ImageMetrics
from adbench.report.results import read_results
from adbench.report.scores import FIELDS, read_scores
from cli.few_pictures import write_pictures
from cli.tiny_sets import write_sets

EVAL = ["eval", "clip=demo", "data=folder", "data.root=pictures", "out=run"]
METRICS = ("image_auroc", "image_ap", "image_f1max", "image_f1max_threshold")


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of good and bad pictures, in the working folder."""
    for number, name in enumerate(("cloth", "paper")):
        write_pictures(tmp_path / "pictures" / name, n=5, first_seed=100 * number)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(run: Path) -> list[dict[str, object]]:
    """Compute the image metrics of each class and draw from scores.csv, compare with results.json; the scores."""
    rows, scores = read_results(run)[1], read_scores(run)
    single = [row for row in rows if "mean" not in (row["class_name"], row["support_seed"])]
    for row in single:
        place = [row[key] for key in ("dataset", "class_name", "shots", "support_seed")]
        own = [one for one in scores if [one[k] for k in ("dataset", "class_name", "shots", "support_seed")] == place]
        found = ImageMetrics().update([one["score"] for one in own], [one["label"] for one in own])
        assert [row[metric] for metric in METRICS] == [found.compute(thresholds=True)[metric] for metric in METRICS]
        assert (row["n_images"], row["n_anomalous"]) == (len(own), sum(one["label"] for one in own))
    assert len(scores) == sum(row["n_images"] for row in single) > 0
    return scores


def test_every_image_metric_follows_from_it(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*EVAL, "method=clip_zeroshot", "eval.batch_size=4"]) == 0
    assert "run/scores.csv" in capsys.readouterr().out
    scores = check(Path("run"))
    assert [one["path"] for one in scores if one["class_name"] == "cloth"] == sorted(
        str(path.relative_to("pictures")) for path in Path("pictures/cloth").glob("[gb]*/*.png")
    )
    assert {one["defect"] for one in scores} == {"good", "bad"}
    assert all(one["map_max"] is not None for one in scores)
    with open("run/scores.csv", newline="") as file:
        assert next(csv.reader(file)) == list(FIELDS)


def test_few_shot_runs_have_the_scores_of_every_draw(pictures: Path) -> None:
    write_sets(Path("data"))
    words = ["data=mvtec", "data.classes=[bottle]", "support.k=1,2", "support.seed=0,1", "eval.batch_size=8"]
    assert main(["eval", "clip=demo", "method=winclip", "out=run", *words]) == 0
    scores = check(Path("run"))
    assert {(one["shots"], one["support_seed"]) for one in scores} == {(1, 0), (1, 1), (2, 0), (2, 1)}
    mean = read_results(Path("run"))[1][-1]
    assert "image_f1max_threshold" not in mean


def test_an_evaluation_that_was_interrupted_has_the_same_scores(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*EVAL, "method=clip_zeroshot"]
    assert main([*words[:-2], "out=whole", words[-1]]) == 0
    whole, accumulate = Path("whole/scores.csv").read_bytes(), engine.accumulate

    def stop_at_the_second(method: object, samples: list, *rest: object, **more: object) -> object:
        if samples[0].class_name == "paper":
            raise KeyboardInterrupt
        return accumulate(method, samples, *rest, **more)

    monkeypatch.setattr(engine, "accumulate", stop_at_the_second)
    assert main(words) == 130
    assert not Path("run/scores.csv").exists()
    monkeypatch.setattr(engine, "accumulate", accumulate)
    assert main(words) == 0
    assert Path("run/scores.csv").read_bytes() == whole
    check(Path("run"))


def test_a_table_of_figures_has_thresholds_and_no_column_for_them(pictures: Path) -> None:
    assert main([*EVAL, "method=clip_zeroshot"]) == 0
    lines = list(csv.DictReader(Path("run/results.csv").read_text().splitlines()))
    cloth, _, mean = lines
    assert math.isfinite(float(cloth["image_f1max_threshold"]))
    assert math.isfinite(float(cloth["pixel_f1max_threshold"]))
    assert mean["image_f1max_threshold"] == mean["pixel_f1max_threshold"] == ""
    assert "threshold" not in Path("run/results.md").read_text()
