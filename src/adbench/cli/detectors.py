"""A detector as the command line names it: checkpoint=, or a training-free method with its backbone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from adbench import launch
from adbench.cli import collector
from adbench.cli.overrides import Overrides
from adbench.errors import UserError
from adbench.typed import NonNegativeInt, expanded

if TYPE_CHECKING:
    import torch

    from adbench.api.detector import Detector
    from adbench.data.inputs import NamedPictures
    from adbench.engine.progress import Reporter
    from adbench.methods import Method

KEYS = (
    *("checkpoint", "method", "method.*", "clip", "clip.*", "device", "seed", "outputs"),
    *("class_name", "support.path", "batch_size", "thresholds"),
)
"""What every command that runs a detector takes."""

HELP = """\
detector
  checkpoint=RUN|FILE       a run folder, a weights file, or a checkpoint published by the method's authors; latest: the
                            newest finished training (of method=NAME)
  checkpoint=untrained      of a method that is not trained: method=winclip|clip_zeroshot|... clip=NAME
  method.KEY=VALUE          hyperparameters that may change after training     clip.checkpoint=FILE
  class_name=NAME           what the pictures show, as it enters prompts ("metal nut"); object if it is not given
  support.path=NORMALS      normal pictures (file, folder or pattern), for methods that compare with such
  batch_size=8              device=auto|cpu|cuda            seed=N (of what is fitted to support)
  thresholds=FILE|FOLDER    where thresholds lie, instead of thresholds.json beside the weights
"""


@contextlib.contextmanager
def joined(overrides: Overrides) -> Iterator[None]:
    """Work with the other processes that torchrun has started, if it has."""
    if launch.processes() == 1:
        yield
        return
    from adbench.engine import ranks

    with ranks.joined(_device(overrides)):
        yield


def require_shareable(method: Method) -> None:
    """Raise UserError where the pictures of several processes would get other scores than those of one."""
    from adbench.engine.rng import draws_in_order

    if launch.processes() > 1 and (method.transductive or draws_in_order(method)):
        why = "scores pictures within their set" if method.transductive else "draws at random from picture to picture"
        hint = "run it without torchrun, as python -m adbench ..."
        raise UserError(f"method {method.name} {why}: processes cannot share them", where="torchrun", hint=hint)


@collector.paused()
def open_detector(
    overrides: Overrides, *, check: Callable[[type[Method], Mapping[str, Any]], object] | None = None
) -> Detector:
    """The detector, on its device, with the thresholds that lie beside its weights.

    check  called with the method and its hyperparameters before anything large is loaded
    Raises UserError where weights are missing, do not fit, or the method needs training.
    """
    import torch

    from adbench.api.detector import Detector
    from adbench.cli.checkpoints import find_checkpoint
    from adbench.cli.components import load_backbone
    from adbench.cli.config import detector_settings
    from adbench.engine.rng import seed_streams
    from adbench.engine.weights import load_weights
    from adbench.methods import build, method_class

    checkpoint = find_checkpoint(overrides.get("checkpoint"), overrides)
    chosen = method_class(checkpoint.method)
    if checkpoint.path is None and chosen.supervision != "none":
        hint = f"train it (python -m adbench train method={checkpoint.method} data=...), or give checkpoint=RUN"
        raise UserError(f"method {checkpoint.method} says nothing before it is trained", hint=hint)
    hyperparameters, backbone = detector_settings(overrides, checkpoint.layer(overrides), "folder")
    if check is not None:
        check(chosen, hyperparameters)
    device = _device(overrides)
    clip = load_backbone(backbone, device)
    seed = overrides.read("seed", NonNegativeInt, 111)
    torch.manual_seed(seed)
    method = build(checkpoint.method, clip, **hyperparameters)
    record = None if checkpoint.path is None else load_weights(method, checkpoint.path)
    detector = Detector(method, record, device=str(device))
    seed_streams(seed, method)
    place = overrides.get("thresholds") or checkpoint.path
    if place is not None:
        detector.load_thresholds(expanded(str(place)))
    return detector


def _device(overrides: Overrides) -> torch.device:
    from adbench.engine import ranks
    from adbench.engine.device import resolve_device

    return ranks.local_device(resolve_device(str(overrides.get("device", "auto"))))


def support_pictures(overrides: Overrides, detector: Detector, class_name: str) -> list[str] | None:
    """The pictures that support.path names; None where it is not given.

    Raises UserError where the method takes none, or cannot do without.
    """
    method, path = detector.method, overrides.get("support.path")
    if path is None:
        if method.needs_support and not method.remembers(class_name):
            known = f"fitted to: {', '.join(sorted(method.memory_bank))}" if method.memory_bank else ""
            hint = "add support.path=FOLDER" + (" or one of these as class_name=NAME" if known else "")
            what = f"method {method.name} compares with normal pictures of class {class_name!r}, and there are none"
            raise UserError(what, where=known, hint=hint)
        return None
    word = overrides.word("support.path")
    if not method.adapts:
        raise UserError(f"method {method.name} takes no support pictures", where=word, hint="leave it out")
    if method.fits and method.memory_bank:
        raise UserError("the weights were fitted to support pictures of their own", where=word, hint="leave it out")
    return list(_named_pictures(overrides, "support.path").paths)


def named_input(overrides: Overrides) -> NamedPictures:
    """The pictures that input names. Raises UserError where there are none."""
    if "input" not in overrides:
        raise UserError(f"{overrides.command} needs pictures", hint="add input=FILE, FOLDER or a pattern")
    pictures = _named_pictures(overrides, "input")
    if launch.processes() == 1:
        return pictures
    from adbench.engine import ranks

    return ranks.broadcast(pictures)  # should the folder grow meanwhile, all have the same list


def _named_pictures(overrides: Overrides, key: str) -> NamedPictures:
    """The pictures that a setting names; what is left out of a folder is said."""
    from adbench.data.inputs import name_pictures
    from adbench.engine.progress import make_reporter

    pictures = name_pictures(str(overrides.get(key)), key)
    if pictures.unread:
        make_reporter().say(f"left out     {pictures.unread}")
    return pictures


def say_detector(detector: Detector, class_name: str, reporter: Reporter) -> None:
    """Which method with which weights on what, and which words its prompts hold."""
    from adbench.cli.components import clip_line, device_line

    source = "no weights needed" if detector.record is None else f"weights {detector.record.source}"
    words = detector.method.prompt_words(class_name)
    reporter.say(f"method       {detector.method.name}, {source}")
    reporter.say(f"backbone     {clip_line(detector.method.clip)}")
    reporter.say(f"prompts say  {'nothing of the class' if words is None else words}")
    reporter.say(f"device       {device_line(detector.device)}")


def class_name_of(overrides: Overrides) -> str:
    """class_name=NAME, else object."""
    return str(overrides.get("class_name") or "object")
