"""ELPV: electroluminescence images of solar cells with graded labels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from adbench.data.catalogue import Counts, register
from adbench.data.csv_table import read_rows
from adbench.data.sample import Sample
from adbench.data.splits import quarter_for_test
from adbench.errors import UserError

_TABLE = "labels.csv"
_CHECKOUT = "src/elpv_dataset/data"


@register(
    "elpv",
    title="ELPV: solar cells in electroluminescence",
    domain="industrial",
    task="classification",
    classes=("elpv",),
    # 1508 cells of probability 0, a quarter of them for the test (377), and 715 of probability 1.
    expected={"elpv": Counts(train=1131, normal=377, anomalous=715)},
    sizes={"elpv": (300, 300)},
    licence="CC BY-NC-SA 4.0 (non-commercial)",
    source="https://github.com/zae-bayern/elpv-dataset",
    citation="C. Buerhop-Lutz et al.: A Benchmark for Visual Identification of Defective Solar Cells in "
    "Electroluminescence Imagery. EU PVSEC 2018; S. Deitsch et al.: Automatic Classification of Defective "
    "Photovoltaic Module Cells in Electroluminescence Images. Solar Energy 185, 2019; S. Deitsch et al.: Segmentation "
    "of Photovoltaic Module Cells in Uncalibrated Electroluminescence Images. Machine Vision and Applications 32, 2021",
    how_to_get="git clone https://github.com/zae-bayern/elpv-dataset data/elpv",
    folders=("elpv-dataset",),
    marks=(_TABLE, f"{_CHECKOUT}/{_TABLE}"),
    layout="""\
labels.csv                 columns separated by blanks, no header: image, probability, mono|poly
images/cellNNNN.png        8-bit grey, 300 x 300""",
    quirks=(
        "Labels are probabilities of a defect: 0 is normal, 1 is anomalous; 1/3 and 2/3 are left out "
        "(data.uncertain=anomaly keeps them as anomalous test images).",
        "There are no masks.",
        "There is no official split. As in InCTRL's conversion, a quarter of the normal images is drawn for the test "
        "in the order of the table (scikit-learn's train_test_split, test_size=0.25, random_state=42); anomalous "
        "images are all test images.",
        "A checkout of the repository works as it is; so does its data folder alone.",
    ),
)
def index(root: Path, classes: Sequence[str] | None, *, uncertain: Literal["drop", "anomaly"] = "drop") -> list[Sample]:
    """Index by the table; `uncertain` says what becomes of probabilities 1/3 and 2/3."""
    if (root / _CHECKOUT).is_dir():
        root = root / _CHECKOUT
    rows = _rows(root / _TABLE)
    normal = [key for key, probability in rows if probability == 0]
    anomalous = [key for key, probability in rows if probability == 1 or (probability > 0 and uncertain == "anomaly")]
    test = quarter_for_test(len(normal))
    sample = partial(Sample.below, root, dataset="elpv", class_name="elpv")
    samples = [sample(key, split="test" if number in test else "train") for number, key in enumerate(normal)]
    return samples + [sample(key, defect="defective") for key in anomalous]


def _rows(table: Path) -> list[tuple[str, float]]:
    rows = []
    for where, cells in read_rows(table):
        # Blanks in the released file, commas after a round trip through a spreadsheet.
        columns = " ".join(cells).split()
        probability = _probability(columns)
        if probability is None:
            hint = "expected image, probability, type: take the file of the release"
            raise UserError(f"a row is {','.join(cells)!r}", where=where, hint=hint)
        rows.append((columns[0].replace("\\", "/"), probability))
    return rows


def _probability(columns: Sequence[str]) -> float | None:
    """The probability in a row; None where there is none."""
    try:
        probability = float(columns[1])
    except (IndexError, ValueError):
        return None
    return probability if 0 <= probability <= 1 else None
