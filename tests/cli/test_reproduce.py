"""`adbench reproduce`: recipes as data, their commands, and a ledger at the end; end to end on miniature trees."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest

from adbench.cli.main import main
from adbench.cli.reproduction import load_recipe, recipe_names
from adbench.cli.reproduction_jobs import default_folder, make_jobs, user_words
from adbench.cli.reproduction_ledger import figures_of
from adbench.cli.reproduction_needs import find_needs
from cli.few_pictures import picture
from cli.tiny_sets import write_sets
from road_trees import write_all
from small_methods import RECIPES

QUICK = ["clip=demo", "data_dir=sets", "device=cpu", "trainer.epochs=1"]
ADACLIP = [*QUICK, "method.k_clusters=3", "method.prompting_length=3"]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sets/: miniature mvtec, btad, brain_mri, colondb, visa and clinicdb. Not to be changed."""
    folder = tmp_path_factory.mktemp("miniature")
    root = folder / "sets"
    write_sets(root)
    for number in range(8):  # as many as are shown at most
        for class_name in ("visa/candle", "mvtec/bottle", "mvtec/screw"):
            save(picture(5000 + number, spot=False)[0], root / class_name / "train" / "good" / f"{100 + number}.png")
    for number in range(2):
        for seed, (path, spot) in enumerate((("train/good", False), ("test/good", False), ("test/bad", True))):
            image, mask = picture(3000 + 10 * number + seed, spot=spot)
            save(image, root / "visa" / "candle" / path / f"{number:03d}.JPG")
            if spot:
                save(mask, root / "visa" / "candle" / "ground_truth" / "bad" / f"{number:03d}.png")
        image, mask = picture(4000 + number, spot=True)
        save(image, root / "clinicdb" / "PNG" / "Original" / f"{number}.png")
        save(mask, root / "clinicdb" / "PNG" / "Ground Truth" / f"{number}.png")
    return folder


def save(image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def records(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "ledger.csv").read_text().splitlines()))


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_held_against_figures_and_its_settings_compose(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    jobs = make_jobs(recipe, [], tmp_path)
    evaluations = [job for job in jobs if job.command == "eval"]
    assert all(figures_of(recipe, job) for job in evaluations)
    assert len({job.name for job in jobs}) == len(jobs)
    assert all(set(job.data).isdisjoint(job.trained_on) for job in evaluations)
    needs = find_needs(recipe, [job for job in jobs if job.command == "train"] + evaluations[:1], tmp_path)
    assert needs.weights


def test_trained_on_one_pair_tested_on_the_other_and_back(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(sets)
    words = ["reproduce", "adaclip", "data=[visa,mvtec,colondb]", *ADACLIP, f"out={tmp_path}"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "run          train/swapped" in out
    assert "0 reproduced, 0 off" in out
    lines = records(tmp_path)
    measured = {line["dataset"]: line for line in lines if line["class_name"] == "mean" and line["ours"]}
    assert set(measured) == {"visa", "mvtec", "colondb"}
    assert {line["verdict"] for line in lines} == {"not comparable"}
    for dataset, training in (("visa", "main"), ("mvtec", "swapped"), ("colondb", "swapped")):
        line = measured[dataset]
        assert "other backbone: demo instead of ViT-L-14-336" in line["why"]
        assert "other settings: trainer.epochs=1" in line["why"]
        assert "other settings: method.k_clusters=3 instead of 20" in line["why"]
        weights = json.loads((tmp_path / "train" / training / "weights.json").read_text())["sha256"]
        results = json.loads((tmp_path / "eval" / training / dataset / "results.json").read_text())
        row = next(row for row in results["rows"] if row["class_name"] == "mean")
        assert line["weights_sha256"] == weights == row["weights"]
        assert float(line["ours"]) == row[line["metric"]]
        assert row["trained_on"] == (["colondb", "mvtec"] if training == "main" else ["clinicdb", "visa"])
        assert line["data_fingerprint"] == results["run"]["data"][0]["fingerprint"]
    assert "no such figure" not in (tmp_path / "ledger.html").read_text()
    assert (tmp_path / "ledger.md").read_text().startswith("# Reproduction of adaclip")

    before = (tmp_path / "train" / "main" / "weights.safetensors").stat().st_mtime_ns
    assert main(words) == 0  # nothing is run again
    out = capsys.readouterr().out
    assert "run  " not in out
    assert "finished     eval/swapped/mvtec" in out
    assert (tmp_path / "train" / "main" / "weights.safetensors").stat().st_mtime_ns == before

    (tmp_path / "eval" / "main" / "visa" / "results.json").unlink()  # as where it was stopped
    assert main(words) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("run  ")] == [
        "run          eval/main/visa"
    ]


ROADS = ["method.num_queries=6", "method.hidden_dim=32", "method.num_points=64", "trainer.batch_size=2"]
FEW = ["clip=demo", "data_dir=sets", "device=cpu"]


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_recipes_run_end_to_end_on_miniature_trees(
    name: str, sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(sets)
    assert main(["reproduce", name, *FEW, *RECIPES[name], f"out={tmp_path}"]) == 0
    lines = records(tmp_path)
    assert any(line["ours"] for line in lines)
    assert all("other backbone: demo" in line["why"] for line in lines if line["ours"])
    assert "0 reproduced, 0 off" in capsys.readouterr().out


@pytest.mark.slow
def test_the_recipe_of_roads_says_that_hidden_images_do_not_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    write_all(tmp_path / "sets")
    monkeypatch.chdir(tmp_path)
    words = ["clip=toy_convnext", "data_dir=sets", "device=cpu", "trainer.epochs=1", "data=smiyc_ra21", *ROADS]
    assert main(["reproduce", "vl4ad_smiyc", *words, "out=run"]) == 0
    lines = records(tmp_path / "run")
    assert {line["kind"] for line in lines} == {"leaderboard"}
    assert all("the figure is of the hidden test set" in line["why"] for line in lines if line["ours"])


def test_what_is_not_there_is_left_out_and_named(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(sets)
    words = ["reproduce", "winclip_fewshot", "clip=demo", "data.mvtec.root=sets/mvtec", "data_dir=nowhere"]
    assert main([*words, "support.k=1", "support.seed=0,1", f"out={tmp_path}"]) == 0
    assert "not there    visa: looked for nowhere/visa" in capsys.readouterr().out
    lines = records(tmp_path)
    assert {line["why"] for line in lines if line["dataset"] == "visa"} == {"not run: visa is not there"}
    (line,) = [
        one for one in lines if (one["dataset"], one["metric"], one["published"]) == ("mvtec", "image_auroc", "0.931")
    ][:1]
    assert float(line["std"]) >= 0
    assert line["shots"] == "1"
    assert "2 of 15 classes" in line["why"]


def test_a_plan_runs_nothing(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(sets)
    assert main(["reproduce", "adaclip", "--dry-run", "data=mvtec", "data_dir=sets", f"out={tmp_path / 'new'}"]) == 0
    out = capsys.readouterr().out
    assert f"to run       train/swapped\n{'':<15}python -m adbench train method=adaclip 'data=[visa,clinicdb]'" in out
    assert "train/main" not in out  # serves none of them
    assert "backbone     ViT-L-14-336 / openai" in out
    assert "GPU time     about " in out
    assert not (tmp_path / "new").exists()


def test_a_recipe_of_ones_own_with_a_training_that_starts_from_another(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(sets)
    file = tmp_path / "mine.yaml"
    file.write_text(
        "method: anomalyclip\ntrainings:\n  first: {data: [mvtec]}\n  second: {data: [btad], start: first}\n"
        "evaluations:\n  - {training: second, data: [visa]}\n"
    )
    assert main(["reproduce", str(file), *QUICK, f"out={tmp_path / 'run'}"]) == 0
    row = json.loads((tmp_path / "run" / "eval" / "visa" / "results.json").read_text())["rows"][0]
    assert row["trained_on"] == ["btad", "mvtec"]
    assert "0 figures" in capsys.readouterr().out

    # Of a folder that holds other trainings no evaluation is taken for one of these.
    other = [word.replace("epochs=1", "epochs=2") for word in QUICK]
    assert main(["reproduce", str(file), *other, f"out={tmp_path / 'run'}"]) == 2
    printed = capsys.readouterr()
    assert "finished     eval/visa" not in printed.out
    assert "the folder holds another training" in printed.err

    # Nor of results that were edited.
    results = tmp_path / "run" / "eval" / "visa" / "results.json"
    before = results.read_text()
    results.write_text(before.replace('"zero_shot": true', '"zero_shot": null'))
    words = ["reproduce", str(file), *QUICK, f"out={tmp_path / 'run'}"]
    assert main(words) == 0
    assert "run          eval/visa" in capsys.readouterr().out
    assert json.loads(results.read_text())["rows"][0]["zero_shot"] is True

    # Nor of a training that was made anew since, which goes for trainings that start from it, too.
    for name in ("first", "second"):
        training = tmp_path / "run" / "train" / name
        weights, job = training / "weights.json", training / "job.json"
        kept = weights.read_text(), job.read_text()
        weights.write_text(json.dumps({**json.loads(kept[0]), "sha256": "0" * 64}))
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        job.write_text(json.dumps({**json.loads(kept[1]), "sha256": digest}))
        assert main([*words, "--dry-run"]) == 0
        out = capsys.readouterr().out
        assert "to run       eval/visa" in out
        assert ("to run       train/second" in out) == (name == "first")
        weights.write_text(kept[0])
        job.write_text(kept[1])
    assert main([*words, "--dry-run"]) == 0
    assert "to run" not in capsys.readouterr().out


def test_an_interruption_says_how_to_go_on_and_a_failure_stops_no_other(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(sets)
    file = tmp_path / "mine.yaml"
    file.write_text("method: median_colour\nevaluations: [{data: [brain_mri, mvtec]}]\n")
    words = ["reproduce", str(file), "clip=demo", "data_dir=sets", "device=cpu", f"out={tmp_path / 'run'}"]

    def interrupted(overrides, reporter):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("adbench.cli.eval.execute", interrupted)
        assert main(words) == 130
    assert f"Go on with: python -m adbench {' '.join(words)}" in capsys.readouterr().err

    (tmp_path / "run" / "eval").mkdir(parents=True, exist_ok=True)
    (tmp_path / "run" / "eval" / "brain_mri").write_text("in the way")
    assert main(words) == 2  # a file where a folder is to be: nothing is overwritten
    (tmp_path / "run" / "eval" / "brain_mri").unlink()
    (tmp_path / "run" / "eval" / "brain_mri").mkdir()
    (tmp_path / "run" / "eval" / "brain_mri" / "mine.txt").write_text("of somebody")
    capsys.readouterr()
    assert main(words) == 1
    out = capsys.readouterr().out
    assert "failed       eval/brain_mri: this is not a run folder" in out
    assert (tmp_path / "run" / "eval" / "mvtec" / "results.json").is_file()
    assert (tmp_path / "run" / "eval" / "brain_mri" / "mine.txt").read_text() == "of somebody"


def test_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()] == recipe_names()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["adaclipp"], "unknown recipe 'adaclipp'"),
        (["adaclip", "winclip_zeroshot"], "reproduce takes one recipe, and 2 are named"),
        (["adaclip", "checkpoint=x"], "checkpoint is what the recipe decides"),
        (["adaclip", "data=cifar10"], "the recipe adaclip does not evaluate cifar10"),
        (["adaclip", "data_dir=nowhere"], "nothing of the recipe could be evaluated: not run: mvtec is not there"),
        (["adaclip", "trainer.epoch=1"], "unknown setting 'trainer.epoch'"),
        (["missing.yaml"], "the file cannot be read"),
        (["empty.yaml"], "the file holds nothing where names with values are expected"),
        (["bare.yaml"], "the recipe lacks method and evaluations"),
        (["strange.yaml"], "unknown training 'second'"),
        (["wrong.yaml"], "evaluations"),
        (["twice.yaml"], "visa is evaluated twice with the same weights"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.yaml").write_text("")
    Path("bare.yaml").write_text("version: 2\n")
    Path("strange.yaml").write_text("method: adaclip\nevaluations: [{training: second, data: [visa]}]\n")
    Path("wrong.yaml").write_text("method: adaclip\nevaluations: 3\n")
    Path("twice.yaml").write_text("method: winclip\nevaluations: [{data: [visa]}, {data: [mvtec, visa]}]\n")
    assert main(["reproduce", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_words_that_leave_the_setting_are_told_from_those_that_change_it() -> None:
    from adbench.cli.reproduction_jobs import changed

    free = [
        "data_dir=a",
        "device=cpu",
        "seed=3",
        "clip=demo",
        "eval.batch_size=2",
        "data.visa.root=a",
        "out=b",
        "method.ln=1",
    ]
    assert changed(user_words(free)) == []
    told = ["trainer.epochs=1", "clip.image_size=96", "clip.dtype=bfloat16", "data.visa.classes=[candle]"]
    assert changed(user_words([*free, *told])) == [f"other settings: {word}" for word in told]


def test_the_folder_is_the_same_wherever_data_lie() -> None:
    recipe = load_recipe("adaclip")
    folders = [default_folder(recipe, user_words(words)) for words in ([], ["data_dir=a", "device=cpu", "data=visa"])]
    assert folders == [Path("outputs/reproduce/adaclip")] * 2
    assert default_folder(recipe, user_words(["seed=2"])) != folders[0]
