"""Whether the weights of a tag are here, and whether a file holds them. No server is asked."""

from __future__ import annotations

from types import SimpleNamespace

import huggingface_hub
import pytest

from adbench.clip import download
from adbench.clip.published_files import is_cached, why_unknown

OPENAI_SHA256 = "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"  # in the address of OpenAI's file
E32 = ("ViT-B-16-plus-240", "laion400m_e32")


@pytest.fixture
def cached(monkeypatch, tmp_path):
    """Files of Hugging Face's cache, as (repository, name), and the folder of open_clip's."""
    files = set()
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *file: "/cached" if file in files else None)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *_, **__: pytest.fail("a server is asked"))
    monkeypatch.setattr(download, "_size", lambda url: pytest.fail("a server is asked"))
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".cache" / "clip"
    folder.mkdir(parents=True)
    return SimpleNamespace(files=files, folder=folder)


def test_a_cached_file_is_found_and_the_one_of_another_tag_is_not_taken_for_it(cached):
    repository = "timm/vit_base_patch16_plus_clip_240.laion400m_e31"
    assert not is_cached("ViT-B-16-plus-240", "laion400m_e31")
    cached.files.add((repository, "open_clip_model.safetensors"))
    assert is_cached("ViT-B-16-plus-240", "laion400m_e31")
    assert not is_cached(*E32)  # open_clip gives it that repository too
    (cached.folder / "vit_b_16_plus_240-laion400m_e32-699c4b84.pt").touch()
    assert is_cached(*E32)


def test_an_unknown_tag_is_not_here(cached):
    assert not is_cached("ViT-B-16-plus-240", "no_such_tag")


def test_the_hash_in_the_address_tells_the_file():
    openai = ("ViT-L-14-336", "openai")
    assert why_unknown("mine.pt", OPENAI_SHA256, *openai) == ""
    assert "is not the file ViT-L-14-336px.pt of openai" in why_unknown("mine.pt", "0" * 64, *openai)
    assert why_unknown("mine.pt", "699c4b84" + "0" * 56, *E32) == ""
    assert "is not the file" in why_unknown("mine.pt", "0" * 64, *E32)
    assert "nothing tells whether" in why_unknown("mine.pt", "0" * 64, "ViT-H-14", "laion2b_s32b_b79k")
