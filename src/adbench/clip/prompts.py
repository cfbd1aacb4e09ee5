"""Prompt ensembles: sentences about a normal and an abnormal state, and the two directions that they span."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from adbench.clip.model import Clip


@dataclass(frozen=True, slots=True)
class PromptEnsemble:
    """State phrases and sentence templates; `{}` is the place of the class name and of the phrase."""

    normal: tuple[str, ...]
    abnormal: tuple[str, ...]
    templates: tuple[str, ...]

    def sentences(self, class_name: str) -> tuple[list[str], list[str]]:
        """All normal and all abnormal sentences about `class_name`, templates running fastest."""

        def fill(states: tuple[str, ...]) -> list[str]:
            return [template.format(state.format(class_name)) for state in states for template in self.templates]

        return fill(self.normal), fill(self.abnormal)


NORMAL_STATES = (
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
)
# methods/adaclip, section 4 of the official text features: 7 x 4 normal and 5 x 4 abnormal sentences.
ADACLIP_ENSEMBLE = PromptEnsemble(
    normal=NORMAL_STATES,
    abnormal=("damaged {}", "broken {}", "{} with flaw", "{} with defect", "{} with damage"),
    templates=(
        "a bad photo of a {}.",
        "a low resolution photo of the {}.",
        "a bad photo of the {}.",
        "a cropped photo of the {}.",
    ),
)

# The photographs of WinCLIP and InCTRL, `@` being the place of the article; the two order the articles differently.
_PHOTOS = (
    "a cropped photo of @ {}.",
    "a close-up photo of @ {}.",
    "a bright photo of @ {}.",
    "a dark photo of @ {}.",
    "a jpeg corrupted photo of @ {}.",
    "a blurry photo of @ {}.",
    "a photo of @ {}.",
    "a photo of @ small {}.",
    "a photo of @ large {}.",
    "a photo of @ {} for visual inspection.",
    "a photo of @ {} for anomaly detection.",
)


def _photos(articles: str) -> tuple[str, ...]:
    """Templates with, for each of the photographs, the articles named: "the", "a/the", ..."""
    pairs = zip(_PHOTOS, articles.split(), strict=True)
    return tuple(photo.replace("@", article) for photo, both in pairs for article in both.split("/"))


# WinCLIP as anomalib has it: four abnormal states, 21 sentences of which one stands there twice.
WINCLIP_ABNORMAL = ("damaged {}", "{} with flaw", "{} with defect", "{} with damage")
WINCLIP_ENSEMBLE = PromptEnsemble(
    normal=NORMAL_STATES,
    abnormal=WINCLIP_ABNORMAL,
    templates=_photos("the a/the a/the the/a the/the the/a a/the a/the a/the the/a the/a"),
)
# InCTRL, section 2 of the specification: the same states, 11 templates with both articles.
INCTRL_ENSEMBLE = PromptEnsemble(
    normal=NORMAL_STATES,
    abnormal=WINCLIP_ABNORMAL,
    templates=_photos("the/a a/the a/the a/the a/the the/a the/a a/the a/the a/the a/the"),
)
# InCTRL on semantic anomalies: one pair of sentences for these names (the classes of CIFAR-10, and "animal").
NATURAL_OBJECTS = frozenset(
    ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck", "animal")
)
NATURAL_ENSEMBLE = PromptEnsemble(
    normal=("a photo of {}",), abnormal=("a photo without {}",), templates=("{} for anomaly detection.",)
)


def state_directions(features: Tensor, n_normal: int) -> Tensor:
    """Unit vectors of the two states from sentence features (..., n, C), the first `n_normal` being normal.

    Each sentence is normalised, then averaged over its state, then normalised: (..., C, 2), column 0 normal.
    """
    features = F.normalize(features, dim=-1)
    states = (features[..., :n_normal, :].mean(dim=-2), features[..., n_normal:, :].mean(dim=-2))
    return torch.stack([F.normalize(state, dim=-1) for state in states], dim=-1)


def state_means(features: Tensor, n_normal: int) -> Tensor:
    """Plain means of the sentence features (n, C) of the two states, as WinCLIP takes them: (2, C), row 0 normal."""
    return torch.stack([features[:n_normal].mean(dim=0), features[n_normal:].mean(dim=0)])


def encode_ensemble(clip: Clip, ensemble: PromptEnsemble, class_name: str) -> Tensor:
    """Unit vectors (C, 2) of the normal and the abnormal state of a class, without gradient."""
    normal, abnormal = ensemble.sentences(class_name)
    with torch.no_grad():
        return state_directions(clip.encode_text(clip.tokenize(normal + abnormal)), len(normal))
