"""Measure the demo CLIP on the demo data set: floors, zero-shot prompts, and a small adaptation as methods do it.

    python scripts/measure_demo_clip.py --data data/demo --steps 800

Prints means over the held-out classes. The adaptation is a proxy (learned prompts and one linear map per layer on
cached features), not a published method: it tells whether the middle layers can be read out on classes never seen.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from open_clip import SimpleTokenizer
from open_clip.model import CLIP
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score
from torch import nn

from adbench.demo.pictures import AUXILIARY_CLASSES, AUXILIARY_DIR, HELD_OUT_CLASSES, render_demo
from demo_pretraining.export import load
from demo_pretraining.towers import vision_forward

LAYERS = (2, 4, 6, 8)
ROOT = Path(__file__).resolve().parents[1]
NORMAL = (
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
)
ANOMALOUS = ("damaged {}", "broken {}", "{} with flaw", "{} with defect", "{} with damage")
TEMPLATES = (
    "a photo of a {}.",
    "a photo of the {}.",
    "a cropped photo of the {}.",
    "a close-up photo of a {}.",
    "a bad photo of a {}.",
)


@dataclass
class Cached:
    """Pictures (B, 96, 96, 3) and masks of a class, class tokens (B, D), patch tokens 4 x (B, N, width)."""

    pictures: torch.Tensor
    masks: torch.Tensor
    kinds: list[str]
    tokens: torch.Tensor
    patches: list[torch.Tensor]

    @property
    def labels(self) -> np.ndarray:
        """True for a defective picture, (B,)."""
        return np.array([k != "good" for k in self.kinds])


@torch.no_grad()
def encode(clip: CLIP, folder: Path) -> Cached:
    """Read the test pictures of a class folder and run the frozen vision tower."""
    files = sorted((folder / "test").glob("*/*.png"))
    pictures = torch.from_numpy(np.stack([np.asarray(Image.open(f)) for f in files]))
    masks = np.zeros(pictures.shape[:3], bool)
    for k, f in enumerate(files):
        if f.parent.name != "good":
            masks[k] = np.asarray(Image.open(folder / "ground_truth" / f.parent.name / f"{f.stem}_mask.png")) > 127
    tokens, patches = [], []
    for part in pictures.split(50):
        token, kept = vision_forward(clip.visual, part, LAYERS)
        tokens.append(F.normalize(token, dim=-1))
        patches.append([kept[k] for k in LAYERS])
    layers = [torch.cat(p) for p in zip(*patches, strict=True)]
    return Cached(pictures, torch.from_numpy(masks), [f.parent.name for f in files], torch.cat(tokens), layers)


@torch.no_grad()
def state_text(clip: CLIP, name: str) -> torch.Tensor:
    """Mean embeddings (2, D) of the normal and the anomalous prompts."""
    tokenizer = SimpleTokenizer()
    ends = []
    for states in (NORMAL, ANOMALOUS):
        texts = clip.encode_text(
            tokenizer([t.format(s.format(name)) for t in TEMPLATES for s in states]), normalize=True
        )
        ends.append(F.normalize(texts.mean(0), dim=-1))
    return torch.stack(ends)


class Probe(nn.Module):
    """Learned prompts shared by all classes, a linear map per layer and one on the class token."""

    def __init__(self, clip: CLIP, n_free: int = 6) -> None:
        super().__init__()
        self.clip = clip
        width, dim = clip.visual.conv1.out_channels, clip.visual.proj.shape[1]
        words = SimpleTokenizer()(["damaged object"])[0]
        self.register_buffer("start", clip.token_embedding(words[:1]).detach())
        self.register_buffer("noun", clip.token_embedding(words[2:4]).detach())  # "object", end
        self.free = nn.Parameter(torch.randn(2, n_free, clip.token_embedding.embedding_dim) * 0.05)
        self.maps = nn.ModuleList([nn.Linear(width, dim) for _ in LAYERS])
        self.image = nn.Linear(dim, dim)
        with torch.no_grad():
            self.image.weight.copy_(torch.eye(dim))
            self.image.bias.zero_()

    def text(self) -> torch.Tensor:
        """The two state embeddings (2, D)."""
        x = torch.cat([self.start.expand(2, -1, -1), self.free, self.noun.expand(2, -1, -1)], 1)
        n = x.shape[1]
        x = x + self.clip.positional_embedding[:n]
        x = self.clip.transformer(x, attn_mask=self.clip.attn_mask[:n, :n])
        return F.normalize(self.clip.ln_final(x)[:, -1] @ self.clip.text_projection, dim=-1)

    def forward(self, tokens: torch.Tensor, patches: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Image logits (B,) and patch logits (B, g, g), anomalous minus normal."""
        text = self.text()
        direction = (text[1] - text[0]) / 0.07
        image = F.normalize(self.image(tokens), dim=-1) @ direction
        layers = [F.normalize(m(p), dim=-1) @ direction for m, p in zip(self.maps, patches, strict=True)]
        g = round(patches[0].shape[1] ** 0.5)
        return image, torch.stack(layers).mean(0).unflatten(1, (g, g))


def focal(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Binary focal loss, gamma 2, mean."""
    p = torch.sigmoid(torch.where(target, logits, -logits))
    return (-((1 - p) ** 2) * torch.log(p.clamp_min(1e-6))).mean()


def upsample(maps: torch.Tensor) -> torch.Tensor:
    """Patch logits (B, g, g) to pixels (B, 96, 96)."""
    return F.interpolate(maps[:, None], size=(96, 96), mode="bilinear", align_corners=False)[:, 0]


def adapt(clip: CLIP, data: list[Cached], steps: int, seed: int) -> Probe:
    """Train the probe on the auxiliary classes."""
    torch.manual_seed(seed)
    probe = Probe(clip)
    masks, tokens = torch.cat([d.masks for d in data]), torch.cat([d.tokens for d in data])
    patches = [torch.cat([d.patches[k] for d in data]) for k in range(len(LAYERS))]
    labels = masks.flatten(1).any(1)
    learnable = [p for n, p in probe.named_parameters() if not n.startswith("clip.")]
    optimizer = torch.optim.AdamW(learnable, lr=2e-3)
    history = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - 0.98 * step / steps)
        pick = torch.randint(len(masks), (32,))
        image, maps = probe(tokens[pick], [p[pick] for p in patches])
        target, logits = masks[pick], upsample(maps)
        p = logits.sigmoid()
        dice = 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)
        top = maps.flatten(1).topk(5, 1).values.mean(1)
        loss = 4 * focal(logits, target) + dice + focal(image, labels[pick]) + 0.5 * focal(top, labels[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    fifth = max(1, steps // 5)
    print(f"adapted in {steps} steps, loss {np.mean(history[:fifth]):.3f} -> {np.mean(history[-fifth:]):.3f}")
    return probe.eval()


def report(name: str, per_class: dict[str, tuple[Cached, np.ndarray | None, np.ndarray | None]]) -> None:
    """Image AUROC of scores (B,) and pixel AUROC of maps (B, 96, 96): mean, classes, kinds."""
    image, pixel = {}, {}
    kinds: dict[str, list[tuple[float, float]]] = {}
    for cls, (d, scores, maps) in per_class.items():
        y, m = d.labels, d.masks.numpy()
        image[cls] = roc_auc_score(y, scores) if scores is not None else np.nan
        pixel[cls] = roc_auc_score(m.ravel(), maps.ravel()) if maps is not None else np.nan
        for kind in sorted(set(d.kinds) - {"good"}):
            k = np.array([x == kind for x in d.kinds])
            part = k | ~y
            im = roc_auc_score(y[part], scores[part]) if scores is not None else np.nan
            kinds.setdefault(kind, []).append(
                (im, roc_auc_score(m[k].ravel(), maps[k].ravel()) if maps is not None else np.nan)
            )
    if np.isnan(list(pixel.values())).all():  # scores only: the mean says enough
        print(f"{name}: image {np.mean(list(image.values())):.3f}")
        return
    print(f"{name}: image {np.mean(list(image.values())):.3f} pixel {np.mean(list(pixel.values())):.3f}")
    print("   " + ", ".join(f"{c} {image[c]:.2f}/{pixel[c]:.2f}" for c in image))
    print("   " + ", ".join(f"{k} {np.mean(v, 0)[0]:.2f}/{np.mean(v, 0)[1]:.2f}" for k, v in kinds.items()))


def median_floor(d: Cached) -> tuple[np.ndarray, np.ndarray]:
    """No learning: distance of each pixel to the picture's median colour."""
    x = d.pictures.numpy().astype(np.float32)
    maps = np.sqrt(((x - np.median(x, (1, 2), keepdims=True)) ** 2).sum(-1))
    return maps.max((1, 2)), maps


@torch.no_grad()
def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=ROOT / "src/adbench/demo/demo_clip.safetensors")
    parser.add_argument("--data", type=Path, default=ROOT / "data/demo")
    parser.add_argument("--steps", type=int, default=800, help="of each adaptation; 0 for none")
    parser.add_argument("--seeds", type=int, default=1, help="number of adaptations")
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    render_demo(a.data)
    clip = load(a.weights).requires_grad_(False)
    test = {c: encode(clip, a.data / c) for c in HELD_OUT_CLASSES}
    report("median colour", {c: (d, *median_floor(d)) for c, d in test.items()})
    zero = {}
    for c, d in test.items():
        text = state_text(clip, c)
        patches = F.normalize(clip.visual.ln_post(d.patches[-1]) @ clip.visual.proj, dim=-1) @ (text[1] - text[0])
        zero[c] = (d, (d.tokens @ (text[1] - text[0])).numpy(), upsample(patches.unflatten(1, (12, 12))).numpy())
    report("zero-shot, last layer", zero)
    if a.steps <= 0:
        return
    auxiliary = [encode(clip, a.data / AUXILIARY_DIR / c) for c in AUXILIARY_CLASSES]
    for seed in range(a.seeds):
        with torch.enable_grad():
            probe = adapt(clip, auxiliary, a.steps, seed)
        outputs = {c: probe(d.tokens, d.patches) for c, d in test.items()}
        smooth = {c: gaussian_filter(upsample(m).numpy(), (0, 1.5, 1.5)) for c, (_, m) in outputs.items()}
        report(f"adapted, seed {seed}", {c: (d, outputs[c][0].numpy(), smooth[c]) for c, d in test.items()})
        tops = {c: m.flatten(1).topk(5, 1).values.mean(1) for c, (_, m) in outputs.items()}
        report("   score from the map", {c: (d, tops[c].numpy(), None) for c, d in test.items()})
        report("   sum of both", {c: (d, (outputs[c][0] + tops[c]).numpy(), None) for c, d in test.items()})


if __name__ == "__main__":
    main()
