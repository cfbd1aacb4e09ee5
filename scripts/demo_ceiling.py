"""Print how well the demo CLIP's class token can tell defective pictures at all, whatever prompts are compared with it.

    python scripts/demo_ceiling.py [--data-dir data]        a minute, one thread, 1 GB

AnomalyCLIP's image score, and the larger part of FAPrompt's, is a softmax over two text directions: on unit features it
ranks pictures as a linear function of the class token does. So a linear classifier fitted to the auxiliary classes
shows what such a score can reach on the held-out ones; its strength of regularisation is chosen by leaving auxiliary
classes out, never on held-out classes. The rows, as mean image AUROC over classes, in percent:

    plain CLIP                    sentences with the class name, nothing learned
    linear classifier             logistic regression on the class token without ln_post, as both methods take it
    free text directions          two vectors in place of the prompts' text features, learned as the methods learn:
                                  cross-entropy at temperature 0.07, Adam, batches of 8; the mean of five seeds
    ... knowing held-out classes  the linear classifier of a held-out class also gets the pictures of the other seven
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from adbench.clip import load_clip
from adbench.data import catalogue
from adbench.data.loading import load_batch
from adbench.data.sample import Sample
from adbench.methods import build
from adbench.metrics import ImageMetrics

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)  # of scikit-learn's C, on features of length 10
EPOCHS, SEEDS, FOLDS = 5, range(5), 5

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Pictures:
    """Class tokens (n, C) of unit length; labels, 1 = defective, class names and plain CLIP's scores, (n,) each."""

    tokens: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: NDArray[np.str_]
    plain: NDArray[np.float32]

    def part(self, chosen: NDArray[np.bool_]) -> Pictures:
        """Those where `chosen` is True."""
        return Pictures(self.tokens[chosen], self.labels[chosen], self.names[chosen], self.plain[chosen])

    def with_(self, other: Pictures) -> Pictures:
        """These and others."""
        return Pictures(
            np.concatenate([self.tokens, other.tokens]),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.names, other.names]),
            np.concatenate([self.plain, other.plain]),
        )


Fit = Callable[[Pictures], Callable[[Pictures], Scores]]


def main() -> None:
    """Print a row per way to score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default="data", help="where the folder demo lies or is rendered")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    _, samples = catalogue.open_dataset("demo", data_dir=arguments.data_dir)
    auxiliary = encode([sample for sample in samples if sample.split == "auxiliary"])
    held_out = encode([sample for sample in samples if sample.split == "test"])

    found = {strength: left_out(auxiliary, logistic(strength)) for strength in STRENGTHS}
    best = max(found, key=lambda strength: found[strength])
    print(f"mean image AUROC, percent{'left-out auxiliary':>25s}{'held-out':>12s}")
    row("plain CLIP", mean_auroc(auxiliary, auxiliary.plain), mean_auroc(held_out, held_out.plain))
    row(f"linear classifier, C = {best:g}", found[best], mean_auroc(held_out, logistic(best)(auxiliary)(held_out)))
    free = [
        (left_out(auxiliary, directions(s)), mean_auroc(held_out, directions(s)(auxiliary)(held_out))) for s in SEEDS
    ]
    row("free text directions", *np.mean(free, axis=0))
    known = [
        mean_auroc(one, logistic(best)(auxiliary.with_(others))(one))
        for one, others in (
            (held_out.part(held_out.names == name), held_out.part(held_out.names != name))
            for name in sorted(set(held_out.names))
        )
    ]
    row("... knowing held-out classes", float("nan"), float(np.mean(known)))


def encode(samples: Sequence[Sample]) -> Pictures:
    """Class tokens and plain CLIP's scores of pictures."""
    clip = load_clip("demo")
    method, plain = build("anomalyclip", clip, dpam_layer=2), build("clip_zeroshot", clip)
    tokens, scores = [], []
    for start in range(0, len(samples), 50):
        batch = load_batch(samples[start : start + 50], method.transform, with_masks=False)
        tokens.append(method.encode(batch)["image"])
        scores.append(plain.predict(batch).scores)
    labels, names = (np.array([getattr(sample, key) for sample in samples]) for key in ("label", "class_name"))
    return Pictures(torch.cat(tokens).numpy(), labels, names, torch.cat(scores).numpy())


def logistic(strength: float) -> Fit:
    """Linear classifier with C = `strength`."""

    def fit(train: Pictures) -> Callable[[Pictures], Scores]:
        model = LogisticRegression(C=strength, max_iter=5000).fit(10 * train.tokens, train.labels)
        return lambda test: model.decision_function(10 * test.tokens)

    return fit


def directions(seed: int) -> Fit:
    """Two learned directions, compared with the class token as the methods compare their text features."""

    def fit(train: Pictures) -> Callable[[Pictures], Scores]:
        generator = torch.Generator().manual_seed(seed)
        text = (0.02 * torch.randn(2, train.tokens.shape[1], generator=generator)).requires_grad_()
        optimizer = torch.optim.Adam([text], lr=1e-3, betas=(0.5, 0.999))
        tokens, labels = torch.from_numpy(train.tokens), torch.from_numpy(train.labels)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(labels), generator=generator).split(8):
                loss = F.cross_entropy(tokens[rows] @ F.normalize(text, dim=1).T / 0.07, labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        normal, abnormal = F.normalize(text.detach(), dim=1).double().numpy()
        return lambda test: test.tokens @ (abnormal - normal)

    return fit


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
