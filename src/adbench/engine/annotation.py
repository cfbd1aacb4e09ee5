"""Training images of which nobody has drawn where they are anomalous: counted, said, refused where nothing is left."""

from __future__ import annotations

from collections.abc import Sequence

from adbench.engine.settings import TrainData, TrainSettings
from adbench.errors import UserError
from adbench.methods.base import Method


def annotation_remarks(method: Method, data: Sequence[TrainData], settings: TrainSettings) -> list[str]:
    """What must stand beside every result of weights trained on these images; empty where every mask is known.

    Raises UserError where no mask is known and the method has nothing else to learn anomalies from.
    """
    if method.supervision != "anomaly" or method.learns_from_masks == "not":
        return []
    anomalous = [sample for part in data for sample in part.samples if sample.label != 0]
    n_unknown = sum(not sample.annotated for sample in anomalous)
    if not n_unknown:
        return []
    which = f"{n_unknown} of {len(anomalous)} anomalous training images have no mask"
    if settings.unannotated == "as_normal":
        return [f"trained on wrong masks: {which} and passed for normal in every pixel (trainer.unannotated=as_normal)"]
    if n_unknown < len(anomalous):
        return [f"{which}: pixel losses are of the other images"]
    if method.learns_from_masks == "only":
        raise UserError(
            f"method {method.name} with these settings learns from masks only, and no training image has one",
            where="data",
            hint="train on data with masks, or use the method's image losses too",
        )
    return ["no anomalous training image has a mask: trained without pixel losses, maps are a by-product"]
