"""`adbench verify`: whether the result of a run still holds."""

from __future__ import annotations

from collections.abc import Sequence

from adbench.cli.runs import split_runs
from adbench.errors import UserError, printable
from adbench.typed import expanded

SUMMARY = "check that a run's results still follow from its scores, data and weights"

HELP = """\
usage  python -m adbench verify RUN [data_dir=DIR] [backbone=true]

Computes the figures of results.json again: image columns from scores.csv (metrics, thresholds, intervals), pixel
columns from the maps where eval.maps=true has kept them, means over classes, support seeds and data sets from those.
Compares the hashes of scores.csv, data, weights and backbone with those that were recorded. Says of each whether it
holds. RUN is the folder of an evaluation, or latest.

  data_dir=DIR              where the data sets lie now
  backbone=true             load a backbone whose weights open_clip would download, and compare them too

exit status  0: all that could be checked holds (what could not is named), 1: something does not, 2: no such run

examples
  python -m adbench verify latest
  python -m adbench verify outputs/eval/adaclip/visa/2026-01-31_12-00-00 data_dir=/data
"""


def run(argv: Sequence[str]) -> int:
    """Run `adbench verify` with these words."""
    from adbench.api.verification import verify
    from adbench.typed import check_value

    runs, overrides = split_runs("verify", argv, "data_dir", "backbone")
    if len(runs) != 1:
        raise UserError(f"verify takes one run, and {len(runs)} are named", hint="run python -m adbench verify RUN")
    given = overrides.get("data_dir")
    fetch = check_value(bool, overrides.get("backbone", False), overrides.word("backbone") or "backbone")
    states = []
    for check in verify(runs[0], data_dir=None if given is None else expanded(str(given)), fetch_backbone=fetch):
        states.append(check.state)
        print(f"{check.state:<10} {printable(check.what)}", flush=True)
        for line in check.details[:20]:
            print(f"{'':<10}   {printable(line)}")
        if len(check.details) > 20:
            print(f"{'':<10}   and {len(check.details) - 20} more")
    failed, unchecked = states.count("fails"), states.count("unchecked")
    verdict = "the result does not hold" if failed else "all that could be checked holds"
    print(f"{verdict}: {states.count('holds')} hold, {failed} fail, {unchecked} could not be checked")
    return 1 if failed else 0
