"""What the names of folders say: which hold normal images, which abnormal ones, which masks."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from adbench.data.repacks import annotation_format, beside
from adbench.data.stems import bare, plain
from adbench.data.tree import Listing, archives, images_below, join, listing
from adbench.errors import UserError

_NAMES = {
    "normal": "good ok okay normal no nodefect nodefects defectfree nondefective undamaged healthy clean negative 0",
    "abnormal": "bad ng nok ko notok abnormal anomaly anomalies anomalous defect defects defective damaged broken "
    "faulty fault yes positive 1",
    "masks": "groundtruth groundthruth gt mask masks annotation annotations label labels",
    "train": "train training",
    "test": "test testing testpublic",
    "validation": "val valid validate validation",
    # Parts of which nothing says what they hold.
    "unclear": "image images img imgs data all",
    # Test images whose labels are held back, and masks of other things than defects.
    "left alone": "testprivate testprivatemixed fgmask fgmasks foregroundmask foregroundmasks augmented",
}
_ROLES = {name: role for role, words in _NAMES.items() for name in words.split()}
_DEEPEST = 12
_TRUTH = ("groundtruth", "groundthruth", "gt")


@dataclass(frozen=True, slots=True)
class Kind:
    """A folder of images that have label, split and kind of defect in common; places are relative to the root."""

    folder: str
    label: int
    split: str
    defect: str
    mask_folder: str | None = None


def role(name: str) -> str | None:
    """What a folder's name says: a key of `_NAMES`, or None for nothing."""
    plain = re.sub(r"[^a-z0-9]", "", name.casefold())
    if plain in _ROLES:
        return _ROLES[plain]
    return "masks" if plain.endswith(("mask", "masks", "groundtruth")) else None


def recognise(root: Path, folder: str) -> list[Kind]:
    """Return the kinds of images of one class, whose folder lies at `folder` below `root`; empty if not recognised.

    Raises UserError where some names are understood and others are not.
    """
    here = listing(root / folder)
    test = [name for name in here.folders if role(name) == "test"]
    _refuse_parts(here, test)
    mask_roots = _mask_roots(folder, here)
    place = join(folder, test[0]) if test else folder
    tested = listing(root / place) if test else here
    sides = _sides_of_test(tested, masks_elsewhere=bool(mask_roots)) if test else _sides(tested)
    inner_roots = [] if mask_roots else _mask_roots(place, tested, without=sides)
    kinds: list[Kind] = []
    for name, label in sides.items():
        kinds.extend(_kinds(root, place, name, label, "test", mask_roots or inner_roots))
    if not kinds:
        return []
    for name in here.folders:
        if role(name) in ("train", "validation"):
            kinds.extend(_training(root, join(folder, name), mask_roots, str(role(name))))
    return kinds


def _refuse_parts(here: Listing, test: Sequence[str]) -> None:
    """Refuse two folders of test images, other folders beside one, and parts that are still packed."""
    shown = f"there are the folders {', '.join(here.folders[:6])}"
    if len(test) > 1:
        hint = "keep one of them there"
        raise UserError(f"two folders hold test images: {test[0]!r} and {test[1]!r}", where=str(here.path), hint=hint)
    if any(role(name) in ("normal", "abnormal", "test") for name in here.folders):
        folders = {plain(name) for name in here.folders}
        for archive in archives(here.path):
            stem = archive.split(".")[0]
            if role(stem) is not None and plain(stem) not in folders:
                raise UserError(f"{archive} is not unpacked", where=f"in {here.path}", hint="unpack it there")
    for name in here.folders if test else ():
        if role(name) in (None, "unclear") and images_below(here.path, name):
            hint = f"move it away, or name the folders by data.normal_dir and data.abnormal_dir; {shown}"
            raise UserError(f"it is not clear what {name!r} beside {test[0]!r} holds", where=str(here.path), hint=hint)


def _mask_roots(folder: str, here: Listing, without: Collection[str] = ()) -> list[str]:
    """Folders of masks; those called ground truth alone where there are any: other masks may be of other things."""
    names = [name for name in here.folders if role(name) == "masks" and name not in without]
    truth = [name for name in names if plain(name) in _TRUTH]
    return [join(folder, name) for name in truth or names]


def explicit_kinds(
    root: Path, normal: Sequence[str], abnormal: Sequence[str], masks: Sequence[str], train: Sequence[str]
) -> list[Kind]:
    """Return the kinds of images in folders that the user named. Raises UserError for folders that do not exist."""
    for option, folders in (("normal", normal), ("abnormal", abnormal), ("mask", masks), ("train", train)):
        for folder in folders:
            if not (root / folder).is_dir() or Path(folder).is_absolute() or ".." in Path(folder).parts:
                hint = "name a folder below data.root"
                raise UserError(f"folder {folder!r} is missing", where=f"data.{option}_dir, below {root}", hint=hint)
    if not normal and not abnormal:
        raise UserError("no folder of test images is named", where="data", hint="give data.normal_dir or abnormal_dir")
    if masks and len(masks) not in (1, len(abnormal)):
        raise UserError(
            f"{len(masks)} mask folders for {len(abnormal)} abnormal ones",
            where="data.mask_dir",
            hint="name one for all, or one for each in the same order",
        )
    kinds: list[Kind] = []
    for number, folder in enumerate(abnormal):
        mask_roots = [_posix(masks[number % len(masks)])] if masks else []
        kinds.extend(_kinds(root, "", _posix(folder), 1, "test", mask_roots))
    for split, folders in (("test", normal), ("train", train)):
        for folder in folders:
            kinds.extend(_kinds(root, "", _posix(folder), 0, split, ()))
    return kinds


def _sides(here: Listing) -> dict[str, int]:
    """Folder -> label (0 normal, 1 abnormal) of the folders of images; empty where the names do not tell."""
    roles = {name: role(name) for name in here.folders}
    sides = {name: int(meaning == "abnormal") for name, meaning in roles.items() if meaning in ("normal", "abnormal")}
    if not sides:
        return {}
    others = [name for name, meaning in roles.items() if meaning is None]
    unclear = [name for name, meaning in roles.items() if meaning in ("unclear", "validation")]
    if 1 in sides.values():
        unclear += others  # beside a folder of defects, other names may mean anything
    else:
        sides.update(dict.fromkeys(others, 1))  # beside normal images they are kinds of defects
    _refuse_unclear(here, unclear, sides)
    return sides


def _sides_of_test(here: Listing, *, masks_elsewhere: bool) -> dict[str, int]:
    """Folder -> label in a test folder, as MVTec AD has it: whatever is not normal is a kind of defect."""
    roles = {name: role(name) for name in here.folders}
    skipped = ("left alone",) if masks_elsewhere else ("left alone", "masks")
    sides = {name: int(meaning != "normal") for name, meaning in roles.items() if meaning not in skipped}
    _refuse_unclear(
        here, [name for name, meaning in roles.items() if meaning in ("unclear", "train", "test", "validation")], sides
    )
    return sides


def _refuse_unclear(here: Listing, unclear: Sequence[str], sides: dict[str, int]) -> None:
    if unclear or here.images:
        what = f"folder {unclear[0]!r}" if unclear else f"{len(here.images)} images"
        clear = ", ".join(repr(name) for name in sides if name not in unclear)
        raise UserError(
            f"it is not clear whether {what} {f'beside {clear} ' if clear else ''}is normal or abnormal",
            where=str(here.path),
            hint="move it away, or name the folders by data.normal_dir and data.abnormal_dir",
        )


def _kinds(root: Path, place: str, name: str, label: int, split: str, mask_roots: Sequence[str]) -> Iterator[Kind]:
    """The images in a folder and in the folders in it, each of which is a kind of defect."""
    folder = join(place, name)
    here = listing(root / folder)
    inside = [join(folder, sub) for sub in here.folders if role(sub) == "masks"]
    # A folder such as `bad_masks` belongs to the folder whose name it begins with.
    roots = inside + sorted(mask_roots, key=lambda mask: not mask.rsplit("/", 1)[-1].startswith(name))
    for sub in _with_images(root / folder, here, ""):
        defect = (sub or folder).rsplit("/", 1)[-1] if label else "good"
        masks = _mask_folder(root, roots, place, name, sub) if label else None
        if label and masks is None and (form := beside(root / join(folder, sub))):
            hint = "draw them into mask files, or move them away to do without"
            raise UserError(form, where=str(root / join(folder, sub)), hint=hint)
        yield Kind(join(folder, sub), label, split, defect, masks)


def _with_images(folder: Path, here: Listing, sub: str) -> Iterator[str]:
    """Relative paths of the folders that hold images, from `folder` itself ("") downwards, without those of masks."""
    if sub.count("/") > _DEEPEST:
        raise UserError("folders are nested without end", where=str(folder), hint="remove the link that leads back")
    if here.images:
        yield sub
    for name in here.folders:
        if role(name) not in ("masks", "left alone"):
            yield from _with_images(folder / name, listing(folder / name), join(sub, name))


def _mask_folder(root: Path, roots: Sequence[str], place: str, name: str, sub: str) -> str | None:
    """The first folder of masks that holds any for a kind of defect, None where there are no mask folders at all."""
    images = {bare(image) for image in listing(root / join(place, join(name, sub))).images}
    part = place.rsplit("/", 1)[-1]
    tails = [join(name, sub), sub, join(part, name), name, ""] if sub else [join(part, name), name, ""]
    for mask_root in roots:
        for tail in tails:
            candidate = join(mask_root, tail)
            if (root / candidate).is_dir() and _holds_masks(listing(root / candidate), images):
                return candidate
    if roots:
        form = annotation_format([path for path in sorted((root / roots[0]).rglob("*")) if path.is_file()])
        if form is not None:
            hint = "draw them into mask files, or move the folder away to do without"
            raise UserError(form, where=str(root / roots[0]), hint=hint)
        raise UserError(
            f"there is a folder of masks, {roots[0]!r}, but none for the images in {join(place, join(name, sub))!r}",
            where=str(root),
            hint=f"put them into {join(roots[0], sub or name)!r}, or move all masks away to do without",
        )
    return None


def _holds_masks(here: Listing, images: Collection[str]) -> bool:
    """Whether a folder holds masks of images with these stems: files, or a folder of files for each image."""
    return bool(here.images) or any(bare(name) in images for name in here.folders)


def _training(root: Path, folder: str, mask_roots: Sequence[str], split: str) -> Iterator[Kind]:
    """A training folder: images directly in it are normal, like those in folders named so; others are abnormal."""
    here = listing(root / folder)
    if here.images:
        yield Kind(folder, 0, split, "good")
    for name in here.folders:
        meaning = role(name)
        if meaning in ("normal", "abnormal", None):
            yield from _kinds(root, folder, name, int(meaning != "normal"), split, mask_roots)


def _posix(folder: str) -> str:
    path = Path(folder).as_posix()
    return "" if path == "." else path
