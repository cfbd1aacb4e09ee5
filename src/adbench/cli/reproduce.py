"""`adbench reproduce`: a paper's table, run again and held against its figures."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adbench.cli.console import print_lines
from adbench.cli.jobs import finished_job, run_job
from adbench.cli.overrides import Overrides
from adbench.cli.reproduction import Recipe, load_recipe, recipe_names
from adbench.cli.reproduction_jobs import Job, changed, default_folder, make_jobs, user_words
from adbench.errors import UserError
from adbench.interrupts import with_advice
from adbench.structured import read_json
from adbench.typed import expanded

if TYPE_CHECKING:
    from adbench.cli.reproduction_needs import Needs
    from adbench.report.ledger import LedgerLine

SUMMARY = "run a paper's table again and hold it against its figures"

HELP = """\
usage  python -m adbench reproduce NAME [--dry-run] [data='[A,B]'] [key=value ...]
       python -m adbench reproduce

Runs what stands behind a paper's main table: the trainings (with the data sets swapped where the paper does so), then
an evaluation of each data set, and holds them against the published figures. What has finished is not run again: the
same command goes on where it stopped. Data sets that are not there are left out and named. Ends in a ledger
(ledger.html, .md, .csv): figure, source, ours with its interval, difference, verdict, and hashes of weights and data.
Without a name, lists the recipes; NAME may be a YAML file of your own.

A verdict is "reproduced" (within the figure's own deviation, or 1 point), "off", or "not comparable" and why: another
backbone, other settings, classes or images, weights that were selected on test data or have seen it, transductive.

  --dry-run                 print the plan and what it needs (data, weights, disk, GPU time), and run nothing
  data='[A,B]'              of the recipe's data sets only these, and the trainings that they need
  data_dir=DIR              where data sets lie; of one set: data.NAME.root=DIR
  out=DIR                   instead of outputs/reproduce/NAME
  device=auto|cpu|cuda      seed=N      clip.checkpoint=FILE
  key=value                 any setting of train and eval; those that change results are named in the ledger, and no
                            figure is called reproduced then: clip=demo, trainer.epochs=1

exit status  0: nothing is off, 1: a figure is off, or a command has failed, 2: bad input

examples
  python -m adbench reproduce adaclip --dry-run
  python -m adbench reproduce winclip_zeroshot data_dir=/data
  python -m adbench reproduce winclip_zeroshot data=mvtec clip=demo data_dir=/data out=wiring
"""
_PLAN = "--dry-run"


def run(argv: Sequence[str]) -> int:
    """Run `adbench reproduce` with these words."""
    words = [word for word in argv if word != _PLAN]
    named = [word for word in words if "=" not in word and not word.startswith("-")]
    if not words:
        print(_listed())
        return 0
    if len(named) != 1:
        raise UserError(
            f"reproduce takes one recipe, and {len(named)} are named", hint=f"name one of {', '.join(recipe_names())}"
        )
    recipe, typed = load_recipe(named[0]), user_words([word for word in words if word not in named])
    for_recipe = Overrides("eval", [override.word for override in typed if override.key in ("data", "out")])
    _check_data(recipe, for_recipe)
    folder = expanded(str(for_recipe.get("out"))) if "out" in for_recipe else default_folder(recipe, typed)
    jobs = make_jobs(recipe, typed, folder, for_recipe.data)
    from adbench.cli.reproduction_needs import find_needs

    needs = find_needs(recipe, jobs, folder)
    print(_plan(recipe, jobs, needs, folder), flush=True)
    if _PLAN in argv:
        return 0
    try:
        errors = _carry_out(jobs, needs, folder)
    except KeyboardInterrupt as interrupt:
        again = shlex.join(["python", "-m", "adbench", "reproduce", *argv])
        raise with_advice(interrupt, f"What is finished is kept. Go on with: {again}") from interrupt
    return _finish(recipe, jobs, needs, folder, changed(typed), errors)


def _listed() -> str:
    from adbench.cli.list import read_header

    width = max(map(len, recipe_names()))
    return "\n".join(f"{name:<{width}}  {read_header('reproduction', name)[0]}" for name in recipe_names())


def _check_data(recipe: Recipe, for_recipe: Overrides) -> None:
    known = list(dict.fromkeys(name for part in recipe.evaluations for name in part.data))
    for name in for_recipe.data:
        if name not in known:
            what = f"the recipe {recipe.name} does not evaluate {name}"
            raise UserError(what, where=for_recipe.word("data"), hint=f"name some of {', '.join(known)}")


def _plan(recipe: Recipe, jobs: Sequence[Job], needs: Needs, folder: Path) -> str:
    """The commands with their state, and what they take."""
    from adbench.cli.reproduction_needs import TFLOPS

    lines = [f"recipe       {recipe.name}, version {recipe.version}, method {recipe.method}", f"folder       {folder}"]
    for job in jobs:
        lines += [f"{_state(job, jobs, needs, folder):<12} {job.name}", f"{'':<12}   {_command(job, folder)}"]
    present = [name for name in dict.fromkeys(name for job in jobs for name in job.data) if name not in needs.absent]
    lines.append(f"data         {', '.join(present) or 'none'}")
    lines += [f"not there    {name}: looked for {place}" for name, place in needs.absent.items()]
    lines.append(f"backbone     {needs.weights}")
    lines.append(f"disk         about {recipe.cost.disk_gb:g} GB, {needs.free_gb:.0f} GB are free")
    counted = [hours for hours in needs.hours.values() if hours is not None]
    unknown = [name for name, hours in needs.hours.items() if hours is None]
    lacking = f", without {', '.join(unknown)}: not counted" if unknown else ""
    lines.append(f"GPU time     about {sum(counted):.2g} h at {TFLOPS:g} TFLOP/s (counted, not measured){lacking}")
    return "\n".join(lines)


def _command(job: Job, folder: Path) -> str:
    return shlex.join(["python", "-m", "adbench", job.command, *job.words, f"out={folder / job.name}"])


def _state(job: Job, jobs: Sequence[Job], needs: Needs, folder: Path) -> str:
    if _is_finished(job, jobs, folder):
        return "finished"
    return "left out" if any(name in needs.absent for name in job.data) else "to run"


def _is_finished(job: Job, jobs: Sequence[Job], folder: Path) -> bool:
    """Whether the job has ended well by the same words, with the weights that its training, finished too, has now."""
    if finished_job(job.command, job.words, folder / job.name) is None:
        return False
    if job.training is None:
        return True
    training = next(other for other in jobs if other.name == f"train/{job.training}")
    weights = folder / training.name / "weights.json"
    return _is_finished(training, jobs, folder) and read_json(weights).get("sha256") == _weights_used(job, folder)


def _weights_used(job: Job, folder: Path) -> str | None:
    """The hash of the weights that a finished evaluation was made with, or a finished training was started from."""
    from adbench.report.results import read_results

    if job.command == "eval":
        return read_results(folder / job.name)[1][0].get("weights")
    start = read_json(folder / job.name / "weights.json").get("start")
    return None if start is None else start.get("sha256")


def _carry_out(jobs: Sequence[Job], needs: Needs, folder: Path) -> dict[str, str]:
    """Run what can be run; by the job's name, why one was not or has failed. Raises UserError where none can be."""
    errors: dict[str, str] = {}
    for job in jobs:
        missing = [name for name in job.data if name in needs.absent]
        before = f"train/{job.training}"
        if _is_finished(job, jobs, folder):
            print(f"finished     {job.name}", flush=True)
        elif missing:
            errors[job.name] = f"not run: {missing[0]} is not there"
        elif job.training is not None and before in errors:
            errors[job.name] = f"not run: {before} is lacking ({errors[before]})"
        else:
            print(f"run          {job.name}", flush=True)
            record = run_job(job.command, job.words, folder / job.name, name=job.name)
            if record["error"]:
                errors[job.name] = f"failed: {record['error']}"
                print(f"failed       {job.name}: {record['error']}", flush=True)
    if all(job.name in errors for job in jobs if job.command == "eval"):
        why = next(iter(errors.values()))
        raise UserError(f"nothing of the recipe could be evaluated: {why}", hint="see the plan above (--dry-run)")
    return errors


def _finish(
    recipe: Recipe, jobs: Sequence[Job], needs: Needs, folder: Path, changes: Sequence[str], errors: Mapping[str, str]
) -> int:
    from adbench.cli.reproduction_ledger import hold, write_ledger

    lines = hold(recipe, jobs, folder, changes, errors)
    for file in write_ledger(recipe, lines, folder):
        print(file)
    _print(lines)
    failed = [f"{name}: {why}" for name, why in errors.items() if why.startswith("failed")]
    for line in failed:
        print(line)
    return 1 if failed or any(line.verdict.state == "off" for line in lines) else 0


def _print(lines: Sequence[LedgerLine]) -> None:
    """The figures of means in the terminal, and the counts of all."""
    from adbench.engine.rows import MEAN
    from adbench.report.ledger import HEADS, counts

    shown: list[list[str]] = []
    reasons: dict[str, int] = {}
    for line in lines:
        if line.figure.class_name == MEAN:
            why = line.verdict.why
            number = f" [{reasons.setdefault(why, len(reasons) + 1)}]" if why else ""
            shown.append([*line.cells[:-1], line.verdict.state + number])
    if lines:
        print_lines(HEADS, shown, left={*HEADS} - {"published", "ours", "difference"})
    for why, at in reasons.items():
        print(f"[{at}] {why}")
    print(counts(lines))
