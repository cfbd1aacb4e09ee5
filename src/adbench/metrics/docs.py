"""Writes metrics.md from what the modules of metrics define: `python -m adbench.metrics.docs > metrics.md`."""

from __future__ import annotations

import sys

from adbench.metrics.metric import LEVELS, VALIDATION_RULE, Metric
from adbench.metrics.registry import all_metrics

_HEADER = f"""\
# Metrics

<!-- Written by `python -m adbench.metrics.docs > metrics.md` from what the modules of `adbench.metrics` define: edit
those, not this file. -->

Values are in [0, 1]; tables print percent. All are computed per class and averaged over classes; what is undefined
(one label only, no masks) is n/a and left out of means, and the row's notes say why where it is not plain. Ties are
never broken by chance. Everything streams and merges: batches, processes and the order of images change nothing.

Tables of industrial data always have the columns marked *always*. `eval.metrics=NAME,NAME` adds others, by the name
in the first column; what takes a parameter is called `NAME@X`, as in

    python -m adbench eval ... eval.aupro_limit=0.3,0.05
    python -m adbench eval ... eval.metrics=image_fpr95,image_recall_at_fpr@0.05,segf1@{VALIDATION_RULE},pixel_aupimo

and that is how its column is called in results.json, and in `trainer.select_metric=NAME@X`. Without
"@X" the default counts, where there is one.

`@{VALIDATION_RULE}` takes the threshold from the class's own normal validation images, which no test image has a part
in: mean + 3 population standard deviations of all their scores. It stands in the class's row
(`pixel_{VALIDATION_RULE}`, `image_{VALIDATION_RULE}`); a data set without a validation split has none, and the figure
is n/a.

Pixels are counted at the size of the method's maps, to which masks are resized, as the papers of CLIP methods do.
`eval.pixel_size=image` counts them at the size of the stored images, to which maps are scaled up (bilinear), as the
papers of MVTec AD, MVTec AD 2 and MVTec LOCO AD ask for; rows say so. AUC-sPRO is always measured so, road scenes at
the size of their labels. With other sizes AUPIMO, AUPRO at small limits and
figures of small defects come out differently: compare within one size.

What the figures do not say: F1-max, FPR at 95 % recall and recall at a rate choose their threshold by the test
labels, so they are upper bounds and no operating points. mean + 3 sigma is no rate of 0.13 %: scores are not normal.
Calibration depends on the share of anomalous images in the test set.
"""


def render() -> str:
    """Return the text of metrics.md."""
    lines = [_HEADER]
    for level in LEVELS:
        of_level = [metric for metric in all_metrics().values() if metric.level == level]
        lines += [f"## {level.capitalize()}s", "", "| name | header | what it is | better | how to get it | source |"]
        lines += ["|---|---|---|---|---|---|", *map(_line, of_level), ""]
    return "\n".join(lines)


def _line(metric: Metric) -> str:
    name = f"`{metric.name}`"
    if metric.parameter is not None:
        default = "" if metric.parameter.default is None else f", {metric.parameter.default:g} without"
        rules = "".join(f" or {rule}" for rule in metric.parameter.rules)
        name = f"`{metric.name}@X` (X: {metric.parameter.what}{rules}{default})"
    better = "" if metric.unit == "score" else "lower" if metric.lower_is_better else "higher"
    how = ["always"] * metric.shown + [
        f"`{metric.asked_by}`" if "=" in (metric.asked_by or "") else metric.asked_by or ""
    ]
    if metric.unit == "score":
        how = ["with its metric"]
    elif metric.is_choice and not metric.shown:
        how.append("eval.metrics")
    cells = [name, metric.title, metric.formula, better, ", ".join(filter(None, how)), metric.source]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    sys.stdout.write(render())
