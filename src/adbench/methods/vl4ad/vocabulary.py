"""The words of VL4AD: classes, their concepts, superclasses and out-of-distribution prompts, and their text features.

Words are data, in configs/vocabulary/*.yaml. A column of class logits stands for one class (or superclass, or OOD
prompt); it has one or several concepts, of which the nearest counts (paper, text: maximum over concepts).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from adbench.clip import Clip
from adbench.errors import UserError, unknown
from adbench.shipped import configs_dir

NAMES, NONE = "names", "none"
Concepts = tuple[tuple[str, ...], ...]
"""For each column its concepts."""

_SECTIONS = ("classes", "templates", "concepts", "superclasses", "ood")
# Sentences per pass through the text tower.
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a vocabulary file says. `source` is its name or path.

    classes       in the order of the train ids
    templates     sentences with {} in the place of a concept
    concepts      list's name -> class -> concepts; superclasses: name -> superclass -> classes; ood: name -> columns
    """

    source: str
    classes: tuple[str, ...]
    templates: tuple[str, ...]
    concepts: Mapping[str, Mapping[str, tuple[str, ...]]]
    superclasses: Mapping[str, Mapping[str, tuple[str, ...]]]
    ood: Mapping[str, Concepts]

    def concepts_of_classes(self, name: str) -> Concepts:
        """The concepts of each class from list `name`; "names": the class's name alone."""
        if name == NAMES:
            return tuple((class_name,) for class_name in self.classes)
        words = self._find("concept list", name, self.concepts, NAMES)
        missing = [class_name for class_name in self.classes if not words.get(class_name)]
        if missing:
            raise UserError(f"concept list {name!r} has no words for {', '.join(missing)}", where=self.source)
        return tuple(words[class_name] for class_name in self.classes)

    def groups(self, name: str) -> tuple[tuple[int, ...], ...]:
        """The numbers of the classes in each superclass of grouping `name`; "none": each class by itself."""
        if name == NONE:
            return tuple((index,) for index in range(len(self.classes)))
        members = self._find("grouping into superclasses", name, self.superclasses, NONE).values()
        named = [class_name for group in members for class_name in group]
        if sorted(named) != sorted(self.classes):
            raise UserError(f"superclasses {name!r} do not hold every class once", where=self.source)
        return tuple(tuple(self.classes.index(class_name) for class_name in group) for group in members)

    def ood_columns(self, name: str) -> Concepts:
        """The concepts of each OOD prompt class of list `name`; "none": no such class."""
        return () if name == NONE else tuple(self._find("list of OOD prompts", name, self.ood, NONE))

    def wording(self, *, concepts_train: str, concepts: str, merge: str, ood: str) -> Wording:
        """The words of these lists. Raises UserError for a name that the vocabulary does not have."""
        train, test = self.concepts_of_classes(concepts_train), self.concepts_of_classes(concepts)
        return Wording(self.templates, train, test, self.groups(merge), self.ood_columns(ood))

    def _find(self, kind: str, name: str, known: Mapping[str, Any], always: str) -> Any:
        if name not in known:
            raise unknown(kind, name, [*known, always], where=self.source)
        return known[name]


def read_vocabulary(given: str | Mapping[str, Any]) -> Vocabulary:
    """A vocabulary by the name of a shipped file, by the path of a YAML file, or as its content.

    Raises UserError for an unknown name, an unreadable file, a missing or unknown section.
    """
    if isinstance(given, Mapping):
        return _parse(given, "method.vocabulary")
    file = Path(given)
    if file.suffix not in (".yaml", ".yml"):
        folder = configs_dir() / "vocabulary"
        known = sorted(shipped.stem for shipped in folder.glob("*.yaml"))
        if given not in known:
            raise unknown("vocabulary", given, [*known, "FILE.yaml"], where="method.vocabulary")
        file = folder / f"{given}.yaml"
    import yaml

    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"the vocabulary cannot be read: {reason}", where="method.vocabulary") from error
    return _parse(values if isinstance(values, Mapping) else {}, str(given))


def _parse(values: Mapping[str, Any], source: str) -> Vocabulary:
    for key in values:
        if key not in _SECTIONS:
            raise unknown("section of a vocabulary", str(key), _SECTIONS, where=source)
    for key in ("classes", "templates"):
        if not isinstance(values.get(key), (list, tuple)) or not values[key]:
            raise UserError(f"the vocabulary lacks {key}", where=source, hint=f"give a list called {key}")

    def nested(key: str) -> dict[str, dict[str, tuple[str, ...]]]:
        return {
            name: {member: _words(words) for member, words in of.items()}
            for name, of in (values.get(key) or {}).items()
        }

    ood = {name: tuple(_words(column) for column in columns) for name, columns in (values.get("ood") or {}).items()}
    classes, templates = tuple(map(str, values["classes"])), tuple(map(str, values["templates"]))
    return Vocabulary(source, classes, templates, nested("concepts"), nested("superclasses"), ood)


def _words(given: Any) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(map(str, given))


@dataclass(frozen=True, slots=True)
class Columns:
    """The text side of the class logits, void excepted.

    concepts  (M, E) unit vectors
    members   (columns, longest) int64, the concepts of each column; shorter columns repeat one of theirs
    n_kept    the first so many columns are in-distribution classes (or superclasses), the others OOD prompts
    seen      (columns,) bool: whether a column's class was trained on (out-of-vocabulary ensemble)
    """

    concepts: Tensor
    members: Tensor
    n_kept: int
    seen: Tensor

    def to(self, device: torch.device) -> Columns:
        """The same on `device`."""
        return Columns(self.concepts.to(device), self.members.to(device), self.n_kept, self.seen.to(device))

    def logits(self, embeddings: Tensor, scale: Tensor | float) -> Tensor:
        """Scaled cosines of (..., E) with the nearest concept of each column: (..., columns)."""
        cosines = F.normalize(embeddings, dim=-1) @ self.concepts.to(embeddings.dtype).T  # (..., M)
        nearest: Tensor = (scale * cosines)[..., self.members].amax(dim=-1)
        return nearest


def make_columns(
    features: Tensor, n_concepts: Sequence[int], *, n_id: int, seen: Sequence[bool], groups: Sequence[Sequence[int]]
) -> Columns:
    """Columns from concept features (M, E) in the order of the classes, `n_concepts` of each, OOD classes after n_id.

    seen    per class; a superclass counts as seen if one of its members does
    groups  numbers of the ID classes that make up each kept column (paper: merging pools the members' concepts)
    """
    starts = [sum(n_concepts[:index]) for index in range(len(n_concepts))]
    rows = [list(range(start, start + count)) for start, count in zip(starts, n_concepts, strict=True)]
    together = [*groups, *((index,) for index in range(n_id, len(rows)))]
    columns = [[row for index in group for row in rows[index]] for group in together]
    longest = max(map(len, columns))
    members = torch.tensor([column + column[-1:] * (longest - len(column)) for column in columns])
    flags = torch.tensor([any(seen[index] for index in group) for group in together])
    return Columns(features, members, len(groups), flags)


@dataclass(frozen=True, slots=True)
class Wording:
    """The words that a method uses: concepts of each class in training and testing, superclasses and OOD classes."""

    templates: tuple[str, ...]
    train: Concepts
    test: Concepts
    groups: tuple[tuple[int, ...], ...]
    ood: Concepts

    def columns(self, clip: Clip, use: str) -> Columns:
        """Columns of "train" (classes), "test" (merged, with OOD classes) or "segment" (classes, words of testing)."""
        words = self.train if use == "train" else self.test
        listed = [*words, *(self.ood if use == "test" else ())]
        trained = {concept for concepts in self.train for concept in concepts}
        return make_columns(
            encode_concepts(clip, [concept for concepts in listed for concept in concepts], self.templates),
            [len(concepts) for concepts in listed],
            n_id=len(words),
            seen=[not trained.isdisjoint(concepts) for concepts in listed],
            groups=self.groups if use == "test" else [(index,) for index in range(len(words))],
        )


def concept_features(raw: Tensor) -> Tensor:
    """Unit vectors (M, E) of concepts from what the text tower gives of their T sentences (M, T, E)."""
    return F.normalize(F.normalize(raw, dim=-1).mean(dim=1), dim=-1)


def encode_concepts(clip: Clip, concepts: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Unit vectors (M, E) of concepts through the text tower, without gradient."""
    sentences = [template.format(concept) for concept in concepts for template in templates]
    with torch.no_grad():
        parts = [
            clip.encode_text(clip.tokenize(sentences[start : start + _CHUNK]))
            for start in range(0, len(sentences), _CHUNK)
        ]
    return concept_features(torch.cat(parts).float().unflatten(0, (len(concepts), len(templates))))
