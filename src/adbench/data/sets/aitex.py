"""AITEX (AFID): strips of woven fabric, used in tiles."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import register
from adbench.data.containers import Box, tile
from adbench.data.images import stored_size
from adbench.data.masks import pair_masks
from adbench.data.sample import Sample
from adbench.data.splits import quarter_for_test
from adbench.data.stems import exact
from adbench.data.survey import Entry, guarded
from adbench.data.tiles import columns, marked
from adbench.data.tree import at, images_below

_TILE = 256  # pixels
_DEFECTS, _MASKS, _NORMAL = "Defect_images", "Mask_images", "NODefect_images"
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
    unit_of=posixpath.dirname,  # of a tile: its strip
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
        "The page says 140 strips without (20 of each of 7 fabrics) and 105 with defects, and so does what is written "
        "of the copy on Mendeley Data (663j22s43c); copies with one more of either are in use. How many tiles others "
        "get from them could not be found, so numbers of tiles are not checked.",
        "0044_019_04 and 0097_030_03 have two masks each, which are joined. 0100_025_08 has none and is left out, like "
        "strips whose mask is empty; any other strip without a mask is an error.",
        "Strips are padded with white, more of it in some fabrics: many normal tiles are blank.",
    ),
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Entry]:
    """Index the tiles of both kinds of strips."""
    normal = [(key, box) for key in images_below(root, at(root, _NORMAL)) for box in _boxes(root / key)]
    test = quarter_for_test(len(normal))
    for number, (key, box) in enumerate(normal):
        yield _sample(root, key, box, (), "test" if number in test else "train")
    strips = {os.path.basename(key): key for key in images_below(root, at(root, _DEFECTS))}
    files = {os.path.basename(key): root / key for key in images_below(root, at(root, _MASKS))}
    pairs = pair_masks([name for name in strips if exact(name) != _WITHOUT_MASK], list(files), where=root / _MASKS)
    for name, labels in pairs.items():
        yield from guarded(
            "AITEX", _pieces(root, strips[name], [files.get(mask, root / _MASKS / mask) for mask in labels])
        )


def _pieces(root: Path, key: str, masks: Sequence[Path]) -> Iterator[Sample]:
    """The tiles of a strip in which a mask has marks; the first one where a mask is not there."""
    boxes = _boxes(root / key)
    if not all(mask.is_file() for mask in masks):
        yield _sample(root, key, boxes[0], masks, "test")
        return
    marks = [marked(root / key, mask, boxes) for mask in masks]
    for number, box in enumerate(boxes):
        if any(mark[number] for mark in marks):
            yield _sample(root, key, box, masks, "test")


def _boxes(strip: Path) -> list[Box]:
    height, width = stored_size(strip)
    return columns((width, height), _TILE)


def _sample(root: Path, key: str, box: Box, masks: Sequence[Path], split: str) -> Sample:
    code = os.path.basename(key).split("_")[1] if masks else ""
    place, tiles = tile(Path(key), box).as_posix(), [tile(mask, box) for mask in masks]
    defect = _KINDS.get(code, code) if masks else None
    return Sample.below(root, place, dataset="aitex", class_name="AITEX", split=split, defect=defect, masks=tiles)
