"""KSDD (called SDD by the papers) and KSDD2: surfaces of electrical commutators and of production parts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.containers import Box, tile
from adbench.data.images import stored_size
from adbench.data.mask_values import read_mask
from adbench.data.masks import pair_masks, split_off_masks
from adbench.data.mvtec_layout import index_class
from adbench.data.paired_folders import arranged_layout
from adbench.data.sample import Sample
from adbench.data.splits import quarter_for_test
from adbench.data.tiles import marked, thirds
from adbench.data.tree import at, has, listing

_LICENCE = "CC BY-NC-SA 4.0 (non-commercial)"
_PART = re.compile(r"kos\d+", re.IGNORECASE)


def _commutator(key: str) -> str:
    """The commutator that a picture, or a piece of one, is of."""
    match = _PART.search(key)
    return match.group().lower() if match else key


@register(
    "sdd",
    title="Kolektor Surface-Defect Dataset (KSDD, SDD)",
    domain="industrial",
    task="classification and localisation",
    classes=("SDD",),
    licence=_LICENCE,
    source="https://www.vicos.si/resources/kolektorsdd/",
    citation="D. Tabernik, S. Šela, J. Skvarč, D. Skočaj: Segmentation-Based Deep-Learning Approach for Surface-Defect "
    "Detection. Journal of Intelligent Manufacturing 31, 2020",
    how_to_get="Download the archive (fine annotations) from the source page and unpack it to data/sdd",
    folders=("KolektorSDD", "SDD_anomaly_detection", "KSDD", "SDD"),
    marks=("kos*/Part*", "SDD/test"),
    unit_of=_commutator,
    layout="kosNN/PartM.jpg\nkosNN/PartM_label.bmp\n" + arranged_layout("SDD"),
    quirks=(
        "399 pictures of 50 commutators, 52 of them with a defect. As in AdaCLIP and InCTRL each is cut along its "
        "height into three, at floor(H/3) and floor(2H/3); a piece is anomalous where its label has any value above 0, "
        "so that one defect can make two pieces anomalous. The pieces are cut when they are opened; nothing is "
        "written.",
        "There is no official split: of the normal pieces a quarter is drawn for the test (scikit-learn's "
        "train_test_split, test_size=0.25, random_state=42). The papers' scripts draw in the order in which the file "
        "system lists the files, ours sorted by commutator, part and piece: the same numbers, not the same pieces.",
        "There are 1197 pieces. How many of them are anomalous could not be found in public material, so their numbers "
        "are not checked.",
        "AnomalyCLIP's meta.json calls the class `electrical commutators`; a file's own name is kept.",
    ),
)
def index_sdd(root: Path, classes: Sequence[str] | None) -> Iterator[Sample]:
    """Index AdaCLIP's arrangement where it is there, else the pieces of the raw pictures."""
    if has(root, "SDD/test"):
        yield from index_class(root, at(root, "SDD"), dataset="sdd", class_name="SDD")
        return
    pieces = [piece for folder in listing(root).folders if _PART.fullmatch(folder) for piece in _pieces(root, folder)]
    normal = [number for number, (_, _, _, anomalous) in enumerate(pieces) if not anomalous]
    test = {normal[place] for place in quarter_for_test(len(normal))}
    for number, (key, label, box, anomalous) in enumerate(pieces):
        yield Sample.below(
            root,
            tile(Path(key), box).as_posix(),
            dataset="sdd",
            class_name="SDD",
            split="test" if anomalous or number in test else "train",
            defect="defect" if anomalous else None,
            masks=[tile(label, box)],
        )


def _pieces(root: Path, folder: str) -> Iterator[tuple[str, Path, Box, bool]]:
    """Yield (picture, its label, place of a piece, whether that is anomalous) of one commutator's folder."""
    images, labels = split_off_masks(listing(root / folder).images)
    pairs = pair_masks(images, labels, where=root / folder)
    for image in images:
        path, label = root / folder / image, root / folder / pairs[image][0]
        height, width = stored_size(path)
        boxes = thirds((width, height))
        # A label that is not there is for the survey to tell of: one piece names it.
        anomalous = marked(path, label, boxes) if label.is_file() else [True]
        yield from ((f"{folder}/{image}", label, box, mark) for box, mark in zip(boxes, anomalous, strict=False))


@register(
    "ksdd2",
    title="Kolektor Surface-Defect Dataset 2 (KSDD2)",
    domain="industrial",
    task="classification and localisation",
    classes=("KSDD2",),
    # 246 of the training images show a defect.
    expected={"KSDD2": Counts(train=2331, normal=894, anomalous=110)},
    licence=_LICENCE,
    source="https://www.vicos.si/resources/kolektorsdd2/",
    citation="J. Božič, D. Tabernik, D. Skočaj: Mixed supervision for surface-defect detection: from weakly to fully "
    "supervised learning. Computers in Industry 129, 2021",
    how_to_get="Download the archive from the source page and unpack it to data/ksdd2",
    folders=("KolektorSDD2", "KSDD2"),
    marks=("test/*_GT.*",),
    layout="""\
train/NNNNN.png    train/NNNNN_GT.png
test/NNNNN.png     test/NNNNN_GT.png""",
    quirks=(
        "Every image has a mask beside it; an image is anomalous where its mask has any value above 0.",
        "246 of the 2331 training images are anomalous. They stay in the train split; support sets are drawn from the "
        "normal ones alone.",
        "No specification followed here names the class: its name in prompts, KSDD2, is ours.",
    ),
)
def index_ksdd2(root: Path, classes: Sequence[str] | None) -> Iterator[Sample]:
    """Index both splits."""
    for split in ("train", "test"):
        place = at(root, split)
        folder = root / place
        images, masks = split_off_masks(listing(folder).images)
        pairs = pair_masks(images, masks, where=folder)
        for image in images:
            mask = folder / pairs[image][0]
            # A mask that is not there is for the survey to tell of.
            anomalous = not mask.is_file() or bool(read_mask(mask, image=folder / image).values.any())
            key, defect = f"{place}/{image}", "defect" if anomalous else None
            yield Sample.below(root, key, dataset="ksdd2", class_name="KSDD2", split=split, defect=defect, masks=[mask])
