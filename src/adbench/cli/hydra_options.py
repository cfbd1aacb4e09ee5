"""Options that Hydra's users know, answered by Hydra: --info, and completion of a command line in the shell."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

from adbench.cli.layers import register_groups
from adbench.cli.words import Words, choices
from adbench.errors import UserError, unknown
from adbench.shipped import configs_dir

INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
SHELLS = ("bash", "fish", "zsh")


def show_info(command: str, words: Sequence[str], topic: str) -> None:
    """Print what Hydra's --info TOPIC says of `command` with the groups that these words choose."""
    if topic not in INFO:
        raise unknown("topic of --info", topic, INFO, where=command)
    read = Words(command, words)
    groups = [f"{group}={name}" for group, name in read.layer(read.data or ["data"]).choices.items()]
    with _hydra() as hydra:
        hydra.show_info(topic, config_name=command, overrides=[*groups, *(f"data={name}" for name in read.data[:1])])


def complete_shell(words: Sequence[str], commands: Sequence[str]) -> None:
    """Carry out -sc install=SHELL, uninstall=SHELL or query=SHELL (as the installed script asks, see `_query`)."""
    action, _, shell = (words[0] if len(words) == 1 else "").partition("=")
    if action not in ("install", "uninstall", "query") or shell not in SHELLS:
        example = 'eval "$(adbench-clip -sc install=bash)"'
        raise UserError("the shell is missing", where="-sc", mend=f"write {example} (or zsh, fish)")
    with _hydra() as hydra:
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
        os.environ["COMP_LINE"] = f"{program} {rest}"
        hydra.shell_completion(config_name=command, overrides=[f"query={shell}"])
    else:
        print(" ".join(f"data={name}" for name in choices("data") if f"data={name}".startswith(rest.split(" ")[-1])))


@contextlib.contextmanager
def _hydra() -> Iterator[Any]:
    """Hydra on the shipped YAML files and registries."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    register_groups()
    with initialize_config_dir(str(configs_dir()), version_base="1.3", job_name="adbench"):
        yield GlobalHydra.instance().hydra
