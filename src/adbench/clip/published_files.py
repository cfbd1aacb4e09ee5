"""Whether a local file holds the very weights that open_clip means by a tag: told by the hash in their address."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def is_cached(model: str, tag: str) -> bool:
    """Whether the file of a tag lies in the caches of open_clip or of Hugging Face's hub. Asks no server."""
    facts = _facts(model, tag)
    if "file" in facts:
        return Path(facts["file"]).is_file()
    name = str(facts.get("url") or "").rpartition("/")[2]
    if name and (Path("~/.cache/clip").expanduser() / name).is_file():
        return True
    from huggingface_hub import try_to_load_from_cache

    repository, _, file = str(facts.get("hf_hub") or "").rpartition("/")
    names = [file] if file else ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
    return bool(repository) and any(isinstance(try_to_load_from_cache(repository, one), str) for one in names)


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
    import open_clip

    return dict(open_clip.get_pretrained_cfg(model, tag) or {})
