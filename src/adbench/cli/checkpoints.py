"""Which weights `eval` uses, and what it takes over from them: method, hyperparameters, backbone, number of shots."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench.cli.layers import Layer
from adbench.cli.override_parser import choices
from adbench.cli.overrides import Overrides
from adbench.errors import UserError

if TYPE_CHECKING:
    from adbench.engine.weights import WeightsRecord
    from adbench.methods import Method

UNTRAINED, LATEST = "untrained", "latest"


@dataclass(frozen=True)
class ChosenCheckpoint:
    """Where weights come from. `path` None: fresh or no weights. `record` None: the file does not say.

    `newest_below`: the folder in which they are the newest, where nobody has named them.
    """

    method: str
    path: Path | None = None
    record: WeightsRecord | None = None
    newest_below: Path | None = None

    @property
    def is_fitted(self) -> bool:
        """Whether the weights have been fitted to support images already, so that they take no others."""
        return self.path is not None and _class(self.method).fits

    @property
    def origin(self) -> str:
        """Which weights were taken, and from where, where nobody has named them; else empty."""
        if self.newest_below is None or self.record is None:
            return ""
        kind = "evaluation that fitted it" if self.is_fitted else "finished training"
        data = ", ".join(part["name"] for part in self.record.data or ())
        epoch = "" if self.record.epoch is None else f", epoch {self.record.epoch}"
        return f"the newest {kind} below {self.newest_below}: {self.method}{f' on {data}' if data else ''}{epoch}"

    def layer(self, overrides: Overrides) -> Layer:
        """What the weights were trained with: method and, unless one was typed, backbone.

        Raises UserError where another backbone was typed: before one that cannot serve is downloaded.
        """
        if self.record is None:
            return Layer({"method": self.method})
        name, typed = self.record.backbone.get("name"), overrides.get("clip")
        if typed not in (None, name):
            raise UserError(
                f"these weights were trained on the backbone {name}, not {typed}",
                where=overrides.word("clip"),
                hint=f"leave out clip, or give weights that were trained on {typed}",
            )
        values: dict[str, Any] = {"method": dict(self.record.hyperparameters)}
        if typed is None:
            values["clip"] = self._clip(self.record.backbone)
        # The recipe of method and backbone counts, where the backbone has a name here.
        return Layer({"method": self.method} | ({"clip": str(name)} if name in choices("clip") else {}), values)

    def shots(self) -> Layer:
        """The support.k that a run was trained with, where the method takes support images."""
        k = self._config().get("support", {}).get("k") if _class(self.method).adapts and not self.is_fitted else None
        return Layer(values={"support": {"k": k}} if k and any(k) else {})

    def _clip(self, described: dict[str, Any]) -> dict[str, Any]:
        """The backbone's settings: from the run's config.yaml, which knows files, else from the record."""
        settings = dict(self._config().get("clip", {}))
        if settings.get("name") != described.get("name"):  # no run folder, or a stray file: the weights know better
            source = str(described.get("source", ""))
            is_file = Path(source).suffix in (".pt", ".pth", ".bin", ".safetensors")
            settings = {"name": described.get("name"), "pretrained": None if is_file else source, "checkpoint": None}
        return {**settings, **{key: described[key] for key in ("quick_gelu", "image_size") if key in described}}

    def _config(self) -> dict[str, Any]:
        """What config.yaml beside the weights holds; nothing where there is none."""
        from adbench.engine.run_folder import RunFolder

        if self.path is None:
            return {}
        return RunFolder(self.path if self.path.is_dir() else self.path.parent).config()


def find_checkpoint(asked: str | None, overrides: Overrides) -> ChosenCheckpoint:
    """Resolve checkpoint=RUN|FILE|latest|untrained for the method that was typed, or that the weights are of.

    None: a method that is trained takes the latest run of its own. Raises UserError where there is none, and where
    method and checkpoint do not belong together.
    """
    method = overrides.method
    if method is None:
        if asked in (None, UNTRAINED):
            raise UserError(
                f"{overrides.command} needs a method or the weights of one",
                hint=f"add method=NAME ({', '.join(choices('method'))}) or checkpoint=RUN",
            )
    elif asked == UNTRAINED or (asked is None and not is_trained(method)):
        return ChosenCheckpoint(method)
    elif not is_trained(method) and not _class(method).fits:
        raise UserError(
            f"method {method} is not trained: it has no weights to load",
            where=overrides.word("checkpoint"),
            hint="leave out checkpoint",
        )
    outputs = Path(str(overrides.get("outputs", "outputs"))).expanduser()
    if asked not in (None, LATEST):
        return _read(Path(str(asked)).expanduser(), method)
    return replace(_read(_latest(outputs, method), method), newest_below=outputs)


def is_trained(method: str) -> bool:
    """Whether `train` makes weights of the method."""
    return _class(method).supervision != "none"


def _class(method: str) -> type[Method]:
    from adbench.methods import method_class

    return method_class(method)


def _read(path: Path, method: str | None) -> ChosenCheckpoint:
    from adbench.engine.weights import check_is_known, read_record

    record = read_record(path)
    if record is None and method is None:
        raise UserError("this file does not say which method it is of", where=str(path), hint="add method=NAME")
    if record is not None and method not in (None, record.method):
        raise UserError(
            f"these are weights of method {record.method}, not {method}",
            where=str(path),
            hint=f"use method={record.method}, or weights of {method}",
        )
    if record is not None:
        check_is_known(record, choices("method"), "add method=PLACE")
    return ChosenCheckpoint(record.method if record is not None else str(method), path, record)


def _latest(outputs: Path, method: str | None) -> Path:
    """The newest run with weights of the method: its training, or the evaluation that has fitted it."""
    from adbench.engine.run_folder import FITTED, latest

    fitted = method is not None and _class(method).fits
    try:
        if fitted:
            return latest(outputs, command="eval", method=method, holds=FITTED).path
        return latest(outputs, command="train", method=method).path
    except UserError as error:
        name = method or "NAME"
        command = f"eval method={name} data=... support.k=4" if fitted else f"train method={name} data=..."
        fresh = "" if fitted else ", or evaluate fresh weights (checkpoint=untrained)"
        hint = f"run python -m adbench {command} first, or name one (checkpoint=RUN or FILE){fresh}"
        raise UserError(error.what, where=error.where, hint=hint) from error
