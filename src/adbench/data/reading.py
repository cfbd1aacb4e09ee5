"""How the values in image and mask files are to be read: as a set's papers do, or as the user of a folder says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from adbench.typed import PositiveInt, Range

HALF = 127  # the largest 8-bit value below half of full scale
Bits = Literal[8, 10, 12, 16]
MAX_MEGAPIXELS = 1000
MaskThreshold = Annotated[int, Range(0, 254)]  # larger values mark the defect
OWN_READING_QUIRKS = (
    "What a mask marks: values above 0 in any channel (data.inverted_masks=true: value 0); of a palette the indices "
    "above 0; transparency where the colour is the same everywhere; floating-point values where there are only two. In "
    "files that are compressed with loss (JPEG, most WebP) values above 127 of 255; data.mask_threshold=N sets the "
    "bound for all files. Photographs, and masks whose colours and transparency both vary, are refused.",
    "data.exif=true, the default: images are turned upright by their EXIF orientation, and masks by their own, as most "
    "masks are drawn on the upright picture and have none. data.exif=false: pixels as they are stored.",
    "data.bits=8|10|12|16, by default 16: the bits that carry values in 16-bit images; the upper 8 of them are kept.",
    "data.max_pixels=N, by default 1000: pictures of more megapixels are refused.",
)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a sample's files are read. The defaults are what loaders of published sets do.

    inverted         a mask's value 0 marks the defect, anything else the background
    threshold        a mask's values above it mark the defect; on the scale of 8 bits
    lossy_threshold  the same for files that are compressed with loss (JPEG, most WebP), where ringing surrounds edges
    exif             images and masks are turned upright by the EXIF orientation in their own file
    bits             how many bits of 16-bit images carry values; the upper 8 of these are kept
    max_megapixels   larger pictures are refused; None: the bound of Pillow's guard (179)
    """

    inverted: bool = False
    threshold: int = 0
    lossy_threshold: int = 0
    exif: bool = False
    bits: int = 16
    # Decides whether a picture is read, never what is read: not a part of what makes data the same.
    max_megapixels: int | None = field(default=None, compare=False, repr=False)


AS_PUBLISHED = Reading()


def own_reading(
    *,
    inverted_masks: bool = False,
    mask_threshold: MaskThreshold | None = None,
    exif: bool = True,
    bits: Bits = 16,
    max_pixels: PositiveInt = MAX_MEGAPIXELS,
) -> Reading:
    """The reading of a folder of one's own, from its options.

    mask_threshold  None: 0, and half scale (127) in files that are compressed with loss
    max_pixels      in megapixels
    """
    return Reading(
        inverted=inverted_masks,
        threshold=mask_threshold or 0,
        lossy_threshold=HALF if mask_threshold is None else mask_threshold,
        exif=exif,
        bits=bits,
        max_megapixels=max_pixels,
    )
