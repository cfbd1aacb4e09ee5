"""What a run prints: a bar on a terminal, plain lines in a log, nothing when quiet."""

from __future__ import annotations

import io

from adbench.engine import progress
from adbench.engine.progress import Bars, Lines, Quiet, make_reporter


class Terminal(io.StringIO):
    def isatty(self):
        return True


def _work(reporter):
    reporter.say("method [bold] adaclip")
    with reporter.track("epoch 1/2", 4, done=1) as advance:
        for _ in range(3):
            advance(1, {"loss": 0.25})


def test_the_stream_decides():
    assert isinstance(make_reporter(io.StringIO()), Lines)
    assert isinstance(make_reporter(Terminal()), Bars)


def test_plain_lines_end_with_the_last_unit():
    stream = io.StringIO()
    _work(Lines(stream))

    said, done = stream.getvalue().splitlines()
    assert said == "method [bold] adaclip"
    assert done.startswith("epoch 1/2  4/4  ")
    assert done.endswith("loss 0.25")


def test_plain_lines_come_now_and_then(monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    stream = io.StringIO()
    _work(Lines(stream))

    _, first, second, last = stream.getvalue().splitlines()
    assert "left" not in first  # what the first batch takes tells nothing of the others
    assert " left  loss" in second
    assert "left" not in last


def test_the_rate_is_without_the_first_batch(monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    times = iter([0.0, 60.0, 61.0, 62.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    stream = io.StringIO()
    with Lines(stream).track("predict", 10) as advance:
        for _ in range(3):
            advance(2, {})
    assert stream.getvalue().splitlines()[1:] == [
        "predict  4/10  2.0/s  0:00:03 left",
        "predict  6/10  2.0/s  0:00:02 left",
    ]


def test_the_rate_at_the_end_is_that_of_all_the_work(monkeypatch):
    times = iter([0.0, 4.0, 4.5])  # a method that scores a set together has done nearly all before the first batch
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    stream = io.StringIO()
    with Lines(stream).track("predict", 20, done=2) as advance:
        advance(8, {})
        advance(10, {})
    assert stream.getvalue() == "predict  20/20  4.0/s\n"


def test_a_log_gets_no_closing_line_where_the_caller_says_it():
    stream = io.StringIO()
    with Lines(stream).track("epoch 1/2", 1, closing=False) as advance:
        advance(1, {"loss": 0.25})
    assert stream.getvalue() == ""


def test_durations_are_hours_minutes_and_seconds():
    assert progress.duration(3661) == "1:01:01"


def test_a_terminal_gets_a_bar_and_literal_text():
    stream = Terminal()
    _work(make_reporter(stream))

    assert "method [bold] adaclip" in stream.getvalue()
    assert "4/4" in stream.getvalue()


def test_quiet_is_quiet(capsys):
    _work(Quiet())

    assert capsys.readouterr() == ("", "")
