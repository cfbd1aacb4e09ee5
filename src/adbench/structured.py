"""JSON and YAML files that come from elsewhere, or were cut short: read as a mapping, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adbench.errors import UserError

MEND = "restore the file, or make it anew"


def read_json(path: Path, *, mend: str = MEND) -> dict[str, Any]:
    """The object in a JSON file. Raises UserError for a missing, damaged or other one; NaN and infinity are damage."""
    return _mapping(_parsed(_text(path, mend), path, mend), path, mend)


def read_yaml(path: Path, *, mend: str = MEND) -> dict[str, Any]:
    """The mapping in a YAML file. Raises UserError for a missing, damaged or other one."""
    import yaml

    text = _text(path, mend)
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"the file cannot be read as YAML: {error}", where=str(path), mend=mend) from error
    return _mapping(content, path, mend)


def _text(path: Path, mend: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"the file cannot be read: {error.strerror}", where=str(path), mend=mend) from error
    except UnicodeDecodeError as error:
        raise UserError("the file is damaged: it is not text", where=str(path), mend=mend) from error


def _parsed(text: str, path: Path, mend: str) -> Any:
    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no number")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the file cannot be read as JSON: {error}", where=str(path), mend=mend) from error


def _mapping(content: Any, path: Path, mend: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise UserError(
            f"the file holds {type(content).__name__} where names with values are expected", where=str(path), mend=mend
        )
    return content
