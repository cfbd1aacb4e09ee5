"""Weights that open_clip knows by a tag: which file that is, where it comes from, and the file itself."""

from __future__ import annotations

import re
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adbench import launch
from adbench.clip.lean_import import import_open_clip
from adbench.errors import UserError

USUAL = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
)  # in repositories whose file open_clip leaves out
SECONDS = 10.0  # to wait for an answer


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of weights. `facts`: what open_clip gets it by; `size` in bytes, None: unknown; `folder`: where it goes;
    `fault`: why it cannot be had.
    """

    url: str
    facts: Mapping[str, str]
    folder: Path
    is_here: bool
    size: int | None = None
    fault: Exception | None = None


def obtain(facts: Mapping[str, Any], name: str, tag: str) -> Path:
    """The file of the weights `tag` of model `name`, of which open_clip says `facts`; downloaded where it is not here.

    Says on standard error what is downloaded, from where, how large it is, and where to. Raises UserError, naming the
    address, where it cannot be had: it is tried once.
    """
    open_clip = import_open_clip()

    if "file" in facts:
        return Path(facts["file"])
    file = remote_file(facts, tag)
    if not file.is_here and not launch.number():
        size = "size unknown" if file.size is None else f"{file.size / 1e6:,.0f} MB"
        print(f"downloading  {name} / {tag}: {file.url} ({size}) to {file.folder}", file=sys.stderr, flush=True)
    try:
        if file.fault is not None:  # a second attempt would take a minute
            raise file.fault
        return Path(open_clip.download_pretrained(dict(file.facts)))
    except Exception as error:  # the download stack raises many unrelated types: all mean "not obtained"
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise UserError(
            f"could not download the weights {name} / {tag}: {reason}",
            where=f"clip.pretrained, {file.url}",
            hint="check the connection, or download that file elsewhere and give it as clip.checkpoint=FILE",
        ) from error


def remote_file(facts: Mapping[str, Any], tag: str, *, ask: bool = True) -> RemoteFile:
    """The very file that a tag means: that of the hub, or at `url` where the repository is of another tag.

    open_clip gives "laion400m_e32" of ViT-B-16-plus-240 a repository of "laion400m_e31", for one.
    ask: whether a server may be asked which file there is, and how large it is.
    """
    url, (repository, _, name) = str(facts.get("url") or ""), str(facts.get("hf_hub") or "").rpartition("/")
    if not url or (repository and _plain(tag) in _plain(repository)):
        return _on_hub(repository, name, ask=ask)
    folder = Path("~/.cache/clip").expanduser()  # open_clip's
    is_here = (folder / url.rpartition("/")[2]).is_file()
    return RemoteFile(url, {"url": url}, folder, is_here, _size(url) if ask and not is_here else None)


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _on_hub(repository: str, name: str, *, ask: bool) -> RemoteFile:
    """A file of a repository on Hugging Face's hub; without a name the first usual one that is there."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError

    names = [name] if name else list(USUAL)
    here = [known for known in names if isinstance(try_to_load_from_cache(repository, known), str)]
    size, wanted, fault = None, (here or names)[0], None
    for candidate in names if ask and not here and not constants.HF_HUB_OFFLINE else []:
        try:
            size, wanted = get_hf_file_metadata(hf_hub_url(repository, candidate), timeout=SECONDS).size, candidate
            fault = None
            break
        except Exception as error:  # no such file, no connection, ...
            fault = error
            if not isinstance(error, EntryNotFoundError):
                break
    facts, folder = {"hf_hub": f"{repository}/{wanted}"}, Path(constants.HF_HUB_CACHE)
    return RemoteFile(hf_hub_url(repository, wanted), facts, folder, bool(here), size, fault)


def _size(url: str) -> int | None:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=SECONDS) as answer:
            return int(answer.headers["Content-Length"])
    except (OSError, ValueError, TypeError):  # the download itself says what is wrong
        return None
