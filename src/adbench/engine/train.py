"""The training loop of every trained method: frozen features, the method's own loss, one optimiser step."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from adbench.data.worker_processes import told_of_lost_memory
from adbench.engine import ranks
from adbench.engine.borrowed import borrowed
from adbench.engine.checkpoint import Checkpoint, TrainState, load_checkpoint
from adbench.engine.device import check_amp, check_held
from adbench.engine.optim import build_optimizer
from adbench.engine.pictures import Painter
from adbench.engine.progress import Quiet, Reporter
from adbench.engine.resume import check_same_training, clear, finished_record, has_begun, training_record
from adbench.engine.rng import seed_streams
from adbench.engine.run_folder import RunFolder
from adbench.engine.saving import Checkpoints
from adbench.engine.settings import EvalData, Row, TrainData, TrainSettings
from adbench.engine.step import Job, State, captured, not_finite, stays_finite, step
from adbench.engine.train_batches import TrainBatches, check_ranks, check_shots, check_stages, check_supervision
from adbench.engine.train_logger import TrainLogger, epoch_line
from adbench.engine.validate import (
    check_selection,
    improves,
    log_pictures,
    select_value,
    selection_record,
    snapshot,
    validation_rows,
)
from adbench.engine.weights import WeightsRecord, backbone, load_weights, save_weights
from adbench.errors import UserError
from adbench.interrupts import deferred
from adbench.methods.base import Method


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """What training came to.

    already_finished  the folder held finished weights, nothing was trained
    steps, seconds    of this call, without what lay before a resume; validation and checkpoints included
    """

    record: WeightsRecord
    already_finished: bool
    steps: int
    seconds: float
    images_per_second: float


@told_of_lost_memory()
def train(
    method: Method,
    data: Sequence[TrainData],
    settings: TrainSettings,
    run: RunFolder,
    *,
    device: torch.device,
    validation: Sequence[EvalData] = (),
    resume: bool = True,
    reporter: Reporter | None = None,
    painter: Painter | None = None,
    config: str | None = None,
) -> TrainResult:
    """Train `method` in place and leave weights.safetensors and weights.json in `run`.

    A folder with a checkpoint of the same training goes on from there, to the same weights (to the bit on CPU) as if it
    had never stopped; a finished one is loaded and not trained again. `resume=False` starts anew and drops both.
    `config` (YAML) is kept with a training that begins; one that goes on keeps its own.
    Raises UserError for a checkpoint of other settings or data, for a loss that is not finite (the last good checkpoint
    stays), for a method that is not trained, and for a precision that the device lacks.
    """
    reporter = reporter or Quiet()
    if method.supervision == "none":
        raise UserError(f"method {method.name} is not trained", where="method", hint="run `eval` with it directly")
    check_supervision(method, {part.name: part.supervision for part in data})
    check_amp(settings.amp, device)
    check_held(backbone(method).get("dtype", "float32"), settings.amp, learns=True)
    check_selection(settings, validation)
    check_shots(method, settings)
    check_ranks(method)
    check_stages(method, settings)
    record = training_record(method, data, settings, validation)
    job = Job(
        method=method,
        data=data,
        settings=settings,
        run=run,
        device=device,
        validation=validation,
        reporter=reporter,
        painter=painter,
        record=record,
    )
    with run.locked() if ranks.is_first() else contextlib.nullcontext():
        if ranks.is_first() and not resume:
            clear(run)
        if ranks.is_first() and config is not None and not has_begun(run):
            run.write_config(config)
        ranks.barrier()
        method.to(device)
        done = finished_record(run, record)
        if done is None:
            with borrowed(method):
                return _train(job)
        load_weights(method, run.path)
    reporter.say(f"{run.path} holds the finished weights of this training: nothing to do (resume=false trains anew)")
    return TrainResult(record=done, already_finished=True, steps=0, seconds=0.0, images_per_second=0.0)


def _train(job: Job) -> TrainResult:
    method, settings = job.method, job.settings

    for remark in job.record.remarks:
        job.reporter.say(f"note         {remark}")

    # Where to start: the run's own checkpoint, else given weights, else the method as it was built
    checkpoint = load_checkpoint(job.run.checkpoint_path) if job.run.checkpoint_path.exists() else None
    if checkpoint is not None:
        check_same_training(checkpoint.training, job.record, job.run.checkpoint_path)
        checkpoint.restore_method(method)
    elif settings.init_from is not None:
        load_weights(method, Path(settings.init_from).expanduser())
        job.reporter.say(f"starting from {settings.init_from}")
    position = TrainState() if checkpoint is None else checkpoint.position

    # Train, stage after stage
    start, first_step, n_images = time.perf_counter(), position.step, 0
    stages = [*method.training_stages] or [""]
    with TrainLogger(job.run, position) as journal:
        for number in range(position.stage, len(stages)):
            stage = stages[number]
            of_stage = settings.of_stage(stage)
            journal.stage = number + 1 if stage else None
            part = replace(job, settings=of_stage, stage=stage, last=number == len(stages) - 1)
            n_images += _train_stage(part, number, position, checkpoint, journal)
            checkpoint = None
    seconds = time.perf_counter() - start

    # Keep the result
    record = replace(job.record, epoch=position.epochs, step=position.step)
    if position.best is not None:
        method.load_learnable_state(position.best_state)
        record = replace(
            record,
            epoch=position.best["epoch"],
            step=position.best["step"],
            selection=selection_record(settings, job.validation, position.best),
        )
    if ranks.is_first():
        record = save_weights(method, job.run.weights_path, record)
        job.run.checkpoint_path.unlink(missing_ok=True)
    record = ranks.broadcast(record)
    return TrainResult(
        record=record,
        already_finished=False,
        steps=position.step - first_step,
        seconds=seconds,
        images_per_second=n_images / seconds,
    )


def _begun(job: Job, number: int, position: TrainState, checkpoint: Checkpoint | None) -> State:
    """What the steps of a stage change, at its beginning or, with a checkpoint, where it was left."""
    method, settings = job.method, job.settings
    method.begin_stage(job.stage)
    method.to(job.device)
    optimizer = build_optimizer(method, settings.optimizer)
    scaler = torch.amp.GradScaler(job.device.type, enabled=settings.amp == "fp16")
    if checkpoint is None:
        position.begin(number)
        seed_streams(settings.seed, method)
    else:
        checkpoint.restore_rest(method, optimizer, scaler)
        where = f"in {f'stage {job.stage}, ' if job.stage else ''}epoch {position.epoch + 1} of {settings.epochs}"
        job.reporter.say(f"going on after step {position.step}, {where}")
    checkpoints = Checkpoints(job.run.checkpoint_path, settings, lambda: captured(job, state))
    state = State(optimizer, scaler, position, checkpoints)
    if number and checkpoint is None:  # what the stage before has learned is known to be finite
        checkpoints.take()
        checkpoints.confirm()
    return state


def _train_stage(
    job: Job, number: int, position: TrainState, checkpoint: Checkpoint | None, journal: TrainLogger
) -> int:
    """Learn one stage, or what is left of it behind `checkpoint`. Returns the number of images seen.

    Raises UserError where its last weights give a loss that is not finite.
    """
    settings, n_images = job.settings, 0
    with deferred():
        state = _begun(job, number, position, checkpoint)
    checkpoints = state.checkpoints
    start, first_step = time.perf_counter(), position.step
    samples = [sample for part in job.data for sample in part.samples]
    feed = TrainBatches(job.method, samples, settings, device=job.device, reporter=job.reporter)
    try:
        with contextlib.closing(feed):
            while position.epoch < settings.epochs:
                began = time.perf_counter()
                n_images += _train_epoch(job, feed, state, journal)
                checkpoints.take()
                checkpoints.state = "held"  # should the validation be interrupted, it is done again
                position.epoch, position.batch = position.epoch + 1, 0
                means, rows = position.whole.take(), []
                journal.epoch(position.step, position.epochs, means)
                if job.last and (position.epoch % settings.validate_every == 0 or position.epoch == settings.epochs):
                    rows = _validate(job, position, journal)
                now, n_steps = time.perf_counter(), (settings.epochs - position.epoch) * feed.plan.n_batches
                left = n_steps * (now - start) / (position.step - first_step) if position.step > first_step else None
                job.reporter.say(epoch_line(position.epoch, settings, means, rows, now - began, left, job.stage))
                checkpoints.take()
                checkpoints.state = "whole"
        if not all(ranks.gather(stays_finite(job, state))):
            raise not_finite("the loss is not finite with the final weights", job, position.step)
    except KeyboardInterrupt:
        checkpoints.rescue(lambda: stays_finite(job, state), job.reporter)
        raise
    if not job.last:
        checkpoints.confirm()
    return n_images


def _train_epoch(job: Job, feed: TrainBatches, state: State, journal: TrainLogger) -> int:
    """Train on what is left of the epoch at the position, which moves along. Returns the number of images seen.

    A signal waits for the end of a step; of several ranks, until all know of it.
    """
    method, settings, position, checkpoints = job.method, job.settings, state.position, state.checkpoints
    n_images = n_logged = 0
    logged = time.perf_counter()
    method.train()
    label, total = f"{job.stage} epoch {position.epoch + 1}/{settings.epochs}".strip(), feed.plan.n_batches
    with _together(), job.reporter.track(label, total, done=position.batch, closing=False) as advance:
        for size, batch, features in feed.epoch(position.epoch, skip=position.batch):
            with deferred():
                checkpoints.state = "torn"
                losses = step(job, state, batch, features, settings.epochs * total)
                position.batch, position.step = position.batch + 1, position.step + 1
                position.window.add(losses, size)
                position.whole.add(losses, size)
                n_images += size
                advance(1, {"mean loss": position.whole.means()["loss"]})
                if position.step % settings.log_every == 0:
                    now = time.perf_counter()
                    rate = (n_images - n_logged) / (now - logged)
                    facts = {"learning_rate": state.optimizer.param_groups[0]["lr"], "images_per_second": rate}
                    journal.step(position.step, position.epochs + 1, position.window.take(), facts)
                    n_logged, logged = n_images, now
                if checkpoints.due(position.step):
                    checkpoints.take()
                checkpoints.state = "whole"
    return n_images


def _together() -> contextlib.AbstractContextManager[None]:
    return deferred() if ranks.count() > 1 else contextlib.nullcontext()


def _validate(job: Job, position: TrainState, journal: TrainLogger) -> list[Row]:
    """Evaluate on the validation data; keep the weights where they are the best so far and that is asked for."""
    if not job.validation:
        return []
    method, settings = job.method, job.settings
    rows = validation_rows(method, job.validation, settings, device=job.device, reporter=job.reporter)
    journal.validation(position.step, position.epochs, rows)
    if settings.heat_maps and job.painter is not None:
        log_pictures(
            method,
            job.validation,
            settings,
            device=job.device,
            journal=journal,
            step=position.step,
            painter=job.painter,
        )
    if settings.select == "best_on_test":
        value = select_value(rows, settings.select_metric)
        if position.best is None or improves(value, position.best["value"], settings.select_metric):
            position.best = {"value": value, "epoch": position.epochs, "step": position.step}
            position.best_state = snapshot(method)
    return rows
