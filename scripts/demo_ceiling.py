"""Print how well the demo CLIP's features can tell defective pictures at all, whatever prompts are compared with them.

    python scripts/demo_ceiling.py [--data-dir data]        two minutes, one thread, 1 GB

AnomalyCLIP's image score, and the larger part of FAPrompt's, is a softmax over two text directions: on unit features it
ranks pictures as a linear function of the class token does. So a linear classifier fitted to the auxiliary classes
shows what such a score can reach on the held-out ones; its strength of regularisation is chosen by leaving auxiliary
classes out, never on held-out classes. The rows, as mean image AUROC over classes, in percent:

    plain CLIP                    sentences with the class name, nothing learned
    linear classifier             logistic regression on the class token without ln_post, as both methods take it
    ... knowing held-out classes  that of a held-out class also gets the pictures of the other seven
    free text directions          two vectors in place of the prompts' text features, learned as the methods learn:
                                  cross-entropy at temperature 0.07, Adam, batches of 8; the mean of five seeds
    ... that also give maps       the same two vectors are compared with the patches, as in both methods, and learn from
                                  focal and dice losses too; the score is FAPrompt's, (p + map's maximum) / 2
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

import adbench
from adbench.clip import load_clip
from adbench.data.loading import load_batch
from adbench.data.sample import Sample
from adbench.methods import build
from adbench.methods.losses import dice, focal
from adbench.methods.maps import resize_bilinear, to_grid
from adbench.metrics import ImageMetrics

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)  # of scikit-learn's C, on features of length 10
EPOCHS, SEEDS, FOLDS = 5, range(5), 5
MAP_WEIGHT = 1.5  # both of FAPrompt's maps together, as the authors have it

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Pictures:
    """What is known of n pictures.

    tokens, patches  (n, C) class tokens, (n, N, C) patch tokens of the last block, V-V attention; of unit length
    masks, labels    (n, H, W) defective pixels; (n,), 1 = defective
    names, plain     (n,) class names, plain CLIP's scores
    """

    tokens: NDArray[np.float32]
    patches: NDArray[np.float32]
    masks: NDArray[np.bool_]
    labels: NDArray[np.int64]
    names: NDArray[np.str_]
    plain: NDArray[np.float32]

    def part(self, chosen: NDArray[np.bool_]) -> Pictures:
        """Those where `chosen` is True."""
        return Pictures(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def with_(self, other: Pictures) -> Pictures:
        """These and others."""
        both = ((getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return Pictures(*(np.concatenate(pair) for pair in both))


Fit = Callable[[Pictures], Callable[[Pictures], Scores]]


def main() -> None:
    """Print a row per way to score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default="data", help="where the folder demo lies or is rendered")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    samples = adbench.open_dataset("demo", data_dir=arguments.data_dir).samples
    auxiliary = encode([sample for sample in samples if sample.split == "auxiliary"])
    held_out = encode([sample for sample in samples if sample.split == "test"])

    found = {strength: left_out(auxiliary, logistic(strength)) for strength in STRENGTHS}
    best = max(found, key=lambda strength: found[strength])
    print(f"mean image AUROC, percent{'left-out auxiliary':>25s}{'held-out':>12s}")
    row("plain CLIP", mean_auroc(auxiliary, auxiliary.plain), mean_auroc(held_out, held_out.plain))
    row(f"linear classifier, C = {best:g}", found[best], mean_auroc(held_out, logistic(best)(auxiliary)(held_out)))
    known = [
        mean_auroc(one, logistic(best)(auxiliary.with_(others))(one))
        for one, others in (
            (held_out.part(held_out.names == name), held_out.part(held_out.names != name))
            for name in sorted(set(held_out.names))
        )
    ]
    row("... knowing held-out classes", float("nan"), float(np.mean(known)))
    for what, weight in (("free text directions", 0.0), ("... that also give maps", MAP_WEIGHT)):
        fits = [directions(seed, weight) for seed in SEEDS]
        free = [(left_out(auxiliary, fit), mean_auroc(held_out, fit(auxiliary)(held_out))) for fit in fits]
        row(what, *np.mean(free, axis=0))


def encode(samples: Sequence[Sample]) -> Pictures:
    """Features and plain CLIP's scores of pictures."""
    clip = load_clip("demo")
    method, plain = build("faprompt", clip, dpam_layer=2), build("clip_zeroshot", clip)
    found = []
    for start in range(0, len(samples), 50):
        batch = load_batch(samples[start : start + 50], method.transform)
        features = method.encode(batch)
        found.append((features["image"], features["patches"], batch.masks, plain.predict(batch).scores))
    tokens, patches, masks, scores = (torch.cat(each).numpy() for each in zip(*found, strict=True))
    labels, names = (np.array([getattr(sample, key) for sample in samples]) for key in ("label", "class_name"))
    return Pictures(tokens, patches, masks.astype(bool), labels, names, scores)


def logistic(strength: float) -> Fit:
    """Linear classifier with C = `strength`."""

    def fit(train: Pictures) -> Callable[[Pictures], Scores]:
        model = LogisticRegression(C=strength, max_iter=5000).fit(10 * train.tokens, train.labels)
        return lambda test: model.decision_function(10 * test.tokens)

    return fit


def directions(seed: int, map_weight: float = 0.0) -> Fit:
    """Two learned directions, compared with the class token and, where maps count, with the patches."""

    def fit(train: Pictures) -> Callable[[Pictures], Scores]:
        generator = torch.Generator().manual_seed(seed)
        text = (0.02 * torch.randn(2, train.tokens.shape[1], generator=generator)).requires_grad_()
        optimizer = torch.optim.Adam([text], lr=1e-3, betas=(0.5, 0.999))

        def logits(features: NDArray[np.float32]) -> Tensor:
            return torch.from_numpy(features) @ F.normalize(text, dim=1).T / 0.07

        for _ in range(EPOCHS):
            for rows in torch.randperm(len(train.labels), generator=generator).split(8):
                loss = F.cross_entropy(logits(train.tokens[rows]), torch.from_numpy(train.labels[rows]))
                if map_weight:
                    loss = loss + map_weight * map_loss(logits(train.patches[rows]), train.masks[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

        @torch.no_grad()
        def score(test: Pictures) -> Scores:
            of_image = logits(test.tokens).double()
            if not map_weight:
                return (of_image[:, 1] - of_image[:, 0]).numpy()
            of_patches = logits(test.patches).softmax(dim=-1)[..., 1]
            return (of_image.softmax(dim=-1)[:, 1] + of_patches.amax(dim=1)).numpy() / 2

        return score

    return fit


def map_loss(logits: Tensor, masks: NDArray[np.bool_]) -> Tensor:
    """Focal and dice losses of patches' logits (n, N, 2), as FAPrompt has them."""
    size = masks.shape[-1]
    grids = to_grid(logits.softmax(dim=-1)[..., 1:], math.isqrt(logits.shape[1]))
    maps, target = resize_bilinear(grids, size, align_corners=False)[:, 0], torch.from_numpy(masks).float()
    return focal(1 - maps, maps, target).mean() + dice(maps, target).mean() + dice(1 - maps, 1 - target).mean()


def left_out(pictures: Pictures, fit: Fit) -> float:
    """Mean AUROC of classes that were left out of the fit, a fifth of them at a time."""
    names = sorted(set(pictures.names))
    aurocs = []
    for fold in range(FOLDS):
        out = np.isin(pictures.names, names[fold::FOLDS])
        test = pictures.part(out)
        aurocs.append(mean_auroc(test, fit(pictures.part(~out))(test)))
    return float(np.mean(aurocs))


def mean_auroc(pictures: Pictures, scores: NDArray[np.floating]) -> float:
    """Mean image AUROC over classes, in percent."""
    each = (pictures.names == name for name in sorted(set(pictures.names)))
    found = [ImageMetrics().update(scores[rows], pictures.labels[rows]).compute()["image_auroc"] for rows in each]
    return 100 * float(np.mean(found))


def row(what: str, auxiliary: float, held_out: float) -> None:
    """Print a row; NaN is left empty."""
    first = f"{auxiliary:.1f}" if auxiliary == auxiliary else ""
    print(f"{what:30s}{first:>19s}{held_out:12.1f}", flush=True)


if __name__ == "__main__":
    main()
