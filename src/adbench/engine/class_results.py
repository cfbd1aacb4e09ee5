"""What an evaluation keeps of its classes: finished ones while it runs, so that it can go on after an interruption; and
the memories that a method has fitted, as weights that evaluate again without fitting.

<run>/classes/<data set>/<number>.safetensors   per finished class: results per (K, seed), fitted memories
<run>/weights_<data set>_k<K>_seed<S>.safetensors   all classes of one (K, seed), with weights_....json beside it
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from adbench.data.fingerprint import fingerprint
from adbench.data.sample import Sample
from adbench.data.support import SupportSet
from adbench.engine.adapt import MemoryBank, joined
from adbench.engine.borrowed import borrowed
from adbench.engine.kept_maps import maps_files
from adbench.engine.names import file_name, file_names
from adbench.engine.rows import MEAN, Draw
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings, Row, Supports
from adbench.engine.tensor_file import read_tensors, write_tensors
from adbench.engine.weights import WeightsRecord, backbone, deciding_backbone, hyperparameters, record_of, save_weights
from adbench.errors import UserError
from adbench.methods.base import Method

_WITHOUT_EFFECT = ("workers", "heat_maps", "image_cache", "feature_cache", "feature_cache_mib")
_MARK = "|"  # between the number of a draw and a tensor's name


@dataclass(frozen=True, slots=True)
class FinishedClass:
    """A class that has been evaluated: results per draw; memories per draw of a method that fits, else none."""

    results: list[dict[str, Any]]
    memory_banks: list[MemoryBank]


class ClassResultCache:
    """The finished classes of one data set in a run. Files of other settings, data or weights are passed over."""

    def __init__(
        self, run: RunFolder, method: Method, data: EvalData, settings: EvalSettings, record: WeightsRecord | None
    ) -> None:
        self._folder = run.classes_dir / file_name(data.name)
        self._maps = maps_files(run, data.name, data.classes) if settings.maps else None
        self._method, self._data = method, data
        self._needs_validation = settings.needs_validation
        self._common = {
            "method": method.name,
            "plugin": (method.plugin or {}).get("sha256"),
            "hyperparameters": hyperparameters(method),
            "transform": method.transform.describe(),
            "backbone": deciding_backbone(backbone(method)),
            "weights": None if record is None else record.sha256,
            "metric_set": asdict(data.metric_set),
            "settings": {key: value for key, value in asdict(settings).items() if key not in _WITHOUT_EFFECT},
        }

    def load(self, class_name: str, samples: Sequence[Sample]) -> FinishedClass | None:
        """What was kept of the class; None if it has to be evaluated."""
        path = self._path(class_name)
        if not path.is_file() or (self._maps and not self._maps[class_name].is_file()):
            return None
        try:
            tensors, record = read_tensors(path, sealed=True)
        except UserError:  # damaged: the class is evaluated again
            return None
        if record is None or record.get("key") != self._key(class_name, samples):
            return None
        memory_banks = []
        if self._method.fits:
            with borrowed(self._method):
                for number in range(len(record["results"])):
                    prefix = f"{number}{_MARK}"
                    part = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
                    self._method.load_learnable_state(part)
                    memory_banks.append(self._method.memory_bank)
        return FinishedClass(record["results"], memory_banks)

    def save(self, class_name: str, samples: Sequence[Sample], finished: FinishedClass) -> None:
        """Keep a class, whole or not at all. Uses the method only where that fits."""
        tensors: dict[str, Tensor] = {}
        if self._method.fits:
            with borrowed(self._method):
                for number, memory_bank in enumerate(finished.memory_banks):
                    self._method.memory_bank = memory_bank
                    tensors |= {f"{number}{_MARK}{key}": value for key, value in self._method.learnable_state().items()}
        record = {"key": self._key(class_name, samples), "results": finished.results}
        write_tensors(self._path(class_name), tensors, record)

    def _path(self, class_name: str) -> Any:
        return self._folder / f"{list(self._data.classes).index(class_name):03d}.safetensors"

    def _key(self, class_name: str, samples: Sequence[Sample]) -> dict[str, Any]:
        validation = [
            sample for sample in self._data.validation if sample.class_name == class_name and self._needs_validation
        ]
        supports = [[*draw, _identity(sets.get(class_name))] for draw, sets in self._data.supports.items()]
        key = {
            **self._common,
            "class_name": class_name,
            "data": fingerprint([*samples, *validation]),
            "supports": supports,
        }
        return dict(json.loads(json.dumps(key)))


def _identity(support: SupportSet | None) -> list[str] | None:
    return None if support is None else [support.id, *(fingerprint([sample]) for sample in support.samples)]


def tidy(run: RunFolder, rows: Sequence[Row], *, keeps_maps: bool = False) -> None:
    """Remove what does not belong to these results, which are complete and written.

    That is what was kept of single classes, and what an earlier evaluation in this folder has left of others: heat
    maps, fitted weights, anomaly maps (all of them unless these results have theirs).
    """
    shutil.rmtree(run.classes_dir, ignore_errors=True)
    if not keeps_maps:
        shutil.rmtree(run.maps_dir, ignore_errors=True)
    classes: dict[str, list[str]] = {}
    fitted = set()
    for row in rows:
        if row["class_name"] != MEAN:
            classes.setdefault(row["dataset"], []).append(row["class_name"])
            fitted.add(_fitted_name(row["dataset"], row["shots"], row["support_seed"]))
    folders = {file_name(dataset): set(file_names(names).values()) for dataset, names in classes.items()}
    for top, ending in ((run.heatmaps_dir, ".png"), (run.maps_dir, ".npz")):
        for path in [*top.glob("*/*"), *top.glob("*")]:
            if path.parent == top:
                stale = path.name not in folders or not any(path.iterdir())
            else:
                stale = path.name.removesuffix(ending) not in folders.get(path.parent.name, ())
            if stale:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in run.curves_dir.glob("*.json"):
        if path.stem not in folders:
            path.unlink()
    for path in run.path.glob("weights_*"):
        if path.suffix in (".safetensors", ".json") and path.stem not in fitted:
            path.unlink()


def _fitted_name(dataset: str, k: int | None, seed: int | str | None) -> str:
    return f"weights_{file_name(dataset)}_k{k}{'' if seed is None else f'_seed{seed}'}"


def save_fitted(
    run: RunFolder, method: Method, data: EvalData, memory_banks: Mapping[Draw, Sequence[MemoryBank]], seed: int
) -> None:
    """Write, for each (K, seed) of support sets, what `method` has fitted to all classes, as a weights file."""
    with borrowed(method):
        for (k, support_seed), by_class in memory_banks.items():
            method.memory_bank = joined(by_class)
            sets = data.supports[k, support_seed]
            record = record_of(
                method,
                [],
                transform=method.transform.describe(),
                seed=seed,
                adaptation={
                    "dataset": data.name,
                    "k": k,
                    "seed": support_seed,
                    "supports": [support_set.record() for support_set in sets.values()],
                },
            )
            save_weights(method, run.path / f"{_fitted_name(data.name, k, support_seed)}.safetensors", record)


def restored_supports(record: WeightsRecord | None, data: EvalData) -> Supports:
    """The support sets, by name only, that loaded weights were fitted to; none if they do not say."""
    if record is None or record.adaptation is None:
        return {}
    fitted = record.adaptation
    sets = {
        entry["class_name"]: SupportSet.from_record(entry)
        for entry in fitted["supports"]
        if entry["class_name"] in data.classes and fitted["dataset"] == data.name
    }
    return {(fitted["k"], fitted["seed"]): sets}
