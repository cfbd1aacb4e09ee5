"""`adbench eval`: score test data with a method and report the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adbench.cli.console import print_table
from adbench.cli.options import run_or_show
from adbench.cli.overrides import Overrides

if TYPE_CHECKING:
    from pathlib import Path

    from adbench.cli.evaluation import Evaluated
    from adbench.engine.progress import Reporter

SUMMARY = "score test data with a method and report the metrics"

HELP = """\
usage  python -m adbench eval method=NAME data=NAME [checkpoint=RUN] [key=value ...] [--show]
       python -m adbench eval [benchmark=NAME] [method=NAME] [checkpoint=RUN] [key=value ...] [--show]

Scores the test images of a data set, class by class, and leaves results.json, .csv and .md, report.html and scores.csv
(a row per image) in outputs/eval/METHOD/DATA/TIME. Hyperparameters and backbone are those that the checkpoint was
trained with, unless they are given here; with a checkpoint, method=NAME may be left out. Classes that the weights were
trained on are marked as not zero-shot.

A benchmark is several data sets in one command and one table, with means over the data sets of each domain and over
all: zeroshot14 (the default), zeroshot17, fewshot, generalist, loco, medical, mvtec2, road, or a YAML file of your own.
Data sets that are not there are named and left out. An interrupted benchmark goes on behind what is finished when the
same command is given again.
Without any setting, the weights of the latest training are evaluated on what there is of zeroshot14.

what
  method=NAME               adbench list methods; hyperparameters are method.KEY=VALUE, as --help beside it shows
  method=FILE.py            a method of your own, data=FILE.py a data set (docs/plugins.md)
  checkpoint=latest         the newest finished training run of the method (default); of a method that is fitted to
                            support images, the newest evaluation that has fitted it
  checkpoint=RUN|FILE       a run folder, a weights file, or a checkpoint published by the method's authors
  checkpoint=untrained      freshly initialised weights: what training adds can be seen against it
  checkpoint='{DATA: RUN, default: RUN}'   several, each for its data sets: train on one, test on the other, and back
  data=NAME                 adbench data list; 'data=[visa,mvtec]' for several
  data_dir=DIR              where data sets lie (./data, or $ADBENCH_DATA)
  data.root=DIR             the folder of this one set; of several: data.NAME.root=DIR
  data.classes='[a,b]'      a part of the classes
  benchmark=NAME|FILE.yaml  its data sets, of which 'data=[a,b]' takes a part; data=NAME of a benchmark means the same
  missing=skip|error        data sets that are not there: left out (benchmarks), an error (data that was named)
  clip=NAME                 adbench list clip               clip.checkpoint=FILE      weights from a local file
  clip.pretrained=TAG       clip.image_size=N               clip.quick_gelu=BOOL
  clip.dtype=float32|bfloat16|float16   what the backbone is held in; rows say so
  clip.compile=true         torch.compile of its image tower, checked against the plain one

support (few-shot)
  support.k=1,2,4           normal images per class, one result for each K; 0: none
  support.seed=0,1,2        of the draw; several give mean and standard deviation over them
  support=seeded            drawn by a hash of names; promptad: their published lists; file, folder, inctrl,
                            promptad_dir: read from support.path=PATH; first, anomalydino, random_with_replacement

how
  eval.batch_size=N         eval.workers=N                  eval.amp=off|bf16|fp16
  eval.protocol=exact       a metric without meaning is n/a and left out of means; official: the authors' zeros;
                            smiyc, of road data only: the binned curve of that benchmark
  eval.aupro_limit=0.3,0.05 false-positive rates to which AUPRO is integrated, a column each
  eval.metrics=A,B@X        further columns, as segf1@val3sigma, pixel_aupimo, image_fpr95: see metrics.md
  eval.pixel_size=image     pixels are counted at the size of the stored images, to which maps are scaled up; map (the
                            default): at the size of the method's maps, as the papers of CLIP methods do
  eval.aupro200=true        AUPRO from 200 thresholds, as most papers compute it, beside the exact one
  eval.metrics_mode=auto    exact, but for classes whose scores take more than 64 GiB: constant memory, and the row
                            tells its error bound; exact, constant: always
  eval.memory_limit_mib=N   exact metrics go to disk above it
  eval.image_cache=true     decoded, resized images are kept (outputs/images, or a folder) for later evaluations
  eval.feature_cache=true   what the backbone makes of images is kept (outputs/features, or a folder) for evaluations
                            with other settings of the method; eval.feature_cache_mib=N bounds it
  eval.heat_maps=N          pictures per class: N anomalous with the highest scores, N/2 with the lowest, N/2 normal
  seed=N
  eval.maps=true            keep all anomaly maps, one maps/DATA/CLASS.npz per class (float16: half as large)
  device=auto|cpu|cuda

  submission=DIR            MVTec AD 2: also score the private test sets and write DIR and DIR.tar.gz for its server
                            (float16 maps of full size, thresholded at mean + 3 sigma of the validation images)

where
  out=DIR                   this folder instead of a new one
  outputs=DIR               instead of ./outputs
  rerun=RUN                 what RUN was started with; rerun=FILE.yaml: all settings of a config.yaml. Further words win

  -m, --multirun            a run for each combination of values: key=a,b (lists: [a,b]); all jobs in one sweep.csv;
                            hydra/launcher=joblib and others run them side by side or elsewhere
  --profile                 trace.json beside the results: a Chrome trace of the first 20 images
  --show, --cfg job         print the settings that these words come to, and stop
  --info TOPIC              what Hydra says of them: defaults, defaults-tree, config, searchpath, plugins
  --debug                   a traceback instead of one line for an error

examples
  python -m adbench eval method=adaclip data=demo clip=demo
  python -m adbench eval benchmark=zeroshot14 method=adaclip checkpoint=latest data_dir=/data
  python -m adbench eval benchmark=zeroshot14 method=anomalyclip checkpoint='{mvtec: visa.pth, default: mvtec.pth}'
  python -m adbench eval checkpoint=latest data=visa data_dir=/data
  python -m adbench eval method=adaclip checkpoint=pretrained_mvtec_colondb.pth data=visa eval.batch_size=8
  python -m adbench eval method=clip_zeroshot clip=demo data=folder data.root=pictures eval.heat_maps=4
  python -m adbench eval method=winclip data=mvtec support.k=0,1,2,4 support.seed=0,1,2
"""


def settings(overrides: Sequence[str]) -> str:
    """The settings that these words come to, as YAML."""
    from adbench.cli.plan import make_plan, preview

    typed = Overrides("eval", overrides)
    # What a checkpoint remembers is shown where one is named; otherwise nothing needs to be there.
    remembers = "checkpoint" in typed or "method" not in typed
    return (make_plan(typed) if remembers else preview(typed)).to_yaml()


def run(argv: Sequence[str]) -> int:
    """Run `adbench eval` with these words."""
    return run_or_show("eval", argv, settings=settings, execute=execute, tell=_tell)


def _tell(evaluated: Evaluated, _overrides: Sequence[str], traces: Sequence[Path]) -> None:
    from adbench.report.results import console_tables

    for table in console_tables(evaluated.rows):
        print_table(table)
    for file in (*evaluated.files, *traces):
        print(file)


def execute(overrides: Sequence[str], reporter: Reporter) -> Evaluated:
    """Evaluate as the words after `eval` say."""
    from adbench.cli.evaluation import carry_out
    from adbench.cli.plan import make_plan

    return carry_out(make_plan(Overrides("eval", overrides)), overrides, reporter)
