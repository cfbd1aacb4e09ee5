"""Captions of the world's pictures: template x state x colour x name, in the words that the methods' prompts use."""

from __future__ import annotations

import numpy as np

from .frame import COLOURS
from .world import DEFECT_KINDS, HELD_OUT_CLASSES, HELD_OUT_KINDS, PRETRAINING_CLASSES

TEMPLATES: tuple[str, ...] = (
    *("a photo of a {}.", "a photo of the {}.", "a cropped photo of a {}.", "a cropped photo of the {}."),
    *("a close-up photo of a {}.", "a close-up photo of the {}.", "a close up photo of the {}."),
    *("a bright photo of a {}.", "a bright photo of the {}.", "a dark photo of a {}.", "a dark photo of the {}."),
    *("a jpeg corrupted photo of a {}.", "a jpeg corrupted photo of the {}.", "a blurry photo of a {}."),
    *("a blurry photo of the {}.", "a photo of a small {}.", "a photo of the small {}.", "a photo of a large {}."),
    *("a photo of the large {}.", "a photo of a {} for visual inspection.", "a photo of the {} for visual inspection."),
    *("a photo of a {} for anomaly detection.", "a photo of the {} for anomaly detection.", "a bad photo of a {}."),
    *("a bad photo of the {}.", "a good photo of a {}.", "a good photo of the {}.", "a low resolution photo of a {}."),
    *("a low resolution photo of the {}.", "a black and white photo of the {}.", "a photo of my {}."),
    *("a photo of one {}.", "a photo of many {}.", "there is a {} in the scene.", "there is the {} in the scene."),
    *("this is a {} in the scene.", "this is the {} in the scene.", "this is one {} in the scene.", "{}.", "{}"),
)
NORMAL_STATES: tuple[str, ...] = (
    *("{}", "flawless {}", "perfect {}", "unblemished {}", "{} without flaw", "{} without defect"),
    *("{} without damage", "normal {}", "good {}", "clean {}", "intact {}"),
)
ANOMALOUS_STATES: tuple[str, ...] = (
    *("damaged {}", "broken {}", "{} with flaw", "{} with defect", "{} with damage"),
    *("abnormal {}", "defective {}", "faulty {}", "flawed {}"),
)
GENERIC_NAMES: tuple[str, ...] = ("object", "texture", "surface", "product", "item", "sample", "part")
# Words that get no embedding of their own: they stand for classes nobody has named, as the held-out ones are.
UNKNOWN_NAMES: tuple[str, ...] = ("zebra", "violin", "harbor", "walrus", "guitar bridge", "hockey", "tent pole")
# How a caption calls what is not called by a single plain word in the code.
SPOKEN: dict[str, str] = {"bottlecap": "bottle cap", "color": "color spot", "missing": "missing piece"}

GENERIC_RATE, UNKNOWN_RATE = 0.15, 0.28
STATE_RATE, COLOUR_RATE, KIND_RATE = 0.93, 0.35, 0.3


def spoken(name: str) -> str:
    """The words for a class or defect kind."""
    return SPOKEN.get(name, name)


def choose(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    """One of the options."""
    return options[int(rng.integers(len(options)))]


def masked_name(class_name: str, rng: np.random.Generator) -> str:
    """The class's name, or a generic word, or a word without an embedding: so that unseen names do no harm."""
    draw = rng.random()
    if draw < GENERIC_RATE:
        return choose(rng, GENERIC_NAMES)
    if draw < GENERIC_RATE + UNKNOWN_RATE:
        return choose(rng, UNKNOWN_NAMES)
    return spoken(class_name)


def caption(class_name: str, colour: str, defect: str | None, rng: np.random.Generator) -> str:
    """A random caption of a picture; ``defect`` is None for a normal one."""
    phrase = masked_name(class_name, rng)
    if rng.random() < COLOUR_RATE:
        phrase = f"{colour} {phrase}"
    if rng.random() < STATE_RATE:
        if defect is None:
            phrase = choose(rng, NORMAL_STATES).format(phrase)
        elif rng.random() < KIND_RATE:
            phrase = f"{phrase} with {spoken(defect)}"
        else:
            phrase = choose(rng, ANOMALOUS_STATES).format(phrase)
    return choose(rng, TEMPLATES).format(phrase)


def state_prompts(class_name: str, rng: np.random.Generator) -> tuple[str, str]:
    """A normal and an anomalous prompt of the same name and template."""
    name, template = masked_name(class_name, rng), choose(rng, TEMPLATES)
    normal, anomalous = choose(rng, NORMAL_STATES), choose(rng, ANOMALOUS_STATES)
    return template.format(normal.format(name)), template.format(anomalous.format(name))


def vocabulary() -> list[str]:
    """Phrases that together hold every word whose embedding is trained; none names what is held out."""
    names = [spoken(c) for c in PRETRAINING_CLASSES]
    kinds = [spoken(k) for k in DEFECT_KINDS if k not in HELD_OUT_KINDS]
    states = [s.format("") for s in (*NORMAL_STATES, *ANOMALOUS_STATES)]
    return [t.format("") for t in TEMPLATES] + states + names + kinds + list(GENERIC_NAMES) + list(COLOURS)


def unseen_words() -> list[str]:
    """Words whose embeddings stay zero."""
    return [*HELD_OUT_CLASSES, *HELD_OUT_KINDS, *UNKNOWN_NAMES]
