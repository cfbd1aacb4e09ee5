"""One step of a training: the loss that a method gives, one step of the optimiser, and whether both stay finite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from adbench.data.sample import Batch
from adbench.engine import ranks
from adbench.engine.checkpoint import Checkpoint, TrainState, capture
from adbench.engine.data_parallel import agreed, whole_batch
from adbench.engine.device import autocast
from adbench.engine.optim import take_step
from adbench.engine.pictures import Painter
from adbench.engine.progress import Reporter
from adbench.engine.rng import undisturbed
from adbench.engine.run_folder import RunFolder
from adbench.engine.saving import Checkpoints
from adbench.engine.settings import EvalData, TrainData, TrainSettings
from adbench.engine.weights import WeightsRecord
from adbench.errors import NotFinite, UserError
from adbench.methods.base import Features, Method


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What every part of a training works with.

    settings     where there are stages, those of the one that is learned
    stage, last  its name, and whether no other follows
    """

    method: Method
    data: Sequence[TrainData]
    settings: TrainSettings
    run: RunFolder
    device: torch.device
    validation: Sequence[EvalData]
    reporter: Reporter
    painter: Painter | None
    record: WeightsRecord
    stage: str = ""
    last: bool = True


@dataclass(slots=True)
class State:
    """What a step changes. `last`: the batch of the last one, with its features."""

    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    position: TrainState
    checkpoints: Checkpoints
    last: tuple[Batch, Features] | None = None


def step(job: Job, state: State, batch: Batch | None, features: Features | None, n_steps: int) -> dict[str, float]:
    """One optimiser step of the stage's `n_steps` on this rank's share of a batch; None: it has none.

    Returns the loss terms of the whole batch and their sum "loss". Raises UserError if it is not finite, on all ranks
    the same, and Interrupted on all ranks where one was asked to stop.
    """
    if batch is not None and features is None:
        with torch.no_grad(), autocast(job.settings.amp, job.device):
            features = job.method.encode(batch)
    if ranks.count() > 1 and job.method.loss_mixes_batch:
        batch, features = whole_batch(batch, features, job.device)
    try:
        terms = {} if batch is None or features is None else _terms(job, batch, features)
    except NotFinite as error:
        raise not_finite(error.what, job, state.position.step + 1) from error
    try:
        losses, loss = agreed(job.method, terms, batch)
    except KeyboardInterrupt:
        state.checkpoints.state = "whole"  # nothing has changed yet
        raise
    if not math.isfinite(losses["loss"]):
        bad = ", ".join(f"{name} {value}" for name, value in losses.items() if not math.isfinite(value))
        raise not_finite(f"the loss is not finite: {bad}", job, state.position.step + 1)
    state.checkpoints.confirm()
    spec, done = job.settings.optimizer, state.position.step - state.position.stage_step
    epochs = job.settings.epochs
    take_step(state.optimizer, state.scaler, loss, spec, step=done, n_steps=n_steps, n_epochs=epochs)
    state.last = None if batch is None or features is None else (batch, features)
    return losses


def _terms(job: Job, batch: Batch, features: Features) -> dict[str, Tensor]:
    with autocast(job.settings.amp, job.device):
        terms = job.method.loss(features, batch)
    return {name: term.to(torch.promote_types(term.dtype, torch.float32)) for name, term in terms.items()}


def stays_finite(job: Job, state: State) -> bool:
    """Whether the weights, as the last step has left them, give a finite loss on its batch."""
    if state.last is None:
        return True
    training = job.method.training
    job.method.train()
    try:
        with undisturbed(job.method):
            return math.isfinite(sum(term.item() for term in _terms(job, *state.last).values()))
    except NotFinite:
        return False
    finally:
        job.method.train(training)


def captured(job: Job, state: State) -> Checkpoint:
    """The state as it is now. Raises UserError for weights that are not finite: the last good checkpoint stays."""
    for name, tensor in job.method.learnable_state().items():
        if not torch.isfinite(tensor).all():
            raise not_finite(f"the weight {name} is not finite", job, state.position.step)
    return capture(job.method, state.optimizer, state.scaler, state.position, asdict(job.record))


def not_finite(what: str, job: Job, step: int) -> UserError:
    """The error of a training that diverges at `step`."""
    kept = "its last good checkpoint is kept" if job.run.checkpoint_path.exists() else "no checkpoint was written yet"
    return UserError(
        f"training stopped: {what} at step {step}",
        where=f"{job.run.path}; {kept}",
        hint="lower the learning rate (trainer.optimizer.lr) or use trainer.amp=off, in another folder",
    )
