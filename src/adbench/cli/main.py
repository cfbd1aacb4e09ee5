"""Dispatcher: finds the command's module, prints help, and turns exceptions into exit statuses."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from adbench import launch
from adbench.cli.clash import check_distribution
from adbench.cli.processor import suit_processor
from adbench.errors import UserError, from_system, unknown
from adbench.interrupts import watched, with_advice

_PATIENCE = 2.0
"""Seconds for which the other ranks of a run leave it to rank 0 to say what is wrong."""

_SHARED = ("train", "eval", "predict", "calibrate")
"""Commands that several processes of torchrun share."""

USAGE = """\
usage  python -m adbench COMMAND [key=value ...] [--debug]
       python -m adbench COMMAND --help | --help | --version
"""

SETTINGS = """\
settings of train and eval (all of them: eval --help, train --help)
  method=NAME            what to run; its hyperparameters are method.KEY=VALUE
  data=NAME              data set; 'data=[a,b]' for several
  benchmark=NAME         eval: several data sets in one table: zeroshot14 (the default), zeroshot17,
                         fewshot, generalist, loco, medical, mvtec2, road
  data_dir=DIR           where data sets lie (./data, or $ADBENCH_DATA); one set lies in data_dir/NAME
  data.root=DIR          the folder of this one set, in its official layout
  clip=NAME              backbone; clip=demo is built in, clip.checkpoint=FILE takes a local file
  support.k=1,2,4        few-shot methods: normal images per class; support.seed=0,1,2 draws them anew
  checkpoint=RUN         eval: a run folder, a weights file, latest, or untrained
  out=DIR                where the run's files go (outputs/COMMAND/METHOD/DATA/TIME)
  device=auto|cpu|cuda   seed=N

examples
  python -m adbench demo
  python -m adbench train method=adaclip data=demo clip=demo
  python -m adbench eval  method=adaclip data=demo clip=demo checkpoint=latest
  python -m adbench train method=adaclip data=mvtec data_dir=/data
  python -m adbench eval  method=adaclip checkpoint=latest data=visa data_dir=/data
  python -m adbench eval  benchmark=zeroshot14 method=adaclip checkpoint=latest data_dir=/data
  python -m adbench report latest
  python -m adbench compare RUN RUN
  python -m adbench verify latest
  python -m adbench list methods
  python -m adbench data check mvtec data_dir=/data
  tensorboard --logdir outputs
"""


def command_names() -> list[str]:
    """The commands, sorted: every module of `adbench.cli` that defines `run`. Told by their text: none is imported."""
    files = [file for folder in importlib.import_module("adbench.cli").__path__ for file in Path(folder).glob("*.py")]
    return sorted(
        {file.stem.replace("_", "-") for file in files if "\ndef run(argv" in file.read_text(encoding="utf-8")}
    )


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"adbench.cli.{name.replace('-', '_')}")


def _summary(module: ModuleType) -> str:
    docstring = (module.__doc__ or "").strip().splitlines()
    return str(getattr(module, "SUMMARY", docstring[0] if docstring else ""))


def help_text() -> str:
    """What `python -m adbench --help` prints."""
    from adbench import __version__

    lines = [f"  {name:<12} {_summary(_module(name))}" for name in command_names()]
    title = f"adbench {__version__}: visual anomaly detection on a frozen CLIP"
    return "\n".join([title, "", USAGE, "commands", *lines, "", SETTINGS]).rstrip() + "\n"


def _command(name: str) -> ModuleType:
    known = command_names()
    if name not in known:
        raise unknown("command", name, known)
    return _module(name)


def dispatch(argv: Sequence[str]) -> int:
    """Run the command that `argv` names and return its exit status. Raises UserError for bad input."""
    if not argv or argv[0] in ("--help", "-h", "help"):
        print(help_text(), end="")
        return 0
    if argv[0] == "--version":
        from adbench import __version__

        print(f"adbench {__version__}")
        return 0
    if argv[0] in ("-sc", "--shell-completion"):
        from adbench.cli.hydra_options import complete_shell

        complete_shell(argv[1:], command_names())
        return 0
    if argv[0].startswith("-") or "=" in argv[0]:
        raise unknown("command", argv[0], command_names(), where="the command comes first")
    module = _command(argv[0])
    rest = list(argv[1:])
    shares = argv[0] in _SHARED and not {"-m", "--multirun"} & set(rest)
    if launch.processes() > 1 and not shares:
        raise UserError(
            f"{argv[0]}{' -m' if argv[0] in _SHARED else ''} is not shared among processes",
            where="torchrun",
            hint=f"run it without torchrun, as python -m adbench ... (torchrun is for {', '.join(_SHARED)})",
        )
    if "--help" in rest or "-h" in rest:
        print(str(getattr(module, "HELP", module.__doc__)).strip())
        _print_settings(rest)
        return 0
    run: Callable[[Sequence[str]], int] = module.run
    return run(rest)


def _print_settings(words: Sequence[str]) -> None:
    """After a command's help, the settings of the method and data sets that its words name."""
    named = [word for word in words if word.startswith(("method=", "data="))]
    if named:
        from adbench.cli.own_settings import own_settings

        print(own_settings(named))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    0, 1 (a comparison failed), 2 (bad input, a file that the system refuses), or after a signal 128 and its number:
    130 (Ctrl-C), 143 (SIGTERM), 129 (SIGHUP).
    """
    if launch.number() and argv is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  rank 0 speaks
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files that the terminal's encoding lacks are written out
            stream.reconfigure(errors="backslashreplace")
    overrides = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in overrides
    overrides = [word for word in overrides if word != "--debug"]
    suit_processor()
    try:
        with watched():
            check_distribution()
            return dispatch(overrides)
    except UserError as error:
        if debug:
            raise
        return _refused(error)
    except KeyboardInterrupt as interrupt:
        if debug:
            raise
        if launch.number():
            return with_advice(interrupt, "").status
        # A command that can be resumed says how in the exception's text.
        with contextlib.suppress(OSError):  # the terminal may have gone
            print(f"\nadbench: interrupted. {interrupt}".rstrip(), file=sys.stderr, flush=True)
        return with_advice(interrupt, "").status
    except BrokenPipeError:
        # `adbench data list | head`: the reader has gone. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if debug:
            raise
        return _refused(from_system(error))
    except RuntimeError as error:
        told = None if debug else _of_torch(error)
        if told is None:
            raise
        return _refused(told)


def _of_torch(error: RuntimeError) -> UserError | None:
    """What to say of an error of torch: of a GPU that is full when a backbone is loaded, say."""
    if "torch" not in sys.modules:
        return None
    from adbench.data.worker_processes import lost_memory

    return lost_memory(error)


def _refused(error: UserError) -> int:
    rank = launch.number()
    if rank:
        time.sleep(_PATIENCE)  # where rank 0 says the same, it ends, and torchrun ends us
    print(f"adbench: error: {f'rank {rank}: ' if rank else ''}{error}", file=sys.stderr)
    return 2
