"""The manual anomaly suffixes of PromptAD, as data: what may be wrong with an object, in the authors' own spelling.

The suffixes of a class paraphrase the names of the defect types in its *test* set: whoever uses them knows something of
the test set. Repeated entries count twice and misspellings change tokens, so both stay.
"""

from __future__ import annotations

from typing import Literal

GENERIC = (
    "damaged {}",
    "flawed {}",
    "abnormal {}",
    "imperfect {}",
    "blemished {}",
    "{} with flaw",
    "{} with defect",
    "{} with damage",
)

# How a class is called in prompts, where that is not its name.
NOUNS = {
    "macaroni1": "macaroni",
    "macaroni2": "macaroni",
    "pcb1": "printed circuit board",
    "pcb2": "printed circuit board",
    "pcb3": "printed circuit board",
    "pcb4": "printed circuit board",
    "pipe_fryum": "pipe fryum",
    "chewinggum": "chewing gum",
    "metal_nut": "metal nut",
}

_MACARONI = ("color spot", "small chip around edge", "small scratches", "breakage", "cracks")
_PCB = ("bent", "scratch", "missing", "melt")
# Words after "with"; an entry with {} is written in full.
_OWN: dict[str, dict[str, tuple[str, ...]]] = {
    "mvtec": {
        "bottle": ("large breakage", "small breakage", "contamination"),
        "toothbrush": ("defect", "anomaly"),
        "carpet": ("hole", "color stain", "metal contamination", "thread residue", "thread", "cut"),
        "hazelnut": ("crack", "cut", "hole", "print"),
        "leather": ("color stain", "cut", "fold", "glue", "poke"),
        "cable": ("bent wire", "missing part", "missing wire", "cut", "poke"),
        "capsule": ("crack", "faulty imprint", "poke", "scratch", "{} squeezed with compression"),
        "grid": ("breakage", "thread residue", "thread", "metal contamination", "glue", "a bent shape"),
        "pill": ("color stain", "contamination", "crack", "faulty imprint", "scratch", "abnormal type"),
        "transistor": ("bent lead", "cut lead", "damage", "misplaced transistor"),
        "metal_nut": ("a bent shape ", "color stain", "a flipped orientation", "scratch"),
        "screw": ("manipulated front", "scratch neck", "scratch head"),
        "zipper": (
            "broken teeth",
            "fabric border",
            "defect fabric",
            "broken fabric",
            "split teeth",
            "squeezed teeth",
        ),
        "tile": ("crack", "glue strip", "gray stroke", "oil", "rough surface"),
        "wood": ("color stain", "hole", "scratch", "liquid"),
    },
    "visa": {
        "candle": (
            "melded wax",
            "foreign particals",
            "extra wax",
            "chunk of wax missing",
            "weird candle wick",
            "damaged corner of packaging",
            "different colour spot",
        ),
        "capsules": ("scratch", "discolor", "misshape", "leak", "bubble"),
        "cashew": ("breakage", "small scratches", "burnt", "stuck together", "spot"),
        "chewinggum": ("corner missing", "scratches", "chunk of gum missing", "colour spot", "cracks"),
        "fryum": ("breakage", "scratches", "burnt", "colour spot", "fryum stuck together", "colour spot"),
        "macaroni1": _MACARONI,
        "macaroni2": _MACARONI,
        "pcb1": _PCB,
        "pcb2": _PCB,
        "pcb3": _PCB,
        "pcb4": ("scratch", "extra", "missing", "wrong place", "damage", "burnt", "dirt"),
        "pipe_fryum": ("breakage", "small scratches", "burnt", "stuck together", "colour spot", "cracks"),
    },
}

Source = Literal["auto", "own", "generic"]


def noun(class_name: str) -> str:
    """What a prompt calls the class."""
    return NOUNS.get(class_name, " ".join(class_name.replace("_", " ").split()))


def templates_of(class_name: str, dataset: str, source: Source = "auto") -> list[str]:
    """Templates of anomalous states, `{}` standing for the noun: the generic ones, then the class's own.

    source  "auto": own ones for the classes of the data sets mvtec and visa; "own": for a class of such a name in any
            data set; "generic": none
    """
    tables = [_OWN[dataset]] if dataset in _OWN else []
    if source == "own":
        tables = list(_OWN.values())
    elif source == "generic":
        tables = []
    own = next((table[class_name] for table in tables if class_name in table), ())
    return [*GENERIC, *(words if "{}" in words else f"{{}} with {words}" for words in own)]


def after_noun(template: str) -> str:
    """The template with all its words behind the noun: "damaged {}" -> "{} damaged"."""
    before, _, after = template.partition("{}")
    return f"{{}} {before.strip()}{after}" if before.strip() else template
