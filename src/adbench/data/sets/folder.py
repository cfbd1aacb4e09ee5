"""Any folder of normal and abnormal images, recognised by the names of its folders: no list, no code."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from adbench.data.catalogue import register
from adbench.data.folder_layout import Kind, explicit_kinds, recognise
from adbench.data.masks import pair_masks, split_off_masks
from adbench.data.meta import META_NAME, read_meta
from adbench.data.place import refusal
from adbench.data.reading import MAX_MEGAPIXELS, OWN_READING_QUIRKS, Bits, MaskThreshold, Reading, own_reading
from adbench.data.sample import Sample
from adbench.data.stems import plain
from adbench.data.survey import Entry, Fault, Note, guarded
from adbench.data.tree import archives, images_below, join, listing, mask_files, select, through, unread_below
from adbench.errors import UserError
from adbench.typed import PositiveInt

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
        "Masks are optional: all abnormal images of a class have one or none has. They may lie in the folder of the "
        "images too. They are paired by name, never by order: the same stem, with or without a word such as _mask, "
        "_label, gt_, behind which a number may stand (7_mask_1 and 7_mask_2 are joined); without case, forms of "
        "Unicode, further extensions and surrounding blanks; and, if that pairs all files of the folder, with other "
        "separators, zeros in front of numbers, or one word that differs in the same way in all names.",
        "A folder of masks for each image is understood (ground_truth/<kind>/NNN/000.png, as in MVTec LOCO): they are "
        "joined. So are test_public and validation (MVTec AD 2); test_private is left alone.",
        "Classes may lie up to four folders deeper. A class that cannot be read is an error, unless other ones are "
        "asked for by data.classes or data.broken=skip leaves it out.",
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
    mask_threshold: MaskThreshold | None = None,
    exif: bool = True,
    bits: Bits = 16,
    max_pixels: PositiveInt = MAX_MEGAPIXELS,
) -> Iterator[Entry]:
    """Index by the given folders, else by names of folders, else by a meta.json."""
    reading = own_reading(
        inverted_masks=inverted_masks, mask_threshold=mask_threshold, exif=exif, bits=bits, max_pixels=max_pixels
    )
    class_name = None if class_name is None else str(class_name)
    named = [_as_list(value) for value in (normal_dir, abnormal_dir, mask_dir, train_dir)]
    kinds_of: dict[str, list[Kind] | UserError]
    if any(named):
        kinds_of = {class_name or root.resolve().name: explicit_kinds(root, *named)}
    else:
        kinds_of = _recognised(root, class_name)
    if not kinds_of and (root / META_NAME).is_file():
        yield from read_meta(root, dataset="folder", reading=reading)
        return
    if not kinds_of:
        raise refusal(root, _found(root), _EXPECTED)
    for name in select(kinds_of, classes, where=root):
        kinds = kinds_of[name]
        if isinstance(kinds, UserError):
            yield Fault(name, kinds)
        else:
            yield from guarded(name, _class(root, name, kinds, reading))
    if unread := unread_below(root):
        yield Note(unread, in_rows=True)
    yield from (
        Note(f"{name} is not unpacked: no part of these results", in_rows=True) for name in _packed(root, kinds_of)
    )


def _recognised(root: Path, class_name: str | None) -> dict[str, list[Kind] | UserError]:
    """Class -> kinds of images, from the names of folders, or what is wrong with it; empty: nothing is recognised."""
    for place in through(root, ""):
        kinds = recognise(root, place)
        if kinds:
            return {class_name or (place.rsplit("/", 1)[-1] or root.resolve().name): kinds}
        kinds_of = _classes(root, place)
        if any(isinstance(kinds, list) for kinds in kinds_of.values()):
            if class_name is not None:
                hint = "leave out data.class_name, or give one class as data.root"
                raise UserError(f"the folder holds {len(kinds_of)} classes", where=str(root), hint=hint)
            return kinds_of
        if kinds_of:
            raise next(error for error in kinds_of.values() if isinstance(error, UserError))
    folders = listing(root).folders
    sets = [name for name in folders if any(isinstance(kinds, list) for kinds in _classes(root, name).values())]
    if sets:
        what = f"the folder holds several data sets or other things beside one: {', '.join(map(repr, folders[:4]))}"
        raise UserError(what, where=str(root), hint=f"give one of them: {shlex.quote(f'data.root={root / sets[0]}')}")
    return {}


def _classes(root: Path, place: str) -> dict[str, list[Kind] | UserError]:
    """The folders of classes in a folder; empty where none of them is arranged as one, and none is nearly so."""
    kinds_of: dict[str, list[Kind] | UserError] = {}
    strangers = []
    for folder in listing(root / place).folders:
        try:
            inner = through(root, join(place, folder))
            kinds = next((kinds for inside in inner if (kinds := recognise(root, inside))), [])
            if kinds:
                kinds_of[folder] = kinds
            elif images_below(root, join(place, folder)):
                strangers.append(folder)
        except UserError as error:
            kinds_of[folder] = error
    like = next((name for name, kinds in kinds_of.items() if isinstance(kinds, list)), None)
    for folder in strangers if like is not None else ():
        what = f"folder {folder!r} holds images but is not arranged as a class like {like!r}"
        kinds_of[folder] = UserError(what, where=str(root / place), hint=_EXPECTED)
    return kinds_of


def _packed(root: Path, classes: Collection[str]) -> list[str]:
    """Archives beside the folders of classes that may be further classes."""
    folders = {plain(name) for name in listing(root).folders}
    several = any(name in listing(root).folders for name in classes)
    return [name for name in archives(root) if plain(name.split(".")[0]) not in folders] if several else []


def _class(root: Path, class_name: str, kinds: Sequence[Kind], reading: Reading) -> Iterator[Sample]:
    masks = _masks(root, kinds)
    samples = []
    for kind in kinds:
        images, _ = split_off_masks(listing(root / kind.folder).images)
        for name in images:
            key = join(kind.folder, name)
            sample = Sample.below(
                root,
                key,
                dataset="folder",
                class_name=class_name,
                split=kind.split,
                defect=kind.defect if kind.label else None,
                masks=masks.get(key, ()),
                reading=reading,
            )
            samples.append(sample)
    _refuse_shared_masks(samples)
    yield from samples


def _masks(root: Path, kinds: Sequence[Kind]) -> dict[str, tuple[Path, ...]]:
    """Key of an anomalous image -> its masks. Kinds that share a folder of masks are paired with it together."""
    groups: dict[str, list[list[str]]] = {}
    beside: dict[str, list[str]] = {}
    for kind in kinds:
        images, mask_names = split_off_masks(listing(root / kind.folder).images) if kind.label else ([], [])
        place = kind.folder if mask_names else kind.mask_folder
        if place is not None:
            groups.setdefault(place, []).append([join(kind.folder, name) for name in images])
        if mask_names:
            beside[kind.folder] = mask_names
    masks: dict[str, tuple[Path, ...]] = {}
    for place, parts in groups.items():
        together = [key for keys in parts for key in keys]
        unique = len({key.rsplit("/", 1)[-1] for key in together}) == len(together)
        for keys in [together] if unique else parts:
            names = {key.rsplit("/", 1)[-1]: key for key in keys}
            pairs = pair_masks(list(names), beside.get(place) or mask_files(root / place), where=root / place)
            masks |= {names[name]: tuple(root / place / mask for mask in paired) for name, paired in pairs.items()}
    return masks


def _refuse_shared_masks(samples: list[Sample]) -> None:
    owners: dict[Path, Sample] = {}
    for sample in samples:
        if sample.mask_path is not None:
            other = owners.setdefault(sample.mask_path, sample)
            if other is not sample:
                raise UserError(
                    f"two images share one mask: {other.key!r} and {sample.key!r}",
                    where=str(sample.mask_path),
                    hint="keep the masks of each kind of defect in a folder named as the kind",
                )


def _as_list(value: str | Sequence[str]) -> list[str]:
    # Folders called 0 and 1 come as numbers from a command line.
    return [str(entry) for entry in value] if isinstance(value, (list, tuple)) else [str(value)]


def _found(root: Path) -> str:
    here = listing(root)
    shown = ", ".join(here.folders[:6]) + (", ..." if len(here.folders) > 6 else "")
    folders = f"the folders {shown}" if here.folders else "no folders"
    unread = f"; {said}" if (said := unread_below(root)) else ""
    return f"cannot tell normal from abnormal images: found {folders} and {len(here.images)} images beside them{unread}"
