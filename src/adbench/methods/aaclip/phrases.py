"""What AA-CLIP calls the classes: phrases that describe the very objects that are tested; sentences about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

TEMPLATES = ("{}.", "a photo of {}.")
NORMAL = ("{}", "a {}", "the {}")
ABNORMAL = ("a damaged {}", "a broken {}", "a {} with flaw", "a {} with defect", "a {} with damage")
_ANY = ""  # any class of the data set
_COLON = "colon endoscopy image"

MEDICAL = frozenset(
    {"brain", "liver", "retina", "colondb", "clinicdb", "kvasir", "cvc300"}
    | {"headct", "brain_mri", "br35h", "isic", "tn3k", "endo", "lag"}
)
"""Data sets scored as medical ones; the authors name those of the first line."""

PHRASES: Mapping[tuple[str, str], str] = {
    ("mvtec", "bottle"): "dark bottle",
    ("mvtec", "cable"): "top view of three cables",
    ("mvtec", "capsule"): "black and orange capsule",
    ("mvtec", "carpet"): "gray carpet",
    ("mvtec", "grid"): "metal or plastic mesh",
    ("mvtec", "hazelnut"): "single brown hazelnut",
    ("mvtec", "leather"): "brown leather",
    ("mvtec", "metal_nut"): "metal nut which has four notched edges",
    ("mvtec", "pill"): "oval white pill with small red speckles and the letters 'FF' engraved",
    ("mvtec", "screw"): "screw",
    ("mvtec", "tile"): "speckled tile surface",
    ("mvtec", "transistor"): "a three-legged transistor placed vertically",
    ("mvtec", "toothbrush"): "toothbrush head",
    ("mvtec", "wood"): "wood surface",
    ("mvtec", "zipper"): "a black zipper",
    ("visa", "candle"): "candle",
    ("visa", "capsules"): "capsules",
    ("visa", "cashew"): "cashew nut",
    ("visa", "chewinggum"): "chewing gum",
    ("visa", "fryum"): "wheel-shaped fryum snack",
    ("visa", "macaroni1"): "orange macaroni",
    ("visa", "macaroni2"): "scattered yellow macaroni",
    ("visa", "pcb1"): "dual ultrasonic distance sensor pcb module",
    ("visa", "pcb2"): "integrated circuits board",
    ("visa", "pcb3"): "infrared sensor pcb module",
    ("visa", "pcb4"): "battery charging pcb module",
    ("visa", "pipe_fryum"): "pipe-shaped fryum",
    ("mpdd", "connector"): "metal clamps with black adjustment knobs",
    ("mpdd", "tubes"): "scattered metal objects",
    ("mpdd", "metal_plate"): "blue rectangular metal plate with a notch on one side",
    ("mpdd", "bracket_white"): "white, elongated triangular metal bracket with a smooth, matte finish",
    ("mpdd", "bracket_brown"): "brown L-shaped metal bracket with smooth, glossy finish and multiple mounting holes "
    "along its arms",
    ("mpdd", "bracket_black"): "black ornamental metal bracket with spiral design attached to a rectangular frame",
    # With its full stop, to which the template adds another
    (
        "btad",
        "01",
    ): "Bright concentric rings in neon yellow and blue tones against a dark blue background, resembling a "
    "stylized wave or energy field radiating outward.",
    ("btad", "02"): "vertical fabric lines in warm, dusty pink and beige tones",
    ("btad", "03"): "oval concentric circular rings in gradient shades of blue and white",
    **{(name, _ANY): "scan" for name in ("brain", "liver", "retina")},
    **{(name, _ANY): _COLON for name in ("colondb", "clinicdb", "kvasir", "cvc300")},
}
KEYS = tuple(PHRASES)
"""Phrases by number, which features carry."""


def phrase_number(dataset: str, class_name: str) -> int:
    """The number of the authors' phrase for a class of a data set (or of several joined by "+"), -1 without one."""
    for name in dataset.partition(":")[0].split("+"):
        for key in ((name, class_name), (name, _ANY)):
            if key in PHRASES:
                return KEYS.index(key)
    return -1


def phrase(number: int, class_name: str, chosen: Literal["official", "name"] | Mapping[str, str]) -> str:
    """What stands for the class in sentences."""
    if isinstance(chosen, Mapping) and class_name in chosen:
        return chosen[class_name]
    return PHRASES[KEYS[number]] if chosen == "official" and number >= 0 else class_name.replace("_", " ")


def sentences(phrase: str) -> list[str]:
    """The 6 sentences of the normal state, then the 10 of the abnormal one; template within state."""
    states = [state.format(phrase) for state in (*NORMAL, *ABNORMAL)]
    return [template.format(state) for state in states for template in TEMPLATES]


N_NORMAL = len(NORMAL) * len(TEMPLATES)
