"""`adbench verify`: a run that was left alone holds, and whatever is changed in it or around it is named."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from adbench.api.verification import _unlike_record
from adbench.cli.main import main
from adbench.engine.weights import WeightsRecord
from adbench.report.results import read_results
from cli.few_pictures import write_pictures
from cli.tiny_sets import write_sets
from road_trees import write_all

Verify = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with finished runs in outputs/ and their data. Not to be changed."""
    folder = tmp_path_factory.mktemp("runs")
    write_sets(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("ADBENCH_DATA", raising=False)
        few = ["data=mvtec", "support.k=1,2", "support.seed=0,1", "out=outputs/few"]
        assert main(["eval", "method=winclip", "clip=demo", "eval.batch_size=8", *few]) == 0
        words = ["method=clip_zeroshot", "clip=demo", "eval.protocol=official"]
        assert main(["eval", *words, "benchmark=zeroshot14", "out=outputs/benchmark"]) == 0
    return folder


@pytest.fixture
def copy(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the runs, the working folder."""
    shutil.copytree(runs, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.delenv("ADBENCH_DATA", raising=False)
    return tmp_path / "copy"


@pytest.fixture
def verify(capsys: pytest.CaptureFixture[str]) -> Verify:
    def run(*words: str) -> tuple[int, str]:
        status = main(["verify", *words])
        return status, capsys.readouterr().out

    return run


def change(file: Path, edit: Callable[[dict], object]) -> None:
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(("run", "n_sets"), [("few", 1), ("benchmark", 4)])
def test_a_run_that_was_left_alone_holds(run: str, n_sets: int, copy: Path, verify: Verify) -> None:
    status, out = verify(f"outputs/{run}")
    assert status == 0, out
    assert verify(f"outputs/{run}/results.json") == (status, out)
    assert re.search(r"holds +results\.json: its \d{3,} figures follow from scores\.csv and each other\n", out)
    assert re.search(r"unchecked +pixel columns of \d classes: no exact maps are there", out)
    assert out.count("holds      data ") == n_sets
    assert re.search(r"holds +backbone demo: its weights are those that were used", out)
    assert f"all that could be checked holds: {n_sets + 5} hold, 0 fail, 1 could not be checked" in out


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ({"class_name": "screw", "support_seed": 1}, "image_auroc"),
        ({"class_name": "screw", "support_seed": 1}, "image_f1max_threshold"),
        ({"class_name": "screw", "support_seed": 1}, "image_ap_low"),
        ({"class_name": "screw", "support_seed": 1}, "n_anomalous"),
        ({"class_name": "mean", "support_seed": 0}, "image_ap"),
        ({"class_name": "screw", "support_seed": "mean"}, "image_f1max_std"),
        ({"class_name": "mean", "support_seed": "mean"}, "image_auroc"),
        ({"class_name": "mean", "support_seed": 1}, "pixel_aupro"),
        ({"class_name": "mean", "support_seed": "mean"}, "pixel_ap_std"),
    ],
)
def test_a_figure_that_does_not_follow_is_named(place: dict, key: str, copy: Path, verify: Verify) -> None:
    def edit(content: dict) -> None:
        row = next(row for row in content["rows"] if place.items() <= row.items() and row["shots"] == 1)
        row[key] = 1 if key == "n_anomalous" else 0.125

    change(Path("outputs/few/results.json"), edit)
    status, out = verify("outputs/few")
    assert status == 1
    assert re.search(rf"mvtec {place['class_name']} \(k=1, seed {place['support_seed']}\) {key}: [01]", out)
    assert "fails      results.csv does not hold what results.json holds" in out
    assert "the result does not hold" in out


def test_the_mean_over_data_sets_is_computed_again(copy: Path, verify: Verify) -> None:
    def edit(content: dict) -> None:
        row = next(row for row in content["rows"] if row["dataset"] == "mean:medical")
        row["image_auroc"] = 0.125

    change(Path("outputs/benchmark/results.json"), edit)
    assert "mean:medical mean image_auroc: 0.125 in results.json" in verify("outputs/benchmark")[1]


def test_a_score_that_was_changed_is_noticed_twice(copy: Path, verify: Verify) -> None:
    file = Path("outputs/few/scores.csv")
    lines = file.read_text().splitlines(keepends=True)
    cells = lines[1].split(",")
    lines[1] = ",".join([*cells[:5], "1000.0", *cells[6:]])
    file.write_text("".join(lines))
    status, out = verify("outputs/few")
    assert status == 1
    assert "fails      scores.csv is not the file that the run has written" in out
    assert re.search(r"fails +results\.json: \d+ figures do not follow from scores\.csv", out)
    assert "computed again" in out


def test_a_class_without_scores_is_named(copy: Path, verify: Verify) -> None:
    file = Path("outputs/few/scores.csv")
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if ",screw," not in line))
    assert "mvtec screw (k=1, seed 0): scores.csv has no image of it" in verify("outputs/few")[1]


def test_a_picture_that_was_changed_fails(copy: Path, verify: Verify) -> None:
    shutil.copy("data/mvtec/bottle/test/good/000.png", "data/mvtec/screw/test/good/000.png")
    status, out = verify("outputs/few")
    assert status == 1
    assert "fails      data mvtec: not what the run has seen" in out
    assert "files, labels or masks differ" in out


def test_a_picture_that_is_gone_is_named(copy: Path, verify: Verify) -> None:
    Path("data/mvtec/screw/test/good/001.png").unlink()
    status, out = verify("outputs/few")
    assert status == 1
    assert "1 images are in scores.csv, not in the data: screw screw/test/good/001.png" in out


def test_data_elsewhere_are_not_there_or_are_given(copy: Path, verify: Verify) -> None:
    Path("data").rename("elsewhere")
    status, out = verify("outputs/few")
    assert status == 0
    assert re.search(r"unchecked +data mvtec: cannot be read: the folder of data set mvtec is missing", out)
    assert "all that could be checked holds: 5 hold, 0 fail, 2 could not be checked" in out
    assert "6 hold, 0 fail, 1 could not be checked" in verify("outputs/few", "data_dir=elsewhere")[1]


def test_what_was_not_kept_is_unchecked(copy: Path, verify: Verify) -> None:
    def edit(content: dict) -> None:
        del content["run"]["scores_sha256"]
        content["run"]["intervals"]["resamples"] = 7

    change(Path("outputs/few/results.json"), edit)
    Path("outputs/few/config.yaml").unlink()
    Path("outputs/few/results.csv").unlink()
    status, out = verify("outputs/few")
    assert status == 0
    assert out.count("unchecked") == 6
    assert "unchecked  intervals: they were made in another way" in out


def test_weights_are_compared(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verify: Verify) -> None:
    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    words = ["clip=demo", "data=folder", "data.root=others", "out=run"]
    assert main(["eval", "method=adaclip", "checkpoint=latest", *words]) == 0
    weights = next(Path("outputs/train").rglob("weights.safetensors"))
    assert re.search(r"holds +weights for folder: .* is the file that was used", verify("run")[1])
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    status, out = verify("run")
    assert status == 1
    assert re.search(r"fails +weights for folder: .* is another file: \w{12} then, \w{12} now", out)
    shutil.rmtree("outputs")
    status, out = verify("run")
    assert status == 0
    assert re.search(r"unchecked +weights for folder: there is no such run", out)


def test_fitted_weights_are_compared(copy: Path, verify: Verify) -> None:
    weights = Path("outputs/few/weights_mvtec_k1_seed0.safetensors")
    weights.write_bytes(b"fitted")
    sha256 = hashlib.sha256(b"fitted").hexdigest()
    weights.with_suffix(".json").write_text(json.dumps({"sha256": sha256}))
    assert f"holds      fitted weights: {weights.name} is as the run has written it" in verify("outputs/few")[1]
    weights.write_bytes(b"others")
    assert f"fails      fitted weights: {weights.name} is not the file" in verify("outputs/few")[1]
    weights.unlink()
    assert f"fails      fitted weights: {weights.name} is missing" in verify("outputs/few")[1]


def test_another_backbone_fails(copy: Path, verify: Verify) -> None:
    def edit(content: dict) -> None:
        for row in content["rows"]:
            row["backbone_sha256"] = "0" * 64

    change(Path("outputs/few/results.json"), edit)
    assert "fails      backbone demo: other weights: 000000000000 then" in verify("outputs/few")[1]
    settings = Path("outputs/few/config.yaml")
    settings.write_text(settings.read_text().replace("name: demo", "name: ViT-L-14-336"))
    assert "unchecked  backbone ViT-L-14-336: backbone=true loads its weights" in verify("outputs/few")[1]


def test_names_that_are_no_utf8_are_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verify: Verify
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "pictures" / "cl\udcffoth")
    Path("pictures/cl\udcffoth/good/0.png").rename("pictures/cl\udcffoth/good/\udcfe\n.png")
    assert main(["eval", "method=median_colour", "clip=demo", "data=folder", "data.root=pictures", "out=run"]) == 0
    assert "0 fail" in verify("run")[1]
    assert main(["compare", "run", "run", "out=new"]) == 0
    Path("pictures/cl\udcffoth/good/\udcfe\n.png").unlink()
    assert r"1 images are in scores.csv, not in the data: cl\udcffoth cl\udcffoth/good/\udcfe\n.png" in verify("run")[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "verify takes one run, and 0 are named"),
        (["outputs/few", "outputs/benchmark"], "verify takes one run, and 2 are named"),
        (["nowhere"], "no readable results (nowhere)"),
        (["outputs/few", "backbone=maybe"], "backbone=maybe"),
        (["outputs/few", "data-dir=x"], "Did you mean data_dir?"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], said: str, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    assert main(["verify", *words]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.yaml", "parts: [1]"),
        ("config.yaml", "data: {mvtec: 3}"),
        ("results.json", '"data": [{"name": "mvtec"}]'),
        ("results.json", '"evaluated": 3'),
    ],
)
def test_damaged_records_are_one_line(file: str, text: str, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Path("outputs/few") / file
    if file == "config.yaml":
        place.write_text(text)
    else:
        key, value = next(iter(json.loads("{" + text + "}").items()))
        change(place, lambda content: content["run"].update({key: value}))
    assert main(["verify", "outputs/few"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture(scope="module")
def with_maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs that have kept their maps: exact, in constant memory, as float16, of roads. To be copied."""
    folder = tmp_path_factory.mktemp("maps")
    write_sets(folder / "data")
    write_all(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("ADBENCH_DATA", raising=False)
        words = ["eval", "method=median_colour", "clip=demo"]
        further = ["eval.aupro200=true", "eval.aupro_limit=[0.3,0.05]", "eval.metrics=[seg_iou@0.5,image_fpr95]"]
        assert main([*words, "eval.maps=true", "data=mvtec", *further, "out=exact"]) == 0
        assert main([*words, "eval.maps=true", "data=mvtec", "eval.metrics_mode=constant", "out=constant"]) == 0
        assert main([*words, "eval.maps=float16", "data=mvtec", "out=half"]) == 0
        assert main([*words, "eval.maps=true", "data=road", "eval.protocol=smiyc", "out=road"]) == 0
    return folder


@pytest.fixture
def maps(with_maps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the runs with maps, the working folder."""
    shutil.copytree(with_maps, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("run", ["exact", "constant", "road"])
def test_pixel_columns_follow_from_kept_maps(run: str, maps: Path, verify: Verify) -> None:
    status, out = verify(run)
    assert status == 0, out
    assert re.search(r"holds +results\.json: its \d+ figures follow from scores\.csv, maps/ and each other", out)
    assert "0 could not be checked" in out


@pytest.mark.parametrize(
    ("run", "key"),
    [
        *(("exact", key) for key in ("pixel_auroc", "pixel_aupro", "pixel_aupro200", "pixel_f1max_threshold")),
        *(("exact", key) for key in ("pixel_aupro@0.05", "seg_iou@0.5", "image_fpr95")),
        ("constant", "pixel_ap"),
        *(("road", key) for key in ("pixel_fpr95", "component_f1")),
    ],
)
def test_a_pixel_column_that_does_not_follow_is_named(run: str, key: str, maps: Path, verify: Verify) -> None:
    (name,) = {row["class_name"] for row in read_results(Path(run))[1][:1]}
    change(Path(run) / "results.json", lambda content: content["rows"][0].update({key: 0.125}))
    status, out = verify(run)
    assert status == 1
    assert re.search(rf"{name} {key}: 0\.125 in results\.json, \d\.\d+(e-\d+)? computed again", out)


def test_maps_that_were_rounded_or_are_gone_tell_nothing(maps: Path, verify: Verify) -> None:
    status, out = verify("half")
    assert status == 0
    assert "unchecked  pixel columns of 2 classes" in out
    assert "mvtec screw: maps were kept as float16, which is not what was measured" in out
    Path("exact/maps/mvtec/screw.npz").unlink()
    Path("exact/maps/mvtec/bottle.npz").write_bytes(b"")
    status, out = verify("exact")
    assert status == 0
    assert "mvtec screw: no maps were kept" in out
    assert "mvtec bottle: the kept maps cannot be read" in out


def test_maps_of_another_run_are_noticed(maps: Path, verify: Verify) -> None:
    shutil.copy("exact/maps/mvtec/bottle.npz", "exact/maps/mvtec/screw.npz")
    status, out = verify("exact")
    assert status == 1
    assert "mvtec screw bottle/test/good/000.png: the highest pixel of its map is" in out


def test_settings_that_are_not_those_of_the_run_are_named(copy: Path, verify: Verify) -> None:
    def pretend(content: dict) -> None:
        content["run"]["hyperparameters"]["temperature"] = 0.5
        content["run"]["backbone"]["name"] = "ViT-L-14-336"
        for row in content["rows"]:
            row["backbone"] = "ViT-B-16"

    change(copy / "outputs/few/results.json", pretend)
    status, out = verify("outputs/few")
    assert status == 1
    assert "fails      results.json: its settings are not those of config.yaml" in out
    assert re.search(r"mvtec: hyperparameters .*'temperature': 0.5.* in results.json, .* in config.yaml", out)
    for name in ("ViT-L-14-336", "ViT-B-16"):
        assert f"mvtec: backbone {name} in results.json, demo in config.yaml" in out


def test_weights_that_rows_make_more_of_than_they_are_are_named() -> None:
    record = WeightsRecord(method="m", hyperparameters={}, backbone={}, data=[{"name": "btad", "classes": ["01"]}])
    record = replace(record, selection={"rule": "best_on_test", "data": None})
    row = {"dataset": "btad", "class_name": "01", "n_images": 4, "trained_on": ["btad"]}
    true = {**row, "zero_shot": False, "selected_on_test": True}
    mean = {**true, "class_name": "mean", "n_images": 4}
    assert list(_unlike_record(record, [true, mean])) == []
    pretended = {**mean, "zero_shot": True, "selected_on_test": False, "trained_on": ["mvtec"]}
    assert list(_unlike_record(record, [true, pretended])) == [
        "btad mean: zero_shot True in results.json, False by the weights",
        "btad mean: selected_on_test False in results.json, True by the weights",
        "btad mean: trained_on ['mvtec'] in results.json, ['btad'] by the weights",
    ]
