"""What `eval` takes over from a checkpoint: which method it is of, its hyperparameters, and its backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench.cli.grammar import Setting, choices, parse
from adbench.errors import UserError, unknown

if TYPE_CHECKING:
    from adbench.engine.weights import WeightsRecord

UNTRAINED = "untrained"


@dataclass(frozen=True)
class Checkpoint:
    """Where weights come from. `path` None: fresh or no weights. `record` None: the file does not say."""

    method: str
    path: Path | None = None
    record: WeightsRecord | None = None


def find_checkpoint(settings: Sequence[Setting]) -> Checkpoint:
    """Resolve checkpoint=RUN|FILE|latest|untrained for the method that the user named, or that the weights are of.

    Without `checkpoint` a method that is trained takes the latest run of its own. Raises UserError where there is none,
    and where method and checkpoint do not belong together.
    """
    typed = {setting.key: setting for setting in settings}
    method = str(typed["method"].value) if "method" in typed else None
    asked = str(typed["checkpoint"].value) if "checkpoint" in typed else None
    if method is None and asked in (None, UNTRAINED):
        raise UserError(
            "eval needs a method or the weights of one",
            mend=f"add method=NAME ({', '.join(choices('method'))}) or checkpoint=RUN",
        )
    if method is not None:
        if method not in choices("method"):
            raise unknown("method", method, choices("method"), where=typed["method"].word)
        if not _is_trained(method):
            if asked not in (None, UNTRAINED) and not _fits(method):
                raise UserError(
                    f"method {method} is not trained: it has no weights to load",
                    where=typed["checkpoint"].word,
                    mend="leave out checkpoint",
                )
            if asked in (None, UNTRAINED):
                return Checkpoint(method)
        if asked == UNTRAINED:
            return Checkpoint(method)
    return _read(asked, method, Path(str(typed["outputs"].value)) if "outputs" in typed else Path("outputs"))


def _is_trained(method: str) -> bool:
    from adbench.methods import method_class

    return method_class(method).supervision != "none"


def _fits(method: str) -> bool:
    from adbench.methods import method_class

    return method_class(method).fits


def _read(asked: str | None, method: str | None, outputs: Path) -> Checkpoint:
    from adbench.engine.weights import read_record

    path = _latest(outputs, method) if asked in (None, "latest") else Path(str(asked)).expanduser()
    record = read_record(path)
    if record is None and method is None:
        raise UserError("this file does not say which method it is of", where=str(path), mend="add method=NAME")
    if record is not None and method not in (None, record.method):
        raise UserError(
            f"these are weights of method {record.method}, not {method}",
            where=str(path),
            mend=f"use method={record.method}, or weights of {method}",
        )
    return Checkpoint(record.method if record is not None else str(method), path, record)


def _latest(outputs: Path, method: str | None) -> Path:
    """The newest run with weights of the method: its training, or the evaluation that has fitted it."""
    from adbench.engine.run_folder import FITTED, latest

    name = method or "NAME"
    fitted = method is not None and _fits(method)
    try:
        if fitted:
            return latest(outputs, command="eval", method=method, holds=FITTED).path
        return latest(outputs, command="train", method=method).path
    except UserError as error:
        command = f"eval method={name} data=... support.k=4" if fitted else f"train method={name} data=..."
        fresh = "" if fitted else ", or evaluate fresh weights (checkpoint=untrained)"
        mend = f"run python -m adbench {command} first, or name one (checkpoint=RUN or FILE){fresh}"
        raise UserError(error.what, where=error.where, mend=mend) from error


def same_backbone(checkpoint: Checkpoint, settings: Sequence[Setting]) -> list[Setting]:
    """clip=NAME of the backbone that the weights are of, so that the recipe of method and backbone counts.

    Nothing where the settings name one, where the weights do not, or where it has no YAML file.
    """
    name = None if checkpoint.record is None else checkpoint.record.backbone.get("name")
    if name not in choices("clip") or any(setting.key == "clip" for setting in settings):
        return []
    return parse([f"clip={name}"], "eval")


def remembered(checkpoint: Checkpoint, settings: Sequence[Setting]) -> dict[str, dict[str, Any]]:
    """What the weights were trained with, as sections of the configuration: "method" and, unless typed, "clip"."""
    if checkpoint.record is None:
        return {}
    sections = {"method": dict(checkpoint.record.hyperparameters)}
    asked = next((setting for setting in settings if setting.key == "clip"), None)
    if asked is None:
        sections["clip"] = _clip_settings(checkpoint)
    elif asked.value != checkpoint.record.backbone.get("name"):
        # Said here, before a backbone that cannot serve is downloaded.
        name = checkpoint.record.backbone.get("name")
        raise UserError(
            f"these weights were trained on the backbone {name}, not {asked.value}",
            where=asked.word,
            mend=f"leave out clip, or give weights that were trained on {asked.value}",
        )
    return sections


def _clip_settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """The backbone's settings: from the run's config.yaml, which knows files, else from the record."""
    import yaml

    assert checkpoint.record is not None  # as `remembered` calls it
    assert checkpoint.path is not None
    described = checkpoint.record.backbone
    folder = checkpoint.path if checkpoint.path.is_dir() else checkpoint.path.parent
    config = folder / "config.yaml"
    settings: dict[str, Any] = {}
    if config.is_file():
        settings = dict(yaml.safe_load(config.read_text(encoding="utf-8")).get("clip", {}))
    if settings.get("name") != described.get("name"):  # no run folder, or a stray file: the weights know better
        source = str(described.get("source", ""))
        is_file = Path(source).suffix in (".pt", ".pth", ".bin", ".safetensors")
        settings = {"name": described.get("name"), "pretrained": None if is_file else source, "checkpoint": None}
    return {**settings, **{key: described[key] for key in ("quick_gelu", "image_size") if key in described}}


def trained_shots(checkpoint: Checkpoint) -> list[Setting]:
    """The support.k that a run was trained with, as a setting, where the method takes support images."""
    import yaml

    from adbench.methods import method_class

    config = None if checkpoint.path is None else checkpoint.path / "config.yaml"
    if config is None or not config.is_file() or not method_class(checkpoint.method).adapts:
        return []
    shots = (yaml.safe_load(config.read_text(encoding="utf-8")).get("support") or {}).get("k") or [0]
    return parse([f"support.k={','.join(map(str, shots))}"], "eval") if any(shots) else []


def is_fitted(checkpoint: Checkpoint) -> bool:
    """Whether the weights have been fitted to support images already, so that they take no others."""
    return checkpoint.path is not None and _fits(checkpoint.method)
