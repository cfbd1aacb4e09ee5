"""A CLIP is found in files of OpenAI, open_clip, transformers and of larger models; what is none is named."""

from __future__ import annotations

import json

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from adbench.clip import load_clip
from adbench.clip.stored import read_clip
from adbench.errors import UserError
from tiny import TINY, make_tiny_clip

transformers = pytest.importorskip("transformers")

# TorchScript is deprecated; its files stay.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")

VISION, TEXT = TINY["vision_cfg"], TINY["text_cfg"]


@pytest.fixture(autouse=True)
def tiny_architecture(monkeypatch):
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: dict(TINY) if name == "tiny" else None)


@pytest.fixture
def state():
    return {key: value.clone() for key, value in make_tiny_clip().model.state_dict().items()}


def their_clip(activation):
    """Transformers' CLIP of the tiny sizes with random weights, biases and norms included."""
    torch.manual_seed(0)
    vision = transformers.CLIPVisionConfig(
        hidden_size=VISION["width"],
        intermediate_size=int(VISION["mlp_ratio"] * VISION["width"]),
        num_hidden_layers=VISION["layers"],
        num_attention_heads=VISION["width"] // VISION["head_width"],
        image_size=VISION["image_size"],
        patch_size=VISION["patch_size"],
        hidden_act=activation,
    )
    text = transformers.CLIPTextConfig(
        hidden_size=TEXT["width"],
        intermediate_size=4 * TEXT["width"],
        num_hidden_layers=TEXT["layers"],
        num_attention_heads=TEXT["heads"],
        hidden_act=activation,
    )
    config = transformers.CLIPConfig(
        projection_dim=TINY["embed_dim"], text_config=text.to_dict(), vision_config=vision.to_dict()
    )
    model = transformers.CLIPModel(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("file_name", ["pytorch_model.bin", "model.safetensors"])
def test_transformers_clip_computes_the_same_here(tmp_path, activation, file_name):
    theirs = their_clip(activation)
    stored = {key: value.contiguous() for key, value in theirs.state_dict().items()}
    stored["text_model.embeddings.position_ids"] = torch.arange(77)[None]  # in files of older versions
    write = torch.save if file_name.endswith(".bin") else save_file
    write(stored, tmp_path / file_name)
    (tmp_path / "config.json").write_text(json.dumps(theirs.config.to_dict()))
    wanted = activation == "quick_gelu"
    if wanted:  # the tiny model is configured for GELU, and the file's config.json says otherwise
        with pytest.raises(UserError, match="trained with QuickGELU"):
            load_clip("tiny", checkpoint=tmp_path / file_name)
    clip = load_clip("tiny", checkpoint=tmp_path / file_name, quick_gelu=True if wanted else None)
    assert clip.quick_gelu is wanted

    images = torch.randn(2, 3, 32, 32)
    ids = clip.tokenize(["a photo of a cat", "rust"])
    with torch.no_grad():
        image = theirs.visual_projection(theirs.vision_model(pixel_values=images).pooler_output)
        hidden = theirs.text_model(input_ids=ids).last_hidden_state
        text = theirs.text_projection(hidden[torch.arange(2), ids.argmax(-1)])
    assert_close(clip.encode_image(images), image, atol=1e-4, rtol=1e-4)
    assert_close(clip.encode_text(ids), text, atol=1e-4, rtol=1e-4)
    assert_close(clip.model.logit_scale.detach(), theirs.logit_scale.detach())


def test_transformers_clip_needs_its_activation(tmp_path):
    torch.save(their_clip("gelu").state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"without the config\.json.*clip\.quick_gelu=true \(openai"):
        load_clip("tiny", checkpoint=tmp_path / "pytorch_model.bin")
    assert load_clip("tiny", checkpoint=tmp_path / "pytorch_model.bin", quick_gelu=False).quick_gelu is False
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"no JSON .*config\.json"):
        load_clip("tiny", checkpoint=tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text('{"text_config": {"hidden_act": "relu"}, "vision_config": {}}')
    with pytest.raises(UserError, match="hidden_act quick_gelu, relu"):
        load_clip("tiny", checkpoint=tmp_path / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["vision_model.encoder.layers.0.mlp.fc1.bias", "vision_model.head.probe"], "a SigLIP model"),
        (["vision_model.encoder.layers.0.mlp.fc1.bias"], "only one tower of a CLIP"),
        (["encoder.layer.0.attention.output.dense.bias", "embeddings.cls_token"], "another model than CLIP"),
    ],
)
def test_other_models_of_transformers_are_named(tmp_path, names, what):
    torch.save({name: torch.zeros(1) for name in names}, tmp_path / "model.bin")
    with pytest.raises(UserError, match=f"{what}.*Hugging Face transformers.*open_clip_model.safetensors"):
        load_clip("tiny", checkpoint=tmp_path / "model.bin")
    (tmp_path / "config.json").write_text('{"model_type": "dinov2"}')
    with pytest.raises(UserError, match="a model of type dinov2"):
        load_clip("tiny", checkpoint=tmp_path / "model.bin")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize(
    "front", ["", "module.", "model.", "_orig_mod.", "model._orig_mod.module.", "backbone.clip_model.", "net.a.b."]
)
def test_what_stands_before_the_names_is_taken_off(state, tmp_path, front, suffix):
    file = tmp_path / f"clip{suffix}"
    stored = {f"{front}{key}": value for key, value in state.items()}
    if front not in ("", "module.", "_orig_mod."):
        stored["loss.weight"] = torch.ones(3)  # beside the CLIP
    save_file(stored, file) if suffix == ".safetensors" else torch.save({"state_dict": stored, "epoch": 3}, file)
    assert load_clip("tiny", checkpoint=file).weights_sha256 == make_tiny_clip().weights_sha256


def test_one_of_two_clips_is_not_chosen_silently(state, tmp_path):
    stored = {f"{front}{key}": value for front in ("student.", "teacher.") for key, value in state.items()}
    torch.save(stored, tmp_path / "both.pt")
    with pytest.raises(UserError, match=r"2 CLIPs: below 'student\.', 'teacher\.'"):
        read_clip(tmp_path / "both.pt")


def test_a_scripted_open_clip_loads(state, tmp_path):
    """What torch.jit.script makes of open_clip's model, code and all: only its tensors are read."""
    model = open_clip.CLIP(**TINY).eval()
    torch.jit.script(model).save(tmp_path / "scripted.pt")
    clip = load_clip("tiny", checkpoint=tmp_path / "scripted.pt", quick_gelu=False)
    expected = {key: value for key, value in model.state_dict().items() if key != "attn_mask"}
    assert expected.keys() == clip.model.state_dict().keys()
    assert all(torch.equal(value, expected[key]) for key, value in clip.model.state_dict().items())
