"""The exported file: an open_clip state dict in half precision that holds only the vocabulary rows in use."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from open_clip.model import CLIP
from safetensors import safe_open
from safetensors.torch import save_file

MODEL_CFG = {
    "embed_dim": 64,
    "quick_gelu": False,
    "vision_cfg": {"image_size": 96, "patch_size": 8, "width": 128, "layers": 8, "head_width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 4},
}
DESCRIPTION = (
    "toy CLIP, pre-trained with a throw-away defect head on middle layers and normal/defective pairs; "
    "for demos, tests and wiring; not evidence about CLIP or any method"
)
EMBEDDING = "token_embedding"


def build_model() -> CLIP:
    """The open_clip model with random weights; its vocabulary is all zero, as the rows in use are kept apart."""
    model = CLIP(**{k: dict(v) if isinstance(v, dict) else v for k, v in MODEL_CFG.items()})
    with torch.no_grad():
        model.token_embedding.weight.zero_()
    return model


def save(path: Path, model: CLIP, ids: list[int], rows: torch.Tensor, training: dict[str, object]) -> None:
    """Write the model; ``rows`` (len(ids), width) are the embeddings of the token ``ids``. Never leaves half a file."""
    state = {k: v for k, v in model.state_dict().items() if k != f"{EMBEDDING}.weight"}
    state[f"{EMBEDDING}.rows"] = rows
    state = {k: v.detach().to(torch.float16).contiguous() for k, v in state.items()}
    state[f"{EMBEDDING}.ids"] = torch.tensor(ids, dtype=torch.int32)
    facts = {"model_cfg": json.dumps(MODEL_CFG), "description": DESCRIPTION, "training": json.dumps(training)}
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    save_file(state, draft, metadata=facts)
    draft.chmod(0o644)
    os.replace(draft, path)


def load(path: Path) -> CLIP:
    """Read an exported file into a float32 open_clip model in evaluation mode."""
    with safe_open(path, "pt") as file:
        cfg = json.loads(file.metadata()["model_cfg"])
        state = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    ids, rows = state.pop(f"{EMBEDDING}.ids").long(), state.pop(f"{EMBEDDING}.rows")
    table = torch.zeros(cfg["text_cfg"]["vocab_size"], rows.shape[1])
    table[ids] = rows.float()
    model = CLIP(**cfg)
    model.load_state_dict({**{k: v.float() for k, v in state.items()}, f"{EMBEDDING}.weight": table})
    return model.eval()
