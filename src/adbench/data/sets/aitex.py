"""AITEX (AFID): strips of woven fabric, used in tiles."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import register
from adbench.data.containers import Box, tile
from adbench.data.gaps import are_tolerated
from adbench.data.images import stored_size
from adbench.data.sample import Sample
from adbench.data.splits import quarter_for_test
from adbench.data.tiles import columns, marked
from adbench.data.tree import listing
from adbench.errors import UserError

_TILE = 256  # pixels
_DEFECTS, _MASKS, _NORMAL = "Defect_images", "Mask_images", "NODefect_images"
_MASK_NAME = re.compile(r"(.+)_mask\d*")
_WITHOUT_MASK = "0100_025_08"  # of the release
# The second field of a file's name.
_KINDS = {
    "002": "Broken_end",
    "006": "Broken_yarn",
    "010": "Broken_pick",
    "016": "Weft_curling",
    "019": "Fuzzyball",
    "022": "Cut_selvage",
    "023": "Crease",
    "025": "Warp_ball",
    "027": "Knots",
    "029": "Contamination",
    "030": "Nep",
    "036": "Weft_crack",
}


@register(
    "aitex",
    title="AITEX Fabric Image Database (AFID)",
    domain="industrial",
    task="classification and localisation",
    classes=("AITEX",),
    licence="none stated; cite the paper, see the source page",
    source="https://www.aitex.es/afid/",
    citation="J. Silvestre-Blanes, T. Albero-Albero, I. Miralles, R. Pérez-Llorens, J. Moreno: A Public Fabric "
    "Database for Defect Detection Methods and Results. AUTEX Research Journal 19(4), 2019",
    how_to_get="Download the three archives from the source page (or the copy at "
    "https://www.kaggle.com/datasets/nexuswho/aitex-fabric-image-database) and unpack them to data/aitex",
    folders=("AITEX",),
    marks=(_DEFECTS, _NORMAL),
    layout="""\
Defect_images/nnnn_ddd_ff.png                   image, kind of defect, fabric
Mask_images/nnnn_ddd_ff_mask{,1,2}.png
NODefect_images/[<fabric>/]nnnn_000_ff.png""",
    quirks=(
        "Strips of 4096 x 256 pixels. As in InCTRL's conversion they are cut into tiles of 256 x 256; the last may be "
        "narrower. Of strips with a defect only the tiles with a value above 0 in the mask are used, as anomalous test "
        "images; tiles of strips without defects are normal. Tiles are cut when they are opened; nothing is written.",
        "There is no official split: a quarter of the normal tiles is drawn for the test in the order of their paths "
        "(scikit-learn's train_test_split, test_size=0.25, random_state=42).",
        "The page says 140 strips without and 105 with defects; copies with one more of either are in use, so numbers "
        "of tiles are not checked.",
        "0044_019_04 and 0097_030_03 have two masks each, which are joined. 0100_025_08 has none and is left out, like "
        "strips whose mask is empty; any other strip without a mask is an error.",
        "Strips are padded with white, more of it in some fabrics: many normal tiles are blank.",
    ),
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Sample]:
    """Index the tiles of both kinds of strips."""
    normal = [(key, box) for key in _strips(root, _NORMAL) for box in _boxes(root / key)]
    test = quarter_for_test(len(normal))
    for number, (key, box) in enumerate(normal):
        yield _sample(root, key, box, (), "test" if number in test else "train")
    masks = _masks(root)
    for key in _strips(root, _DEFECTS):
        stem = os.path.splitext(os.path.basename(key))[0]
        own = masks.get(stem, [])
        if not own and stem != _WITHOUT_MASK and are_tolerated():  # named for a check to miss it
            yield _sample(root, key, _boxes(root / key)[0], [root / _MASKS / f"{stem}_mask.png"], "test")
            continue
        if not own and stem != _WITHOUT_MASK:
            mend = f"unpack the archive of masks to {root / _MASKS}"
            raise UserError(f"the mask {stem}_mask.png is missing", where=str(root / key), mend=mend)
        boxes = _boxes(root / key)
        marks = [marked(root / key, mask, boxes) for mask in own]
        for number, box in enumerate(boxes):
            if any(mark[number] for mark in marks):
                yield _sample(root, key, box, own, "test")


def _strips(root: Path, folder: str) -> list[str]:
    """Paths of the images in a folder and the folders in it, relative to the root, sorted."""
    here = listing(root / folder)
    inner = [path for name in here.folders for path in _strips(root, f"{folder}/{name}")]
    return sorted([*(f"{folder}/{name}" for name in here.images), *inner])


def _masks(root: Path) -> dict[str, list[Path]]:
    """Stem of a strip -> its masks."""
    masks: dict[str, list[Path]] = {}
    for key in _strips(root, _MASKS):
        found = _MASK_NAME.fullmatch(os.path.splitext(os.path.basename(key))[0])
        if found:
            masks.setdefault(found[1], []).append(root / key)
    return masks


def _boxes(strip: Path) -> list[Box]:
    height, width = stored_size(strip)
    return columns((width, height), _TILE)


def _sample(root: Path, key: str, box: Box, masks: Sequence[Path], split: str) -> Sample:
    code = os.path.basename(key).split("_")[1] if masks else ""
    tiles = tuple(tile(mask, box) for mask in masks)
    return Sample(
        path=tile(root / key, box),
        key=tile(Path(key), box).as_posix(),
        class_name="AITEX",
        label=int(bool(masks)),
        mask_path=tiles[0] if tiles else None,
        split=split,
        defect=_KINDS.get(code, code) if masks else "good",
        dataset="aitex",
        further_masks=tiles[1:],
    )
