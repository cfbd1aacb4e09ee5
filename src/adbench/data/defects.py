"""One defect of an image by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Saturation = tuple[float, bool]
"""A threshold, and whether it is a share of the defect's own area, in (0, 1]; else it is a number of pixels."""


@dataclass(frozen=True, slots=True)
class DefectMask:
    """One defect of an image: its mask (H, W) bool at the size of the stored image; its saturation, where known."""

    mask: NDArray[np.bool_]
    saturation: Saturation | None
