"""`adbench check-method`: whether a method keeps to what training, evaluation and records rely on."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adbench.cli.override_parser import choices
from adbench.cli.overrides import Overrides
from adbench.errors import UserError

if TYPE_CHECKING:
    from adbench.contract import Subject

SUMMARY = "check that a method keeps to the contract that training and evaluation rely on"

HELP = """\
usage  python -m adbench check-method NAME|FILE.py [method.KEY=VALUE ...] [clip=NAME] [device=cpu|cuda]

Runs a method, built in or your own (docs/plugins.md), on a few small pictures and checks that scores do not depend on
the batch, its size or the order; that they repeat; that scoring has no side effects; that any name of a class will do;
that gradients reach all that is to be learned; that weights come back from a file; that images without masks, float64
and a GPU serve. One line per check: ok, failed (what and where), or skipped (why). Every method that ships with
adbench is tested by the same checks.

  clip=demo                 the backbone; toy_convnext for methods that need a ConvNeXt
  device=cpu                where all of it runs; the GPU is compared with the CPU where there is one

exit status  0: all hold; 1: one does not; 2: the method cannot be built

examples
  python -m adbench check-method winclip
  python -m adbench check-method ./mine.py method.gain=3
"""


def run(argv: Sequence[str]) -> int:
    """Run `adbench check-method` with these words."""
    names = [word for word in argv if "=" not in word and not word.startswith("-")]
    words = [word for word in argv if word not in names]
    if len(names) != 1:
        hint = f"name one: {', '.join(choices('method'))}, or FILE.py"
        raise UserError(f"{len(names)} methods are named", where="check-method", hint=hint)
    overrides = Overrides("check-method", [f"method={names[0]}", *words])
    overrides.only("method", "method.*", "clip", "clip.*", "device")
    from adbench.contract import check_method

    failed = 0
    with tempfile.TemporaryDirectory(prefix="adbench-check-") as folder:
        for outcome in check_method(subject_of(overrides, Path(folder))):
            print(f"{outcome.status:<8} {outcome.name:<18} {outcome.text}", flush=True)
            failed += outcome.status == "failed"
    print(f"{overrides.method}: {failed or 'no'} check{'' if failed == 1 else 's'} failed")
    return 1 if failed else 0


def subject_of(overrides: Overrides, folder: Path) -> Subject:
    """The method that words name, as `train` would build it. Raises UserError where it cannot be built."""
    from adbench.cli.components import load_backbone
    from adbench.cli.config import detector_settings
    from adbench.cli.layers import Layer
    from adbench.contract import Subject
    from adbench.data import catalogue
    from adbench.engine.device import resolve_device
    from adbench.methods import method_class

    name = str(overrides.method)
    cls = method_class(name)
    data = "road_demo" if cls.supervision == "segmentation" else "folder"
    clip = Layer({"clip": "demo" if "vit" in cls.towers else "toy_convnext"})
    hyperparameters, config = detector_settings(overrides, clip, data)
    device = resolve_device(str(overrides.get("device", "cpu")))
    subject = Subject(
        name=name,
        load_clip=lambda: load_backbone(config, device),
        hyperparameters=hyperparameters,
        folder=folder,
        n_classes=len(catalogue.get("road_demo").class_names),
    )
    subject.build()
    return subject
