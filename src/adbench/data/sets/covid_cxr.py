"""COVID-19 radiography database: chest X-rays, labelled as a whole, as AnomalyCLIP's tables use them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import register
from adbench.data.sample import Sample
from adbench.data.sides import index_sides
from adbench.data.stems import plain
from adbench.data.survey import Entry, Note
from adbench.data.tree import listing, named, select
from adbench.errors import UserError, unknown

# What a folder may be called in the two releases -> what it shows.
_FINDINGS = {
    "COVID": ("COVID", "COVID-19"),
    "Lung_Opacity": ("Lung_Opacity",),
    "Viral_Pneumonia": ("Viral Pneumonia",),
}
_NORMAL = "NORMAL"


@register(
    "covid_cxr",
    title="COVID-19 Radiography Database",
    domain="medical",
    task="classification",
    classes=("chest",),
    licence="see the source page",
    source="https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database",
    citation="M. E. H. Chowdhury, T. Rahman, A. Khandakar et al.: Can AI Help in Screening Viral and COVID-19 "
    "Pneumonia? IEEE Access 8, 2020; T. Rahman et al., Computers in Biology and Medicine 132, 2021",
    how_to_get="Download the archive from the source page (an account is needed) and unpack it to data/covid_cxr",
    folders=("COVID-19_Radiography_Dataset", "COVID-19 Radiography Database", "Chest", "covid19"),
    marks=(_NORMAL,),
    layout="""\
{COVID,Lung_Opacity,Normal,Viral Pneumonia}/images/NAME.png     today's release
{COVID-19,NORMAL,Viral Pneumonia}/NAME.png                      the first release""",
    quirks=(
        "There are no masks of anomalies: only image metrics are defined. The folders masks outline lungs and are not "
        "read.",
        "Anomalous is COVID alone: AnomalyCLIP's appendix counts 1341 normal and 219 anomalous images, which is the "
        "first release without pneumonia. data.anomalous='[COVID,Viral_Pneumonia,Lung_Opacity]' takes others. Rows "
        "say which release was read, and how many images.",
        "Which copy is behind AnomalyCLIP's table is not known for certain, so numbers are not checked.",
        "All images are test images. The class is called chest in prompts, as in AnomalyCLIP.",
        "Near-duplicates between the sources of the images are known.",
    ),
)
def index(root: Path, classes: Sequence[str] | None, *, anomalous: tuple[str, ...] = ("COVID",)) -> Iterator[Entry]:
    """Index normal images and those with the findings `anomalous`."""
    select(["chest"], classes, where=root)
    findings = {plain(name): name for name in _FINDINGS}
    for name in anomalous:
        if plain(name) not in findings:
            raise unknown("finding", name, _FINDINGS, where="data.anomalous")
    sides = {name: _images(root, *_FINDINGS[findings[plain(name)]]) for name in anomalous}
    normal = _images(root, _NORMAL)
    release = "today's" if any("/images/" in key for key in normal) else "the first"
    numbers = ", ".join(f"{len(keys)} {name}" for name, keys in {"normal": normal, **sides}.items())
    yield Note(f"{release} release: {numbers} images", in_rows=True)
    yield from _samples(root, normal, ())
    for name, keys in sides.items():
        yield from _samples(root, (), keys, name)


def _samples(root: Path, normal: Sequence[str], anomalous: Sequence[str], defect: str = "") -> Iterator[Sample]:
    return index_sides(root, normal=normal, anomalous=anomalous, dataset="covid_cxr", class_name="chest", defect=defect)


def _images(root: Path, *names: str) -> list[str]:
    """Keys of the images in the folder of one of these names. Raises UserError where there is none."""
    folder = named(listing(root).folders, *names, where=root)
    if folder is None:
        raise UserError(f"the folder {names[0]} is missing", where=str(root), hint="unpack the whole archive")
    here = listing(root / folder)
    inner = named(here.folders, "images", where=here.path)
    place = folder if inner is None else f"{folder}/{inner}"
    return [f"{place}/{name}" for name in listing(root / place).images]
