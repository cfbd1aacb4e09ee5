"""The parts of an HTML page, and the page that page.html makes of them: one file, nothing fetched, all escaped."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table. `css`: its classes; `bar`: how far its bar reaches, in percent; `small`: below the text."""

    text: str
    css: str = ""
    bar: float | None = None
    small: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table. `rows`: CSS class and cells; `heading` and `about` stand above it, `notes` below."""

    kind: ClassVar[str] = "table"
    head: Sequence[Cell]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    notes: Sequence[str] = ()
    about: str = ""
    heading: str = ""


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Tables that stand beside each other where there is room."""

    kind: ClassVar[str] = "row"
    tables: Sequence[Table]


@dataclass(frozen=True, slots=True)
class Plots:
    """Drawings (SVG, which is taken as it is) beside each other."""

    kind: ClassVar[str] = "plots"
    heading: str
    drawings: Sequence[str]


@dataclass(frozen=True, slots=True)
class Picture:
    """An embedded picture that a click enlarges. `width`: on the page, in pixels."""

    alt: str
    source: str
    width: int


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures below each other."""

    kind: ClassVar[str] = "gallery"
    heading: str
    pictures: Sequence[Picture]


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; `legend`: names in the colours of drawings, by CSS class; `is_code`: a listing, folded if `fold`."""

    kind: ClassVar[str] = "text"
    text: str
    heading: str = ""
    legend: Sequence[tuple[str, str]] = ()
    is_code: bool = False
    fold: bool = False


Part = Table | SideBySide | Plots | Gallery | Text


@dataclass(frozen=True, slots=True)
class Section:
    """A heading that the contents name, and what stands below it."""

    heading: str
    parts: Sequence[Part] = field(default_factory=list)


def render(title: str, summary: str, sections: Sequence[Section]) -> str:
    """The page as text; sections without parts are left out."""
    template = _environment().get_template("page.html")
    return template.render(title=title, summary=summary, sections=[section for section in sections if section.parts])


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup, escape

    def load(name: str) -> str:
        return resources.files("adbench.report").joinpath(name).read_text(encoding="utf-8")

    def breakable(text: str) -> Markup:
        return Markup(re.sub(r"([_/])", r"\1<wbr>", str(escape(text))))

    environment = Environment(
        loader=FunctionLoader(load), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["breakable"] = breakable
    return environment
