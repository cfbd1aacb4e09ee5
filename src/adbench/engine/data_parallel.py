"""A training step shared by several ranks: what each computes of a batch adds up to what one alone would.

Gradients are summed over images, never averaged over ranks. Where every term of a loss is a mean or a sum over things
that belong to one image each, a rank computes its own images and weighs a mean by how many things it is over
(`Method.term_count`). Where terms mix the images of a batch (batch normalisation, points drawn for a whole batch), the
ranks share the frozen towers' work alone: each gets all features and computes the whole loss.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import torch
from torch import Tensor

from adbench.data.sample import Batch
from adbench.engine import ranks
from adbench.interrupts import Interrupted, waiting
from adbench.methods.base import Features, Method


def agreed(method: Method, terms: dict[str, Tensor], batch: Batch | None) -> tuple[dict[str, float], Tensor | None]:
    """The loss of a whole batch from this rank's `terms`.

    Returns the terms of the whole batch and their sum "loss", as numbers, and what this rank is to differentiate; None
    where it has nothing. Raises Interrupted on all ranks where one has been asked to stop.
    """
    if ranks.count() == 1:
        whole = torch.stack([*terms.values()]).sum()
        values = torch.stack([*terms.values(), whole]).detach().tolist()  # one transfer from the device
        return dict(zip([*terms, "loss"], values, strict=True)), whole
    shares = _shares(method, terms, batch)
    weighted = {name: term * shares[name] for name, term in terms.items()}
    values = torch.stack([*weighted.values()]).detach().tolist() if weighted else []
    sums: Counter[str] = Counter()
    for told in ranks.gather(dict(zip(weighted, values, strict=True))):
        sums.update(told)
    loss = torch.stack([*weighted.values()]).sum() if weighted else None
    return {**sums, "loss": sum(sums.values())}, loss


def _shares(method: Method, terms: dict[str, Tensor], batch: Batch | None) -> dict[str, float]:
    """The weight of each of this rank's terms in those of the whole batch."""
    counts: dict[str, int | None] = {}
    if batch is not None:
        counts = {name: 1 if method.loss_mixes_batch else method.term_count(name, batch) for name in terms}
    told = ranks.gather((counts, waiting()))
    signal = next((number for _, number in told if number is not None), None)
    if signal is not None:
        raise Interrupted(signal)
    totals: Counter[str] = Counter()
    for of_rank, _ in told:
        totals.update({name: n for name, n in of_rank.items() if n is not None})
    return {name: 1.0 if n is None else n / totals[name] for name, n in counts.items()}


def whole_batch(batch: Batch | None, features: Features | None, device: torch.device) -> tuple[Batch, Features]:
    """The batch of all ranks with its features, on every rank; without its images, which losses of this kind ignore."""
    tensors = {} if batch is None else {"labels": batch.labels, **batch.annotations}
    gathered = ranks.gather_rows({**tensors, **{f"features/{name}": value for name, value in (features or {}).items()}})
    gathered = {name: value.to(device) for name, value in gathered.items()}
    bare = None if batch is None else replace(batch.bare, support=None, contents=None)
    told = [part for part in ranks.gather(bare) if part is not None]
    whole = Batch(
        images=torch.empty(len(gathered["labels"]), 0, device=device),
        labels=gathered["labels"],
        class_names=[name for part in told for name in part.class_names],
        paths=[path for part in told for path in part.paths],
        dataset="+".join(dict.fromkeys(name for part in told for name in part.dataset.split("+"))),
        masks=gathered.get("masks"),
        targets=gathered.get("targets"),
        annotated=None if told[0].annotated is None else [known for part in told for known in part.annotated or ()],
        seeds=None if told[0].seeds is None else [seed for part in told for seed in part.seeds or ()],
    )
    prefix = "features/"
    return whole, {name.removeprefix(prefix): value for name, value in gathered.items() if name.startswith(prefix)}
