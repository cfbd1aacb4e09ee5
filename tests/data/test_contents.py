"""What is said of the masks and images of a class."""

from __future__ import annotations

import pytest

from adbench.data.contents import Contents, ContentTally


def notes(*contents: Contents) -> list[str]:
    """Notes of images called 0, 1, ...: counted at once and in two shards that are merged."""
    whole, shards = ContentTally(), (ContentTally(), ContentTally())
    for number, one in enumerate(contents):
        whole.add(str(number), one)
        shards[number * 2 // len(contents)].add(str(number), one)
    shards[0].merge(shards[1])
    assert shards[0].notes() == whole.notes()
    return whole.notes()


def test_nothing_is_said_of_plain_masks_and_images() -> None:
    assert notes(Contents(0.1), Contents(0.6), Contents(), Contents(peak=1.0), Contents(peak=0.01)) == []


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ([0.1, 0, 0], ["2 of 3 masks of anomalous images mark nothing (empty), first 1"]),
        ([1, 0.2], ["1 of 2 masks of anomalous images mark the whole picture (full), first 0"]),
        ([1, 1], ["2 of 2 masks of anomalous images mark the whole picture (full), first 0"]),
        (
            [0.4, *[0.9] * 9],
            ["9 of 10 masks of anomalous images mark more than half of the picture (inverted?), first 1"],
        ),
        ([0.4, 0.4, *[0.9] * 9], []),
    ],
)
def test_masks_that_say_too_little_or_too_much(shares: list[float], said: list[str]) -> None:
    assert notes(*map(Contents, shares)) == said


def test_sixteen_bit_images_that_look_black() -> None:
    assert notes(Contents(peak=0.05), Contents(peak=0.01)) == [
        "the largest value of 2 16-bit images is at 5.00% of their range: fewer bits may carry values (data.bits)"
    ]


def test_images_turned_without_a_trace_in_their_size() -> None:
    (line,) = notes(Contents(turned=True), Contents(0.1, turned=True))
    assert line.startswith("1 anomalous images were turned upright by their EXIF orientation")
    assert line.endswith("(data.exif), first 1")
