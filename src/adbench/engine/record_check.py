"""The record inside a weights file, checked field by field: files are copied, edited and damaged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, get_type_hints

from adbench.errors import UserError
from adbench.typed import check_value


class _Backbone(TypedDict):
    name: str
    weights_sha256: str
    quick_gelu: bool


class Backbone(_Backbone, total=False):
    """What a backbone says of itself."""

    source: str
    image_size: int
    native_size: int
    patch_size: int
    embed_dim: int
    dtype: str


class _TrainingSet(TypedDict):
    """One of the sets that weights were trained on."""

    name: str
    classes: list[str]
    n_images: int
    fingerprint: str


class TrainingSet(_TrainingSet, total=False):
    """The same with the hashes of its images."""

    images: str


class Start(TypedDict):
    """The weights that a training started from."""

    sha256: str
    data: list[TrainingSet] | None


class _SelectionSet(TypedDict):
    name: str
    classes: list[str]


class SelectionSet(_SelectionSet, total=False):
    """One of the sets that weights were selected on."""

    images: str


class _Selection(TypedDict):
    rule: str
    data: list[SelectionSet] | None


class Selection(_Selection, total=False):
    """By which rule weights were selected."""

    metric: str | None
    value: float | None
    epoch: int | None
    step: int | None


class Support(TypedDict):
    """The images of a class that a method was fitted to."""

    dataset: str
    class_name: str
    k: int
    source: str
    seed: int | None
    paths: list[str]
    pool_size: int
    pool_sha256: str
    flags: dict[str, Any]


class Adaptation(TypedDict):
    """What weights were fitted to."""

    dataset: str
    k: int
    seed: int | None
    supports: list[Support]


class Plugin(TypedDict):
    """Where a method that is not built in came from."""

    place: str
    sha256: str


class _Record(TypedDict):
    method: str
    hyperparameters: dict[str, Any]
    backbone: Backbone
    data: list[TrainingSet] | None


class Record(_Record, total=False):
    """What stands inside a weights file (see `engine.weights.WeightsRecord`)."""

    transform: dict[str, Any] | None
    training: dict[str, Any] | None
    seed: int | None
    epoch: int | None
    step: int | None
    selection: Selection | None
    adaptation: Adaptation | None
    start: Start | None
    remarks: list[str]
    plugin: Plugin | None
    adbench_version: str
    sha256: str
    source: str


def checked_record(content: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The record that a weights file holds. Raises UserError naming the first field that is wrong, or is unknown.

    Entries within may have further keys; the record itself may not: this version would not know what they change.
    """
    try:
        unknown = sorted(content.keys() - get_type_hints(Record).keys())
        if unknown:
            raise UserError(f"its field {unknown[0]:.100} is unknown to this version")
        return dict(check_value(Record, content, "the record"))
    except UserError as error:
        raise UserError(
            f"the record inside the weights file is damaged, or of another version: {error}",
            where=str(file),
            hint="copy the file again, or train the weights again",
        ) from error
