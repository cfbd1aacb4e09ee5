"""`adbench calibrate`: find the threshold of a class from normal pictures, and keep it beside the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adbench import launch
from adbench.cli import detectors
from adbench.cli.overrides import Overrides
from adbench.errors import UserError
from adbench.typed import PositiveInt, expanded

if TYPE_CHECKING:
    from adbench.engine.thresholds import Threshold
    from adbench.metrics.conformal import Confidence

SUMMARY = "find a threshold from normal pictures, with a guaranteed rate of false alarms"

HELP = f"""\
usage  python -m adbench calibrate checkpoint=RUN input=NORMALS fpr=0.01 [class_name=NAME] [confidence=0.95|average]
       python -m adbench calibrate checkpoint=RUN from=EVALUATION at=f1max|recall=0.95 [class_name=NAME]

Scores normal pictures and keeps, in thresholds.json beside the weights, the smallest threshold above which at most the
share fpr of the normal pictures to come will score; `predict` and adbench.load_run take it. The promise holds for
pictures taken like the calibration pictures, none of which the method was fitted to: support and training pictures
are refused, copies count once. It says nothing of how many anomalies are found.

  fpr=0.01                  the rate of false alarms. It takes 29, 59, 149, 299 or 598 pictures for 0.1, 0.05, 0.02,
                            0.01 or 0.005
  confidence=0.95           that the rate holds for this very threshold; average: it holds on average over calibrations,
                            and takes 9, 19, 49, 99 or 199 pictures
  input=FILE|FOLDER|PATTERN the normal pictures; a file that cannot be read is named and left out, exit status 1
  from=RUN                  an evaluation of this very checkpoint (folder or scores.csv): labelled scores instead, of
                            class_name or of every class; such a threshold fits those images, without a guarantee
  at=f1max                  where F1 is largest; at=recall=0.95: the largest threshold that finds 95 % of the anomalies

{detectors.HELP}
examples
  python -m adbench calibrate checkpoint=latest input=normal fpr=0.05 class_name=gear
  python -m adbench calibrate method=winclip clip=demo input=normal fpr=0.1 support.path=support thresholds=winclip
"""


def run(argv: Sequence[str]) -> int:
    """Run `adbench calibrate` with these words."""
    overrides = Overrides("calibrate", argv)
    overrides.only(*detectors.KEYS, "input", "fpr", "confidence", "from", "at")
    if "from" in overrides:
        return 0 if launch.number() else _from_labelled(overrides)
    with detectors.joined(overrides):
        return _from_normals(overrides)


def _from_normals(overrides: Overrides) -> int:
    from adbench.engine import ranks
    from adbench.engine.progress import make_reporter
    from adbench.metrics.conformal import require_enough

    fpr, confidence = overrides.read("fpr", float), _confidence(overrides)
    if fpr is None:
        raise UserError("calibrate needs the rate of false alarms", hint="add fpr=0.01")
    batch_size = overrides.read("batch_size", PositiveInt, 8)
    pictures, class_name = detectors.named_input(overrides).paths, detectors.class_name_of(overrides)
    require_enough(len(pictures), fpr, confidence)
    detector, reporter = detectors.open_detector(overrides), make_reporter()
    if detector.place is None:
        hint = "add thresholds=FOLDER, and give it to predict too"
        raise UserError("there are no weights beside which the threshold could be kept", hint=hint)
    detectors.require_shareable(detector.method)
    support = detectors.support_pictures(overrides, detector, class_name)
    detectors.say_detector(detector, class_name, reporter)
    errors: list[UserError] = []
    with reporter.track("calibrate", len(pictures)) as advance:
        threshold = detector.calibrate(
            pictures,
            fpr=fpr,
            class_name=class_name,
            confidence=confidence,
            support=support,
            batch_size=batch_size,
            progress=lambda count: advance(count, {}),
            broken=errors.append,
        )
    for error in errors:
        reporter.say(f"left out     {error}")
    if n_copies := len(pictures) - len(errors) - threshold.n:
        reporter.say(f"left out     {n_copies} copies of other pictures")
    if not ranks.is_first():
        return 0
    place = detector.save_thresholds()
    print(_line(class_name, threshold))
    print(place)
    return 1 if errors else 0


def _from_labelled(overrides: Overrides) -> int:
    from adbench.api.labelled import labelled_thresholds
    from adbench.metrics import clopper_pearson

    for key in ("input", "fpr", "confidence", "support.path"):
        if key in overrides:
            raise UserError(f"from and {key} do not go together", where=overrides.word(key), hint="leave one out")
    recall = _recall(str(overrides.get("at", "f1max")), overrides.word("at"))
    detector = detectors.open_detector(overrides)
    class_name = overrides.get("class_name")
    thresholds = labelled_thresholds(detector, expanded(str(overrides.get("from"))), recall, class_name)
    detector.thresholds.update(thresholds)
    place = detector.save_thresholds()
    for name, threshold in thresholds.items():
        n_normal = threshold.n - threshold.n_anomalous
        low, high = clopper_pearson(threshold.n_above, n_normal)
        rate = f"{threshold.n_above} of {n_normal} normal images above it (95 % interval {low:.1%} to {high:.1%})"
        print(f"class {name}: threshold {threshold.value:.6g}, chosen by labels; {rate}")
    print(place)
    return 0


def _recall(at: str, word: str) -> float | None:
    """The recall that `at` asks for; None for f1max."""
    if at == "f1max":
        return None
    name, _, text = at.partition("=")
    try:
        if name == "recall":
            return float(text)
    except ValueError:
        pass
    raise UserError(f"at is {at}", where=word, hint="give at=f1max or at=recall=0.95")


def _line(class_name: str, threshold: Threshold) -> str:
    promise = "on average" if threshold.confidence == "average" else f"with confidence {threshold.confidence:g}"
    return (
        f"class {class_name}: threshold {threshold.value:.6g}; at most {100 * (threshold.fpr or 0):g} % of normal "
        f"pictures score above it, {promise} (n = {threshold.n}, {threshold.n_above} of them above)"
    )


def _confidence(overrides: Overrides) -> Confidence:
    if overrides.get("confidence") == "average":
        return "average"
    return float(overrides.read("confidence", float, 0.95))
