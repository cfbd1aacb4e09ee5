"""Any folder of normal and abnormal images, recognised by the names of its folders: no list, no code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import register
from adbench.data.folder_layout import Kind, explicit_kinds, join, recognise
from adbench.data.masks import pair_masks, split_off_masks
from adbench.data.meta import META_NAME, read_meta
from adbench.data.reading import MAX_MEGAPIXELS, OWN_READING_QUIRKS, Reading, own_reading
from adbench.data.sample import Sample
from adbench.data.tree import listing, select
from adbench.errors import UserError

_EXPECTED = (
    "expected folders named like good and bad (or normal/abnormal, ok/ng, no/yes, ...), with masks in a folder such as "
    "ground_truth or masks; or the layout of MVTec AD (train/good, test/good, test/KIND, ground_truth/KIND); either of "
    "them directly or once per class. Otherwise say it: data.normal_dir, data.abnormal_dir, data.mask_dir"
)


@register(
    "folder",
    title="Any folder of normal and abnormal images",
    domain="any",
    task="classification, and localisation where there are masks",
    classes=(),
    licence="that of your data",
    source="your images",
    citation="that of your data",
    how_to_get="Give your own folder: data=folder data.root=DIR",
    layout="""\
[<class>/]{good,normal,ok,no,...}/IMAGE          one folder of normal images
[<class>/]{bad,abnormal,ng,yes,...}/IMAGE        and one of abnormal ones, or several, one per kind of defect
[<class>/]{ground_truth,masks,gt,...}/[<kind>/]MASK
[<class>/]train/[good/]IMAGE                     normal images for few-shot methods
or the layout of MVTec AD, per class or for one:
[<class>/]{train/good,test/good,test/<kind>,ground_truth/<kind>}/IMAGE""",
    quirks=(
        "Names are compared without case, blanks and punctuation.",
        "Masks are optional: all abnormal images of a kind have one, named as the image with or without _mask, _label, "
        "_gt, or none has. They may lie in the folder of the images too.",
        "Without class folders there is one class, called as the folder; its name enters the prompts, so give a "
        "telling one by data.class_name=...",
        "data.normal_dir, data.abnormal_dir, data.mask_dir and data.train_dir name folders below data.root (one or a "
        "list) where their names say nothing; one mask folder for all abnormal ones, or one for each.",
        "An unclear layout is an error, never a guess.",
        *OWN_READING_QUIRKS,
    ),
)
def index(
    root: Path,
    classes: Sequence[str] | None,
    *,
    normal_dir: str | Sequence[str] = (),
    abnormal_dir: str | Sequence[str] = (),
    mask_dir: str | Sequence[str] = (),
    train_dir: str | Sequence[str] = (),
    class_name: str | None = None,
    inverted_masks: bool = False,
    mask_threshold: int | None = None,
    exif: bool = True,
    bits: int = 16,
    max_pixels: int = MAX_MEGAPIXELS,
) -> list[Sample]:
    """Index by the given folders, else by names of folders, else by a meta.json."""
    reading = own_reading(
        inverted_masks=inverted_masks, mask_threshold=mask_threshold, exif=exif, bits=bits, max_pixels=max_pixels
    )
    named = [_as_list(value) for value in (normal_dir, abnormal_dir, mask_dir, train_dir)]
    if any(named):
        by_class = {class_name or root.resolve().name: explicit_kinds(root, *named)}
    else:
        by_class = _recognised(root, class_name)
    if not by_class and (root / META_NAME).is_file():
        return read_meta(root, dataset="folder", reading=reading)
    if not by_class:
        raise UserError(_found(root), where=str(root), mend=_EXPECTED)
    samples: list[Sample] = []
    for name in select(by_class, classes, where=root):
        for kind in by_class[name]:
            samples.extend(_samples(root, name, kind, reading))
    _refuse_shared_masks(samples)
    return samples


def _recognised(root: Path, class_name: str | None) -> dict[str, list[Kind]]:
    """Class -> kinds of images, from the names of folders; empty where nothing is recognised."""
    kinds = recognise(root, "")
    if kinds:
        return {class_name or root.resolve().name: kinds}
    by_class, strangers = {}, []
    for folder in listing(root).folders:
        kinds = recognise(root, folder)
        if kinds:
            by_class[folder] = kinds
        elif _holds_images(root / folder):
            strangers.append(folder)
    if by_class and strangers:
        raise UserError(
            f"folder {strangers[0]!r} holds images but is not arranged as a class like {next(iter(by_class))!r}",
            where=str(root),
            mend=_EXPECTED,
        )
    if by_class and class_name is not None:
        mend = "leave out data.class_name, or give one class as data.root"
        raise UserError(f"the folder holds {len(by_class)} classes", where=str(root), mend=mend)
    return by_class


def _samples(root: Path, class_name: str, kind: Kind, reading: Reading) -> Iterator[Sample]:
    place = root / kind.folder
    names, beside = split_off_masks(listing(place).images)
    masks: dict[str, Path] = {}
    if kind.label and (beside or kind.mask_folder is not None):
        where = place if beside else root / str(kind.mask_folder)
        candidates = beside or listing(where).images
        masks = {image: where / mask for image, mask in pair_masks(names, candidates, where=where).items()}
    for name in names:
        yield Sample(
            path=place / name,
            key=join(kind.folder, name),
            class_name=class_name,
            label=kind.label,
            mask_path=masks.get(name),
            split=kind.split,
            defect=kind.defect,
            dataset="folder",
            reading=reading,
        )


def _refuse_shared_masks(samples: list[Sample]) -> None:
    owners: dict[Path, Sample] = {}
    for sample in samples:
        if sample.mask_path is not None:
            other = owners.setdefault(sample.mask_path, sample)
            if other is not sample:
                raise UserError(
                    f"two images share one mask: {other.key!r} and {sample.key!r}",
                    where=str(sample.mask_path),
                    mend="keep the masks of each kind of defect in a folder named as the kind",
                )


def _as_list(value: str | Sequence[str]) -> list[str]:
    # Folders called 0 and 1 come as numbers from a command line.
    return [str(entry) for entry in value] if isinstance(value, (list, tuple)) else [str(value)]


def _holds_images(folder: Path) -> bool:
    here = listing(folder)
    return bool(here.images) or any(listing(folder / name).images for name in here.folders)


def _found(root: Path) -> str:
    here = listing(root)
    shown = ", ".join(here.folders[:6]) + (", ..." if len(here.folders) > 6 else "")
    folders = f"the folders {shown}" if here.folders else "no folders"
    return f"cannot tell normal from abnormal images: found {folders} and {len(here.images)} images beside them"
