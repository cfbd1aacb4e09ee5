"""Float32 scores as unsigned integers of the same order: what packed sorting and order-preserving bins need."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SIGN = np.uint32(0x80000000)


def ordered_bits(scores: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Map float32 scores to uint32 so that a < b exactly where bits(a) < bits(b); -0.0 and 0.0 get the same bits."""
    bits: NDArray[np.uint32] = (scores + np.float32(0)).view(np.uint32)  # adding 0 turns -0.0 into 0.0 and copies
    flips = (bits.view(np.int32) >> 31).view(np.uint32)
    flips |= _SIGN  # negative: flip all bits, else flip the sign
    bits ^= flips
    return bits


def from_ordered_bits(bits: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Invert `ordered_bits`."""
    flips = bits >> np.uint32(31)
    flips -= np.uint32(1)
    flips |= _SIGN
    flips ^= bits
    scores: NDArray[np.float32] = flips.view(np.float32)
    return scores
