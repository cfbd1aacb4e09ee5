"""What `train` and `eval` take beside settings: --show, --multirun, --info, --profile, and rerun=RUN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from adbench.cli.hydra_options import show_info
from adbench.cli.rerun import with_rerun
from adbench.cli.sweep import show_sweep, sweep
from adbench.errors import UserError, unknown

if TYPE_CHECKING:
    from adbench.engine.progress import Reporter


class _Done(Protocol):
    @property
    def folder(self) -> Path: ...


_Result = TypeVar("_Result", bound=_Done)


@dataclass(frozen=True)
class Options:
    """The words of a command without its options, and what these ask for instead of the run."""

    overrides: list[str]
    show: bool
    sweep: bool
    info: str | None
    profile: bool


def read_options(argv: Sequence[str]) -> Options:
    """Take --show (or --cfg job), --multirun (or -m), --info TOPIC and --profile out of the words."""
    overrides, rest, values_of = [], list(argv), {"--cfg": "", "--info": ""}
    flags = set()
    while rest:
        word = rest.pop(0)
        if word in ("--show", "-m", "--multirun", "--profile"):
            flags.add(word)
        elif word in values_of:
            values_of[word] = rest.pop(0) if rest else ""
            if word == "--cfg" and values_of[word] != "job":
                raise unknown("settings to show", values_of[word], ("job",), where="--cfg")
        else:
            overrides.append(word)
    info = values_of["--info"] if "--info" in argv else None
    sweep = bool(flags & {"-m", "--multirun"})
    if sweep and "--profile" in flags:
        raise UserError("--profile is of one run, and -m starts several", where="--profile", hint="leave out one")
    return Options(overrides, "--show" in flags or bool(values_of["--cfg"]), sweep, info, "--profile" in flags)


def run_or_show(
    command: str,
    argv: Sequence[str],
    *,
    settings: Callable[[Sequence[str]], str],
    execute: Callable[[Sequence[str], Reporter], _Result],
    tell: Callable[[_Result, Sequence[str], Sequence[Path]], None],
) -> int:
    """Do what the options ask for; without any `execute` the words and `tell` of it. Returns the exit status.

    tell  is given the result, the words and the files of --profile
    """
    options = read_options(argv)
    overrides = with_rerun(command, options.overrides)
    if options.info is not None:
        show_info(command, overrides, options.info)
        return 0
    if options.sweep:
        return show_sweep(command, overrides) if options.show else sweep(command, overrides)
    if options.show:
        print(settings(overrides), end="")
        return 0
    from adbench.engine.profile import Profile
    from adbench.engine.progress import make_reporter

    with Profile(make_reporter(), on=options.profile) as profile:
        result = execute(overrides, profile)
        traces = profile.write(result.folder / "trace.json")
    tell(result, overrides, traces)
    return 0
