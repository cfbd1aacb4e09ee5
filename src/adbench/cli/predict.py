"""`adbench predict`: score pictures without labels, with maps and verdicts."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adbench.cli import detectors
from adbench.cli.overrides import Overrides
from adbench.errors import UserError
from adbench.typed import PositiveInt, expanded

if TYPE_CHECKING:
    from adbench.api.detector import Detector
    from adbench.api.image_prediction import ImagePrediction
    from adbench.data.inputs import NamedPictures
    from adbench.engine.progress import Reporter
    from adbench.engine.thresholds import MapScale
    from adbench.report.predictions import PredictionTable

SUMMARY = "score pictures of your own: scores, verdicts, maps"

HELP = f"""\
usage  python -m adbench predict checkpoint=RUN input=FILE|FOLDER|PATTERN [class_name=NAME] [key=value ...]
       python -m adbench predict method=winclip clip=NAME input=PATH support.path=NORMALS [key=value ...]

Scores pictures of any sizes and formats. Every row is in predictions.csv as soon as the picture is scored: path,
class_name, score, threshold, verdict. The verdict is anomalous where the score is strictly above the threshold, else
normal; empty where no threshold is known (`calibrate` finds one, threshold=NUMBER gives one). A file that cannot be
read is named and skipped, and the exit status is 1. The same command with the same out goes on where it has stopped;
pictures that have their row get no other one. Several processes (torchrun) share the pictures and leave the same
files. Run folders below input are left out. A method that scores the pictures of a class together takes all of input
as the class.

{detectors.HELP}
what comes out
  input=FILE|FOLDER|PATTERN a picture, all below a folder, or 'parts/**/*.png' (in quotes)
  out=DIR                   this folder instead of outputs/predict/METHOD/CLASS/TIME
  threshold=NUMBER          instead of the calibrated one; that of an evaluation's F1-max counts scores at it as
                            anomalous too: take it over by calibrate from=RUN at=f1max
  maps=none|npy|png         maps/PICTURE.npy (float32) or .png (16 bits, scale in its text chunk "map"), at the size of
                            the picture; NaN or 0 where the method's crop does not reach
  overlays=true             overlays/PICTURE.jpg: the map's colours on the picture, with score and verdict. Where the
                            threshold was calibrated all pictures have one scale, and what exceeds every normal pixel
                            of the calibration is outlined (at=f1max: the threshold of the largest pixel F1); else
                            colours run over the picture's own range
  format=csv|jsonl          jsonl: a line of JSON per picture on standard output, and files only where out is given

examples
  python -m adbench calibrate checkpoint=latest input=normal fpr=0.05 class_name=gear
  python -m adbench predict checkpoint=latest input=pictures class_name=gear overlays=true
  python -m adbench predict method=winclip clip=demo input='in/*.png' support.path=normal format=jsonl
"""

_SETTINGS = "settings.json"


@dataclass(frozen=True)
class _Task:
    """What is to be done with each picture."""

    detector: Detector
    pictures: NamedPictures
    class_name: str
    support: list[str] | None
    threshold: float | None
    scale: MapScale | None
    maps: str
    overlays: bool
    jsonl: bool
    batch_size: int

    @cached_property
    def overlay_names(self) -> dict[str, str]:
        """Picture, below the input, -> name of its overlay without ending."""
        from adbench.report.map_files import overlay_names

        return overlay_names([self.pictures.relative(path) for path in self.pictures.paths])


@dataclass
class _Tally:
    """How many pictures there were of each kind."""

    scored: int = 0
    anomalous: int = 0
    broken: int = 0


def run(argv: Sequence[str]) -> int:
    """Run `adbench predict` with these words."""
    from adbench.engine.progress import make_reporter
    from adbench.interrupts import with_advice

    overrides = Overrides("predict", argv)
    overrides.only(*detectors.KEYS, "input", "out", "threshold", "maps", "overlays", "format")
    with ExitStack() as stack:
        stack.enter_context(detectors.joined(overrides))
        task, reporter = _task(overrides), make_reporter()
        detectors.say_detector(task.detector, task.class_name, reporter)
        reporter.say(f"threshold    {_threshold_line(task)}")
        if task.detector.method.transductive:
            n = len(task.pictures.paths)
            reporter.say(f"one set      the {n} pictures are scored together: beside others each has another score")
        folder = _claimed(task, overrides, argv, stack)
        if folder is not None:
            reporter.say(f"predictions  {folder}")
        try:
            tally = _predict(task, folder, reporter)
        except KeyboardInterrupt as interrupt:
            raise with_advice(interrupt, _how_to_go_on(argv, folder)) from interrupt
    decided = f", {tally.anomalous} of them anomalous" if task.threshold is not None else ""
    broken = f"; {tally.broken} could not be read" if tally.broken else ""
    reporter.say(f"{tally.scored} pictures scored{decided}{broken}")
    if folder is not None and not task.jsonl:
        print(folder / "predictions.csv")
    return 1 if tally.broken else 0


def _task(overrides: Overrides) -> _Task:
    """Everything checked that can be, cheap things first."""
    maps = overrides.read("maps", Literal["none", "npy", "png"], "none")
    overlays = overrides.read("overlays", bool, False)
    jsonl = overrides.read("format", Literal["csv", "jsonl"], "csv") == "jsonl"
    if jsonl and (maps != "none" or overlays) and "out" not in overrides:
        raise UserError("maps and overlays need a folder", where=overrides.word("format"), hint="add out=DIR")
    threshold = overrides.read("threshold", float)
    batch_size = overrides.read("batch_size", PositiveInt, 8)
    pictures, class_name = detectors.named_input(overrides), detectors.class_name_of(overrides)
    detector = detectors.open_detector(overrides)
    detectors.require_shareable(detector.method)
    support = detectors.support_pictures(overrides, detector, class_name)
    scale = None
    if threshold is None:
        threshold = detector.threshold(class_name, support)
        scale = None if threshold is None else detector.thresholds[class_name].maps
    return _Task(detector, pictures, class_name, support, threshold, scale, maps, overlays, jsonl, batch_size)


def _threshold_line(task: _Task) -> str:
    if task.threshold is not None:
        return f"{task.threshold:.6g}: a score above it is anomalous"
    known = ", ".join(sorted(task.detector.thresholds))
    there = f"; there is one of {known} (class_name=NAME)" if known else ""
    return f"none of class {task.class_name}: no verdicts{there}"


def _claimed(task: _Task, overrides: Overrides, argv: Sequence[str], stack: ExitStack) -> Path | None:
    """The folder of the predictions, held until the end; None where lines go to standard output alone."""
    from adbench.atomic import write_json
    from adbench.engine import ranks
    from adbench.engine.provenance import origin
    from adbench.engine.run_folder import RunFolder
    from adbench.structured import read_json

    out = overrides.get("out")
    if task.jsonl and out is None:
        return None
    claim = RunFolder.claim(
        "predict",
        task.detector.method.name,
        task.class_name,
        outputs=expanded(str(overrides.get("outputs", "outputs"))),
        out=None if out is None else expanded(str(out)),
        origin=origin("predict", argv),
    )
    folder = stack.enter_context(ranks.claimed(claim)).path
    if not ranks.is_first():
        return folder
    now, place = _settings(task, overrides), folder / _SETTINGS
    then = read_json(place) if place.exists() else now
    if differing := sorted(key for key in now if then.get(key) != now[key]):
        hint = "give another folder, or the settings that it was begun with"
        raise UserError(
            f"the folder holds predictions with another {', '.join(differing)}", where=str(folder), hint=hint
        )
    if not place.exists():
        write_json(place, now)
    return folder


def _settings(task: _Task, overrides: Overrides) -> dict[str, Any]:
    """What must not change between a folder's first picture and its last."""
    from adbench.api.contents import support_sha256
    from adbench.data.support import listing_sha256

    paths = sorted(task.pictures.paths) if task.detector.method.transductive else []
    return {
        "input": str(expanded(str(overrides.get("input"))).absolute()),
        "detector": task.detector.identity,
        "class_name": task.class_name,
        "support": support_sha256(task.support),
        "threshold": task.threshold,
        "maps": task.maps,
        "overlays": task.overlays,
        "seed": overrides.get("seed", 111),
        "set of pictures": listing_sha256(paths) if paths else None,
    }


def _predict(task: _Task, folder: Path | None, reporter: Reporter) -> _Tally:
    """Score every picture that has no row yet; rank 0 writes the rows, in the order of the pictures."""
    from adbench.engine import ranks
    from adbench.engine.rounds import batches_of, dealt, in_rounds
    from adbench.report.predictions import FILE, PredictionTable

    tally, size = _Tally(), task.batch_size
    with ExitStack() as stack:
        table = None
        if folder is not None and ranks.is_first():
            table = stack.enter_context(PredictionTable.opened(folder / FILE))
        paths = task.pictures.paths
        pending = ranks.broadcast({path for path in paths if table is None or path not in table.done})
        # Of a batch with a row missing all pictures are scored again, of a set all: in another company, another score.
        whole = [paths] if task.detector.method.transductive else batches_of(paths, size)
        due = [path for batch in whole if not pending.isdisjoint(batch) for path in batch]
        if len(pending) < len(paths):
            reporter.say(f"{len(paths) - len(pending)} of {len(paths)} pictures were scored before")
        advance = stack.enter_context(reporter.track("predict", len(paths), done=len(paths) - len(pending)))

        def take(outcomes: Sequence[tuple[str, ImagePrediction | UserError]]) -> None:
            new = [outcome for outcome in outcomes if outcome[0] in pending] if ranks.is_first() else []
            for path, result in new:
                if isinstance(result, UserError):
                    tally.broken += 1
                    reporter.say(f"skipped      {result}")
                else:
                    tally.scored += 1
                    tally.anomalous += bool(result.is_anomalous)
                _keep_row(task, path, result, table)
            advance(len(new), {})

        in_rounds(_outcomes(task, dealt(due, size), pending, folder), size, len(due), take)
    return tally


def _outcomes(
    task: _Task, mine: Sequence[str], pending: set[str], folder: Path | None
) -> Iterator[tuple[str, ImagePrediction | UserError]]:
    """Each picture with its scores or what is wrong with it; its files are written by then."""
    settings: dict[str, Any] = {"support": task.support, "threshold": task.threshold, "batch_size": task.batch_size}
    given = task.detector.stream(mine, class_name=task.class_name, **settings)
    for path, result in zip(mine, (result for _, result in given), strict=True):
        if isinstance(result, UserError):
            yield path, result
            continue
        if folder is not None and path in pending:
            _keep_map(task, path, result, folder)
        yield path, replace(result, map=None)


def _keep_map(task: _Task, path: str, result: ImagePrediction, folder: Path) -> None:
    from adbench.report.map_files import map_path, write_map, write_overlay

    if result.map is None:
        return
    relative = task.pictures.relative(path)
    if task.maps != "none":
        write_map(result.map, map_path(folder / "maps", relative, task.maps), task.maps)  # type: ignore[arg-type]
    if task.overlays:
        from adbench.api.pictures import open_picture

        said = [result.verdict or "no verdict", f"score {result.score:.4g}"]
        said += [] if result.threshold is None else [f"threshold {result.threshold:.4g}"]
        place = map_path(folder / "overlays", task.overlay_names[relative], "jpg")
        write_overlay(open_picture(path), result.map, place, said, relative, task.scale)


def _keep_row(task: _Task, path: str, result: ImagePrediction | UserError, table: PredictionTable | None) -> None:
    """The row of a picture, last of all that belongs to it: where that stands, everything is there."""
    from adbench.interrupts import deferred

    line: dict[str, Any] = {"path": path, "class_name": task.class_name}
    with deferred():
        if isinstance(result, UserError):
            line["error"] = str(result)
        else:
            line |= {"score": result.score, "threshold": result.threshold, "verdict": result.verdict or None}
            if table is not None:
                table.append(path, task.class_name, result.score, result.threshold, result.verdict)
        if task.jsonl:
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()


def _how_to_go_on(argv: Sequence[str], folder: Path | None) -> str:
    if folder is None:
        return ""
    again = [word for word in argv if not word.startswith("out=")] + [f"out={folder}"]
    return f"What is finished is kept. Go on with: {shlex.join(['python', '-m', 'adbench', 'predict', *again])}"
