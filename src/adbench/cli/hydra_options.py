"""Options that Hydra's users know, answered by Hydra: --info, and completion of a command line in the shell."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from adbench.cli.layers import hydra_on_configs
from adbench.cli.override_parser import choices
from adbench.cli.overrides import Overrides
from adbench.errors import UserError, unknown

INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
SHELLS = ("bash", "fish", "zsh")


def show_info(command: str, overrides: Sequence[str], topic: str) -> None:
    """Print what Hydra's --info TOPIC says of `command` with the groups that these words choose."""
    if topic not in INFO:
        raise unknown("topic of --info", topic, INFO, where=command)
    read = Overrides(command, overrides)
    groups = [f"{group}={name}" for group, name in read.choices.items()]
    with hydra_on_configs() as hydra:
        hydra.show_info(topic, config_name=command, overrides=[*groups, *(f"data={name}" for name in read.data[:1])])


def complete_shell(overrides: Sequence[str], commands: Sequence[str]) -> None:
    """Carry out -sc install=SHELL, uninstall=SHELL or query=SHELL (as the installed script asks, see `_query`)."""
    action, _, shell = (overrides[0] if len(overrides) == 1 else "").partition("=")
    if action not in ("install", "uninstall", "query") or shell not in SHELLS:
        example = 'eval "$(adbench-clip -sc install=bash)"'
        raise UserError("the shell is missing", where="-sc", hint=f"write {example} (or zsh, fish)")
    with hydra_on_configs() as hydra:
        if action == "query":
            _query(hydra, shell, commands)
        else:
            hydra.shell_completion(config_name=None, overrides=[f"{action}={shell}"])


def _query(hydra: Any, shell: str, commands: Sequence[str]) -> None:
    """Print what may stand where the cursor is: commands, then groups, their entries and keys of the command's YAML.

    COMP_LINE holds the line. Hydra knows no commands: it is shown the line without one.
    """
    line = os.environ.get("COMP_LINE", "")
    program, _, rest = line.partition(" ")
    command, blank, rest = rest.lstrip().partition(" ")
    if not blank:
        print(" ".join(name for name in commands if name.startswith(command)))
    elif command in ("train", "eval"):
        # Nothing composes without data and method: while none is named, any will do.
        assumed = [word for word in ("data=demo", "method=clip_zeroshot") if word.partition("=")[0] + "=" not in rest]
        os.environ["COMP_LINE"] = " ".join([program, *assumed, rest])
        hydra.shell_completion(config_name=command, overrides=[f"query={shell}"])
    else:
        print(" ".join(f"data={name}" for name in choices("data") if f"data={name}".startswith(rest.split(" ")[-1])))
