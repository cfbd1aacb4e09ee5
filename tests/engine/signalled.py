"""What trainings that are interrupted by signals are compared by."""

from __future__ import annotations

import contextlib
import signal

from adbench.engine.run_folder import RunFolder
from adbench.engine.train_logger import read_history


@contextlib.contextmanager
def heeding_signals():
    """Signals that whoever started the tests ignores (nohup) are heeded here."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run_in(folder):
    return RunFolder.create("train", "tiny", "tiny", out=folder)


def points(run):
    return [{k: v for k, v in p.items() if k != "images_per_second"} for p in read_history(run.history_path)]
