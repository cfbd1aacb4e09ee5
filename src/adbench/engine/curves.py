"""The PRO curves of an evaluation, thinned for drawing: curves/<data set>.json in its run folder.

{class: [{"shots": K, "support_seed": seed, "pro": [[FPR, PRO], ...]}]}, FPR up to the limit of AUPRO.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adbench.atomic import write_json
from adbench.engine.names import file_name
from adbench.engine.rows import Draw
from adbench.engine.run_folder import RunFolder
from adbench.errors import UserError
from adbench.metrics.pro_curve import Point
from adbench.structured import read_json

DIGITS = 5
Place = tuple[str, int | None, int | None]
"""Class, K and seed of support sets."""


def write_curves(run: RunFolder | None, dataset: str, results: Mapping[Draw, Mapping[str, Mapping[str, Any]]]) -> None:
    """Write the curves of a data set's results per draw and class, where there is a run and are any."""
    if run is None:
        return
    content: dict[str, list[dict[str, Any]]] = {}
    for (_, seed), by_class in results.items():
        for name, result in by_class.items():
            if points := result.get("pro"):
                rounded = [[round(value, DIGITS) for value in point] for point in points]
                facts = {"shots": result["shots"], "support_seed": seed}
                content.setdefault(name, []).append({**facts, "pro": rounded})
    path = run.curves_dir / f"{file_name(dataset)}.json"
    if content:
        write_json(path, content)
    else:
        path.unlink(missing_ok=True)


def read_curves(run: RunFolder, dataset: str) -> dict[Place, Sequence[Point]]:
    """The curves of a data set; none where there is no readable file of them: they are for looking at."""
    curves: dict[Place, Sequence[Point]] = {}
    try:
        for name, draws in read_json(run.curves_dir / f"{file_name(dataset)}.json").items():
            for draw in draws:
                points = [(float(x), float(y)) for x, y in draw["pro"]]
                curves[name, draw["shots"], draw["support_seed"]] = points
    except (UserError, TypeError, ValueError, KeyError, AttributeError):
        return {}
    return curves
