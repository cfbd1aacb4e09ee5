"""`adbench eval`: score test data with a method and report the metrics."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from adbench.cli.config import EvalConfig, eval_config
from adbench.cli.grammar import Setting, parse
from adbench.cli.restore import Checkpoint, find_checkpoint, remembered

if TYPE_CHECKING:
    from rich.table import Table

    from adbench.engine.progress import Reporter
    from adbench.engine.settings import Row

SUMMARY = "score test data with a method and report the metrics"

HELP = """\
usage  python -m adbench eval method=NAME data=NAME [checkpoint=RUN] [key=value ...] [--show]

Scores the test images of a data set, class by class, and leaves results.json, .csv and .md and report.html in
outputs/eval/METHOD/DATA/TIME. Hyperparameters and backbone are those that the checkpoint was trained with, unless
they are given here; with a checkpoint, method=NAME may be left out. Classes that the weights were trained on are marked
as not zero-shot.

what
  method=NAME               adbench list methods; hyperparameters are method.KEY=VALUE
  checkpoint=latest         the newest finished training run of the method (default)
  checkpoint=RUN|FILE       a run folder, a weights file, or a checkpoint published by the method's authors
  checkpoint=untrained      freshly initialised weights: what training adds can be seen against it
  data=NAME                 adbench list data; 'data=[visa,mvtec]' for several
  data_dir=DIR              where data sets lie (./data, or $ADBENCH_DATA)
  data.root=DIR             the folder of this one set; of several: data.NAME.root=DIR
  data.classes='[a,b]'      a part of the classes
  clip=NAME                 adbench list clip               clip.checkpoint=FILE      weights from a local file
  clip.pretrained=TAG       clip.image_size=N               clip.quick_gelu=BOOL

support (few-shot)
  support.k=1,2,4           normal images per class, one result for each K; 0: none
  support.seed=0,1,2        of the draw; several give mean and standard deviation over them
  support=seeded            drawn by a hash of names; promptad: their published lists; file, folder, inctrl,
                            promptad_dir: read from support.path=PATH; first, anomalydino, random_with_replacement

how
  eval.batch_size=N         eval.workers=N                  eval.amp=off|bf16|fp16
  eval.protocol=exact       a metric without meaning is n/a and left out of means; official: the authors' zeros
  eval.aupro200=true        AUPRO from 200 thresholds, as most papers compute it, beside the exact one
  eval.metrics_mode=exact   constant: constant memory, prints its error bound
  eval.memory_limit_mib=N   exact metrics go to disk above it
  eval.heat_maps=N          pictures per class              seed=N
  device=auto|cpu|cuda

where
  out=DIR                   this folder instead of a new one
  outputs=DIR               instead of ./outputs

  --show                    print the settings that these words come to, and stop
  --debug                   a traceback instead of one line for an error

examples
  python -m adbench eval method=adaclip data=demo clip=demo
  python -m adbench eval checkpoint=latest data=visa data_dir=/data
  python -m adbench eval method=adaclip checkpoint=pretrained_mvtec_colondb.pth data=visa eval.batch_size=8
  python -m adbench eval method=clip_zeroshot clip=demo data=folder data.root=pictures eval.heat_maps=4
  python -m adbench eval method=winclip data=mvtec support.k=0,1,2,4 support.seed=0,1,2
"""


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation command leaves: rows, where, and the files."""

    rows: list[Row]
    folder: Path
    files: list[Path]


def run(argv: Sequence[str]) -> int:
    """Run `adbench eval` with these words."""
    from adbench.engine.progress import make_reporter
    from adbench.report.results import console_table

    words = [word for word in argv if word != "--show"]
    settings = parse(words, "eval")
    if "--show" in argv:
        from_weights = any(setting.key == "checkpoint" for setting in settings)
        print((resolve(settings)[0] if from_weights else eval_config(settings)).to_yaml(), end="")
        return 0
    evaluated = execute(settings, words, make_reporter())
    print_table(console_table(evaluated.rows))
    for file in evaluated.files:
        print(file)
    return 0


def print_table(table: Table) -> None:
    """Print to stdout: as wide as the terminal, and wide enough for names where there is none."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 120).print(table)


def execute(settings: Sequence[Setting], words: Sequence[str], reporter: Reporter) -> Evaluated:
    """Evaluate as `settings` say; `words` are those after `eval`, for the record."""
    config, checkpoint = resolve(settings)
    return _evaluate(config, checkpoint, words, reporter)


def resolve(settings: Sequence[Setting]) -> tuple[EvalConfig, Checkpoint]:
    """The whole configuration, with what the checkpoint remembers, and the checkpoint."""
    checkpoint = find_checkpoint(settings)
    if "method" not in {setting.key for setting in settings}:
        settings = [*settings, *parse([f"method={checkpoint.method}"], "eval")]
    return eval_config(settings, remembered(checkpoint, settings)), checkpoint


def _evaluate(config: EvalConfig, checkpoint: Checkpoint, words: Sequence[str], reporter: Reporter) -> Evaluated:
    from adbench.cli import parts
    from adbench.engine.device import resolve_device
    from adbench.engine.evaluate import evaluate
    from adbench.engine.kept import forget_classes
    from adbench.engine.provenance import describe_run
    from adbench.engine.run_folder import RunFolder
    from adbench.engine.weights import load_weights
    from adbench.report.heatmaps import paint
    from adbench.report.html import write_html
    from adbench.report.results import write_results

    device = resolve_device(config.device)
    data = [parts.open_data(one, config.data_dir, reporter) for one in config.data]
    clip = parts.load_backbone(config.clip, device)
    method = parts.build_method(config, clip, device)
    record = None if checkpoint.path is None else load_weights(method, checkpoint.path)
    evaluated = [one.for_evaluation(config.support, method) for one in data]
    config = replace(config, checkpoint=str(checkpoint.path or "untrained"))
    folder = RunFolder.create("eval", config.method, config.data_names, outputs=config.outputs, out=config.out)
    folder.write_config(config.to_yaml())
    reporter.say(f"method       {config.method}, weights {_weights_line(method.supervision, checkpoint)}")
    reporter.say(f"backbone     {parts.clip_line(clip)}")
    for one in data:
        reporter.say(f"evaluate on  {one.line()}")
    reporter.say(f"device       {parts.device_line(device)}")
    rows: list[Row] = []
    for part in evaluated:
        rows += evaluate(
            method, part, config.eval, device=device, record=record, reporter=reporter, run=folder, painter=paint
        )
    provenance = describe_run(
        command=["adbench", "eval", *words],
        seed=config.seed,
        device=str(device),
        data={one.spec.name: one.samples for one in data},
        method=config.method,
        hyperparameters=config.hyperparameters,
        backbone=clip.describe(),
        checkpoint=config.checkpoint,
        supports=[one.record() for part in evaluated for sets in part.supports.values() for one in sets.values()]
        or (record.adaptation["supports"] if record is not None and record.adaptation else []),
    )
    files = write_results(folder.path, rows, provenance)
    forget_classes(folder)
    trained_in = checkpoint.path if checkpoint.path is not None and checkpoint.path.is_dir() else None
    files.append(write_html(folder.path, training=trained_in))
    return Evaluated(rows, folder.path, files)


def _weights_line(supervision: str, checkpoint: Checkpoint) -> str:
    if checkpoint.path is not None:
        return str(checkpoint.path)
    return "none needed" if supervision == "none" else "untrained"
