"""Carries out a plan: every data set with the weights that serve it, one table, and on again after an interruption."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench.atomic import write_json
from adbench.cli.config import ClipConfig
from adbench.cli.plan import CheckpointPlan, Plan
from adbench.cli.submission import planned_submission
from adbench.errors import UserError
from adbench.interrupts import with_advice

if TYPE_CHECKING:
    import torch

    from adbench.api.dataset import Dataset
    from adbench.clip import Clip
    from adbench.engine.progress import Reporter
    from adbench.engine.run_folder import RunFolder
    from adbench.engine.settings import EvalData, Row
    from adbench.engine.weights import WeightsRecord
    from adbench.methods import Method

_MARK = "benchmark.json"


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation command leaves: rows, where, and the files."""

    rows: list[Row]
    folder: Path
    files: list[Path]

    def summary(self) -> list[Row]:
        """The means, of every data set and number of shots, by name, shots and metrics."""
        from adbench.metrics.registry import in_order

        means = [row for row in self.rows if row["class_name"] == "mean"]
        facts = ("dataset", "shots", "support_seed")
        return [{key: row[key] for key in (*facts, *in_order(row)) if key in row} for row in means]


@dataclass(frozen=True)
class _Ready:
    """A part of a plan with everything that it takes in memory."""

    part: CheckpointPlan
    method: Method
    record: WeightsRecord | None
    clip: Clip
    opened: list[Dataset]
    data: list[EvalData]


def carry_out(plan: Plan, overrides: Sequence[str], reporter: Reporter) -> Evaluated:
    """Evaluate as planned; `overrides` are those after `eval`, for the record and for how to go on."""
    from adbench.engine import ranks
    from adbench.engine.device import resolve_device

    device = ranks.local_device(resolve_device(plan.config.device))
    with ranks.joined(device):
        return _carry_out(plan, overrides, device, reporter)


def _carry_out(plan: Plan, overrides: Sequence[str], device: torch.device, reporter: Reporter) -> Evaluated:
    from adbench.cli import components
    from adbench.engine import ranks

    for name, place in plan.absent.items():
        reporter.say(f"not there    {name}: looked for {place}")
    ready, left_out = _prepared(plan, device, reporter)
    evaluated = [(part.method, *pair) for part in ready for pair in zip(part.opened, part.data, strict=True)]
    submission = planned_submission(plan.config.submission, evaluated)
    with ranks.claimed(_run_folder(plan, overrides)) as folder:
        config = plan.to_yaml()
        # Finished results keep their settings until there are new ones.
        if ranks.is_first() and not (folder.path / "results.json").exists():
            folder.write_config(config)
        for prepared in ready:
            reporter.say(f"method       {plan.config.method}, {_weights_line(prepared)}")
            if origin := prepared.part.checkpoint.origin:
                reporter.say(f"weights      {origin}")
            reporter.say(f"backbone     {components.clip_line(prepared.clip)}")
            for opened in prepared.opened:
                reporter.say(f"evaluate on  {components.data_line(opened.name, opened.test)}")
        reporter.say(f"device       {components.device_line(device)}")
        reporter.say(f"run          {folder.path}")
        try:
            rows, scores = _measured(ready, plan, device, reporter, folder)
        except KeyboardInterrupt as interrupt:
            raise with_advice(interrupt, _how_to_go_on(plan, overrides, folder.path)) from interrupt
        if not ranks.is_first():
            return Evaluated(rows, folder.path, [])
        folder.write_config(config)
        result = _written(rows, scores, _provenance(plan, ready, left_out, overrides, device), ready, folder)
        if submission is not None:
            about = submission.write(plan.config.eval, device=device, reporter=reporter)
            write_json(folder.path / "submission.json", about)
            result.files.append(submission.archive)
        return result


def _prepared(plan: Plan, device: torch.device, reporter: Reporter) -> tuple[list[_Ready], dict[str, str]]:
    """All that can go wrong before the first image is scored goes wrong here; and why data sets were left out."""
    from adbench.cli import components
    from adbench.engine.weights import load_weights

    backbones: dict[ClipConfig, Clip] = {}
    ready, left_out = [], {}
    opened = [
        [components.open_data(data, part.config.data_dir, reporter) for data in part.config.data] for part in plan.parts
    ]
    for part, datasets in zip(plan.parts, opened, strict=True):
        config, checkpoint = part.config, part.checkpoint
        if config.clip not in backbones:
            backbones[config.clip] = components.load_backbone(config.clip, device)
        clip = backbones[config.clip]
        method = components.build_method(config, clip, device)
        record = None if checkpoint.path is None else load_weights(method, checkpoint.path)
        fitting = []
        for dataset in datasets:
            lacking = dataset.lacks_support(config.support, method) if config.missing == "skip" else None
            if lacking is None:
                fitting.append(dataset)
            else:
                left_out[dataset.name] = lacking
                reporter.say(f"left out     {dataset.name}: {lacking}")
        data = [dataset.evaluation(config.support, method) for dataset in fitting]
        ready.append(_Ready(part, method, record, clip, fitting, data))
    if not any(prepared.data for prepared in ready):
        name, why = next(iter(left_out.items()))
        raise UserError(f"no data set is left to evaluate: {name}, for one, {why}", hint="give a smaller support.k")
    return ready, left_out


@contextlib.contextmanager
def _run_folder(plan: Plan, overrides: Sequence[str]) -> Iterator[RunFolder]:
    """The folder of the run: a new one, `out`, or that of the same benchmark where it was interrupted."""
    from adbench.cli.components import plugins_of
    from adbench.engine.provenance import origin
    from adbench.engine.run_folder import RunFolder

    config = plan.config
    claim = RunFolder.claim(
        "eval",
        config.method,
        plan.label,
        outputs=config.outputs,
        out=config.out,
        origin=origin("eval", overrides, plugins_of(config)),
    )
    if plan.benchmark is None:
        with claim as new:
            yield new
        return
    with contextlib.ExitStack() as stack:
        run: RunFolder | None = None
        for candidate in _unfinished(plan) if config.out is None else []:
            with contextlib.suppress(UserError):  # one that is at work now
                stack.enter_context(candidate.locked())
                run = candidate
                break
        if run is None:
            run = stack.enter_context(claim)
            write_json(run.path / _MARK, {"benchmark": plan.label, "identity": plan.identity})
        yield run


def _unfinished(plan: Plan) -> list[RunFolder]:
    """Interrupted runs of the same settings, the newest first."""
    from adbench.engine.run_folder import RunFolder, runs_of
    from adbench.structured import read_json

    runs = []
    for mark in runs_of(plan.config.outputs, "eval", plan.config.method, plan.label).glob(f"*/{_MARK}"):
        with contextlib.suppress(UserError):  # damaged: not a candidate
            if read_json(mark).get("identity") == plan.identity:
                run = RunFolder.open(mark.parent)
                if not (run.path / "results.json").exists():
                    runs.append(run)
    return sorted(runs, key=lambda run: str(run.facts()["created"]), reverse=True)


def _measured(
    ready: Sequence[_Ready], plan: Plan, device: torch.device, reporter: Reporter, folder: RunFolder
) -> tuple[list[Row], list[dict[str, Any]]]:
    """Rows of all data sets in the plan's order and, of a benchmark, of the means over them; scores of all images."""
    from adbench.data import catalogue
    from adbench.engine.confidence import with_intervals
    from adbench.engine.evaluate import evaluate
    from adbench.engine.means import mean_rows
    from adbench.report.heatmaps import paint

    by_name: dict[str, list[Row]] = {}
    scores: dict[str, list[dict[str, Any]]] = {}
    for prepared in ready:
        for data in prepared.data:
            by_name[data.name] = evaluate(
                prepared.method,
                data,
                prepared.part.config.eval,
                device=device,
                record=prepared.record,
                reporter=reporter,
                run=folder,
                painter=paint,
                scores=scores.setdefault(data.name, []),
            )
    rows = [row for name in plan.order for row in by_name.get(name, [])]
    images = [score for name in plan.order for score in scores.get(name, [])]
    if plan.benchmark is not None:
        rows += mean_rows(rows, {name: catalogue.get(name).domain for name in by_name})
    return with_intervals(rows, images, plan.config.seed), images


def _provenance(
    plan: Plan, ready: Sequence[_Ready], left_out: dict[str, str], overrides: Sequence[str], device: torch.device
) -> dict[str, Any]:
    from adbench.engine.confidence import describe
    from adbench.engine.provenance import describe_run

    described = [_described(prepared) for prepared in ready]
    facts: dict[str, Any] = described[0] if len(described) == 1 else {"parts": described}
    if plan.benchmark is not None:
        missing = {name: f"looked for {folder}" for name, folder in plan.absent.items()}
        facts["benchmark"] = {
            "name": plan.benchmark.name,
            "version": plan.benchmark.version,
            "left_out": {**missing, **left_out},
        }
    return describe_run(
        command=["adbench", "eval", *overrides],
        seed=plan.config.seed,
        device=str(device),
        data={opened.name: opened.test for prepared in ready for opened in prepared.opened},
        method=plan.config.method,
        intervals=describe(plan.config.seed),
        **facts,
    )


def _described(prepared: _Ready) -> dict[str, Any]:
    """What the rows of one part were made with."""
    fitted = (
        prepared.record.adaptation["supports"] if prepared.record is not None and prepared.record.adaptation else []
    )
    drawn = [support.record() for data in prepared.data for sets in data.supports.values() for support in sets.values()]
    return {
        "evaluated": [data.name for data in prepared.data],
        "hyperparameters": prepared.part.config.hyperparameters,
        **({} if prepared.method.plugin is None else {"plugin": dict(prepared.method.plugin)}),
        "backbone": prepared.clip.describe(),
        "checkpoint": str(prepared.part.checkpoint.path or "untrained"),
        "supports": drawn or fitted,
    }


def _written(
    rows: list[Row],
    scores: Sequence[dict[str, Any]],
    provenance: dict[str, Any],
    ready: Sequence[_Ready],
    folder: RunFolder,
) -> Evaluated:
    from adbench.engine.class_results import tidy
    from adbench.engine.weights import file_sha256
    from adbench.report.html import write_html
    from adbench.report.results import write_results
    from adbench.report.scores import write_scores

    scores_file = write_scores(folder.path, scores)  # first: where results.json stands, the run is complete
    provenance["scores_sha256"] = file_sha256(scores_file)
    files = [*write_results(folder.path, rows, provenance), scores_file]
    tidy(folder, rows, keeps_maps=bool(ready[0].part.config.eval.maps))
    trained_in = [prepared.part.checkpoint.path for prepared in ready if prepared.part.checkpoint.path is not None]
    training = trained_in[0] if len(trained_in) == 1 and trained_in[0].is_dir() else None
    files.append(write_html(folder.path, training=training))
    return Evaluated(rows, folder.path, files)


def _how_to_go_on(plan: Plan, overrides: Sequence[str], folder: Path) -> str:
    again = list(overrides)
    if plan.benchmark is None:
        again = [word for word in again if not word.lstrip("+").startswith("out=")] + [f"out={folder}"]
    return f"What is finished is kept. Go on with: {shlex.join(['python', '-m', 'adbench', 'eval', *again])}"


def _weights_line(prepared: _Ready) -> str:
    path = prepared.part.checkpoint.path
    if path is not None:
        return f"weights {path}"
    return "no weights needed" if prepared.method.supervision == "none" else "untrained"
