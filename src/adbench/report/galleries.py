"""Galleries of report.html: heat maps by class; of a data set the best, the worst and the most confident mistakes."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from adbench.engine.names import file_names
from adbench.engine.pictures import FACTS
from adbench.engine.settings import Row
from adbench.report.page import Gallery, Part, Picture, Text
from adbench.report.table import is_mean

WIDTH = 960  # the widest panel of a gallery stands so wide on the page
STORED = 1100  # panels are shrunk to this for the page; the full ones lie in heatmaps/
N_SHOWN = 3  # panels per gallery
ABOUT = (
    "image · outline of the annotation, where there is one · anomaly map; white line: the threshold of the largest F1, "
    "where it was measured; colours run over the class's own range. Click to enlarge."
)


@dataclass(frozen=True, slots=True)
class Panel:
    """A heat map that an evaluation has drawn; `width` in pixels; `margin`: how far its score lies
    on the wrong side of the threshold, 0 if it does not.
    """

    path: Path
    width: int
    key: str
    label: int
    score: float
    margin: float


def galleries(rows: Sequence[Row], folder: Path) -> list[Part]:
    """The heat maps of one data set in the table's order; nothing where none were drawn."""
    files = file_names(dict.fromkeys(row["class_name"] for row in rows if not is_mean(row)))
    by_class = {name: [_panel(path) for path in sorted((folder / file).glob("*.png"))] for name, file in files.items()}
    panels = [panel for panels in by_class.values() for panel in panels]
    if not panels:
        return []
    anomalous = sorted((panel for panel in panels if panel.label == 1), key=lambda panel: -panel.score)
    half = (len(anomalous) + 1) // 2  # of few pictures none is both among the best and among the worst
    chosen = {
        "Most confident mistakes": sorted((p for p in panels if p.margin > 0), key=lambda p: -p.margin),
        "Best: anomalous with the highest scores": anomalous[:half],
        "Worst: anomalous with the lowest scores": anomalous[half:][::-1],
    }
    shown = {name: some[:N_SHOWN] for name, some in chosen.items()} if len(panels) > N_SHOWN else {}
    return [Text(ABOUT), *(_gallery(name, some) for name, some in [*shown.items(), *by_class.items()] if some)]


def _gallery(name: str, panels: Sequence[Panel]) -> Gallery:
    """Panels at one scale under a heading."""
    scale = min(1.0, WIDTH / max(panel.width for panel in panels))
    pictures = [Picture(f"heat map of {p.key}", _embedded(p.path), round(scale * p.width)) for p in panels]
    return Gallery(name, pictures)


def _panel(path: Path) -> Panel:
    """What the PNG says of itself; of earlier versions it says nothing."""
    with Image.open(path) as image:
        width = image.width
        facts: dict[str, Any] = json.loads(image.info.get(FACTS, "{}"))
    label, score, threshold = facts.get("label", -1), facts.get("score", math.nan), facts.get("image_threshold")
    margin = 0.0
    if threshold is not None and label in (0, 1) and (score >= threshold) != label:
        margin = abs(score - threshold)
    return Panel(path, width, facts.get("key", path.stem), label, score, margin)


def _embedded(path: Path) -> str:
    """The picture as a data URI, shrunk to STORED."""
    with Image.open(path) as image:
        small = image.convert("RGB")
    if small.width > STORED:
        small = small.resize((STORED, round(small.height * STORED / small.width)))
    data = io.BytesIO()
    small.save(data, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
