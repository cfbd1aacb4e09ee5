"""Entry point of `python -m adbench` and of the `adbench-clip` script."""

import atexit
import gc

from adbench.cli.main import main

__all__ = ["main"]

# Before it ends, Python looks for garbage in all that PyTorch is made of, which takes longer than to leave it.
atexit.register(gc.freeze)

if __name__ == "__main__":
    raise SystemExit(main())
