"""A detector from a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adbench.api.detector import Detector
from adbench.clip import load_clip
from adbench.engine.device import resolve_device
from adbench.engine.run_folder import RunFolder
from adbench.engine.weights import check_is_known, load_weights, read_record
from adbench.errors import UserError
from adbench.methods import build, names


def load_run(path: str | Path, *, device: str = "auto", **scoring: Any) -> Detector:
    """The method of a training run (its folder, or its weights file) on the backbone that it was trained on.

    `scoring`: hyperparameters that only scoring reads (`Method.scoring_only`), where they are to be others. Thresholds
    that lie beside the weights are taken too (`python -m adbench calibrate`, `save_thresholds`). Raises UserError where
    there is no such run, and where the backbone's weights cannot be had.

        >>> import adbench
        >>> detector = adbench.load_run("outputs/train/adaclip/demo/A")  # doctest: +SKIP
        >>> detector.predict("picture.png", class_name="gear")[0].score  # doctest: +SKIP
    """
    place = Path(path).expanduser()
    record = read_record(place)
    if record is None:
        hint = "build the method and load the weights: Detector(method, load_weights(method, path))"
        raise UserError("this file does not say which method it is of", where=str(path), hint=hint)
    check_is_known(record, names(), 'first run adbench.load_plugin("PLACE")')
    used = RunFolder(place if place.is_dir() else place.parent).config().get("clip", {})
    if used.get("name") != record.backbone.get("name"):
        used = {"name": record.backbone.get("name")}
    clip = load_clip(**used, device=resolve_device(device))
    method = build(record.method, clip, **{**record.hyperparameters, **scoring})
    detector = Detector(method, load_weights(method, place), device=device)
    detector.load_thresholds(place)
    return detector
