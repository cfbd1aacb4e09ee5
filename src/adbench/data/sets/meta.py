"""Any data set that comes with a meta.json as AdaCLIP's and AnomalyCLIP's tools write it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import register
from adbench.data.meta import read_meta
from adbench.data.reading import MAX_MEGAPIXELS, OWN_READING_QUIRKS, Bits, MaskThreshold, own_reading
from adbench.data.survey import Entry
from adbench.typed import PositiveInt


@register(
    "meta",
    title="Any data set indexed by a meta.json",
    domain="any",
    task="classification, and localisation where there are masks",
    classes=(),
    licence="that of your data",
    source="the file format of https://github.com/caoyunkang/AdaCLIP and https://github.com/zqhang/AnomalyCLIP",
    citation="that of your data",
    how_to_get="Give the folder that holds the file: data=meta data.root=DIR",
    layout="""\
meta.json: {"train": {<class>: [record, ...]}, "test": {<class>: [record, ...]}}
record:    {"img_path": ..., "mask_path": ... or "", "cls_name": ..., "specie_name": ..., "anomaly": 0 or 1}""",
    quirks=(
        "Paths are relative to the file's folder; absolute ones and ones that repeat the folder are understood too.",
        "Masks of normal images are ignored.",
        "Errors are: an image that a split of a class lists twice, or a class both as normal and as anomalous, and an "
        "anomalous image without a mask in a class with masks; data.broken=skip leaves them out. An image in both "
        "splits and a mask of several images are noted in the results.",
        'Training records without an image (""), which Bayes-PFL has, are left out. A class name may be a number.',
        "The other data sets read a meta.json as well where their folder does not have the raw layout.",
        *OWN_READING_QUIRKS,
    ),
)
def index(
    root: Path,
    classes: Sequence[str] | None,
    *,
    inverted_masks: bool = False,
    mask_threshold: MaskThreshold | None = None,
    exif: bool = True,
    bits: Bits = 16,
    max_pixels: PositiveInt = MAX_MEGAPIXELS,
) -> Iterator[Entry]:
    """Index by `root/meta.json`; classes are chosen from it afterwards."""
    reading = own_reading(
        inverted_masks=inverted_masks, mask_threshold=mask_threshold, exif=exif, bits=bits, max_pixels=max_pixels
    )
    return read_meta(root, dataset="meta", reading=reading)
