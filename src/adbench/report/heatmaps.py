"""Heat maps as pictures: image | mask outline | overlay | colour bar, with label, score and verdict above."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from adbench.engine.pictures import KINDS, Picture
from adbench.report.colours import colour, scale

OUTLINE, CONTOUR = (0, 255, 170), (255, 255, 255)
INK, FAINT, WRONG = (29, 35, 48), (102, 112, 133), (163, 65, 10)
HEAT = 0.6  # share of the heat map's colour in the overlay, the rest is the image in grey
LONGEST = 300  # smaller pictures are enlarged to it
PAGE, FONT = 960, 15  # letters are so large on a panel of three parts that is shown this wide, in pixels
VERDICTS = {(1, True): "found", (1, False): "missed", (0, True): "false alarm", (0, False): "passed"}
MISTAKES = ("missed", "false alarm")


def paint(picture: Picture) -> Image.Image:
    """One panel: the image; with the outline of its mask, if that marks anything; in grey under its map; a colour bar.

    Parts have the proportions of the picture. Colours run over the limits of the picture's class, so panels of a class
    compare; the bar says them in the map's own numbers. A white line on map and bar is the threshold, if one is known.
    """
    image = _enlarged(picture)
    parts = [image]
    if picture.mask is not None and picture.mask.any():
        parts.append(outlined(image, picture.mask))
    heat = overlay(image, picture.map, picture.limits)
    if picture.pixel_threshold is not None:
        above = _resized(picture.map, image.size) >= picture.pixel_threshold
        heat = outlined(heat, above, CONTOUR)
    parts.append(heat)
    return _panel(parts, _verdict(picture), picture.key, picture.limits, picture.pixel_threshold)


def paint_prediction(
    image: Image.Image,
    map_: NDArray[np.floating],
    said: Sequence[str],
    name: str,
    limits: tuple[float, float],
    threshold: float | None,
) -> Image.Image:
    """One panel without ground truth: the picture in grey under its map, with what is `said` of it and its `name`.

    NaN in the map, where the method saw nothing, is the darkest colour. See `paint` for limits and threshold.
    """
    grow = max(1.0, LONGEST / max(image.size))
    image = image.resize((round(image.width * grow), round(image.height * grow)), Image.Resampling.BICUBIC)
    seen = np.nan_to_num(map_, nan=limits[0])
    heat = overlay(image, seen, limits)
    if threshold is not None:
        heat = outlined(heat, _resized(seen, image.size) >= threshold, CONTOUR)
    return _panel([heat], [(text, INK) for text in said], name, limits, threshold)


def _panel(
    parts: Sequence[Image.Image],
    texts: Sequence[tuple[str, tuple[int, int, int]]],
    name: str,
    limits: tuple[float, float],
    threshold: float | None,
) -> Image.Image:
    """Parts of one size beside each other and a colour bar, below a caption of `texts` and `name`."""
    image = parts[0]
    # By the longer side, for upright pictures may stand beside wide ones at one scale; but strips are not all letters.
    side = max(image.width, min(image.height, 4 * image.width))
    size = max(12, round(FONT / PAGE * 3.3 * side))
    gap, head = size // 3, 3 * size
    bar = _colour_bar(limits, threshold, max(image.height, 5 * size), size)
    font = ImageFont.load_default(size)
    said = round(sum(font.getlength(text) + 1.5 * size for text, _ in texts))
    width = max((image.width + gap) * len(parts) + bar.width, 28 * size, said)
    panel = Image.new("RGB", (width, head + bar.height), "white")
    _write_caption(ImageDraw.Draw(panel), texts, name, width, size)
    for index, part in enumerate(parts):
        panel.paste(part, (index * (image.width + gap), head))
    panel.paste(bar, (len(parts) * (image.width + gap), head))
    return panel


def outlined(image: Image.Image, mask: NDArray[np.bool_], line: tuple[int, int, int] = OUTLINE) -> Image.Image:
    """The image with the outline of a mask of any size."""
    from scipy.ndimage import binary_erosion

    inside = np.asarray(Image.fromarray(mask).resize(image.size, Image.Resampling.NEAREST), np.bool_)
    # The image's edge does not count as outside.
    inner = binary_erosion(inside, iterations=max(1, max(image.size) // 250), border_value=1)
    pixels = np.array(image)
    pixels[inside & ~inner] = line
    return Image.fromarray(pixels)


def overlay(image: Image.Image, map_: NDArray[np.floating], limits: tuple[float, float]) -> Image.Image:
    """The image in grey under the colours of its anomaly map."""
    heat = Image.fromarray(colour(_resized(map_, image.size), *limits))
    return Image.blend(image.convert("L").convert("RGB"), heat, HEAT)


def _enlarged(picture: Picture) -> Image.Image:
    """The image in the proportions of the picture as it is stored, at least LONGEST at its longer side."""
    image = Image.fromarray(picture.image)
    height, width = picture.size or picture.image.shape[:2]
    grow = max(LONGEST, *image.size) / max(height, width)
    return image.resize((max(1, round(width * grow)), max(1, round(height * grow))), Image.Resampling.BICUBIC)


def _resized(map_: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float32]:
    """The map at `size` (width, height)."""
    return np.asarray(Image.fromarray(np.asarray(map_, np.float32)).resize(size, Image.Resampling.BILINEAR))


def _colour_bar(limits: tuple[float, float], threshold: float | None, height: int, size: int) -> Image.Image:
    """The colour scale upright, with its limits and the threshold in numbers; letters of `size` pixels."""
    bar = Image.new("RGB", (7 * size, height), "white")
    bar.paste(Image.fromarray(scale()[::-1, None]).resize((size, height), Image.Resampling.BILINEAR), (0, 0))
    draw, font = ImageDraw.Draw(bar), ImageFont.load_default(size)
    low, high = limits
    draw.text((1.3 * size, 0), f"{high:.3g}", fill=INK, font=font, anchor="lt")
    draw.text((1.3 * size, height - size // 4), f"{low:.3g}", fill=INK, font=font, anchor="ls")
    if threshold is not None and low < threshold < high:
        y = round((height - 1) * (high - threshold) / (high - low))
        draw.line([(0, y), (size, y)], fill=CONTOUR, width=max(2, size // 6))
        beside = min(max(y, 1.7 * size), height - 1.7 * size)  # clear of the limits
        draw.text((1.3 * size, beside), f"t = {threshold:.3g}", fill=INK, font=font, anchor="lm")
    return bar


def _verdict(picture: Picture) -> list[tuple[str, tuple[int, int, int]]]:
    """Label, score and verdict with their colours."""
    texts = [(KINDS[picture.label], INK), (f"score {picture.score:.4g}", INK)]
    if picture.image_threshold is not None and picture.label in (0, 1):
        verdict = VERDICTS[picture.label, picture.score >= picture.image_threshold]
        shown = f"{verdict} at threshold {picture.image_threshold:.4g} (F1-max)"
        texts.append((shown, WRONG if verdict in MISTAKES else INK))
    return texts


def drawable(text: str) -> str:
    """The text in one line and letters that the built-in font has: without accents, "?" for what else it lacks."""
    parts = [part for part in unicodedata.normalize("NFKD", text) if not unicodedata.combining(part)]
    return "".join(part if part.isascii() and part.isprintable() else "?" for part in parts)


def _write_caption(
    draw: ImageDraw.ImageDraw, texts: Sequence[tuple[str, tuple[int, int, int]]], name: str, width: int, size: int
) -> None:
    """The texts in the first line, the picture's name in the second, cut in front."""
    font = ImageFont.load_default(size)
    left = 0.0
    for text, fill in texts:
        draw.text((left, 1), text, fill=fill, font=font)
        left += draw.textlength(text, font=font) + 1.5 * size
    key = drawable(name)
    whole = key
    while draw.textlength(key, font=font) > width and len(key) > 4:
        key = "..." + whole[len(whole) - len(key) + 4 :]
    draw.text((0, 1.35 * size), key, fill=FAINT, font=font)
