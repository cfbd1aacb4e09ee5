"""What `data check` has seen in images and masks, put together by class: doubts about numbers, and things to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from adbench.data.contents import Contents, ContentTally
from adbench.data.probe import Probe
from adbench.data.sample import Sample
from adbench.errors import UserError


@dataclass(slots=True)
class Looked:
    """What was seen of a sample: of its image, `faults`, and the share of pixels that its masks mark.

    `faint`: the share of mask values in 1...127; None where there are no masks.
    """

    sample: Sample
    image: Probe
    faults: list[UserError] = field(default_factory=list)
    marked: float | None = None
    faint: float | None = None


def doubts(looked: Sequence[Looked]) -> Iterator[UserError]:
    """Per class what a result row would say too: masks that mark nothing or everything, values far below the range."""
    for name, group in _by_class(looked).items():
        tally = ContentTally()
        for look in group:
            tally.add(look.sample.key, Contents(look.marked, look.image.peak))
        for note in tally.notes():
            hint = "look at them by data show, and mend the masks or how they are read (datasets.md)"
            yield UserError(note, where=f"class {name}", hint=hint)


def notes(looked: Sequence[Looked], sizes: Mapping[str, tuple[int, int]]) -> list[str]:
    """Per class what is certain, but good to know; `sizes`: class -> published (width, height) of the images."""
    lines = []
    for name, group in _by_class(looked).items():
        other = [look for look in group if name in sizes and look.image.size not in (None, sizes[name][::-1])]
        if other and other[0].image.size is not None:
            (height, width), published = other[0].image.size, "x".join(map(str, sizes[name]))
            lines.append(
                f"class {name}: {len(other)} images are not of the published size, first {other[0].sample.key} of "
                f"{width}x{height} pixels; published: {published}. Results do not compare with published ones"
            )
        faint = [(look.faint, look.sample) for look in group if look.faint]
        if faint:
            share, worst = max(faint, key=lambda pair: pair[0])
            setting = "data.mask_threshold" if worst.dataset in ("folder", "meta") else "above 0 is a defect"
            lines.append(
                f"class {name}: {len(faint)} masks hold values between 1 and 127, up to {share:.1%} of the pixels "
                f"({worst.mask_path}): compressed or resized ({setting})"
            )
        for what, seen in (
            ("are stored in CMYK and converted to RGB by Pillow", [look for look in group if look.image.cmyk]),
            ("are stored in another format than their name says", [look for look in group if look.image.misnamed]),
            ("have transparent pixels: transparency is dropped", [look for look in group if look.image.transparent]),
        ):
            if seen:
                lines.append(f"class {name}: {len(seen)} images {what}, first {seen[0].sample.key}")
    return lines


def _by_class(looked: Sequence[Looked]) -> dict[str, list[Looked]]:
    groups: dict[str, list[Looked]] = {}
    for look in looked:
        groups.setdefault(look.sample.class_name, []).append(look)
    return groups
