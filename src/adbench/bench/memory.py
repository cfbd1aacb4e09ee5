"""Peak memory of this process and of a GPU, from a moment on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

MIB = 1 << 20
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Peak:
    """Largest memory in MiB; None where it cannot be told: of the host outside of Linux, of a device without a GPU."""

    host_mib: int | None = None
    device_mib: int | None = None


@contextlib.contextmanager
def peak_of(device: torch.device) -> Iterator[Peak]:
    """The peaks of what is done within, filled in at its end. They include what lay in memory before."""
    peak = Peak()
    with contextlib.suppress(OSError):
        _RESET.write_text("5", encoding="ascii")  # the kernel's mark of the largest resident size begins anew
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    yield peak
    peak.host_mib = _high_water()
    if device.type == "cuda":
        peak.device_mib = torch.cuda.max_memory_allocated(device) // MIB


def _high_water() -> int | None:
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    sizes = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return sizes[0] // 1024 if sizes else None
