"""`adbench demo`: train AdaCLIP on the demo data and evaluate it zero-shot beside its floors, within minutes."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from adbench.cli import eval as eval_command
from adbench.cli import train as train_command
from adbench.cli.console import print_table
from adbench.cli.overrides import Overrides

if TYPE_CHECKING:
    from adbench.engine.progress import Reporter
    from adbench.engine.settings import Row

SUMMARY = "train and evaluate on built-in data, in a few minutes"

HELP = """\
usage  python -m adbench demo [out=DIR] [data_dir=DIR] [device=auto|cpu|cuda] [seed=N]

Trains AdaCLIP on the auxiliary classes of the built-in demo data, with the toy CLIP that ships with adbench, and
evaluates it on classes and defect kinds that neither has seen, and on a few real pictures (PIPED, paper impurities).
Beside it stand the same model before training, plain CLIP, and a floor that learns nothing (distance to the median
colour). Needs no download. The numbers say that the pipeline works; they say nothing about AdaCLIP with a real CLIP.

It runs the ordinary commands, which it prints; files are in outputs/demo/TIME.
"""

# Label in the table -> the words of the evaluation; TRAINED is the run trained before.
STEPS = {
    "adaclip": "method=adaclip clip=demo checkpoint=TRAINED eval.heat_maps=2",
    "adaclip (untrained)": "method=adaclip clip=demo checkpoint=untrained",
    "clip_zeroshot": "method=clip_zeroshot clip=demo",
    "median_colour": "method=median_colour clip=demo",
}
TRAIN = "method=adaclip data=demo clip=demo"
DATA = "data=[demo,piped_mini]"
KEYS = ("out", "data_dir", "device", "seed")


def run(argv: Sequence[str]) -> int:
    """Run `adbench demo` with these words."""
    from adbench.engine.progress import make_reporter
    from adbench.engine.run_folder import RunFolder
    from adbench.report.results import console_table

    overrides = Overrides("demo", argv)
    overrides.only(*KEYS)
    start = time.monotonic()
    reporter = make_reporter()
    folder = choose_folder(overrides)
    with RunFolder.claim("demo", "adaclip", "demo+piped_mini", out=folder):
        rows, files = run_steps(overrides, folder, reporter)
    means = [row for row in rows if row["class_name"] == "mean"]
    print_table(console_table(means, title="mean over classes, none of them seen in training"))
    print("\n".join(str(file) for file in files))
    print(f"tensorboard --logdir {folder}")
    print(f"done in {time.monotonic() - start:.0f} s")
    return 0


def run_steps(typed: Overrides, folder: Path, reporter: Reporter) -> tuple[list[Row], list[Path]]:
    """Train, evaluate each of STEPS, and write the rows of all of them, labelled, into `folder`."""
    from adbench.report.html import write_html
    from adbench.report.results import write_results

    shared = [override.word for override in typed.by_key.values() if override.key != "out"]
    overrides = [*TRAIN.split(), f"out={folder / 'train'}", *shared]
    reporter.say(f"$ python -m adbench train {shlex.join(overrides)}")
    trained = train_command.execute(overrides, reporter)
    rows: list[Row] = []
    for label, step in STEPS.items():
        run_folder = folder / label.replace(" (", "_").rstrip(")")
        overrides = [word.replace("TRAINED", str(trained.run.path)) for word in step.split()]
        overrides += [*DATA.split(), f"out={run_folder}", *shared]
        reporter.say(f"\n$ python -m adbench eval {shlex.join(overrides)}")
        evaluated = eval_command.execute(overrides, reporter)
        rows += [{**row, "method": label} for row in evaluated.rows]
    command = ["adbench", "demo", *(override.word for override in typed.by_key.values())]
    files = write_results(folder, rows, {"command": command})
    return rows, [*files, write_html(folder, training=trained.run.path), *folder.glob("adaclip/report.html")]


def choose_folder(overrides: Overrides) -> Path:
    """`out`, or a new folder named after the time."""
    if "out" in overrides:
        return Path(str(overrides.get("out"))).expanduser()
    return Path("outputs") / "demo" / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
