"""Weights by tag: which file is meant, what is said of it, and one attempt to get it. Nothing is fetched."""

from __future__ import annotations

from types import SimpleNamespace

import huggingface_hub
import open_clip
import pytest
from huggingface_hub.errors import EntryNotFoundError

from adbench.clip import download
from adbench.clip.download import obtain, remote_file
from adbench.errors import UserError

HUB = "https://huggingface.co/org/clip.laion/resolve/main/"


@pytest.fixture
def hub(monkeypatch):
    """A hub of files with their sizes, nothing in the cache; `asked`: what was asked for, `fetched`: what was got."""
    files, asked, fetched = {}, [], []

    def metadata(url, timeout):
        asked.append(url)
        if not files:
            raise OSError("no route to host")
        if url not in files:
            raise EntryNotFoundError("404")
        return SimpleNamespace(size=files[url])

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", metadata)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repository, name: None)
    monkeypatch.setattr(open_clip, "download_pretrained", lambda facts: fetched.append(facts) or "/got")
    monkeypatch.setattr(download, "_size", lambda url: None)
    return SimpleNamespace(files=files, asked=asked, fetched=fetched)


def test_what_is_downloaded_is_said(hub, capsys):
    hub.files[f"{HUB}open_clip_pytorch_model.bin"] = 605_000_000
    assert str(obtain({"hf_hub": "org/clip.laion/"}, "ViT-X", "laion")) == "/got"
    assert hub.fetched == [{"hf_hub": "org/clip.laion/open_clip_pytorch_model.bin"}]
    said = capsys.readouterr().err
    assert said.startswith(f"downloading  ViT-X / laion: {HUB}open_clip_pytorch_model.bin (605 MB) to ")
    assert said.count("\n") == 1


def test_what_is_here_is_taken_in_silence(hub, monkeypatch, capsys):
    here = {"open_clip_pytorch_model.bin"}
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda repository, name: "/cached" if name in here else None
    )
    obtain({"hf_hub": "org/clip.laion/"}, "ViT-X", "laion")
    assert (hub.asked, capsys.readouterr().err) == ([], "")
    assert hub.fetched == [{"hf_hub": "org/clip.laion/open_clip_pytorch_model.bin"}]


def test_without_a_connection_it_is_tried_once_and_the_file_is_named(hub):
    with pytest.raises(UserError, match=r"no route to host .*main/open_clip_model\.safetensors.*clip\.checkpoint=FILE"):
        obtain({"hf_hub": "org/clip.laion/"}, "ViT-X", "laion")
    assert (hub.asked, hub.fetched) == ([f"{HUB}open_clip_model.safetensors"], [])


def test_a_file_that_open_clip_names_is_the_one(hub):
    hub.files[f"{HUB}pytorch_model.bin"] = 1
    assert remote_file({"hf_hub": "org/clip.laion/pytorch_model.bin"}, "laion").url == f"{HUB}pytorch_model.bin"


@pytest.mark.parametrize(
    ("model", "tag", "end"),
    [
        ("ViT-B-16-plus-240", "laion400m_e32", "/vit_b_16_plus_240-laion400m_e32-699c4b84.pt"),  # its repository: e31
        ("ViT-B-16-plus-240", "laion400m_e31", ".laion400m_e31/resolve/main/open_clip_model.safetensors"),
        ("ViT-L-14-336", "openai", "_336.openai/resolve/main/open_clip_model.safetensors"),
        ("convnext_large_d_320", "laion2b_s29b_b131k_ft_soup", "-ft-soup/resolve/main/open_clip_model.safetensors"),
    ],
)
def test_the_very_file_that_a_tag_means(hub, model, tag, end):
    assert remote_file(open_clip.get_pretrained_cfg(model, tag), tag).url.endswith(end)


def test_an_address_without_a_repository_is_taken(hub):
    url = "https://example.org/never/weights-0123.pt"
    obtain({"url": url}, "ViT-X", "laion")
    assert hub.fetched == [{"url": url}]
