"""CVC-ColonDB and CVC-ClinicDB: polyps in colonoscopy, as their archives come or as AdaCLIP arranges them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import register
from adbench.data.masks import pair_masks
from adbench.data.mvtec_layout import index_class
from adbench.data.sample import Sample
from adbench.data.tree import listing, select
from adbench.errors import UserError

# Folder of images, folder of masks: as the archives have them; the first pair that is found is read.
_PAIRS = (
    ("PNG/Original", "PNG/Ground Truth"),
    ("TIF/Original", "TIF/Ground Truth"),
    ("Original", "Ground Truth"),
    ("images", "masks"),
)
_QUIRKS = (
    "Every image shows a polyp, so only the pixel metrics of the test split are defined.",
    "There is no official split for anomaly detection: all images of the archive are the test split.",
)
_ARRANGED = """\
or, as AdaCLIP arranges it:
{name}/test/<kind>/IMAGE
{name}/ground_truth/<kind>/MASK"""


def _index(root: Path, classes: Sequence[str] | None, *, dataset: str, class_name: str) -> Iterator[Sample]:
    """Read the arranged folders where they exist, else a pair of image and mask folders."""
    for name in select([class_name], classes, where=root):
        if (root / name / "test").is_dir():
            yield from index_class(root, name, dataset=dataset, class_name=name)
            continue
        pair = next((pair for pair in _PAIRS if all((root / folder).is_dir() for folder in pair)), None)
        if pair is None:
            raise UserError(
                "no folders of images and masks",
                where=str(root),
                mend=f"expected {' or '.join(' + '.join(pair) for pair in _PAIRS)}, or {name}/test",
            )
        images, masks = (listing(root / folder) for folder in pair)
        paired = pair_masks(images.images, masks.images, where=masks.path)
        for image in images.images:
            yield Sample(
                path=images.path / image,
                key=f"{pair[0]}/{image}",
                class_name=name,
                label=1,
                mask_path=masks.path / paired[image],
                split="test",
                defect="polyp",
                dataset=dataset,
            )


@register(
    "colondb",
    title="CVC-ColonDB",
    domain="medical",
    task="localisation",
    classes=("ColonDB",),
    licence="for research; see the source page",
    source="http://vi.cvc.uab.es/colon-qa/cvccolondb/",
    citation="J. Bernal, J. Sánchez, F. Vilariño: Towards automatic polyp detection with a polyp appearance model. "
    "Pattern Recognition 45(9), 2012",
    how_to_get="Get the archive from its owners (source page) and unpack images and masks to data/colondb",
    folders=("CVC-ColonDB",),
    marks=("images", "ColonDB/test"),
    layout="images/NNN.png\nmasks/NNN.png\n" + _ARRANGED.format(name="ColonDB"),
    quirks=_QUIRKS,
)
def index_colondb(root: Path, classes: Sequence[str] | None) -> Iterator[Sample]:
    """Index CVC-ColonDB."""
    return _index(root, classes, dataset="colondb", class_name="ColonDB")


@register(
    "clinicdb",
    title="CVC-ClinicDB",
    domain="medical",
    task="localisation",
    classes=("ClinicDB",),
    licence="for research; see the source page",
    source="https://polyp.grand-challenge.org/CVCClinicDB/",
    citation="J. Bernal, F. J. Sánchez, G. Fernández-Esparrach, D. Gil, C. Rodríguez, F. Vilariño: WM-DOVA maps for "
    "accurate polyp highlighting in colonoscopy. Computerized Medical Imaging and Graphics 43, 2015",
    how_to_get="Get the archive from its owners (source page) and unpack it to data/clinicdb",
    folders=("CVC-ClinicDB",),
    marks=("Original", "PNG/Original", "TIF/Original", "images", "ClinicDB/test"),
    layout="Original/NNN.tif\nGround Truth/NNN.tif\n" + _ARRANGED.format(name="ClinicDB"),
    quirks=(*_QUIRKS, "The folders may lie below PNG/ or TIF/; PNG is read where both exist."),
)
def index_clinicdb(root: Path, classes: Sequence[str] | None) -> Iterator[Sample]:
    """Index CVC-ClinicDB."""
    return _index(root, classes, dataset="clinicdb", class_name="ClinicDB")
