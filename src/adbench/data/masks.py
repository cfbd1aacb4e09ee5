"""Which mask belongs to which image: by name, as the published sets and most tools write them, never by position."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from adbench.data.sample import Sample
from adbench.data.stems import bare, exact, folded, is_image, joined, numbered, tokens, without_word
from adbench.errors import UserError

Pairs = dict[str, tuple[str, ...]]
_Form = Callable[[str], object]


def _exact_folded(name: str) -> str:
    return folded(exact(name))


def _unworded(name: str) -> str:
    return without_word(name)[0]


# (what makes the names of images and of masks comparable), from certain to loose.
_BY_NAME: tuple[tuple[_Form, _Form], ...] = (
    (exact, exact),
    (_exact_folded, _exact_folded),
    (bare, bare),
    (bare, _unworded),
)
# These are applied to such names, and count only where no file of either side is left over.
_BY_PARTS = (joined, numbered)


def pair_masks(images: Sequence[str], masks: Sequence[str], *, where: Path) -> Pairs:
    """Return image -> its masks, for the names of the anomalous images of a folder and of the files with their masks.

    Tried in this order, until one way pairs every image and no mask twice: the same stem; the same composed and without
    case; without further extensions of images and surrounding blanks; without a word for masks (`_mask`, `gt-`, ...),
    behind which a number may stand: `7_mask_1` and `7_mask_2` are both of `7`; `-`, `_` and blanks alike; numbers
    without zeros in front; one word that differs in the same way in all pairs (`a_D_1`, `a_GT_1`); equal numbers in
    names that are the same otherwise on each side. Masks may be left over in the first four. A mask `7/0.png` lies in a
    folder of image 7: all masks of such a folder are joined.

    An image without a mask gets the name that its mask should have and that no file has: see `survey`. Raises UserError
    where it is not clear which of two masks is meant.
    """
    units = _units(masks, where)
    partial: Pairs = {}
    for image_form, mask_form in _BY_NAME:
        pairs = _match(images, units, image_form, mask_form)
        if len(pairs) == len(images):
            _refuse_left_over(pairs, units, where)
            return _files(pairs, units)
        partial = max(partial, pairs, key=len)
    for form in _BY_PARTS:
        bases = {name: form(bare(name)) for name in images}, {name: form(_unworded(name)) for name in units}
        pairs = _match(images, units, bases[0].__getitem__, bases[1].__getitem__)
        if _is_whole(pairs, images, units):
            return _files(pairs, units)
    loose = list(_by_one_word(images, units)) or list(_by_numbers(images, units))
    if loose and all(pairs == loose[0] for pairs in loose):
        return _files(loose[0], units)
    _refuse_twins(images, "images", numbered, where)
    _refuse_twins(units, "masks", numbered, where)
    expected = {image: (_expected(image, partial, units),) for image in images if image not in partial}
    return _files(partial, units) | expected


def split_off_masks(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate a folder that holds images and their masks side by side (`7.png`, `7_mask.png`): (images, masks)."""
    worded = [name for name in names if without_word(name)[0] != bare(name)]
    others = [name for name in names if name not in set(worded)]
    numbers = {numbered(bare(name)) for name in others}
    masks = {name for name in worded if numbered(without_word(name)[0]) in numbers}
    if not masks and others:
        pairs = list(_by_one_word(others, {name: (name,) for name in worded}))
        masks = {mask for group in (pairs[0] if pairs else {}).values() for mask in group}
    return [name for name in names if name not in masks], [name for name in names if name in masks]


def leniencies(samples: Iterable[Sample]) -> dict[str, int]:
    """How many masks are paired with their images by more than a stem and a word for masks, by what was needed."""
    times: Counter[str] = Counter()
    for sample in samples:
        if sample.mask_path is None or sample.label != 1 or sample.label_ids is not None:
            continue
        image, unit = sample.path.name, sample.mask_path.name
        if without_word(unit)[0] == bare(image) or bare(sample.mask_path.parent.name) == bare(image):
            continue
        forms = [form(bare(image)) == form(_unworded(unit)) for form in _BY_PARTS]
        how = ("with other separators", "without zeros in front of numbers", "by a word that differs in all pairs")
        times[how[forms.index(True) if any(forms) else 2]] += 1
    return dict(times)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that resembles `name` most, None where there is none at all."""
    forms = {numbered(without_word(other)[0]): other for other in sorted(names, reverse=True)}
    matches = difflib.get_close_matches(numbered(without_word(name)[0]), forms, n=1, cutoff=0)
    return forms[matches[0]] if matches else None


def _units(masks: Sequence[str], where: Path) -> dict[str, tuple[str, ...]]:
    """What is paired with an image, by name: a file, or a folder with all files in it."""
    units: dict[str, tuple[str, ...]] = {}
    for mask in sorted(masks):
        name = mask.split("/", 1)[0]
        units[name] = (*units.get(name, ()), mask)
    _refuse_twins(units, "masks", bare, where)
    return units


def _refuse_twins(names: Iterable[str], kind: str, form: Callable[[str], str], where: Path) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(form(bare(name)), name)
        if other != name:
            what = "have the same stem" if bare(other) == bare(name) else "differ in zeros or separators alone"
            raise UserError(f"two {kind} {what}: {other!r} and {name!r}", where=str(where), hint="remove one of them")


def _match(images: Sequence[str], units: Iterable[str], image_form: _Form, mask_form: _Form) -> Pairs:
    """Image -> units of its form, which is not None; left out where two images or unnumbered masks have one form."""
    by_form: dict[object, list[str]] = {}
    for unit in units:
        by_form.setdefault(mask_form(unit), []).append(unit)
    by_form.pop(None, None)
    times = Counter(image_form(image) for image in images)
    pairs = {}
    for image in images:
        form = image_form(image)
        candidates = by_form.get(form, [])
        numbers = {without_word(unit)[1] for unit in candidates}
        if candidates and times[form] == 1 and len(numbers) == len(candidates):
            pairs[image] = tuple(candidates)
    return pairs


def _is_whole(pairs: Pairs, images: Sequence[str], units: Mapping[str, object]) -> bool:
    return len(pairs) == len(images) and sum(map(len, pairs.values())) == len(units)


def _by_one_word(images: Sequence[str], units: Mapping[str, object]) -> Iterator[Pairs]:
    """Every pairing that one word explains, which all images have and all masks have not, or have another in place."""
    if not images or len(images) != len(units):
        return
    for stem in (bare, _unworded):
        split_images = {image: tokens(bare(image)) for image in images}
        split_units = {unit: tokens(stem(unit)) for unit in units}
        for old in (None, *_words(split_images.values())):
            for new in (None, *_words(split_units.values())):
                forms = {image: _replaced(words, old, new) for image, words in split_images.items()}
                others = {unit: _replaced(words, new, old) for unit, words in split_units.items()}
                pairs = _match(images, units, forms.__getitem__, others.__getitem__)
                if _is_whole(pairs, images, units):
                    yield pairs


def _words(names: Iterable[tuple[str, ...]]) -> list[str]:
    """Words, no numbers, that all names hold."""
    first, *others = names
    return [word for word in dict.fromkeys(first) if not word.isdigit() and all(word in words for words in others)]


def _replaced(words: tuple[str, ...], word: str | None, by: str | None) -> tuple[str, ...] | None:
    """`words` with a mark for the first `word`, or without it where the other side has nothing in its place.

    None, which pairs with nothing, where no other word or number is left to tell images apart.
    """
    if word is None:
        return words or None
    place = words.index(word)
    rest = (*words[:place], *(() if by is None else ("*",)), *words[place + 1 :])
    return rest if len(words) > 1 else None


def _by_numbers(images: Sequence[str], units: Mapping[str, object]) -> Iterator[Pairs]:
    """The pairing of equal numbers, where the names of each side are the same but for them."""
    split = {name: tokens(bare(name)) for name in (*images, *units)}
    frames = [
        {tuple("#" if word.isdigit() else word for word in split[name]) for name in side} for side in (images, units)
    ]
    if any(len(frame) != 1 for frame in frames):
        return
    numbers = {name: tuple(word for word in words if word.isdigit()) or None for name, words in split.items()}
    pairs = _match(images, units, numbers.__getitem__, numbers.__getitem__)
    if _is_whole(pairs, images, units) and None not in numbers.values():
        yield pairs


def _refuse_left_over(pairs: Pairs, units: Mapping[str, object], where: Path) -> None:
    """Refuse masks that no image has, but that may be a part of an image's mask, or be meant for it."""
    used = {unit for paired in pairs.values() for unit in paired}
    bases = {numbered(bare(image)): image for image in pairs}
    padded = {numbered(bare(unit)): unit for unit in used}
    for unit in units:
        base, number = without_word(unit)
        other = padded.get(numbered(bare(unit)))
        if unit not in used and (other is not None or (number and numbered(base) in bases)):
            other = other or pairs[bases[numbered(base)]][0]
            raise UserError(
                f"it is not clear which mask belongs to an image: {other!r} or {unit!r}",
                where=str(where),
                hint="remove one of them, or name both NAME_mask_1, NAME_mask_2 to have them joined",
            )


def _files(pairs: Pairs, units: Mapping[str, tuple[str, ...]]) -> Pairs:
    return {image: tuple(file for unit in paired for file in units[unit]) for image, paired in pairs.items()}


def _expected(image: str, pairs: Pairs, units: Mapping[str, object]) -> str:
    """A name for a missing mask, formed as the names of the other masks are where that is free."""
    stem = exact(image)
    suffixed = (unit for (other, (unit, *_)) in pairs.items() if is_image(unit) and unit.startswith(exact(other)))
    unit = next(suffixed, None)
    other = next((known for known, paired in pairs.items() if unit in paired), "")
    name = f"{stem}_mask.png" if unit is None else f"{stem}{unit.removeprefix(exact(other))}"
    while name in units:
        name = f"{os.path.splitext(name)[0]}_mask.png"
    return name
