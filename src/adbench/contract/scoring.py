"""Checks of what a method says of images: alone or in a batch, twice, in another precision, of a class of any name."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from adbench.contract.pictures import CLASSES
from adbench.contract.subject import (
    SEED,
    Broken,
    NotChecked,
    Subject,
    backbone_state,
    check_backbone,
    largest_difference,
    refuses,
)
from adbench.data.loading import make_loader
from adbench.engine.device import resolve_device
from adbench.engine.rng import seed_streams
from adbench.errors import UserError

_ROUNDING = 1e-3
"""Of the range of scores or maps: what kernels for other numbers of images may differ by, with room."""
_NAMES = ("metal nut", "x", "Schraube_größe-2", "螺丝 🔩", "100% {left}/{0}; 'a'", "a very long name of a part " * 12)


def check_prediction(subject: Subject) -> str:
    """Scores (B,) and maps (B, H, W) of the stated size, finite, for anything that is to be scored."""
    method = subject.build()
    prediction = subject.prediction
    if prediction.scores is None and prediction.maps is None:
        raise Broken("score gives neither scores nor maps")
    n = len(subject.tested)
    for what, values, n_axes in (("scores", prediction.scores, 0), ("maps", prediction.maps, 2)):
        if values is None:
            continue
        if len(values) != n:
            raise Broken(f"{len(values)} {what} of {n} images")
        for index, value in enumerate(values):
            if value.dim() != n_axes or value.dtype != torch.float32:
                shape, kind = tuple(value.shape), str(value.dtype)[6:]
                raise Broken(f"the {what} of image {index} are {kind} of shape {shape}, not float32 of {n_axes} axes")
            if not bool(torch.isfinite(value).all()):
                raise Broken(f"the {what} of image {index} are not finite")
    sides = {tuple(map_.shape) for map_ in prediction.maps or ()}
    if subject.cls.supervision != "segmentation" and sides - {(method.map_size, method.map_size)}:
        raise Broken(f"maps are {sorted(sides)}, map_size says {method.map_size}")
    return f"{n} images" + (f", maps {' and '.join(f'{h} x {w}' for h, w in sorted(sides))}" if sides else "")


def check_batches(subject: Subject) -> str:
    """An image's score and map do not depend on its batch: one by one, and in batches of four."""
    method = subject.build()
    if method.mixes_batch:
        raise NotChecked("it says that it scores the images of a batch together (mixes_batch)")
    alone = subject.scored(method, batch_size=1)
    if method.adapts and not method.needs_support:
        bare = subject.build()
        cases = [subject.scored(bare, batch_size=size, with_support=False) for size in (4, 1)]
        _same(largest_difference(*cases), "without support, alone and in a batch of four")
    return _same(largest_difference(subject.prediction, alone), "alone and in a batch of four")


def check_order(subject: Subject) -> str:
    """Nor on the order in which the images of a class come."""
    last_first = [sample for name in subject.classes for sample in subject.tested[::-1] if sample.class_name == name]
    backwards = subject.scored(subject.build(), last_first)
    places = [last_first.index(sample) for sample in subject.tested]
    ordered = replace(
        backwards,
        scores=None if backwards.scores is None else backwards.scores[places],
        maps=None if backwards.maps is None else [backwards.maps[place] for place in places],
    )
    return _same(largest_difference(subject.prediction, ordered), "in order and in reverse")


def check_repetition(subject: Subject) -> str:
    """The same pictures twice give the same, to the bit on the CPU, and so does a method that is built again."""
    method = subject.build()
    for case in ("built again from the same seed", "the second time"):
        apart, where = largest_difference(subject.prediction, subject.scored(method))
        if apart > (0.0 if method.clip.device.type == "cpu" else _ROUNDING):
            raise Broken(f"{case}, the {where} differs by {apart:.1e} of the range")
    return "to the bit" if method.clip.device.type == "cpu" else f"within {_ROUNDING:g} of the range"


def check_truth(subject: Subject) -> str:
    """Labels and masks, which come with the images to be scored, are not looked at."""
    blind = subject.scored(subject.build(), with_truth=False)
    return _same(largest_difference(subject.prediction, blind), "with labels and masks and without")


def check_side_effects(subject: Subject) -> str:
    """Encoding and scoring learn nothing, draw nothing from torch's global stream, change nothing that they are given,
    and keep no gradient.
    """
    method = subject.build()
    some = [sample for sample in subject.tested if sample.class_name == subject.classes[0]]
    subject.scored(method, some)
    before, backbone = {name: value.clone() for name, value in method.learnable_state().items()}, backbone_state(method)
    seed_streams(SEED, method)
    stream = torch.get_rng_state()
    for batch in make_loader(some, method.transform, batch_size=4):
        images = batch.images.clone()
        features = method.encode(batch.to(method.clip.device))
        if not torch.equal(stream, torch.get_rng_state()):
            raise Broken("encode draws from torch's global stream")
        for name, value in features.items():
            if value.requires_grad:
                raise Broken(f"the feature {name} of encode has a gradient: compute it under torch.no_grad()")
            if len(value) != len(batch):
                raise Broken(f"the feature {name} has {len(value)} rows for {len(batch)} images")
        given = {name: value.clone() for name, value in features.items()}
        method.score(features, batch)
        altered = [name for name, value in features.items() if not torch.equal(value, given[name])]
        if altered or not torch.equal(images, batch.images):
            raise Broken(f"scoring changes {f'the feature {altered[0]}' if altered else 'the images'} in place")
        if not torch.equal(stream, torch.get_rng_state()):
            raise Broken("score draws from torch's global stream")
    for name, value in method.learnable_state().items():
        if name in before and not torch.equal(value, before[name]):
            raise Broken(f"scoring changes the learned tensor {name}")
    if method.training:
        raise Broken("scoring puts it into training mode")
    check_backbone(method, backbone, "scoring")
    return f"{len(before)} learned tensors as before"


def check_class_names(subject: Subject) -> str:
    """Whatever a class is called: finite scores, or one line that says why not."""
    method = subject.build()
    if subject.cls.supervision == "segmentation":
        raise NotChecked("scenes have no classes")
    names = _NAMES[:2] + _NAMES[-2:-1] if method.fits else _NAMES
    samples = [sample for sample in subject.tested if sample.class_name == CLASSES[0]]
    samples = samples if method.transductive else samples[:2]
    refused = []
    for name in names:
        renamed = [replace(sample, class_name=name) for sample in samples]
        try:
            prediction = subject.scored(method, renamed)
        except UserError:
            refused.append(repr(name[:20]))
            continue
        values: list[Tensor] = [*(prediction.maps or ())]
        values += [] if prediction.scores is None else [prediction.scores]
        if not all(bool(torch.isfinite(value).all()) for value in values):
            raise Broken(f"scores of a class called {name!r} are not finite")
    return f"{len(names)} names" + (f", refused in one line: {', '.join(refused)}" if refused else "")


def check_memory(subject: Subject) -> str:
    """What it remembers of a class is in the memory bank, so that another one can be put in its place."""
    method = subject.build()
    if not (method.adapts or method.transductive):
        raise NotChecked("it remembers nothing of a class")
    name = subject.classes[0]
    samples = [sample for sample in subject.tested if sample.class_name == name]
    subject.scored(method, samples)
    if not method.remembers(name):
        raise Broken(f"it does not remember class {name!r} after it was given its images")
    kept = dict(method.memory_bank)
    method.memory_bank = {}
    if method.remembers(name):
        raise Broken("with an empty memory bank it still remembers the class")
    if method.needs_support or method.transductive:
        batch = next(iter(make_loader(samples[:1], method.transform, batch_size=1))).to(method.clip.device)
        if not refuses(lambda: method.predict(batch)):
            raise Broken(f"class {name!r} is scored without a memory, where it needs one")
    method.memory_bank = kept
    return _same(largest_difference(subject.prediction, subject.scored(method)), "with its memory put back")


def check_precision(subject: Subject) -> str:
    """In float64 it says what it says in float32, up to rounding."""
    method = subject.build()
    clip = subject.load_clip().to(torch.float64)
    doubled = subject.build(clip=clip)
    doubled.to(torch.float64)
    state = {k: v.double() if v.is_floating_point() else v for k, v in method.learnable_state().items()}
    doubled.load_learnable_state(state)
    return _same(largest_difference(subject.prediction, subject.scored(doubled)), "in float32 and float64", 1e-2)


def check_cuda(subject: Subject) -> str:
    """On a GPU it says what it says on the CPU, up to rounding."""
    if not torch.cuda.is_available():
        raise NotChecked("there is no CUDA device here")
    method, device = subject.build(), resolve_device("cuda")
    moved = subject.build(clip=subject.load_clip().to(device)).to(device)
    moved.load_learnable_state(method.learnable_state())
    return _same(largest_difference(subject.prediction, subject.scored(moved)), "on CPU and GPU", 1e-2)


def _same(difference: tuple[float, str], cases: str, bound: float = _ROUNDING) -> str:
    apart, where = difference
    if not apart <= bound:
        raise Broken(f"{cases}, the {where} differs by {apart:.1e} of the range")
    return f"apart by {apart:.1e} of the range at most"
