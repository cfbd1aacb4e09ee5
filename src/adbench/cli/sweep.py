"""Several runs by one command (`-m`, `--multirun`): Hydra's sweepers and launchers, a run folder per job, one summary.

outputs/sweep/<command>/<keys that vary>_<hash of the command>/
    <key=value,key=value>/   a job's run folder, with job.json: how it ended
    sweep.csv, sweep.md      a row per job, and mean and standard deviation over `seed`
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adbench.cli.overrides import as_sweep
from adbench.cli.words import Words
from adbench.errors import UserError

_CONFIG = "adbench_sweep"
_RECORD = "job.json"


def sweep(command: str, words: Sequence[str]) -> int:
    """Run `command` once for each combination of the values that `words` list. Returns 1 where a job has failed.

    Jobs that finished before, by the same words, are not run again. Raises UserError for words that cannot be read.
    """
    from adbench.engine.progress import make_reporter
    from adbench.report.sweeps import write_sweep

    of_hydra = [word for word in words if word.lstrip("+").startswith(("hydra.", "hydra/"))]
    overrides = as_sweep([word for word in words if word not in of_hydra], command)
    out = next((one.value for one in overrides if one.key == "out"), None)
    jobs = [one for one in overrides if one.key != "out"]
    fixed = {one.key for one in jobs if not one.is_sweep}
    folder = Path(str(out)).expanduser() if out is not None else _folder(command, jobs)
    reporter, start = make_reporter(), time.time()
    reporter.say(f"sweep        {folder}")
    _multirun(
        command,
        [*of_hydra, *(f"++{one.key}={one.text}" for one in jobs)],
        functools.partial(_job, command=command, folder=str(folder), fixed=frozenset(fixed)),
        folder,
    )
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"*/{_RECORD}"))]
    for file in write_sweep(folder, records):
        print(file)
    failed = [record for record in records if record["error"]]
    for record in failed:
        reporter.say(f"failed       {record['name']}: {record['error']}")
    fresh = sum(record["started"] >= start for record in records)
    print(f"{len(records)} jobs, {fresh} run now, {len(failed)} failed")
    return 1 if failed else 0


def _folder(command: str, jobs: Sequence[Any]) -> Path:
    """Where the same sweep is found again: its name holds the keys that vary and a hash of all that was asked for."""
    asked = hashlib.sha256("\n".join(sorted(f"{one.key}={one.text}" for one in jobs)).encode()).hexdigest()
    keys = "_".join(one.key.replace(".", "-") for one in jobs if one.is_sweep) or "one"
    return Path("outputs") / "sweep" / command / f"{keys[:80]}_{asked[:8]}"


def _multirun(command: str, overrides: Sequence[str], task: Any, folder: Path) -> None:
    """Let Hydra's sweeper and launcher call `task` for every job, with no settings but Hydra's own."""
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    ConfigStore.instance().store(
        name=_CONFIG,
        node={
            "defaults": [
                "_self_",
                {"override hydra/job_logging": "disabled"},
                {"override hydra/hydra_logging": "disabled"},
            ],
            "hydra": {
                "sweep": {"dir": str(folder), "subdir": "."},
                "output_subdir": None,
                "job": {"name": f"adbench {command}", "chdir": False},
            },
        },
    )
    GlobalHydra.instance().clear()
    try:
        hydra = Hydra.create_main_hydra2(f"adbench {command}", create_config_search_path(None))
        hydra.multirun(_CONFIG, task, list(overrides))
    except HydraException as error:
        raise UserError(
            f"the sweep cannot be read: {str(error).splitlines()[0]}",
            where=f"{command} -m",
            mend="values to sweep over are written key=a,b; a list among them [a,b]",
        ) from error
    finally:
        GlobalHydra.instance().clear()


def _job(_config: object, *, command: str, folder: str, fixed: frozenset[str]) -> float:
    """Run one job in its own folder and leave job.json there. Returns what a sweeper may minimise or maximise.

    A job that fails does not stop the others: its record says why. Interruptions pass.
    """
    from hydra.core.hydra_config import HydraConfig

    from adbench.atomic import write_json, write_text
    from adbench.engine.names import file_name

    words = [word.lstrip("+") for word in HydraConfig.get().overrides.task]
    swept = dict(word.partition("=")[::2] for word in words if word.partition("=")[0] not in fixed)
    name = ",".join(f"{key}={value}" for key, value in swept.items()) or "job"
    out = Path(folder) / file_name(name)
    record = _finished(out, words)
    if record is None:
        record = {"name": name, "swept": swept, "words": words, "started": time.time(), "error": None, "rows": []}
        try:
            record["rows"] = _run(command, words, out)
        except UserError as error:
            record["error"] = str(error)
        except Exception as error:  # of this job alone: the others go on, and the traceback is kept
            record["error"] = f"{type(error).__name__}: {error}"
            write_text(out / "traceback.txt", traceback.format_exc())
        write_json(out / _RECORD, record)
    return next((row["objective"] for row in record["rows"] if row.get("objective") is not None), math.nan)


def _finished(out: Path, words: Sequence[str]) -> dict[str, Any] | None:
    try:
        record = dict(json.loads((out / _RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
    return record if record["error"] is None and record["words"] == list(words) else None


def _run(command: str, words: Sequence[str], out: Path) -> list[dict[str, Any]]:
    """What a job comes to: rows of metrics."""
    import importlib

    from adbench.engine.progress import make_reporter

    module = importlib.import_module(f"adbench.cli.{command}")
    done = module.execute(Words(command, [*words, f"out={out}"]), make_reporter())
    return list(done.summary())
