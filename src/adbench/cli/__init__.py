"""The command line: one module per command, a thin dispatcher, and the only place that knows Hydra.

A command is a module of this package with a function `run(argv) -> int`. `SUMMARY` (one line, else the first line of
its docstring) goes into `--help`; `HELP` (else the docstring) is what `<command> --help` prints. Nothing here imports
torch at import time.
"""
