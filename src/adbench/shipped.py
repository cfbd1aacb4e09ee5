"""Where the YAML files lie that ship with adbench."""

from __future__ import annotations

from pathlib import Path

from adbench.errors import UserError


def configs_dir() -> Path:
    """The folder of the YAML files: inside an installed package, at the top of a checkout."""
    package = Path(__file__).resolve().parent
    for folder in (package / "configs", package.parents[1] / "configs"):
        if (folder / "train.yaml").is_file():
            return folder
    raise UserError("the configuration files are missing", where=str(package), hint="reinstall adbench-clip")
