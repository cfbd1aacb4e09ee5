"""What a detector says of one picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ImagePrediction:
    """What a detector says of one picture; higher means more anomalous.

    score   the image score; the largest value of the map where the method gives none
    map     (H, W) float32 at the picture's own size, NaN where the method's crop does not reach; None without maps
    threshold   None where none is known; then is_anomalous is None and verdict empty
    scored_with   of how many pictures the score depends, which were given together; None: of this one alone
    """

    score: float
    map: NDArray[np.float32] | None
    class_name: str
    threshold: float | None = None
    scored_with: int | None = None

    @property
    def is_anomalous(self) -> bool | None:
        """Whether the score is strictly above the threshold."""
        return None if self.threshold is None else self.score > self.threshold

    @property
    def verdict(self) -> str:
        """ "normal" or "anomalous"; empty without a threshold."""
        return "" if self.threshold is None else "anomalous" if self.is_anomalous else "normal"
