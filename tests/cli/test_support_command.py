"""`adbench support`: the file says what `eval` draws, and mistakes are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from adbench.cli.main import dispatch
from adbench.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split, n in (("train", 6), ("test", 2)):
        for kind in ("good",) if split == "train" else ("good", "bad"):
            folder = tmp_path / "screws" / split / kind
            folder.mkdir(parents=True)
            for number in range(n):
                Image.new("L", (8, 8), number).save(folder / f"{number}.png")
    return tmp_path / "screws"


def test_both_ways_of_writing_give_the_same_list(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["support", "data=folder", f"data.root={root}", "support.k=1,2", "support.seed=3"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert dispatch(["support", "--dataset", "folder", "--root", str(root), "--k=1,2", "--seed", "3"]) == 0
    assert json.loads(capsys.readouterr().out) == listed
    assert (listed["version"], listed["dataset"]) == (1, "folder")
    (sets,) = listed["classes"].values()
    assert sets["1"] == sets["2"][:1]


def test_one_file_per_seed(root: Path, tmp_path: Path) -> None:
    words = ["support", "data=folder", f"data.root={root}", "support.k=2", "support.seed=0,1"]
    assert dispatch([*words, f"out={tmp_path}/s{{seed}}.json"]) == 0
    assert json.loads((tmp_path / "s1.json").read_text())["seed"] == 1
    with pytest.raises(UserError, match="holds the sets of one seed"):
        dispatch([*words, f"out={tmp_path}/s.json"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=folder"], "needs the number of images"),
        (["support.k=1"], "support needs data"),
        (["data=foldr", "support.k=1"], "Did you mean 'folder'"),
        (["--dtaset", "folder"], "Did you mean '--dataset'"),
        (["--k"], "--k lacks its value"),
        (["data=folder", "support.k=1", "seed=3"], "unknown setting 'seed'"),
        (["data=folder", "support.k=x"], "Give a whole number"),
    ],
)
def test_mistakes_are_named(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dispatch(["support", *words])
