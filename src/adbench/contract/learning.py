"""Checks of how a method learns: gradients, shares of a batch, what its loss reads, and what it leaves behind."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from adbench.contract.subject import (
    SEED,
    Broken,
    NotChecked,
    Subject,
    backbone_state,
    check_backbone,
    largest_difference,
    refuses,
    without_images,
)
from adbench.data.loading import make_loader
from adbench.data.sample import Batch
from adbench.engine.rng import seed_streams
from adbench.engine.weights import load_weights, record_of, save_weights
from adbench.methods.base import Method


def check_facts(subject: Subject) -> str:
    """What it states of itself: settings with defaults, JSON where records hold it, parameters in one group each."""
    method = subject.build()
    for name, default in subject.cls.hyperparameter_defaults().items():
        if default is type(None) or getattr(default, "__name__", "") == "_empty":
            raise Broken(f"the setting {name} has no default")
    for what, value in (
        ("hyperparameters", dict(method.hyperparameters)),
        ("transform.describe()", method.transform.describe()),
        ("feature_settings()", method.feature_settings()),
        ("remarks", list(method.remarks)),
        ("training_stages", list(method.training_stages)),
    ):
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise Broken(f"{what} cannot be kept as JSON: {error}") from error
    unknown = set(method.scoring_only) - set(subject.cls.hyperparameter_defaults())
    if unknown:
        raise Broken(f"scoring_only names {sorted(unknown)[0]}, which is no setting")
    for stage in method.training_stages or ("",):
        method.begin_stage(stage)
        learnable = list(method.learnable_parameters())
        grouped = [name for group in method.parameter_groups() for name in group.names]
        if sorted(grouped) != sorted(learnable):
            odd = sorted({*learnable} ^ {*grouped}) or ["one of them, twice"]
            raise Broken(f"parameter_groups and learnable_parameters differ in {odd[0]}")
    return f"{len(subject.cls.hyperparameter_defaults())} settings"


def check_loss(subject: Subject) -> str:
    """Terms by name, each one finite number; of each stage."""
    method, told = _learning(subject), []
    for stage in method.training_stages or ("",):
        method.begin_stage(stage)
        terms = subject.losses(method.train(), subject.training_batch(method))
        if not terms:
            raise Broken(f"there are no loss terms{_of(stage)}")
        for name, term in terms.items():
            if term.numel() != 1 or not math.isfinite(term.item()):
                raise Broken(f"the loss term {name}{_of(stage)} is no finite number: {term.detach()}")
        told.append(f"{', '.join(terms)}{_of(stage)}")
    return "; ".join(told)


def check_gradients(subject: Subject) -> str:
    """Within three steps every learnable tensor gets a gradient that is not zero, and the backbone never changes."""
    method = _learning(subject)
    expected: set[str] = set()
    reached: set[str] = set()

    def watch(stepped: Method) -> None:
        named = stepped.learnable_parameters()
        expected.update(named)
        for name, parameter in named.items():
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
                raise Broken(f"the gradient of {name} is not finite")
            if parameter.grad is not None and bool((parameter.grad != 0).any()):
                reached.add(name)

    before = backbone_state(method)
    subject.trained(method, watch=watch)
    check_backbone(method, before, "training")
    missed = sorted(expected - reached - set(method.without_gradient))
    if missed:
        raise Broken(f"no gradient reaches {', '.join(missed[:3])}{f' and {len(missed) - 3} more' * (len(missed) > 3)}")
    wrong = sorted(reached & set(method.without_gradient))
    if wrong:
        raise Broken(f"a gradient reaches {wrong[0]}, which without_gradient names")
    without = len(expected - reached)
    return f"{len(reached)} tensors" + (f", {without} without by its own word" if without else "")


def check_training_repeats(subject: Subject) -> str:
    """Two trainings from the same seed come to the same weights."""
    first, second = (subject.trained(_learning(subject), steps=2).learnable_state() for _ in range(2))
    for name, value in first.items():
        same = torch.equal(value, second[name]) if value.device.type == "cpu" else torch.allclose(value, second[name])
        if not same:
            raise Broken(f"the tensor {name} differs")
    return f"{len(first)} tensors, two steps"


def check_shares(subject: Subject) -> str:
    """The loss of a batch is that of its halves, each term weighed by `term_count`: what several processes rely on."""
    method = _learning(subject)
    checked = 0
    for stage in method.training_stages or ("",):
        method.begin_stage(stage)
        method.train()
        if method.loss_mixes_batch:
            continue
        whole = subject.training_batch(method)
        terms = subject.losses(method, whole)
        if _draws(subject, method, whole, terms):
            continue
        halves = [subject.training_batch(method, rows) for rows in (slice(0, 3), slice(3, 4))]
        parts = [subject.losses(method, half) for half in halves]
        for name, term in terms.items():
            counts = [method.term_count(name, half) for half in halves]
            values = [part.get(name) for part in parts]
            total = method.term_count(name, whole)
            weights = [1.0 if count is None else count / max(total or 1, 1) for count in counts]
            put_together = sum(v.item() * w for v, w in zip(values, weights, strict=True) if v is not None)
            if not math.isclose(put_together, term.item(), rel_tol=2e-3, abs_tol=1e-4):
                raise Broken(f"the term {name}{_of(stage)} is {term.item():.6g}, of its shares {put_together:.6g}")
            checked += 1
    if not checked:
        raise NotChecked("its loss mixes the batch by its own word (loss_mixes_batch), or draws at random")
    return f"{checked} terms of four images as of three and one"


def check_masks(subject: Subject) -> str:
    """Images whose masks nobody has drawn teach what they can."""
    method = _learning(subject)
    if subject.cls.supervision == "segmentation":
        raise NotChecked("it learns from label maps")
    for stage in method.training_stages or ("",):
        method.begin_stage(stage)
        batch = replace(subject.training_batch(method.train()), masks=None, annotated=None)
        if method.learns_from_masks == "only":
            if not refuses(partial(subject.losses, method, batch)) and subject.losses(method, batch):
                raise Broken("it learns from masks alone by its own word, and has loss terms without any")
            continue
        terms = subject.losses(method, batch)
        if not terms or not all(math.isfinite(term.item()) for term in terms.values()):
            raise Broken(f"without masks there is no finite loss{_of(stage)}")
        if _reads_unknown_masks(subject, method):
            raise Broken(f"the loss{_of(stage)} reads masks of images that nobody has annotated (losses.known_masks)")
    return {"only": "none are none", "also": "terms of pixels left out", "not": "reads none"}[method.learns_from_masks]


def _reads_unknown_masks(subject: Subject, method: Method) -> bool:
    """Whether the loss depends on what stands in the masks of images that are not annotated."""
    batch = subject.training_batch(method)
    if batch.masks is None:
        return False
    annotated = [index % 2 == 0 for index in range(len(batch))]
    totals = []
    for value in (False, True):
        masks = batch.masks.clone()
        masks[1::2] = value
        losses = subject.losses(method, replace(batch, masks=masks, annotated=annotated))
        totals.append(sum(term.item() for term in losses.values()))
    return totals[0] != totals[1]


def check_features_suffice(subject: Subject) -> str:
    """Where it says so, loss and scores come from features alone: they can be kept between epochs."""
    method = subject.build()
    if not method.features_suffice:
        raise NotChecked("it does not say that features suffice")
    if subject.learns:
        for stage in method.training_stages or ("",):
            method.begin_stage(stage)
            batch = subject.training_batch(method.train())
            expected = subject.losses(method, batch)
            seed_streams(SEED, method)
            with torch.no_grad():
                features = method.encode(batch)
            for name, term in method.loss(features, without_images(batch)).items():
                if not torch.equal(term, expected[name]):
                    raise Broken(f"the term {name}{_of(stage)} is another without the images")
    apart, where = largest_difference(subject.prediction, subject.scored(subject.build(), with_images=False))
    if apart:
        raise Broken(f"without the images, the {where} differs by {apart:.1e} of the range")
    return "loss and scores without the images are the same"


def check_frozen_features(subject: Subject) -> str:
    """What `encode` gives does not depend on what was learned: kept features are used again after a step."""
    method = _learning(subject)
    (batch,) = make_loader(subject.tested[:2], method.transform, batch_size=2)
    batch = batch.to(method.clip.device)
    before = method.encode(batch)
    after = subject.trained(method).encode(batch)
    for name, value in before.items():
        if not torch.equal(value, after[name]):
            raise Broken(f"the feature {name} of encode is another after training")
    return f"{len(before)} features as before training"


def check_round_trip(subject: Subject) -> str:
    """What was learned comes back from a weights file into a method of other initial values, and nothing else does."""
    method = subject.build()
    if not (subject.learns or method.fits):
        raise NotChecked("it learns nothing")
    if subject.learns:
        subject.trained(method)
    expected = subject.scored(method)
    state = method.learnable_state()
    towers = {value.data_ptr() for value in method.clip.model.parameters()}
    for name, value in state.items():
        if value.data_ptr() in towers:
            raise Broken(f"the learned state holds the backbone: {name}")
    file = subject.folder / "weights.safetensors"
    save_weights(method, file, record_of(method, []))
    fresh = subject.build(seed=SEED + 1)
    load_weights(fresh, file)
    apart, where = largest_difference(expected, subject.scored(fresh))
    if apart:
        raise Broken(f"with the weights loaded, the {where} differs by {apart:.1e} of the range")
    for what, wrong in _wrong_states(state):
        before = {name: value.clone() for name, value in fresh.learnable_state().items()}
        if not refuses(partial(fresh.load_learnable_state, wrong)):
            raise Broken(f"a state with {what} is loaded")
        if any(not torch.equal(value, before[name]) for name, value in fresh.learnable_state().items()):
            raise Broken(f"a state with {what} is refused, and half of it loaded")
    return f"{len(state)} tensors"


def _wrong_states(state: dict[str, Tensor]) -> list[tuple[str, dict[str, Tensor]]]:
    name = sorted(state)[-1]
    misshapen = torch.cat([state[name].flatten(), state[name].flatten()])
    return [
        ("a missing tensor", {key: value for key, value in state.items() if key != name}),
        ("a tensor of another shape", {**state, name: misshapen}),
    ]


def _learning(subject: Subject) -> Method:
    if not subject.learns:
        raise NotChecked("it is not trained")
    return subject.build()


def _draws(subject: Subject, method: Method, batch: Batch, terms: dict[str, Tensor]) -> bool:
    """Whether the loss draws from the global stream, as dropout does: shares then agree in distribution alone."""
    with torch.no_grad():
        features = method.encode(batch)
        torch.manual_seed(SEED + 1)
        again = method.loss(features, batch)
    return any(not math.isclose(again[name].item(), term.item(), rel_tol=1e-5) for name, term in terms.items())


def _of(stage: str) -> str:
    return f" of stage {stage}" if stage else ""
