"""Anomaly maps of single pictures as files: float32 .npy, 16-bit PNG, or colours over the picture."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from adbench.atomic import replacing
from adbench.engine.names import file_name
from adbench.engine.thresholds import MapScale
from adbench.report.heatmaps import paint_prediction

MapFormat = Literal["npy", "png"]
_TOP = 65535
_LONGEST = 2048  # side of an overlay, in pixels
_NAME_BYTES = 240


def map_path(folder: Path, relative: str, ending: str) -> Path:
    """folder/relative.ending: where what belongs to a picture lies, named like it; names too long carry a hash."""
    parts = PurePosixPath(relative).parts
    fits = [len(part.encode("utf-8", "surrogateescape")) <= _NAME_BYTES for part in parts]
    *above, name = [part if short else file_name(part) for part, short in zip(parts, fits, strict=True)]
    return folder.joinpath(*above, f"{name}.{ending}")


def write_map(map_: NDArray[np.float32], path: Path, kind: MapFormat) -> None:
    """Write a map (H, W), whole or not at all.

    npy  float32, NaN where the method saw nothing
    png  16 bits: 0 where the method saw nothing, else value = low + (high - low) * (grey - 1) / 65534 with low and high
         from the text chunk "map", {"low": ..., "high": ...}
    """
    with replacing(path) as temporary:
        if kind == "npy":
            with temporary.open("wb") as file:
                np.save(file, map_)
            return
        low, high = float(np.nanmin(map_)), float(np.nanmax(map_))
        share = (map_.astype(np.float64) - low) / ((high - low) or 1.0)
        grey = np.where(np.isnan(map_), 0, 1 + np.round(np.nan_to_num(share) * (_TOP - 1))).astype(np.uint16)
        about = PngInfo()
        about.add_text("map", json.dumps({"low": low, "high": high}))
        Image.fromarray(grey).save(temporary, format="PNG", pnginfo=about)


def read_png_map(path: Path) -> NDArray[np.float32]:
    """The map that `write_map` wrote as PNG: exact to 1/131068 of its range."""
    with Image.open(path) as image:
        scale = json.loads(image.text["map"])
        grey = np.asarray(image).astype(np.float64)
    values = scale["low"] + (scale["high"] - scale["low"]) * (grey - 1) / (_TOP - 1)
    return np.where(grey == 0, np.nan, values).astype(np.float32)


def overlay_names(pictures: Sequence[str]) -> dict[str, str]:
    """Picture -> name of its overlay without ending: the picture's without its own, where that tells them apart."""
    counts = Counter(str(PurePosixPath(picture).with_suffix("")) for picture in pictures)
    bare = {picture: str(PurePosixPath(picture).with_suffix("")) for picture in pictures}
    return {picture: name if counts[name] == 1 and name not in bare else picture for picture, name in bare.items()}


def write_overlay(
    image: Image.Image, map_: NDArray[np.float32], path: Path, said: Sequence[str], name: str, maps: MapScale | None
) -> None:
    """Write the picture, at most 2048 pixels long, in grey under the colours of its map as JPEG, with a colour bar and
    what is `said` of it.

    maps  the scale of all pictures of a class, with the threshold that is outlined; None: the map's own range, which
          says where, not how much
    """
    limits = (float(np.nanmin(map_)), float(np.nanmax(map_))) if maps is None else (maps.low, maps.high)
    scale = [] if maps is not None else ["colours: this picture's own range"]
    small = image.convert("RGB")
    small.thumbnail((_LONGEST, _LONGEST))
    threshold = None if maps is None else maps.threshold
    painted = paint_prediction(small, map_, [*said, *scale], name, limits, threshold)
    with replacing(path) as temporary:
        painted.save(temporary, format="JPEG", quality=90)
