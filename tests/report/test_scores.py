"""scores.csv: whatever is written is read back to the bit, and what nobody wrote is refused by line."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adbench.errors import UserError
from adbench.report.scores import FIELDS, read_scores, write_scores

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=8).filter(
    lambda text: text == text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
)
NUMBERS = st.one_of(st.none(), st.floats(allow_nan=False), st.floats(width=32, allow_nan=False))


def make_score(path="bolt/0.png", **values):
    row = {"dataset": "demo", "class_name": "bolt", "path": path, "defect": "good", "label": 0}
    return {**row, "score": 0.25, "map_max": None, "shots": 0, "support_seed": None, **values}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(NAMES, NAMES, NUMBERS, NUMBERS, st.sampled_from([None, 0, 4])), max_size=4))
def test_rows_are_read_as_they_were_written(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("scores")
    scores = [
        make_score(f"{number}{path}", defect=defect, score=score, map_max=top, shots=shots)
        for number, (path, defect, score, top, shots) in enumerate(rows)
    ]
    write_scores(folder, scores)

    assert read_scores(folder) == scores


@pytest.mark.parametrize(
    "path", ["=1+1.png", "'=1.png", "''-x", "'quoted.png", 'a,"b".png', "a\nb", "a\r\nb", "a\rb", "\udcff"]
)
def test_names_that_mean_something_to_csv_or_spreadsheets(tmp_path, path):
    write_scores(tmp_path, [make_score(path)])

    assert read_scores(tmp_path)[0]["path"] == path
    assert not any(
        line.split(b",")[2].startswith(b"=") for line in (tmp_path / "scores.csv").read_bytes().split(b"\n")[1:2]
    )


def test_scores_in_single_precision_come_back_exactly(tmp_path):
    values = np.random.default_rng(0).random(200, np.float32)
    write_scores(tmp_path, [make_score(f"{n}", score=float(value)) for n, value in enumerate(values)])

    found = np.array([row["score"] for row in read_scores(tmp_path)])
    assert (found.astype(np.float32) == values).all()
    assert (found == values.astype(np.float64)).all()


def test_infinite_scores_are_scores(tmp_path):
    write_scores(tmp_path, [make_score(score=-math.inf, map_max=math.inf)])

    assert read_scores(tmp_path)[0]["score"] == -math.inf


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("demo,bolt,a.png,good,0,0.5", "6 cells instead of 9"),
        ("demo,bolt,a.png,good,2,0.5,,0,", "label is '2'"),
        ("demo,bolt,a.png,good,0,half,,0,", "could not convert"),
        ("demo,bolt,a.png,good,0,nan,,0,", "a score is NaN"),
        ("demo,bolt,a.png,good,0,0.5,,0.5,", "invalid literal"),
        ('demo,bolt,"a.png', "unexpected end of data"),
        ("demo,bolt,bolt/0.png,good,0,0.5,,0,", "the image is there twice"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, line, fault):
    file = write_scores(tmp_path, [make_score()])
    file.write_text(file.read_text() + line + "\n")

    with pytest.raises(UserError, match=rf"{fault}.*scores\.csv:3"):
        read_scores(tmp_path)


@pytest.mark.parametrize("content", ["", "path,score\na,1\n", ",".join(reversed(FIELDS))])
def test_another_table_is_refused(tmp_path, content):
    (tmp_path / "scores.csv").write_text(content)

    with pytest.raises(UserError, match="the columns are not dataset, class_name"):
        read_scores(tmp_path)


def test_a_run_without_scores_is_told_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"no scores of single images.*evaluate again"):
        read_scores(tmp_path)
