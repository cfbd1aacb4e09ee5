"""Python's garbage collector, kept from looking again and again through what imported libraries are made of."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Leave the collector out while libraries are imported and the parts of a run are made: all of that stays.

    What there is then is never looked through again; of the first time alone, for garbage among it is never found.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not gc.get_freeze_count():
                gc.freeze()
            gc.enable()
