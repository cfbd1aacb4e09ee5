"""`adbench train`: fit a method's learnable part on auxiliary data."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adbench.cli.options import run_or_show
from adbench.cli.overrides import Overrides
from adbench.errors import UserError
from adbench.interrupts import with_advice
from adbench.plugins import is_file

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from adbench.api.dataset import Dataset
    from adbench.cli.config import TrainConfig
    from adbench.engine.progress import Reporter
    from adbench.engine.run_folder import RunFolder
    from adbench.engine.settings import TrainData
    from adbench.engine.train import TrainResult
    from adbench.methods import Method

SUMMARY = "fit a method's learnable part on auxiliary data"

HELP = """\
usage  python -m adbench train method=NAME data=NAME [key=value ...] [--show]

Trains the learnable part of a method on top of a frozen CLIP, and leaves weights.safetensors, the settings and
TensorBoard events in outputs/train/METHOD/DATA/TIME. The method's YAML file holds what its paper uses; everything
can be set here. A run that was stopped goes on when the same command is given out=ITS_FOLDER.

what
  method=NAME               adbench list methods; hyperparameters are method.KEY=VALUE, as --help beside it shows
  method=FILE.py            a method of your own, data=FILE.py a data set (docs/plugins.md)
  data=NAME                 data to train on (adbench data list); 'data=[mvtec,visa]' for several
  data_dir=DIR              where data sets lie (./data, or $ADBENCH_DATA)
  data.root=DIR             the folder of this one set; of several: data.NAME.root=DIR
  data.classes='[a,b]'      a part of the classes
  clip=NAME                 adbench list clip; the default is the method's own; clip=demo needs no download
  clip.pretrained=TAG       other weights of open_clip       clip.checkpoint=FILE      weights from a local file
  clip.image_size=N         input side in pixels             clip.quick_gelu=BOOL      activation
  clip.dtype=bfloat16        what the frozen backbone is held in; float16 with trainer.amp=fp16 alone

how
  trainer.epochs=N          trainer.batch_size=N             seed=N
  trainer.optimizer.name=adamw|adam|sgd    .lr=X  .betas='[a,b]'  .eps=X  .weight_decay=X  .momentum=X
  trainer.optimizer.schedule=constant|poly|cosine|steps  .power=X  .min_lr=X  .milestones='[step,...]'  .gamma=X
  trainer.optimizer.clip_norm=X            largest norm of all gradients together
  trainer.stages.STAGE.epochs=N            of a method that is trained in stages: what one has otherwise, .batch_size,
                            .steps_per_epoch, .optimizer.lr too; validation and selection are of the last stage
  trainer.init_from=RUN|FILE               weights to start from, also those of a method's authors
  trainer.amp=off|bf16|fp16                autocast          trainer.workers=N         loader processes
  trainer.mosaic='{mvtec: 0.2}'            probability of the 2x2 mosaic augmentation, by data set
  trainer.sampler=shuffle|balanced         trainer.steps_per_epoch=N
  trainer.aux_normals=test_only|train_and_test               trainer.aux_skip_upper_jpg=BOOL
  trainer.aux_per_class=K                  train on K images of each class alone, drawn by seed
  support.k=K               normal images given with every query, for methods that learn so (inctrl); validation too
  trainer.exclude_query=BOOL               a normal query is never among them
  trainer.cache=auto|off|ram|disk          keep frozen features between epochs, where the method allows
  trainer.cache_mib=N       trainer.cache_dir=DIR            its largest size; where it lies on disk
  trainer.image_cache=true|DIR             decoded, resized images are kept (outputs/images), as by eval.image_cache
  trainer.checkpoint_minutes=X             trainer.checkpoint_steps=N
  validation=NAME           data set to evaluate every trainer.validate_every=N epochs
  trainer.select=last|best_on_test         best_on_test keeps the best validated epoch, and results say so
  trainer.select_metric=pixel_f1max        trainer.heat_maps=N        trainer.log_every=N
  device=auto|cpu|cuda

where
  out=DIR                   this folder instead of a new one; a stopped run in it goes on
  resume=false              train anew in a folder that holds a run, dropping what it learned
  outputs=DIR               instead of ./outputs
  rerun=RUN                 what RUN was started with; rerun=FILE.yaml: all settings of a config.yaml. Further words win

  -m, --multirun            a run for each combination of values: key=a,b (lists: [a,b]); all jobs in one sweep.csv;
                            hydra/launcher=joblib and others run them side by side or elsewhere
  --profile                 trace.json in the run's folder: a Chrome trace of the first 20 steps
  --show, --cfg job         print the settings that these words come to, and stop
  --info TOPIC              what Hydra says of them: defaults, defaults-tree, config, searchpath, plugins
  --debug                   a traceback instead of one line for an error

examples
  python -m adbench train method=adaclip data=demo clip=demo
  python -m adbench train method=adaclip data=mvtec data_dir=/data validation=visa
  python -m adbench train -m method=adaclip,faprompt data=mvtec seed=1,2,3
  python -m adbench train method=adaclip data=mvtec 'data.classes=[bottle,screw]' trainer.epochs=2 method.k_clusters=10
"""


@dataclass(frozen=True)
class Trained:
    """What a training command leaves: where, and how it went."""

    run: RunFolder
    result: TrainResult

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.run.path

    def summary(self) -> list[dict[str, Any]]:
        """Steps, seconds and the validation that selected the weights, where one did."""
        selection = self.result.record.selection or {}
        chosen = {selection["metric"]: selection["value"]} if "value" in selection else {}
        return [{"steps": self.result.record.step, **chosen}]


def settings(overrides: Sequence[str]) -> str:
    """The settings that these words come to, as YAML. Raises UserError for what cannot be trained so."""
    from adbench.cli.config import train_config

    config = train_config(Overrides("train", overrides))
    _check_is_trained(config)
    return config.to_yaml()


def run(argv: Sequence[str]) -> int:
    """Run `adbench train` with these words."""
    return run_or_show("train", argv, settings=settings, execute=execute, tell=_tell)


def _tell(trained: Trained, overrides: Sequence[str], traces: Sequence[Path]) -> None:
    result, path = trained.result, trained.folder
    if result.already_finished:
        print(f"this training had finished before: {path}")
    else:
        print(f"trained {result.steps} steps in {result.seconds:.0f} s ({result.images_per_second:.3g} images/s)")
    print(f"weights      {trained.run.weights_path}")
    print(f"curves       tensorboard --logdir {path}")
    for trace in traces:
        print(f"trace        {trace}")
    file = [word for word in overrides if word.startswith("method=") and is_file(word)]  # a checkpoint runs no code
    words = shlex.join(["python", "-m", "adbench", "eval", *file, f"checkpoint={path}", "data=NAME"])
    print(f"evaluate it  {words}")


def _check_is_trained(config: TrainConfig) -> None:
    """Raise UserError, with the command that serves instead, for a method that training does nothing for."""
    from adbench.methods import method_class

    cls = method_class(config.method)
    if cls.supervision != "none":
        return
    support = f" support.k={config.support.k[0] or 4}" if cls.needs_support else ""
    command = f"python -m adbench eval method={config.method} data={shlex.quote(_data_word(config))}{support}"
    fits = ": it is fitted to normal images of each class when it is evaluated" if cls.fits else ""
    raise UserError(
        f"method {config.method} is not trained{fits}", where=f"train method={config.method}", hint=f"run {command}"
    )


def _data_word(config: TrainConfig) -> str:
    names = [data.name for data in config.data]
    return names[0] if len(names) == 1 else f"[{','.join(names)}]"


def execute(overrides: Sequence[str], reporter: Reporter) -> Trained:
    """Train as the words after `train` say."""
    from adbench.cli.config import train_config

    config = train_config(Overrides("train", overrides))
    _check_is_trained(config)
    from adbench.engine import ranks
    from adbench.engine.device import resolve_device

    device = ranks.local_device(resolve_device(config.device))
    with ranks.joined(device):
        return _train(config, overrides, device, reporter)


def _announce(
    config: TrainConfig,
    method: Method,
    data: Sequence[TrainData],
    validation: Dataset | None,
    device: torch.device,
    folder: Path,
    reporter: Reporter,
) -> None:
    from adbench.cli import components

    learnable = sum(parameter.numel() for parameter in method.learnable_parameters().values())
    reporter.say(f"method       {config.method}, {learnable:,} learnable parameters")
    reporter.say(f"backbone     {components.clip_line(method.clip)}")
    for dataset in data:
        reporter.say(f"train on     {components.data_line(dataset.name, dataset.samples)}")
    if validation is not None:
        reporter.say(f"validate on  {components.data_line(validation.name, validation.test)}")
    reporter.say(f"device       {components.device_line(device)}")
    reporter.say(f"run          {folder}")


def _train(config: TrainConfig, overrides: Sequence[str], device: torch.device, reporter: Reporter) -> Trained:
    from adbench.api.dataset import auxiliary_choice
    from adbench.cli import components
    from adbench.engine import ranks
    from adbench.engine.provenance import origin
    from adbench.engine.run_folder import RunFolder
    from adbench.engine.train import train
    from adbench.engine.train_batches import check_supervision
    from adbench.report.heatmaps import paint

    opened = [components.open_data(dataset, config.data_dir, reporter) for dataset in config.data]
    validation = None
    if config.validation is not None:
        validation = components.open_data(config.validation, config.data_dir, reporter)
    clip = components.load_backbone(config.clip, device)
    method = components.build_method(config, clip, device)
    check_supervision(method, {dataset.name: dataset.facts.supervision for dataset in opened})
    checked = [] if validation is None else [validation.evaluation(config.support, method)]
    data = [dataset.auxiliary(**auxiliary_choice(config.trainer)) for dataset in opened]
    claim = RunFolder.claim(
        "train",
        config.method,
        config.data_names,
        outputs=config.outputs,
        out=config.out,
        origin=origin("train", overrides, components.plugins_of(config)),
    )
    with ranks.claimed(claim) as folder:
        _announce(config, method, data, validation, device, folder.path, reporter)
        try:
            result = train(
                method,
                data,
                config.trainer,
                folder,
                device=device,
                resume=config.resume,
                validation=checked,
                reporter=reporter,
                painter=paint,
                config=config.to_yaml(),
            )
        except KeyboardInterrupt as interrupt:
            # Not with resume=false: that would drop what is to be gone on from.
            again = [word for word in overrides if not word.lstrip("+").startswith(("out=", "resume="))]
            command = shlex.join(["python", "-m", "adbench", "train", *again, f"out={folder.path}"])
            raise with_advice(interrupt, f"Go on with: {command}") from interrupt
    return Trained(folder, result)
