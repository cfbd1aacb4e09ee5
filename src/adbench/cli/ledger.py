"""`adbench ledger`: finished runs in one folder that can be kept under git and shown as a site."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adbench.cli.overrides import Overrides
from adbench.cli.runs import split_runs
from adbench.errors import UserError, unknown
from adbench.typed import expanded

SUMMARY = "collect finished runs in a folder that is a site: a leaderboard of your own"

HELP = """\
usage  python -m adbench ledger add RUN [RUN ...] [ledger=DIR] [data_dir=DIR]
       python -m adbench ledger render [ledger=DIR]

  add      checks that results still follow from their scores, data and weights (as `verify` does), keeps them in
           DIR/entries, and renders the site
  render   renders the site from the entries: after a merge, or with the figures of a newer adbench

RUN is the folder of an evaluation, or latest. DIR (default: ledger) holds index.html, ledger.md, runs.csv and
ledger.csv; entries hold rows, hashes and versions, but no paths. Each run is held against the published figures of its
method, data and number of shots. A row whose weights were selected on test data or have seen it, a transductive one,
one with another backbone, other settings, classes or images is called "not comparable", whatever it comes to.

examples
  python -m adbench ledger add latest
  python -m adbench ledger add outputs/eval/adaclip/visa/A outputs/eval/adaclip/mvtec/B ledger=results
"""


def run(argv: Sequence[str]) -> int:
    """Run `adbench ledger` with these words."""
    actions = ("add", "render")
    if not argv:
        raise UserError(
            "ledger needs to know what to do", hint="run python -m adbench ledger add RUN, or ledger render"
        )
    if argv[0] not in actions:
        raise unknown("action", argv[0], actions, where="ledger")
    runs, overrides = split_runs("ledger", argv[1:], "ledger", "data_dir")
    if argv[0] == "render":
        return _render(_ledger(overrides), runs)
    if not runs:
        raise UserError("ledger add needs a run", hint="run python -m adbench ledger add RUN, or latest")
    from adbench.report.ledger_folder import write_site

    ledger = _ledger(overrides)
    for folder in runs:
        print(f"added        {_add(folder, ledger, overrides)}", flush=True)
    for file in write_site(ledger):
        print(file)
    return 0


def _ledger(overrides: Overrides) -> Path:
    ledger = expanded(str(overrides.get("ledger", "ledger")))
    if ledger.exists() and not ledger.is_dir():
        raise UserError("this is a file, not a folder", where=f"ledger={ledger}", hint="give a folder")
    return ledger


def _render(ledger: Path, runs: Sequence[Path]) -> int:
    from adbench.report.ledger_folder import write_site

    if runs:
        raise UserError(
            f"ledger render takes no run, and {runs[0]} is named", hint="run python -m adbench ledger add RUN"
        )
    if not (ledger / "entries").is_dir():
        raise UserError(
            "this is no ledger: it has no entries", where=str(ledger), hint="run python -m adbench ledger add RUN"
        )
    for file in write_site(ledger):
        print(file)
    return 0


def _add(folder: Path, ledger: Path, overrides: Overrides) -> Path:
    """Check a run and keep it. Raises UserError for one whose results do not hold."""
    from adbench.api.verification import verify
    from adbench.cli.other_settings import unusual_settings
    from adbench.engine.weights import file_sha256
    from adbench.report.ledger_folder import add_run
    from adbench.report.results import read_results

    if not folder.is_dir():
        raise UserError("this is no folder of an evaluation", where=str(folder), hint="name the run's folder")
    run, rows = read_results(folder)
    sha256 = file_sha256(folder / "results.json")
    checks = []
    for check in verify(folder, data_dir=expanded(str(overrides.get("data_dir"))) if "data_dir" in overrides else None):
        if check.state == "fails":
            hint = f"run python -m adbench verify {folder} for all of it"
            raise UserError(f"the results do not hold: {check.what}", where=str(folder), hint=hint)
        checks.append(check.state)
    told = f"{checks.count('holds')} hold, {checks.count('unchecked')} could not be checked"
    return add_run(ledger, rows, run, sha256=sha256, changes=unusual_settings(folder, run), checks=told)
