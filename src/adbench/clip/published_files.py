"""Whether a local file holds the very weights that open_clip means by a tag: told by the hash in their address."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from adbench.clip.download import remote_file
from adbench.clip.lean_import import import_open_clip


def is_cached(model: str, tag: str) -> bool:
    """Whether the file of a tag lies in the caches of open_clip or of Hugging Face's hub. Asks no server."""
    facts = _facts(model, tag)
    if "file" in facts:
        return Path(facts["file"]).is_file()
    return bool(facts) and remote_file(facts, tag, ask=False).is_here


def why_unknown(name: str, sha256: str, model: str, tag: str) -> str:
    """Why the file `name` is not known to hold the weights of a tag, in words; "" where its hash says that it does."""
    url = str(_facts(model, tag).get("url") or "")
    # OpenAI's addresses hold the whole SHA-256, those of open_clip's releases its beginning.
    told = re.search(r"/([0-9a-f]{64})/[^/]*$|-([0-9a-f]{8})\.pt$", url)
    if told is None:
        return f"the backbone's weights are read from {name}, and nothing tells whether they are those of {tag}"
    if sha256.startswith(told[1] or told[2]):
        return ""
    return f"the backbone's weights are read from {name}, which is not the file {url.rpartition('/')[2]} of {tag}"


def _facts(model: str, tag: str) -> dict[str, Any]:
    return dict(import_open_clip().get_pretrained_cfg(model, tag) or {})
