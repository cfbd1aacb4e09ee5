"""Which settings of a run are not those that its method has by default: what keeps it from being a reproduction."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adbench.cli.override_parser import setting
from adbench.cli.overrides import Overrides
from adbench.errors import UserError
from adbench.structured import word

_FREE = re.compile(
    r"data_dir|device|seed|out|outputs|resume|validation|checkpoint|benchmark|missing|support\.\w+"
    r"|clip|clip\.(name|pretrained|checkpoint|compile)|data\.\w+\.(root|broken)"
    r"|(trainer|eval)\.(workers|heat_maps|(image|feature)_cache\w*)"
    r"|trainer\.(cache\w*|checkpoint_\w+|log_every|validate_every|select\w*|init_from)"
    r"|eval\.(batch_size|aupro200|aupro_limit|metrics|maps|memory_limit_mib|metrics_mode|seed)"
)
"""Settings that leave the setting of the figures as it is: where things lie, how fast it goes, what is kept, seeds; and
those that the results themselves tell of: backbone, shots, selection, first weights, bounds of errors."""
_OPEN = "trainer.mosaic."
"""Keys that may be added and deleted."""


def is_free(key: str) -> bool:
    """Whether a setting leaves results comparable with those by the method's defaults, or the results tell of it."""
    return _FREE.fullmatch(key) is not None


def unusual_settings(folder: Path, run: Mapping[str, Any]) -> list[str]:
    """In words, of the evaluation in `folder` and of the trainings of its weights; `run`: of its results.json."""
    reasons: list[str] = []
    parts = _parts(folder / "config.yaml")
    if not parts:
        return ["it is unknown with which settings it was made"]
    for part in parts:
        reasons += [*_differing("eval", part), *backbone_file(part)]
    for part in run.get("parts", [run]):
        checkpoint = str(part.get("checkpoint", "untrained"))
        if checkpoint != "untrained":
            reasons += _of_training(Path(checkpoint))
    return list(dict.fromkeys(reasons))


def backbone_file(config: Mapping[str, Any]) -> list[str]:
    """Why the backbone's weights, where they were read from a file, are not known to be those of its name."""
    from adbench.clip.presets import PRESETS
    from adbench.clip.published_files import why_unknown
    from adbench.engine.weights import file_sha256

    clip = config.get("clip", {})
    preset = PRESETS.get(str(clip.get("name")))
    if clip.get("checkpoint") is None or preset is None or preset.module:
        return []
    file = Path(str(clip["checkpoint"]))
    if not file.is_file():
        return [f"the backbone's weights were read from {file.name}, which is not there any more"]
    why = why_unknown(file.name, file_sha256(file), preset.model, preset.pretrained)
    return [why] if why else []


def _parts(file: Path) -> list[Mapping[str, Any]]:
    """The settings of a run, of each checkpoint; none where they were not kept."""
    from adbench.structured import read_yaml

    if not file.is_file():
        return []
    config = read_yaml(file)
    return [part for part in config.get("parts", [config]) if isinstance(part, Mapping)]


def _of_training(checkpoint: Path) -> list[str]:
    """Of the run whose weights were evaluated, and of those that it was started from."""
    run = checkpoint if checkpoint.is_dir() else checkpoint.parent
    parts = _parts(run / "config.yaml")
    if not parts or not (run / "weights.json").is_file():
        return ["it is unknown how its weights were trained"]
    start = parts[0].get("trainer", {}).get("init_from")
    return [*_differing("train", parts[0]), *([] if start is None else _of_training(Path(str(start))))]


def _differing(command: str, config: Mapping[str, Any]) -> Iterator[str]:
    """What differs from the settings by default of the same method and data."""
    from adbench.cli.config import train_config
    from adbench.cli.plan import preview

    data, shots = list(config.get("data", {})), config.get("support", {}).get("k") or [0]
    chosen = [setting("method", config.get("method", {}).get("name")), setting("data", data)]
    chosen += [setting("support.k", shots[0])] if command == "train" else []
    read = Overrides(command, chosen)
    try:
        default = (train_config(read) if command == "train" else preview(read)).to_tree()
    except UserError as error:
        yield f"its settings are of another version: {error.what}"
        return
    skipped = ["method."] if command == "eval" else []  # results.json tells of hyperparameters itself
    if config.get("clip", {}).get("name") != default["clip"]["name"]:
        skipped.append("clip.")  # another backbone, which is told
    given, wanted = (dict(_leaves({**tree, "clip": _as_built(tree.get("clip", {}))})) for tree in (config, default))
    for key in dict.fromkeys([*given, *wanted]):
        if is_free(key) or key.startswith(tuple(skipped)) or (key not in given and not key.startswith(_OPEN)):
            continue  # what the run does not tell, its version did not have
        if key not in given or key not in wanted or given[key] != wanted[key]:
            there, here = (word(values.get(key, "nothing")) for values in (given, wanted))
            yield f"other settings: {key}={there} instead of {here}"


def _as_built(clip: Mapping[str, Any]) -> dict[str, Any]:
    """The backbone's settings, those that are left to the weights as these have them."""
    from adbench.clip.presets import PRESETS

    preset = PRESETS.get(str(clip.get("name")))
    native = {} if preset is None else {"image_size": preset.image_size}
    return {key: native.get(key) if value is None else value for key, value in clip.items()}


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
