"""What reading an image and its mask has shown that a reader of results must know: counted here, said in words."""

from __future__ import annotations

from dataclasses import dataclass, field

_NEARLY_ALL = 0.9
_FAINT_PEAK = 1 / 16  # 12-bit values in 16 bits


@dataclass(frozen=True, slots=True)
class Contents:
    """marked: the share of pixels that the mask of an anomalous image marks; None where there is no mask.
    peak: the largest value of a 16-bit image as a share of its range; None for other images.
    turned: whether the image was turned upright by its EXIF orientation, in a way that its size does not show."""

    marked: float | None = None
    peak: float | None = None
    turned: bool = False


@dataclass(slots=True)
class _Count:
    """How many images something was seen on, and the first one's key."""

    n: int = 0
    first: str = ""

    def add(self, n: int, first: str) -> None:
        if n:
            self.n, self.first = self.n + n, self.first or first


@dataclass(slots=True)
class ContentTally:
    """Counts of one class, or of a shard of it: `add` per image, `merge` shards, `notes` at the end."""

    n_masks: int = 0
    n_deep: int = 0
    peak: float = 0.0
    empty: _Count = field(default_factory=_Count)
    full: _Count = field(default_factory=_Count)
    large: _Count = field(default_factory=_Count)
    turned: _Count = field(default_factory=_Count)

    def add(self, key: str, contents: Contents) -> None:
        """Count what was seen in the image `key`."""
        if contents.marked is not None:
            self.n_masks += 1
            self.empty.add(contents.marked == 0, key)
            self.full.add(contents.marked == 1, key)
            self.large.add(contents.marked > 0.5, key)
            self.turned.add(contents.turned, key)
        if contents.peak is not None:
            self.n_deep += 1
            self.peak = max(self.peak, contents.peak)

    def merge(self, other: ContentTally) -> None:
        """Add another shard."""
        self.n_masks += other.n_masks
        self.n_deep += other.n_deep
        self.peak = max(self.peak, other.peak)
        for count, other_count in zip(self._counts(), other._counts(), strict=True):
            count.add(other_count.n, other_count.first)

    def _counts(self) -> tuple[_Count, ...]:
        return self.empty, self.full, self.large, self.turned

    def notes(self) -> list[str]:
        """One line for each thing that makes numbers doubtful."""
        lines = []
        of = f"of {self.n_masks} masks of anomalous images"
        if self.empty.n:
            lines.append(f"{self.empty.n} {of} mark nothing (empty), first {self.empty.first}")
        if self.full.n:
            lines.append(f"{self.full.n} {of} mark the whole picture (full), first {self.full.first}")
        if self.large.n > self.full.n and self.large.n >= _NEARLY_ALL * self.n_masks:
            lines.append(
                f"{self.large.n} {of} mark more than half of the picture (inverted?), first {self.large.first}"
            )
        if self.turned.n:
            lines.append(
                f"{self.turned.n} anomalous images were turned upright by their EXIF orientation, and their masks "
                f"taken for upright (data.exif), first {self.turned.first}"
            )
        if self.n_deep and self.peak < _FAINT_PEAK:
            lines.append(
                f"the largest value of {self.n_deep} 16-bit images is at {self.peak:.2%} of their range: "
                "fewer bits may carry values (data.bits)"
            )
        return lines
