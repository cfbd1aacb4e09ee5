"""`adbench bench`: how fast methods are, beside a bare pass of the image tower, and what memory they take."""

from __future__ import annotations

import itertools
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from adbench.cli.console import print_lines
from adbench.cli.override_parser import Override, as_sweep, choices, setting
from adbench.cli.overrides import Overrides
from adbench.errors import UserError
from adbench.typed import MOST, NonNegativeInt, PositiveInt, Range, expanded

if TYPE_CHECKING:
    import torch

    from adbench.bench.measure import Row
    from adbench.cli.config import ClipConfig, EvalConfig, TrainConfig
    from adbench.clip import Clip
    from adbench.methods import Method

SUMMARY = "how fast methods are beside a bare image tower, and what memory they take"

HELP = """\
usage  python -m adbench bench [method=NAME,...] [key=value,... ...] [--profile]

Measures every combination of the values that the words list, and leaves bench.json and bench.md in outputs/bench/TIME:
images per second of encode, score, a training step and a whole evaluation; the ratio of a prediction to a bare pass of
open_clip's image tower over the same batch, in the same run; the shares of data, tower, text, heads and metrics; peak
memory of host and GPU. Pictures are made, and the weights of backbones are random unless clip.pretrained or
clip.checkpoint names some, so nothing is downloaded; clip=demo has its own.

what
  method=NAME,...           adbench list methods; all of them if none is named. method.KEY=VALUE
  clip=NAME,...             the method's own by default     clip.image_size=N,...   clip.quick_gelu=BOOL
  clip.dtype=float32,bfloat16               what the backbone is held in
  batch_size=1,8            images at a time
  amp=off,bf16              autocast; fp16 too on a GPU
  support.k=K               normal images, for methods that compare with such
  train=false               leave out the training step

how
  device=auto|cpu|cuda      threads=N     of the CPU; with one, seconds are the processor's
  repeats=3                 the best of so many
  images=N                  pictures of the evaluation (two batches; eight for methods that score a class as a whole)
  picture=1024              their height in pixels
  seed=N                    out=DIR       outputs=DIR
  --profile                 beside them, a Chrome trace of each evaluation's first images: trace_NAME.json

examples
  python -m adbench bench method=winclip,adaclip clip=demo batch_size=1,8
  python -m adbench bench method=anomalyclip clip.image_size=336,518 amp=off,bf16 device=cuda
"""

_KEYS = (
    *("method", "method.*", "clip", "clip.*", "support.k", "batch_size", "amp", "train", "device", "threads"),
    *("repeats", "images", "picture", "seed", "out", "outputs"),
)
_FLOORS = ("median_colour",)
_ALL = ("device", "threads", "out", "outputs")  # one value for all rows


def run(argv: Sequence[str]) -> int:
    """Run `adbench bench` with these words; 1 where some combination could not be measured."""
    from adbench.bench.table import HEADERS, LEGEND, lines, write
    from adbench.engine.progress import make_reporter

    profile, words = "--profile" in argv, [word for word in argv if word != "--profile"]
    cases = list(_cases(words))
    first, reporter = cases[0], make_reporter()
    device, folder = _device(first), _folder(first)
    rows: list[Row] = []
    backbone, facts = _Backbone(device), _facts(words, device)
    files: list[Path] = []
    with tempfile.TemporaryDirectory(prefix="adbench-bench-") as pictures:
        for number, case in enumerate(cases, start=1):
            reporter.say(f"{number} of {len(cases)}   {shlex.join(_said(case))}")
            try:
                rows.append(_measured(case, backbone, Path(pictures), folder if profile else None))
            except (UserError, RuntimeError) as error:  # the latter is how torch refuses an operation
                if len(cases) == 1:
                    raise
                reporter.say(f"left out     {str(error).strip().splitlines()[0]}")
                continue
            files = write(folder, facts, rows)  # what is there, should the rest be stopped
    if not rows:
        raise UserError("nothing could be measured", where="bench", hint="see the lines above")
    print_lines(HEADERS, lines(rows), left=HEADERS, width=200)
    print(LEGEND)
    for file in files:
        print(file)
    return int(len(rows) < len(cases))


def _cases(words: Sequence[str]) -> Iterator[Overrides]:
    """A command for each combination of the values that are listed."""
    swept = as_sweep(words, "bench")
    for key in _ALL:
        if key in swept and swept[key].is_sweep:
            raise UserError(f"{key} takes one value", where=f"{key}={swept[key].text}", hint="run bench for each")
    if "method" not in swept:
        swept |= as_sweep([f"method={','.join(name for name in choices('method') if name not in _FLOORS)}"], "bench")
    for combination in itertools.product(*(values.values(key) for key, values in swept.items())):
        overrides = Overrides("bench", combination)
        overrides.only(*_KEYS)
        yield overrides


def _said(case: Overrides) -> list[str]:
    return [override.word for key, override in case.by_key.items() if key not in _ALL]


@dataclass
class _Backbone:
    """The backbone of the case before, which most cases share."""

    device: torch.device
    config: ClipConfig | None = None
    clip: Clip | None = None

    def load(self, config: ClipConfig, seed: int) -> Clip:
        """The backbone, loaded where it is another one."""
        import torch

        from adbench.cli.components import load_backbone

        if self.clip is None or self.config != config:
            self.clip = None  # makes room
            torch.manual_seed(seed)
            self.config, self.clip = config, load_backbone(config, self.device)
        return self.clip


def _measured(case: Overrides, backbone: _Backbone, pictures: Path, traces: Path | None) -> Row:
    import torch

    from adbench.bench.measure import Case, measure
    from adbench.cli.components import build_method
    from adbench.data.worker_processes import told_of_lost_memory
    from adbench.methods import method_class

    chosen = method_class(str(case.get("method")))
    evaluation, training = _settings(case, chosen)
    torch.manual_seed(evaluation.seed)
    clip = backbone.load(_random_weights(evaluation.clip), evaluation.seed)
    method = build_method(evaluation, clip, backbone.device)
    shots = max(evaluation.support.k) or (4 if chosen.needs_support else 0)
    with told_of_lost_memory():
        row = measure(
            Case(
                method=method,
                settings=evaluation.eval,
                training=None if training is None else replace(training.trainer, shots=shots, cache="off"),
                shots=shots if chosen.adapts else 0,
                device=backbone.device,
                repeats=case.read("repeats", PositiveInt, 3),
                n_images=case.read("images", PositiveInt),
                side=case.read("picture", Annotated[int, Range(64, MOST)], 1024),
                pictures=pictures,
                trace=None if traces is None else traces / f"trace_{_file_name(case)}.json",
            )
        )
    amp = evaluation.eval.amp
    named = {"method": chosen.name, "clip": clip.name, "weights": clip.source, "batch_size": evaluation.eval.batch_size}
    return {**named, "precision": evaluation.clip.dtype + ("" if amp == "off" else f", amp {amp}"), **row}


def _settings(case: Overrides, chosen: type[Method]) -> tuple[EvalConfig, TrainConfig | None]:
    """What the method's own YAML file says for data of its kind, and the words above it."""
    from adbench.bench.pictures import DATA
    from adbench.cli.config import train_config
    from adbench.cli.plan import preview

    shared = [override for key, override in case.by_key.items() if key.startswith(("method", "clip", "support."))]
    shared.append(setting("data", DATA[chosen.supervision][0]))
    shared.append(setting("seed", case.read("seed", NonNegativeInt, 111)))
    if chosen.fits and "epochs" in chosen.hyperparameter_defaults() and "method.epochs" not in case:
        shared.append(setting("method.epochs", 1))  # speed is that of any other number
    measured = {"batch_size": case.read("batch_size", PositiveInt, 1), "amp": str(case.get("amp", "off"))}

    def under(section: str) -> list[Override]:
        return [*shared, *(setting(f"{section}.{key}", value) for key, value in measured.items())]

    evaluation = preview(Overrides("eval", under("eval")))
    if chosen.supervision == "none" or not case.get("train", True):
        return evaluation, None
    return evaluation, train_config(Overrides("train", under("trainer")))


def _random_weights(config: ClipConfig) -> ClipConfig:
    """The backbone with random weights, unless a file is named, or a tag other than what papers use."""
    from adbench.clip.presets import PRESETS

    preset = PRESETS.get(config.name)
    asked = config.checkpoint is not None or (preset is not None and preset.module)
    if asked or (preset is not None and config.pretrained not in (None, preset.pretrained)):
        return config
    return replace(config, pretrained="random")


def _file_name(case: Overrides) -> str:
    from adbench.engine.names import file_name

    return file_name(",".join(_said(case)))


def _device(case: Overrides) -> torch.device:
    import torch

    from adbench.engine.device import resolve_device

    if "threads" in case:
        torch.set_num_threads(case.read("threads", PositiveInt, 1))
    return resolve_device(str(case.get("device", "auto")))


def _folder(case: Overrides) -> Path:
    from datetime import datetime

    if "out" in case:
        return expanded(str(case.get("out")))
    return expanded(str(case.get("outputs", "outputs"))) / "bench" / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def _facts(words: Sequence[str], device: torch.device) -> dict[str, Any]:
    """What the rows were measured with."""
    from datetime import datetime, timezone

    from adbench.cli.components import device_line
    from adbench.engine.provenance import git_revision, versions

    known = versions()
    return {
        "command": shlex.join(["python", "-m", "adbench", "bench", *words]),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "device": device_line(device),
        "torch": known["torch"],
        "adbench": git_revision() or "",
        "versions": known,
    }
