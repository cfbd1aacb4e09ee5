"""VAD (Valeo): one product, many kinds of defects, some of them seen in the test alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import Counts, register
from adbench.data.mvtec_layout import TRUTH, index_class
from adbench.data.sample import Sample
from adbench.data.survey import Entry, Note, guarded
from adbench.data.tree import has, select


@register(
    "vad",
    title="VAD: Valeo Anomaly Dataset",
    domain="industrial",
    task="classification",
    classes=("vad",),
    # 1000 of the training images are defective.
    expected={"vad": Counts(train=3000, normal=1000, anomalous=1000)},
    licence="CC BY-NC-SA 4.0 (non-commercial)",
    source="https://github.com/abc-125/vad",
    citation="A. Baitieva, D. Hurych, V. Besnier, O. Bernard: Supervised Anomaly Detection for Complex Industrial "
    "Images. CVPR 2024",
    how_to_get="Follow the download link on the source page and unpack the archive to data/vad",
    folders=("VAD", "vad"),
    marks=("test/bad", "test/bad_unseen_defects"),
    layout="""\
train/{good,bad}/N.png
test/{good,bad,bad_unseen_defects}/N.png
ground_truth/<kind>/N.png                       in some copies, of test images""",
    quirks=(
        "The authors' archive holds no masks, so only image metrics are defined. A copy with ground_truth is read with "
        "them; train/bad, of which it tells nothing, is left out then.",
        "1000 of the 3000 training images are defective, for supervised methods. They stay in the train split; support "
        "sets are drawn from the good ones alone.",
        "165 defective test images, bad_unseen_defects, are of kinds that train/bad does not show.",
        "No word for prompts is published: vad, the class's name, is ours.",
    ),
)
def index(root: Path, classes: Sequence[str] | None) -> Iterator[Entry]:
    """Index both splits."""
    masks = has(root, TRUTH)
    for name in select(("vad",), classes, where=root):
        yield from guarded(name, _split(root, name, "test", masks=masks))
        training = guarded(name, _split(root, name, "train", masks=False))
        defective = [entry for entry in training if masks and isinstance(entry, Sample) and entry.label == 1]
        yield from (entry for entry in training if entry not in defective)
        if defective:
            yield Note(f"{len(defective)} defective training images are left out: their masks are not known")


def _split(root: Path, name: str, split: str, *, masks: bool) -> Iterator[Sample]:
    return index_class(root, "", dataset="vad", class_name=name, masks=masks, splits={split: split})
