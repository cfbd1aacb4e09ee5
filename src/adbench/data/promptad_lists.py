"""PromptAD's published support sets: indices into the sorted training images of a class, for K = 1, 2 and 4.

Source: the lists in the authors' repository (FuNz-0/PromptAD at 0f86ce0). They name positions, not files; which image a
position means follows from the assumption that the listing is sorted.
"""

from __future__ import annotations

_LISTS = """
mvtec 1 | bottle cable capsule leather metal_nut tile transistor wood zipper | 131
mvtec 1 | carpet grid hazelnut pill screw | 263
mvtec 1 | toothbrush | 32
mvtec 2 | bottle cable capsule leather metal_nut tile transistor wood zipper | 101 48
mvtec 2 | carpet grid hazelnut pill screw | 203 97
mvtec 2 | toothbrush | 25 12
mvtec 4 | cable capsule leather metal_nut tile wood zipper | 29 45 192 218
mvtec 4 | bottle transistor | 29 45 192 127
mvtec 4 | carpet grid pill screw | 58 90 255 154
mvtec 4 | hazelnut | 58 90 384 255
mvtec 4 | toothbrush | 7 11 48 54
visa 1 | candle capsules macaroni1 macaroni2 pcb1 pcb2 pcb3 pcb4 | 266
visa 1 | cashew chewinggum fryum pipe_fryum | 133
visa 2 | candle macaroni1 macaroni2 pcb1 pcb2 pcb3 pcb4 | 894 195
visa 2 | capsules | 195 388
visa 2 | cashew chewinggum fryum pipe_fryum | 447 97
visa 4 | candle macaroni1 macaroni2 pcb1 pcb2 pcb3 pcb4 | 315 290 591 157
visa 4 | capsules | 315 290 157 271
visa 4 | cashew chewinggum fryum pipe_fryum | 157 145 295 78
"""

N_TRAIN = {
    "mvtec": {
        "bottle": 209,
        "cable": 224,
        "capsule": 219,
        "carpet": 280,
        "grid": 264,
        "hazelnut": 391,
        "leather": 245,
        "metal_nut": 220,
        "pill": 267,
        "screw": 320,
        "tile": 230,
        "toothbrush": 60,
        "transistor": 213,
        "wood": 247,
        "zipper": 240,
    },
    "visa": {
        "candle": 900,
        "capsules": 542,
        "cashew": 450,
        "chewinggum": 453,
        "fryum": 450,
        "macaroni1": 900,
        "macaroni2": 900,
        "pcb1": 904,
        "pcb2": 901,
        "pcb3": 905,
        "pcb4": 904,
        "pipe_fryum": 450,
    },
}
"""Number of training images that the indices presuppose."""


def _parse() -> dict[tuple[str, str, int], tuple[int, ...]]:
    indices_of = {}
    for line in _LISTS.strip().splitlines():
        head, classes, indices = line.split("|")
        dataset, shots = head.split()
        for name in classes.split():
            indices_of[dataset, name, int(shots)] = tuple(map(int, indices.split()))
    return indices_of


INDICES = _parse()
"""(data set, class, K) -> indices."""
