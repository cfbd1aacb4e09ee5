"""A picture of a data set: per class a row of normal and of anomalous images, with their annotation drawn in.

Masks are outlined and tinted. Of label maps the anomalous region is, and what is to be ignored is darkened; the maps of
data to train a segmentation on are laid over the image in one colour per class.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from adbench.data.containers import tile_box
from adbench.data.images import open_mask, open_picture
from adbench.data.label_maps import IGNORE, open_labels
from adbench.data.sample import Sample
from adbench.report.heatmaps import OUTLINE, drawable, outlined

SIDE, GAP, MARGIN, CAPTION, HEAD = 160, 6, 12, 15, 26
INK, FAINT, RULE = (29, 35, 48), (102, 112, 133), (217, 222, 231)
TINT = 0.25  # share of the outline's colour inside a mask
SHADE = 0.35  # what is left of the light where a label map says "ignore"
LAYER = 0.55  # share of the class's colour in a segmentation
GOLDEN = 0.618034  # turns of hue between one train id and the next
KINDS = {0: "normal", 1: "anomalous", -1: "images"}  # label -> heading of its columns

_Item = TypeVar("_Item")


def contact_sheet(samples: Sequence[Sample], classes: Sequence[str], *, title: str, per_kind: int = 3) -> Image.Image:
    """Up to `per_kind` images of each class and kind, spread over the kinds of defects, under `title`.

    Raises UserError for a broken image or mask.
    """
    chosen = {name: _chosen([s for s in samples if s.class_name == name], per_kind) for name in classes}
    most = {label: max(len(by_label[label]) for by_label in chosen.values()) for label in KINDS}
    lefts, left = {}, MARGIN
    for label in (label for label in KINDS if most[label]):
        lefts[label] = left
        left += most[label] * (SIDE + GAP) + MARGIN
    row_height = HEAD + SIDE + CAPTION + GAP
    width = max(left, MARGIN + 8 * len(title))
    sheet = Image.new("RGB", (width, 2 * HEAD + len(classes) * row_height), "white")
    draw = ImageDraw.Draw(sheet)
    _text(draw, (MARGIN, 6), title, INK, 15)
    for label, place in lefts.items():
        _text(draw, (place, HEAD + 6), KINDS[label], FAINT, 12)
    for row, (name, by_label) in enumerate(chosen.items()):
        top = 2 * HEAD + row * row_height
        draw.line([(MARGIN, top), (width - MARGIN, top)], fill=RULE)
        _text(draw, (MARGIN, top + 5), name, INK, 13)
        for label, place in lefts.items():
            for number, sample in enumerate(by_label[label]):
                _paste(sheet, draw, sample, (place + number * (SIDE + GAP), top + HEAD))
    return sheet


def annotated(sample: Sample) -> Image.Image:
    """The sample's image with its annotation, SIDE pixels at its longer side. Raises UserError for broken files."""
    picture = open_picture(sample)
    scale = SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    method = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS
    small = picture.convert("RGB").resize(size, method)
    if sample.mask_path is None:
        return small
    if sample.label_ids is None:
        return _tinted(small, np.asarray(open_mask(sample, picture.size)) > 0)
    labels = open_labels(sample, picture.size)
    if set(sample.label_ids.values()) <= {0, 1, IGNORE}:
        pixels = np.array(small)
        ignored = np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)) == IGNORE
        pixels[ignored] = (pixels[ignored] * SHADE).astype(np.uint8)
        return _tinted(Image.fromarray(pixels), labels == 1)
    return _coloured(small, labels)


def _tinted(image: Image.Image, mask: NDArray[np.bool_]) -> Image.Image:
    """The image with `mask`, of any size, tinted and outlined; the smallest defect keeps a pixel."""
    whole = Image.fromarray(mask.astype(np.uint8) * 255).resize(image.size, Image.Resampling.BOX)
    inside = np.asarray(whole) > 0
    pixels = np.array(image)
    pixels[inside] = ((1 - TINT) * pixels[inside] + TINT * np.array(OUTLINE)).astype(np.uint8)
    return outlined(Image.fromarray(pixels), inside)


def _coloured(image: Image.Image, labels: NDArray[np.uint8]) -> Image.Image:
    """The image under one colour per train id; what is to be ignored is black."""
    hues = [colorsys.hsv_to_rgb(number * GOLDEN % 1.0, 0.75, 0.95) for number in range(IGNORE)]
    palette = (np.array([*hues, (0.0, 0.0, 0.0)]) * 255).astype(np.uint8)  # (256, 3)
    small = Image.fromarray(labels).resize(image.size, Image.Resampling.NEAREST)
    return Image.blend(image, Image.fromarray(palette[np.asarray(small)]), LAYER)


def _chosen(samples: Sequence[Sample], per_kind: int) -> dict[int, list[Sample]]:
    """By label the samples to show: test images before others, evenly spaced, the kinds of defects in turn."""
    shown = {}
    for label in KINDS:
        of_label = [sample for sample in samples if sample.label == label]
        by_defect: dict[str, list[Sample]] = {}
        for sample in [sample for sample in of_label if sample.split != "train"] or of_label:
            by_defect.setdefault(sample.defect, []).append(sample)
        kinds = _spread(list(by_defect.values()), per_kind)
        share = -(-per_kind // len(kinds)) if kinds else 0
        groups = [_spread(kind, share) for kind in kinds]
        in_turn = [group[i] for i in range(share) for group in groups if i < len(group)]
        shown[label] = sorted(in_turn[:per_kind], key=lambda sample: sample.key)
    return shown


def _spread(items: Sequence[_Item], count: int) -> list[_Item]:
    """At most `count` of the items, evenly spaced."""
    if len(items) <= count:
        return list(items)
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]


def _paste(sheet: Image.Image, draw: ImageDraw.ImageDraw, sample: Sample, corner: tuple[int, int]) -> None:
    """The annotated image in the middle of its cell, and its name below."""
    cell = annotated(sample)
    left, top = corner
    sheet.paste(cell, (left + (SIDE - cell.width) // 2, top + (SIDE - cell.height) // 2))
    name = f"{sample.defect if sample.label == 1 else sample.split}/{sample.path.name}"
    if tile_box(sample.path) is not None:
        name = sample.key  # the last part of which is only a place in the picture
    _text(draw, (left, top + SIDE + 1), name if len(name) <= 28 else f"...{name[-25:]}", FAINT, 10)


def _text(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, fill: tuple[int, int, int], size: int) -> None:
    draw.text(place, drawable(text), fill=fill, font=ImageFont.load_default(size))
