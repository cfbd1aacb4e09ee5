"""Entry point of `python -m adbench` and of the `adbench-clip` script."""

import atexit
import gc
import sys

from adbench.cli.main import main

__all__ = ["main"]


@atexit.register
def leave() -> None:
    """Leave the garbage: to look for it in all that PyTorch is made of takes longer.

    Not Triton's, which an optimiser brings along: it tells of all that it finds left, in fifty lines. A tower that is
    compiled while the collector is paused has frozen it.
    """
    (gc.unfreeze if "triton" in sys.modules else gc.freeze)()


if __name__ == "__main__":
    raise SystemExit(main())
