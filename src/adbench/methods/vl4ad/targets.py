"""Label maps as the matching loss wants them: a binary mask per class that an image shows."""

from __future__ import annotations

from torch import Tensor

from adbench.data.label_maps import IGNORE
from adbench.errors import UserError


def targets(labels: Tensor, n_classes: int, *, where: str = "") -> tuple[list[Tensor], list[Tensor]]:
    """Masks (n, H, W) float and classes (n,) int64, ascending, of each label map of (B, H, W); 255 is in no mask.

    Raises UserError for a label that is neither a class nor 255. `where` names the data.
    """
    masks, classes = [], []
    for one in labels:
        present = one.unique()
        present = present[present != IGNORE]
        if len(present) and not 0 <= int(present[0]) <= int(present[-1]) < n_classes:
            raise UserError(
                f"a label map holds class {int(present[-1])}, the vocabulary has {n_classes} classes",
                where=where,
                hint="choose the data set's own words (method.vocabulary)",
            )
        masks.append((one == present[:, None, None]).float())  # float: the point sampler takes no bool
        classes.append(present)
    return masks, classes
