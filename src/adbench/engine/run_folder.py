"""The folder that a run leaves behind, and finding it again.

outputs/<command>/<method>/<data>/<time>/
    run.json              command, method, data, when it was made: what makes the folder a run
    config.yaml           the resolved configuration
    weights.safetensors   learned weights, with weights.json: how they came about (training only)
    checkpoint.safetensors  where an unfinished training goes on
    best.safetensors      best weights so far (training with select=best_on_test)
    history.jsonl         the loss curve, one point per line
    tensorboard/          event files
    results.json/.csv/.md, report.html, heatmaps/
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run's folder. Make one with `create`, or `open` an existing one."""

    path: Path

    @classmethod
    def create(
        cls, command: str, method: str, data: str, *, outputs: Path = Path("outputs"), out: Path | None = None
    ) -> RunFolder:
        """Make a new folder outputs/<command>/<method>/<data>/<time>, or use `out` (an existing run there is kept).

        `data` names one data set or several joined by "+". Raises UserError when `out` holds something else.
        """
        raise NotImplementedError

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run. Raises UserError when `path` is not one."""
        raise NotImplementedError

    def write_config(self, text: str) -> None:
        """Keep the resolved configuration (YAML) with the run."""
        raise NotImplementedError


def latest(outputs: Path = Path("outputs"), *, command: str = "train", method: str | None = None) -> RunFolder:
    """The newest run of `command` (and `method`) below `outputs`; of training runs, the newest finished one.

    Raises UserError when there is none.
    """
    raise NotImplementedError
