"""Several runs by one command (`-m`, `--multirun`): Hydra's sweepers and launchers, a run folder per job, one summary.

outputs/sweep/<command>/<keys that vary>_<hash of the command>/
    <key=value,key=value>/   a job's run folder, with job.json: how it ended
    sweep.csv, sweep.md      a row per job, and mean and standard deviation over `seed`
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adbench.cli.jobs import RECORD, Record, named_files, read_record, run_job
from adbench.cli.override_parser import Swept, as_sweep, parse
from adbench.cli.overrides import Overrides
from adbench.errors import UserError
from adbench.interrupts import with_advice

_CONFIG = "adbench_sweep"
_SECTION, _DOT = "job", "__"


@dataclass(frozen=True)
class _Job:
    """What every job of a sweep has in common; `fixed`: the keys whose value all share. Sent to other processes."""

    command: str
    folder: str
    fixed: frozenset[str]

    def __call__(self, _config: object) -> float | None:
        """Run one job in its own folder and leave job.json there; what an optimising sweeper is given of it.

        A job that fails does not stop the others: its record says why. Interruptions pass.
        """
        from hydra.core.hydra_config import HydraConfig

        from adbench.engine.names import file_name

        overrides = [_from_hydra(word) for word in HydraConfig.get().overrides.task]
        swept = {
            item.key: item.word.partition("=")[2]
            for item in parse(overrides, self.command)
            if item.key not in self.fixed
        }
        name = ",".join(f"{key}={value}" for key, value in swept.items()) or "job"
        out = Path(self.folder) / file_name(name)
        record = run_job(self.command, overrides, out, name=name, swept=swept)
        return objective(record["rows"])


def objective(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """What an optimising sweeper gets of a job: the image AUROC of its last mean, else its pixel AUROC.

    None, which such a sweeper counts as a failed trial, where the job has failed or both are undefined.
    """
    values = [row.get(metric) for row in rows[-1:] for metric in ("image_auroc", "pixel_auroc")]
    return next((float(value) for value in values if value is not None), None)


def sweep(command: str, overrides: Sequence[str]) -> int:
    """Run `command` once for each combination of the values that `words` list. Returns 1 where a job has failed.

    Jobs that have finished by the same words are not run again. Raises UserError for words that cannot be read.
    """
    from adbench.engine.progress import make_reporter
    from adbench.report.sweeps import write_sweep

    of_hydra = [word for word in overrides if _is_hydras(word)]
    settings = as_sweep([word for word in overrides if word not in of_hydra], command)
    if "out" in settings:
        out = Overrides(command, [word for word in overrides if word.startswith("out=")]).get("out")
        folder = Path(out).expanduser()
    else:
        folder = _folder(command, settings)
    settings.pop("out", None)
    fixed = frozenset(key for key, swept in settings.items() if not swept.is_sweep)
    reporter, start = make_reporter(), time.time()
    reporter.say(f"sweep        {folder}")
    again = shlex.join(["python", "-m", "adbench", command, "-m", *overrides])
    words = [_for_hydra(key, swept.text) for key, swept in settings.items()]
    try:
        _multirun([*of_hydra, *words], _Job(command, str(folder.absolute()), fixed), folder)
    except KeyboardInterrupt as interrupt:  # by the advice of its job, that alone would go on
        raise with_advice(interrupt, f"What is finished is kept. Go on with: {again}") from interrupt
    everything = [read_record(path) for path in sorted(folder.glob(f"*/{RECORD}"))]
    records = [record for record in everything if _is_of(record, command, settings)]
    if len(records) < len(everything):
        n_others = len(everything) - len(records)
        reporter.say(f"left out     {n_others} jobs that an earlier sweep with other settings has left in the folder")
    for file in write_sweep(folder, records):
        print(file)
    failed = [record for record in records if record["error"]]
    for record in failed:
        print(f"failed: {record['name']}: {record['error']}")
    fresh = sum(record["started"] >= start for record in records)
    print(f"{len(records)} jobs, {fresh} of them run now, {len(failed)} failed")
    return 1 if failed else 0


def _is_of(record: Record, command: str, settings: Mapping[str, Swept]) -> bool:
    """Whether a job was run with the same settings but for those that vary, and files that are as they were then."""
    words = [word for key, swept in settings.items() if not swept.is_sweep for word in swept.values(key)]
    fixed = {override.key: override.value for override in parse(words, command)}
    of_job = {override.key: override.value for override in parse(record["overrides"], command)}
    same_files = record.get("files", {}) == named_files(record["overrides"])
    return same_files and of_job.keys() == settings.keys() and all(of_job[key] == fixed[key] for key in fixed)


def show_sweep(command: str, overrides: Sequence[str]) -> int:
    """Print the settings of every job as a YAML document, its words as a comment before it, and run none."""
    words = [word for word in overrides if not _is_hydras(word)]
    jobs = as_sweep(words, command)
    settings = importlib.import_module(f"adbench.cli.{command}").settings
    for job in itertools.product(*(swept.values(key) for key, swept in jobs.items())):
        print(f"---\n# {' '.join(job)}\n{settings(job)}", end="")
    return 0


def _is_hydras(word: str) -> bool:
    return word.lstrip("+").startswith(("hydra.", "hydra/"))


def _for_hydra(key: str, text: str) -> str:
    """A word as Hydra is to see it: in a flat section, since method=NAME and method.KEY=VALUE exclude each other."""
    return f"++{_SECTION}.{key.replace('.', _DOT)}={text}"


def _from_hydra(word: str) -> str:
    key, _, text = word.partition("=")
    return f"{key.lstrip('+').removeprefix(f'{_SECTION}.').replace(_DOT, '.')}={text}"


def _folder(command: str, jobs: Mapping[str, Any]) -> Path:
    """Where the same sweep is found again: its name holds the keys that vary and a hash of all that was asked for."""
    asked = hashlib.sha256("\n".join(sorted(f"{key}={swept.text}" for key, swept in jobs.items())).encode()).hexdigest()
    keys = "_".join(key.replace(".", "-") for key, swept in jobs.items() if swept.is_sweep) or "one"
    return Path("outputs") / "sweep" / command / f"{keys[:80]}_{asked[:8]}"


def _multirun(overrides: Sequence[str], job: _Job, folder: Path) -> None:
    """Let Hydra's sweeper and launcher call `job` for every combination, with no settings but Hydra's own."""
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    ConfigStore.instance().store(
        name=_CONFIG,
        node={
            "defaults": ["_self_", *({f"override hydra/{log}_logging": "disabled"} for log in ("job", "hydra"))],
            "hydra": {
                "sweep": {"dir": str(folder), "subdir": "."},
                "output_subdir": None,
                "job": {"name": job.command, "chdir": False},
            },
        },
    )
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of jobs side by side each takes a share of the cores
    GlobalHydra.instance().clear()
    try:
        hydra = Hydra.create_main_hydra2(job.command, create_config_search_path(None))
        hydra.multirun(_CONFIG, job, list(overrides))
    except HydraException as error:
        raise UserError(
            f"the sweep cannot be read: {' '.join(str(error).split())}",
            where=f"{job.command} -m",
            hint="values to sweep over are written key=a,b; a list among them [a,b]",
        ) from error
    finally:
        GlobalHydra.instance().clear()
