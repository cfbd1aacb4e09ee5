"""Defects one by one, each with the area from which on it counts as found: MVTec LOCO AD, AutoVI.

<class>/defects_config.json: [{"defect_name", "pixel_value", "saturation_threshold", "relative_saturation"}, ...]
A mask file is one defect; all its pixels have the value of its entry.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from adbench.data.defects import DefectMask, Saturation
from adbench.data.mask_values import StoredMask
from adbench.data.sample import Sample
from adbench.data.stems import bare, numbered
from adbench.data.survey import Entry, Note
from adbench.errors import UserError

CONFIG_NAME = "defects_config.json"


def with_saturations(samples: Iterable[Sample], folder: Path) -> Iterator[Entry]:
    """The samples of a class with what its config says of their masks.

    Masks that do not lie in a folder of their image are several defects drawn into one: these have no saturation, and
    neither has a class without a config. Both are noted. Raises UserError for a damaged config.
    """
    file = folder / CONFIG_NAME
    saturations = read_saturations(file) if file.is_file() else None
    merged = []
    for sample in samples:
        if sample.label == 1 and saturations is not None:
            if sample.mask_path is not None and not _in_own_folder(sample.mask_path, sample.path):
                merged.append(sample.key)
            else:
                sample = replace(sample, saturations=saturations)
        yield sample
    if saturations is None:
        yield Note(f"{file} is missing: pixel AUC-sPRO is not defined", in_rows=True)
    if merged:
        what = f"{len(merged)} masks do not tell defects apart (first that of {merged[0]})"
        yield Note(f"{what}: pixel AUC-sPRO is not defined", in_rows=True)


def _in_own_folder(mask: Path, image: Path) -> bool:
    """Whether a mask lies in a folder that is called as its image: .../NNN/MMM.png."""
    return numbered(bare(mask.parent.name)) == numbered(bare(image.name))


def read_saturations(file: Path) -> dict[int, Saturation]:
    """Value of a mask's pixels -> saturation. Raises UserError for a damaged file."""
    hint = "unpack the archive again"
    try:
        entries = json.loads(file.read_text(encoding="utf-8-sig"))
        pairs = [(entry["pixel_value"], _saturation(entry)) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"the config of defects cannot be read: {error!r}", where=str(file), hint=hint) from error
    values = [value for value, _ in pairs]
    for value in values:
        if type(value) is not int or not 1 <= value <= 255 or values.count(value) > 1:
            raise UserError(f"the config of defects has the pixel_value {value!r}", where=str(file), hint=hint)
    return dict(pairs)


def _saturation(entry: dict[str, Any]) -> Saturation:
    threshold, relative = entry["saturation_threshold"], entry["relative_saturation"]
    if type(relative) is not bool or type(threshold) not in (int, float):
        raise ValueError(f"saturation_threshold {threshold!r}, relative_saturation {relative!r}")
    if not 0 < threshold <= (1 if relative else float("inf")):
        raise ValueError(f"saturation_threshold {threshold!r} of a {'relative' if relative else 'absolute'} saturation")
    return float(threshold), relative


def defect_masks(sample: Sample, masks: Sequence[StoredMask]) -> list[DefectMask]:
    """The defects of a sample, from what its mask files hold; of one that marks nothing there is none.

    Raises UserError for a mask of several values, and for a value that the config does not know.
    """
    paths = [path for path in (sample.mask_path, *sample.further_masks) if path is not None]
    defects = []
    for path, stored in zip(paths, masks, strict=True):
        marked = stored.marked(sample.reading)
        if marked.any():
            defects.append(DefectMask(marked, _saturation_of(stored.values[marked], sample, path)))
    return defects


def _saturation_of(values: NDArray[Any], sample: Sample, mask: Path) -> Saturation | None:
    """What the config says of the one value that the pixels of a defect have."""
    if sample.saturations is None:
        return None
    held = sorted({int(values.min()), int(values.max())})
    if len(held) > 1 or held[0] not in sample.saturations:
        hint = f"a mask is one defect, and {CONFIG_NAME} knows {', '.join(map(str, sample.saturations))}"
        what = f"mask holds the values {' to '.join(map(str, held))}"
        raise UserError(what, where=f"{mask}, of image {sample.path}", hint=hint)
    return sample.saturations[held[0]]
