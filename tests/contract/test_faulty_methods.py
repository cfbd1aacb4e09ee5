"""check-method finds what is wrong with a method: each one here has one fault, and the check that is for it fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adbench.contract import CHECKS, Subject, check_method
from adbench.contract.subject import Broken
from adbench.plugins import METHODS
from plugged import METHOD, forgotten, write_plugin
from tiny import make_tiny_clip

Change = tuple[str, str]
WEIGHT = "self.clip.model.visual.conv1.weight"
CHANCE = "torch.Generator().seed() % 1009"
SUFFICE = ("    settings_class = Settings", "    settings_class = Settings\n    features_suffice = True")


def made(code: str) -> Change:
    """`code` at the end of the constructor."""
    return ("self.colour = nn.Parameter", f"{code}; self.colour = nn.Parameter")


def in_class(signature: str, code: str) -> Change:
    """A further function of the class."""
    return ("    def encode(", f"    def {signature}:\n        {code}\n\n    def encode(")


def encoded(feature: str, code: str = "pass") -> Change:
    """The feature, made after `code`."""
    return ('return {"images": batch.images}', f'{code}; return {{"images": {feature}}}')


def loss(term: str, code: str = "pass") -> Change:
    """The terms of the loss, after `code`."""
    return ('return {"image": image}', f'{code}; return {{"image": {term}}}')


def scored(code: str, scores: str = "maps.flatten(1).amax(1)") -> Change:
    """What `code` makes of the maps, and the scores."""
    return ("return Prediction(maps.flatten(1).amax(1),", f"{code}; return Prediction({scores},")


FAULTS: dict[str, tuple[str, list[Change]]] = {
    "maps less their batch's mean": ("batch invariance", [scored("maps = maps - maps.mean()")]),
    "the first image of a class is remembered": (
        "order",
        [made("self.first = {}"), scored("maps = maps + self.first.setdefault(batch.class_names[0], maps[0])")],
    ),
    "a draw of its own": ("determinism", [scored(f"maps = maps + {CHANCE}")]),
    "a draw from torch's stream": ("no side effects", [scored("torch.rand(())")]),
    "another score at every call": (
        "determinism",
        [made("self.calls = 0"), scored("self.calls += 1; maps = maps + self.calls")],
    ),
    "initial values without a seed": ("determinism", [("(3,), 0.1)", f"(3,), {CHANCE} / 1009)")]),
    "what was learned is not kept": (
        "state round trip",
        [made("self.n = 1.0"), loss("image", "self.n += image.item()"), scored("maps = maps * self.n")],
    ),
    "any state is loaded": (
        "state round trip",
        [in_class("load_learnable_state(self, state)", "self.load_state_dict(state, strict=False)")],
    ),
    "a tensor that nothing reads": ("gradients", [made("self.unread = nn.Parameter(torch.zeros(3))")]),
    "a loss without gradient": ("gradients", [loss("image.detach()")]),
    "a loss that is not finite": ("loss", [loss("image / 0")]),
    "a sum that says it is a mean": ("shares of a batch", [("labels.float())", "labels.float(), reduction='sum')")]),
    "masks are taken for granted": ("masks None", [loss('image, "pixel": (maps * (batch.masks > 0)).mean()')]),
    "masks of unannotated images are read": (
        "masks None",
        [loss("image if batch.masks is None else image + (maps * batch.masks).mean()")],
    ),
    "no braces in a class's name": ("class names", [scored("[name.format() for name in batch.class_names]")]),
    "only plain letters in it": ("class names", [scored("[name.encode('ascii') for name in batch.class_names]")]),
    "the backbone wants gradients": ("gradients", [made("clip.model.requires_grad_(True)")]),
    "training turns the backbone round": ("gradients", [loss("image", f"{WEIGHT}.data = {WEIGHT}.data.flip(0)")]),
    "scoring changes the backbone": ("no side effects", [scored(f"{WEIGHT}.data *= 1.001")]),
    "scoring changes the features": ("no side effects", [scored("features['images'].sub_(0.1)")]),
    "encoding changes the images": ("no side effects", [encoded("batch.images", "batch.images.mul_(0.5)")]),
    "scoring begins to train": ("no side effects", [scored("self.train()")]),
    "features with a gradient": ("no side effects", [encoded("batch.images * self.colour.sum()")]),
    "a feature without a row per image": ("no side effects", [encoded('batch.images, "more": torch.zeros(1)')]),
    "labels decide the score": ("truth", [scored("maps = maps + batch.labels[:, None, None]")]),
    "masks decide the map": ("truth", [scored("maps = maps if batch.masks is None else maps + batch.masks.float()")]),
    "scores of two axes": ("prediction", [scored("pass", "maps.flatten(1).amax(1, keepdim=True)")]),
    "scores in half precision": ("prediction", [scored("pass", "maps.flatten(1).amax(1).half()")]),
    "scores that are not finite": ("prediction", [scored("maps = maps / 0")]),
    "maps of another size": ("prediction", [scored("maps = maps[:, ::2]")]),
    "float32 whatever is asked": ("float64", [scored("maps = maps @ torch.eye(32)")]),
    "the loss reads images": ("features suffice", [SUFFICE, loss("image + batch.images.sum()")]),
    "scores read images": ("features suffice", [SUFFICE, scored("maps = maps + batch.images.sum()")]),
    "features of learned weights": ("frozen features", [encoded("batch.images * self.colour.detach().sum()")]),
    "parameters that no optimiser gets": ("facts", [in_class("parameter_groups(self)", "return []")]),
}


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    with forgotten():
        yield


def subject(folder: Path, text: str) -> Subject:
    name = METHODS.from_file(str(write_plugin(folder / "mine.py", text)))
    return Subject(name=name, load_clip=make_tiny_clip, folder=folder)


def test_a_sound_method_passes(tmp_path: Path) -> None:
    assert [outcome for outcome in check_method(subject(tmp_path, METHOD)) if outcome.status == "failed"] == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str, tmp_path: Path) -> None:
    check, changes = FAULTS[fault]
    text = METHOD
    for sound, faulty in changes:
        assert text.count(sound) == 1
        text = text.replace(sound, faulty)
    with pytest.raises((Broken, IndexError, KeyError, RuntimeError, TypeError, ValueError)):
        CHECKS[check](subject(tmp_path, text))
