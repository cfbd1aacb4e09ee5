"""JSON and YAML files that come from elsewhere, or were cut short: read as a mapping, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adbench.errors import UserError

HINT = "restore the file, or make it anew"


def read_json(path: Path, *, hint: str = HINT) -> dict[str, Any]:
    """The object in a JSON file. Raises UserError for a missing, damaged or other one; NaN and infinity are damage."""
    return _mapping(_parsed(_text(path, hint), path, hint), path, hint)


def read_yaml(path: Path, *, hint: str = HINT) -> dict[str, Any]:
    """The mapping in a YAML file. Raises UserError for a missing, damaged or other one."""
    import yaml

    text = _text(path, hint)
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"the file cannot be read as YAML: {reason}", where=str(path), hint=hint) from error
    return _mapping(content, path, hint)


def word(value: Any) -> str:
    """A value as it is typed on the command line: null, true, [nut,brick]."""
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(word, value))}]"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _text(path: Path, hint: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"the file cannot be read: {error.strerror}", where=str(path), hint=hint) from error
    except UnicodeDecodeError as error:
        raise UserError("the file is damaged: it is not text", where=str(path), hint=hint) from error


def _parsed(text: str, path: Path, hint: str) -> Any:
    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no number")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise UserError(f"the file cannot be read as JSON: {error}", where=str(path), hint=hint) from error


def _mapping(content: Any, path: Path, hint: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        kind = "nothing" if content is None else type(content).__name__
        raise UserError(f"the file holds {kind} where names with values are expected", where=str(path), hint=hint)
    return content
