"""Entry point of `python -m adbench` and of the `adbench-clip` script."""

from adbench.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    raise SystemExit(main())
