"""Galleries of report.html: heat maps by class; of a data set the best, the worst and the most confident mistakes."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from adbench.engine.names import file_names
from adbench.engine.pictures import FACTS
from adbench.engine.settings import Row
from adbench.report.table import is_mean

WIDTH = 960  # the widest panel of a gallery stands so wide on the page
STORED = 1100  # panels are shrunk to this for the page; the full ones lie in heatmaps/
N_SHOWN = 3  # panels per gallery
ABOUT = (
    "image · outline of the annotation, where there is one · anomaly map, with the threshold of the largest F1 as a "
    "white line; colours run over the class's own range. Click to enlarge."
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


def galleries(rows: Sequence[Row], folder: Path) -> str:
    """HTML of the heat maps of one data set in the table's order; empty where none were drawn."""
    files = file_names(dict.fromkeys(row["class_name"] for row in rows if not is_mean(row)))
    by_class = {name: [_panel(path) for path in sorted((folder / file).glob("*.png"))] for name, file in files.items()}
    panels = [panel for panels in by_class.values() for panel in panels]
    if not panels:
        return ""
    anomalous = [panel for panel in panels if panel.label == 1]
    chosen = {
        "Most confident mistakes": sorted((p for p in panels if p.margin > 0), key=lambda p: -p.margin),
        "Best: anomalous with the highest scores": sorted(anomalous, key=lambda p: -p.score),
        "Worst: anomalous with the lowest scores": sorted(anomalous, key=lambda p: p.score),
    }
    parts = [f"<p class=faint>{ABOUT}</p>"]
    if len(panels) > N_SHOWN:
        parts += [_gallery(name, some[:N_SHOWN]) for name, some in chosen.items() if some]
    parts += [_gallery(name, some) for name, some in by_class.items() if some]
    return "".join(parts)


def _gallery(name: str, panels: Sequence[Panel]) -> str:
    """Panels at one scale under a heading."""
    scale = min(1.0, WIDTH / max(panel.width for panel in panels))
    return f"<h3>{escape(name)}</h3>" + "".join(
        f'<figure><label><input type="checkbox"><img alt="heat map of {escape(panel.key)}" '
        f'style="width:{round(scale * panel.width)}px" src="{_embedded(panel.path)}"></label></figure>'
        for panel in panels
    )


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
