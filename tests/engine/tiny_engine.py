"""A method of three numbers and a data set of tiny PNGs: enough to exercise the engine, nothing to wait for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from torch import nn

from adbench.data.sample import Sample
from adbench.data.transforms import ClipTransform
from adbench.engine.progress import Quiet
from adbench.methods.base import Method, Prediction
from adbench.methods.losses import known_masks

SIDE = 16
MEAN = STD = (0.5, 0.5, 0.5)


class Told(Quiet):
    """A reporter that keeps its lines."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def fake_clip(name="fake", **more):
    described = {"name": name, "weights_sha256": "0" * 64, "quick_gelu": False, **more}
    return SimpleNamespace(name=name, mean=MEAN, std=STD, describe=lambda: dict(described))


class TinyMethod(Method):
    """Anomaly logit of a 2x2 patch = a linear function of its mean colour, per image the mean of the top patches."""

    name = "tiny"
    learns_from_masks = "also"

    def __init__(self, clip, *, gain=1.0, noise=0.0):
        super().__init__(clip)
        self.gain, self.noise = gain, noise
        self.transform = ClipTransform(SIDE, MEAN, STD)
        self.map_size = SIDE
        self.head = nn.Linear(3, 1)
        self.unused = nn.Parameter(torch.ones(2))  # never in the loss: its gradient stays None
        self.random_state = np.random.RandomState(0)

    def encode(self, batch):
        return {"patches": nn.functional.avg_pool2d(batch.images, 2)}  # (B, 3, S/2, S/2)

    def _logits(self, features):
        logits = self.head(features["patches"].movedim(1, -1)).squeeze(-1) * self.gain  # (B, S/2, S/2)
        return logits + self.noise * torch.from_numpy(self.random_state.randn(*logits.shape)).to(logits)

    def loss(self, features, batch):
        logits = self._logits(features) + self.noise * torch.rand(()).to(batch.images)
        image = nn.functional.binary_cross_entropy_with_logits(logits.flatten(1).amax(1), batch.labels.float())
        known = known_masks(batch)
        if known is None:
            return {"image": image}
        target = nn.functional.avg_pool2d(known[1][:, None].float(), 2).squeeze(1)
        return {"pixel": nn.functional.binary_cross_entropy_with_logits(logits[known[0]], target), "image": image}

    def score(self, features, batch):
        maps = torch.sigmoid(self._logits(features)).repeat_interleave(2, 1).repeat_interleave(2, 2)
        return Prediction(scores=maps.flatten(1).amax(1), maps=maps)


def build_method(seed=0, **hyperparameters):
    torch.manual_seed(seed)
    return TinyMethod(fake_clip(), **hyperparameters)


def write_dataset(root: Path, *, name="tiny", classes=("dots", "lines"), n_normal=4, n_anomalous=4, masks=True, seed=0):
    """Grey noise; anomalous images carry a brighter square. Returns the samples, sorted by class and key."""
    random = np.random.default_rng(seed)
    samples = []
    for class_name in classes:
        for index in range(n_normal + n_anomalous):
            label = int(index >= n_normal)
            pixels = random.integers(60, 150, (SIDE, SIDE, 3), dtype=np.uint8)
            mask = np.zeros((SIDE, SIDE), np.uint8)
            if label:
                top, left = random.integers(0, SIDE - 4, 2)
                mask[top : top + 4, left : left + 4] = 255
                pixels[mask > 0] += 60
            key = f"{class_name}/{index:03d}.png"
            path = root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
            mask_path = None
            if label and masks:
                mask_path = root / class_name / f"{index:03d}_mask.png"
                Image.fromarray(mask).save(mask_path)
            samples.append(
                Sample(
                    path=path,
                    key=key,
                    class_name=class_name,
                    label=label,
                    mask_path=mask_path,
                    split="test",
                    defect="square" if label else "good",
                    dataset=name,
                )
            )
    return samples
