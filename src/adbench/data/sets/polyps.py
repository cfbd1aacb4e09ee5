"""CVC-ColonDB, CVC-ClinicDB, Kvasir-SEG and EndoTect: polyps in colonoscopy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.paired_folders import NO_NORMAL, arranged_layout, index_pairs
from adbench.data.sample import Sample

# Folder of images, folder of masks: as the archives have them; the first pair that is found is read.
_PAIRS = (
    ("PNG/Original", "PNG/Ground Truth"),
    ("TIF/Original", "TIF/Ground Truth"),
    ("Original", "Ground Truth"),
    ("images", "masks"),
)
_ALL_TEST = "There is no official split for anomaly detection: all images are the test split."
_COLON = "The class is called colon in prompts, as in AnomalyCLIP; AdaCLIP does not use this set."
_JPEG = (
    "Masks are JPEG files. Every value above 0 is a defect, as in the papers' code, and so is what compression leaves "
    "around the borders."
)
_index = partial(index_pairs, pairs=_PAIRS, defect="polyp")


@register(
    "colondb",
    title="CVC-ColonDB",
    domain="medical",
    task="localisation",
    classes=("ColonDB",),
    expected={"ColonDB": Counts(anomalous=380)},
    licence="for research; see the source page",
    source="http://vi.cvc.uab.es/colon-qa/cvccolondb/",
    citation="J. Bernal, J. Sánchez, F. Vilariño: Towards automatic polyp detection with a polyp appearance model. "
    "Pattern Recognition 45(9), 2012",
    how_to_get="Get the archive from its owners (source page) and unpack images and masks to data/colondb",
    folders=("CVC-ColonDB",),
    marks=("images", "Original", "ColonDB/test"),
    layout="images/NNN.png\nmasks/NNN.png\n" + arranged_layout("ColonDB"),
    quirks=(
        NO_NORMAL,
        _ALL_TEST,
        "The 380 images are the extended set that the papers use; the database of the publication has 300 of them.",
        "AnomalyCLIP's meta.json calls the class colon; a file's own name is kept.",
    ),
)
def index_colondb(root: Path, classes: Sequence[str] | None) -> Iterator[Sample]:
    """Index CVC-ColonDB."""
    return _index(root, dataset="colondb", class_name="ColonDB")


@register(
    "clinicdb",
    title="CVC-ClinicDB",
    domain="medical",
    task="localisation",
    classes=("ClinicDB",),
    expected={"ClinicDB": Counts(anomalous=612)},
    licence="for research; see the source page",
    source="https://polyp.grand-challenge.org/CVCClinicDB/",
    citation="J. Bernal, F. J. Sánchez, G. Fernández-Esparrach, D. Gil, C. Rodríguez, F. Vilariño: WM-DOVA maps for "
    "accurate polyp highlighting in colonoscopy. Computerized Medical Imaging and Graphics 43, 2015",
    how_to_get="Get the archive from its owners (source page) and unpack it to data/clinicdb",
    folders=("CVC-ClinicDB",),
    marks=("Original", "PNG/Original", "TIF/Original", "images", "ClinicDB/test"),
    layout="Original/NNN.tif\nGround Truth/NNN.tif\n" + arranged_layout("ClinicDB"),
    quirks=(
        NO_NORMAL,
        _ALL_TEST,
        "The folders may lie below PNG/ or TIF/; PNG is read where both exist.",
        "AnomalyCLIP's meta.json calls the class colon; a file's own name is kept.",
    ),
)
def index_clinicdb(root: Path, classes: Sequence[str] | None) -> Iterator[Sample]:
    """Index CVC-ClinicDB."""
    return _index(root, dataset="clinicdb", class_name="ClinicDB")


@register(
    "kvasir",
    title="Kvasir-SEG",
    domain="medical",
    task="localisation",
    classes=("colon",),
    expected={"colon": Counts(anomalous=1000)},
    licence="for research and education; see the source page",
    source="https://datasets.simula.no/kvasir-seg/",
    citation="D. Jha, P. H. Smedsrud, M. A. Riegler, P. Halvorsen, T. de Lange, D. Johansen, H. D. Johansen: "
    "Kvasir-SEG: A Segmented Polyp Dataset. MMM 2020",
    how_to_get="Download the archive from the source page and unpack it to data/kvasir",
    folders=("Kvasir-SEG", "Kvasir"),
    marks=("images", "colon/test"),
    layout="images/NAME.jpg\nmasks/NAME.jpg\n" + arranged_layout("colon"),
    quirks=(NO_NORMAL, _ALL_TEST, _COLON, _JPEG, "kavsir_bboxes.json (so spelt) is not read."),
)
def index_kvasir(root: Path, classes: Sequence[str] | None) -> Iterator[Sample]:
    """Index Kvasir-SEG."""
    return _index(root, dataset="kvasir", class_name="colon")


@register(
    "endo",
    title="EndoTect 2020, test images of the segmentation task",
    domain="medical",
    task="localisation",
    classes=("colon",),
    expected={"colon": Counts(anomalous=200)},
    licence="for research; see the source page",
    source="https://endotect.com/",
    citation="S. A. Hicks, D. Jha, V. Thambawita, P. Halvorsen, H. L. Hammer, M. A. Riegler: The EndoTect 2020 "
    "Challenge: Evaluation and Comparison of Classification, Segmentation and Inference Time for Endoscopy. ICPR 2020",
    how_to_get="Get the test images of the segmentation task with their masks (source page) and unpack them to "
    "data/endo",
    folders=("EndoTect_2020_Segmentation_Test_Dataset", "EndoTect"),
    marks=("images", "colon/test", "endo/test"),
    layout="images/NAME.jpg\nmasks/NAME.{jpg,png}\n" + arranged_layout("endo"),
    quirks=(
        NO_NORMAL,
        _COLON,
        "Public code reads EndoTect_2020_Segmentation_Test_Dataset/images, as here. That the masks lie beside it in "
        "masks is what copies have; the archive itself could not be seen.",
    ),
)
def index_endo(root: Path, classes: Sequence[str] | None) -> Iterator[Sample]:
    """Index EndoTect's test images."""
    return _index(root, dataset="endo", class_name="colon", arranged="endo")
