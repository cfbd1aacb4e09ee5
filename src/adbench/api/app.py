"""A page in the browser for a detector: drop pictures, see score, verdict and map. Needs the extra `app` (gradio)."""

from __future__ import annotations

import html
import importlib.util
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from adbench.api.contents import Picture
from adbench.api.detector import Detector
from adbench.api.pictures import open_picture
from adbench.errors import UserError
from adbench.report.heatmaps import overlay

if TYPE_CHECKING:
    from gradio import Blocks
    from numpy.typing import NDArray

LOOPBACK = "127.0.0.1"
HEADERS = ("picture", "score", "verdict")
_LONGEST = 800  # side of a picture on the page
_NOTHING = "Drop pictures to have them scored."
_STYLE = """
#maps .grid-wrap { max-height: none; overflow: visible }
#maps .grid-container { grid-template-columns: repeat(auto-fill, minmax(min(100%, 260px), 1fr)) }
"""


def require_gradio() -> None:
    """Raise UserError where the extra is not installed."""
    if importlib.util.find_spec("gradio") is None:
        raise UserError("the app needs gradio", hint="pip install 'adbench-clip[app]'")


def make_app(
    detector: Detector,
    *,
    class_name: str = "object",
    support: Sequence[Picture] | None = None,
    threshold: float | None = None,
) -> Blocks:
    """The page; `serve` shows it. `class_name` and `threshold` stand in its fields at first.

    support  normal pictures of the class, for methods that compare with such
    """
    require_gradio()
    import gradio

    def score(files: list[str] | None, words: str, limit: str) -> tuple[str, list[list[str]], list[Any]]:
        try:
            return _scored(detector, files or [], words.strip() or "object", support, _number(limit))
        except UserError as error:
            raise gradio.Error(str(error), duration=None, print_exception=False) from error

    name = f"{detector.method.name} on {detector.method.clip.name}"
    with gradio.Blocks(title=f"adbench: {name}", analytics_enabled=False, delete_cache=(600, 3600)) as app:
        gradio.Markdown(f"# {name}\nThe higher a score, the more anomalous; maps say where.")
        with gradio.Row():
            with gradio.Column(scale=1, min_width=280):
                files = gradio.File(label="pictures", file_count="multiple", height=180)
                words = gradio.Textbox(class_name, label="what they show, in words", elem_id="class-name")
                limit = gradio.Textbox(  # an empty gradio.Number comes back as 0
                    "" if threshold is None else str(threshold),
                    label="threshold",
                    info="a score above it is anomalous; empty: the calibrated one of the class, if there is one",
                    elem_id="threshold",
                )
                button = gradio.Button("Score", variant="primary", elem_id="score")
            with gradio.Column(scale=3, min_width=280):
                summary = gradio.HTML(_paragraphs(_NOTHING), padding=False, elem_id="summary")
                table = gradio.Dataframe(
                    headers=list(HEADERS),
                    column_widths=["45%", "25%", "30%"],
                    interactive=False,
                    wrap=True,
                    show_label=False,
                    elem_id="table",
                )
                maps = gradio.Gallery(show_label=False, object_fit="contain", height="auto", elem_id="maps")
        given = {"inputs": [files, words, limit], "outputs": [summary, table, maps]}
        for event in (files.change, words.submit, limit.submit, button.click):
            # The method is one: who comes second waits.
            event(score, **given, concurrency_limit=1, concurrency_id="detector")
    return app


def serve(app: Blocks, *, host: str = LOOPBACK, port: int | None = None) -> str:
    """Show the page in a thread of its own, until `app.close()`; returns its address.

    port  None: the first free one from 7860 on
    Raises UserError for a port that is taken or none, and for an address that is not this computer's.
    """
    try:
        _, address, _ = app.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            footer_links=[],
            css=_STYLE,
        )
    except (OSError, OverflowError) as error:
        hint = "name another port, or none (the first free one is taken then), and an address of this computer"
        raise UserError("the port cannot be had", where=f"{host}:{port}", hint=hint) from error
    return str(address)


def _number(text: str) -> float | None:
    """The number in a field; None where it is empty. Raises UserError for anything else."""
    try:
        number = float(text) if text.strip() else None
    except ValueError:
        number = math.nan
    if number is not None and not math.isfinite(number):
        raise UserError(f"the threshold is no number: {text.strip()}", hint="give a number, or leave the field empty")
    return number


def _scored(
    detector: Detector, files: list[str], class_name: str, support: Sequence[Picture] | None, threshold: float | None
) -> tuple[str, list[list[str]], list[Any]]:
    """What stands above the pictures, a row of each, and the pictures under their maps, on one scale."""
    rows, heats, broken = [], [], []
    limit = detector.threshold(class_name, support) if threshold is None else threshold
    given = detector.stream(files, class_name=class_name, support=support, threshold=limit)
    for name, file, result in zip(_names(files), files, (result for _, result in given), strict=True):
        if isinstance(result, UserError):
            rows.append([name, "", "not read"])
            broken.append(f"{name}: {result.what}")
            continue
        rows.append([name, f"{result.score:.4g}", result.verdict])
        if result.map is not None:
            caption = " · ".join(filter(None, (f"{result.score:.4g}", result.verdict, name)))  # a long name is cut
            heats.append((*_small(file, result.map), caption))
    if not rows:
        return _paragraphs(_NOTHING), [], []
    low, high = (float(pick([pick(map_) for _, map_, _ in heats])) if heats else 0.0 for pick in (np.min, np.max))
    words = detector.method.prompt_words(class_name)
    anomalous = sum(row[2] == "anomalous" for row in rows)
    said = [
        f"{len(rows) - len(broken)} pictures scored" + ("" if limit is None else f", {anomalous} anomalous"),
        "no threshold is known, so no verdicts" if limit is None else f"threshold {limit:.6g}",
        f"prompts say “{words}”" if words is not None else "",
        f"colours from {low:.3g} to {high:.3g}" if heats else "",
    ]
    painted = [(overlay(small, map_, (low, high)), caption) for small, map_, caption in heats]
    return _paragraphs(" · ".join(part for part in said if part), *broken), rows, painted


def _names(files: Sequence[str]) -> list[str]:
    """The names of files without their folders; equal ones are numbered."""
    names, seen = [Path(file).name for file in files], Counter[str]()
    total = Counter(names)
    for number, name in enumerate(names):
        seen[name] += 1
        names[number] += f" ({seen[name]})" if total[name] > 1 else ""
    return names


def _paragraphs(*lines: str) -> str:
    """Each line as a paragraph of HTML, whatever signs are in names and words."""
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)


def _small(file: str, map_: NDArray[np.float32]) -> tuple[Image.Image, NDArray[np.float32]]:
    """The picture and its map at a size for the page; where the method saw nothing the map has its lowest value."""
    picture = open_picture(file).convert("RGB")
    picture.thumbnail((_LONGEST, _LONGEST))
    filled = np.nan_to_num(map_, nan=float(np.nanmin(map_)))
    return picture, np.asarray(Image.fromarray(filled).resize(picture.size, Image.Resampling.BILINEAR))
