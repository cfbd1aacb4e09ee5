"""Whether the result of a finished evaluation still holds: its table, its data, its weights, its backbone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict

from adbench.api.dataset import open_dataset
from adbench.clip import load_clip
from adbench.clip.presets import PRESETS
from adbench.data.fingerprint import fingerprint
from adbench.data.sample import Sample
from adbench.engine.confidence import describe
from adbench.engine.record_check import TrainingSet
from adbench.engine.rows import MEAN
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import Row
from adbench.engine.weights import WeightsRecord, file_sha256, read_record, weights_file
from adbench.engine.zero_shot import Overlap, marks, trained_on
from adbench.errors import UserError
from adbench.report.kept_figures import pixel_columns
from adbench.report.recomputation import differences, n_values, recomputed, unsupported
from adbench.report.results import read_results, to_csv
from adbench.report.scores import FILE, Score, read_scores
from adbench.structured import read_json, read_yaml
from adbench.typed import check_value

State = Literal["holds", "fails", "unchecked"]


class _Backbone(TypedDict, total=False):
    name: str
    pretrained: str | None
    checkpoint: str | None
    quick_gelu: bool | None
    image_size: int | None


class _Settings(TypedDict, total=False):
    """What is read of config.yaml."""

    method: dict[str, Any]
    data: dict[str, dict[str, Any]]
    data_dir: str
    clip: _Backbone
    eval: dict[str, Any]


class _Part(TypedDict, total=False):
    """What is read of the provenance of a checkpoint's results."""

    evaluated: list[str]
    checkpoint: str
    hyperparameters: dict[str, Any]
    backbone: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: whether it holds, in one line, and what is wrong with it, a line each."""

    state: State
    what: str
    details: list[str] = field(default_factory=list)


def verify(folder: Path, *, data_dir: Path | None = None, fetch_backbone: bool = False) -> Iterator[Check]:
    """Check the run in `folder`, one thing after the other.

    data_dir        where its data sets lie now; None: where they lay
    fetch_backbone  load backbones whose weights open_clip would download
    Raises UserError for a folder without readable results.json and scores.csv.
    """
    run, rows = read_results(folder)
    scores = read_scores(folder)
    yield _scores_file(run, folder)
    parts = _parts(folder)
    yield from _table(run, rows, scores, folder, parts)
    yield _renderings(rows, folder)
    yield _settings(run, rows, parts)
    for described in check_value(list[TrainingSet], run.get("data", []), "results.json.run.data"):
        yield _data(described, parts, scores, data_dir)
    yield from _weights(run, rows, folder)
    yield from _backbones(rows, parts, fetch=fetch_backbone)


def _scores_file(run: Mapping[str, Any], folder: Path) -> Check:
    recorded = run.get("scores_sha256")
    if recorded is None:
        return Check("unchecked", f"{FILE}: results.json does not tell its hash")
    if recorded != file_sha256(folder / FILE):
        return Check("fails", f"{FILE} is not the file that the run has written: its hash differs")
    return Check("holds", f"{FILE} is as the run has written it")


def _table(
    run: Mapping[str, Any], rows: Sequence[Row], scores: Sequence[Score], folder: Path, parts: Sequence[_Settings]
) -> Iterator[Check]:
    """The rows of results.json against scores, kept maps and each other."""
    mode: Any = next((part.get("eval", {}).get("metrics_mode", "exact") for part in parts), "exact")
    place = RunFolder(folder)
    figures = pixel_columns(place, rows, scores, mode)
    intervals = run.get("intervals")
    known = isinstance(intervals, dict) and intervals == describe(intervals.get("seed", 0))
    again = recomputed(rows, scores, figures.columns, intervals if known else None)
    faults = [*unsupported(rows, scores), *differences(rows, again), *figures.faults]
    sources = f"{FILE}, maps/ and each other" if figures.columns else f"{FILE} and each other"
    if faults:
        yield Check("fails", f"results.json: {len(faults)} figures do not follow from {sources}", faults)
    else:
        yield Check("holds", f"results.json: its {n_values(again)} figures follow from {sources}")
    if intervals is not None and not known:
        yield Check("unchecked", "intervals: they were made in another way than by this version")
    if figures.lacking and any(key.startswith("pixel_") for row in rows for key in row):
        what = f"pixel columns of {len(figures.lacking)} classes: no exact maps are there (eval.maps=true keeps them)"
        yield Check("unchecked", what, figures.lacking if place.maps_dir.is_dir() else [])


def _renderings(rows: Sequence[Row], folder: Path) -> Check:
    file = folder / "results.csv"
    if not file.is_file():
        return Check("unchecked", "results.csv is not there")
    if file.read_bytes() != to_csv(rows).encode("utf-8", "backslashreplace"):
        return Check("fails", "results.csv does not hold what results.json holds")
    return Check("holds", "results.csv holds what results.json holds")


def _settings(run: Mapping[str, Any], rows: Sequence[Row], parts: Sequence[_Settings]) -> Check:
    """What results.json tells of method, hyperparameters and backbone against config.yaml."""
    if not parts:
        return Check("unchecked", "settings: there is no config.yaml")
    faults: list[str] = []
    for told in _told_parts(run):
        served = told.get("evaluated", [])
        part = next((part for part in parts if set(served) & part.get("data", {}).keys()), _Settings())
        name, hyperparameters = _split(part)
        clip = part.get("clip", _Backbone()).get("name")
        backbone = PRESETS[clip].model if clip in PRESETS else clip
        of_part = [row for row in rows if row["dataset"] in served]
        faults += [
            f"{', '.join(served)}: {what} {there} in results.json, {here} in config.yaml"
            for what, there, here in (
                ("hyperparameters", told.get("hyperparameters"), hyperparameters),
                ("backbone", told.get("backbone", {}).get("name"), backbone),
                *(("method", there, name) for there in {row["method"] for row in of_part}),
                *(("backbone", there, backbone) for there in {row.get("backbone") for row in of_part}),
            )
            if there != here
        ]
    if faults:
        return Check("fails", "results.json: its settings are not those of config.yaml", faults)
    return Check("holds", "results.json: method, hyperparameters and backbone are those of config.yaml")


def _split(part: _Settings) -> tuple[str | None, dict[str, Any]]:
    """Name and hyperparameters of the method."""
    hyperparameters = dict(part.get("method", {}))
    return hyperparameters.pop("name", None), hyperparameters


def _told_parts(run: Mapping[str, Any]) -> list[_Part]:
    return list(check_value(list[_Part], run.get("parts", [run]), "results.json.run.parts"))


def _parts(folder: Path) -> list[_Settings]:
    """The settings of the run, of each checkpoint; none where they were not kept."""
    file = folder / "config.yaml"
    settings = read_yaml(file) if file.is_file() else {}
    parts = settings.get("parts", [settings] if settings else [])
    return list(check_value(list[_Settings], parts, str(file)))


def _data(
    described: Mapping[str, Any],
    parts: Sequence[_Settings],
    scores: Sequence[Score],
    data_dir: Path | None,
) -> Check:
    name = described["name"]
    part = next((part for part in parts if name in part.get("data", {})), None)
    if part is None:
        return Check("unchecked", f"data {name}: config.yaml does not say where they lie")
    options = dict(part["data"][name])
    root, _ = options.pop("root", None), options.pop("classes", None)
    try:
        opened = open_dataset(
            name,
            root=None if data_dir else root,
            data_dir=data_dir or part.get("data_dir", "data"),
            classes=described["classes"],
            **options,
        )
        samples = opened.test
        fingerprint_now = fingerprint(samples)
    except UserError as error:
        return Check("unchecked", f"data {name}: cannot be read: {error}")
    faults = list(_unlike(samples, [score for score in scores if score["dataset"] == name]))
    if fingerprint_now != described["fingerprint"]:
        then, now = described["fingerprint"][:12], fingerprint_now[:12]
        faults.append(f"fingerprint {then} then, {now} now: files, labels or masks differ")
    if faults:
        return Check("fails", f"data {name}: not what the run has seen", faults)
    return Check("holds", f"data {name}: {len(samples)} images with labels and masks are those that the run has seen")


def _unlike(samples: Sequence[Sample], scores: Sequence[Score]) -> Iterator[str]:
    """What images and labels of the data and of scores.csv do not share."""
    there = {(sample.class_name, sample.key): sample for sample in samples}
    scored = {(score["class_name"], score["path"]): score for score in scores}
    for which, missing in (
        ("in the data, not in scores.csv", there.keys() - scored.keys()),
        ("in scores.csv, not in the data", scored.keys() - there.keys()),
    ):
        if missing:
            yield f"{len(missing)} images are {which}: {', '.join(' '.join(place) for place in sorted(missing)[:3])}"
    for place in sorted(there.keys() & scored.keys()):
        sample, score = there[place], scored[place]
        if sample.label >= 0 and (sample.label, sample.defect) != (score["label"], score["defect"]):
            then, now = f"{score['defect']}, label {score['label']}", f"{sample.defect}, label {sample.label}"
            yield f"{' '.join(place)}: {then} then, {now} now"


def _weights(run: Mapping[str, Any], rows: Sequence[Row], folder: Path) -> Iterator[Check]:
    """The checkpoint of each part, and what the run itself has fitted."""
    for part in _told_parts(run):
        served = part.get("evaluated", [])
        recorded = {row["weights"] for row in rows if row["dataset"] in served and row.get("weights")}
        if not recorded:
            continue
        place, names = Path(part.get("checkpoint", "untold")), ", ".join(served)
        try:
            sha256 = file_sha256(weights_file(place))
        except UserError as error:
            yield Check("unchecked", f"weights for {names}: {error}")
            continue
        if recorded == {sha256}:
            yield Check("holds", f"weights for {names}: {place} is the file that was used ({sha256[:12]})")
            record, of_part = read_record(place), [row for row in rows if row["dataset"] in served]
            if faults := list(_unlike_record(record, of_part)) if record is not None else []:
                yield Check("fails", "results.json: weights were trained or selected otherwise", faults)
        else:
            then = ", ".join(weights[:12] for weights in sorted(recorded))
            yield Check("fails", f"weights for {names}: {place} is another file: {then} then, {sha256[:12]} now")
    for note in sorted(folder.glob("weights_*.json")):
        file = note.with_suffix(".safetensors")
        if not file.is_file():
            yield Check("fails", f"fitted weights: {file.name} is missing")
        elif read_json(note).get("sha256") != file_sha256(file):
            yield Check("fails", f"fitted weights: {file.name} is not the file that {note.name} tells of")
        else:
            yield Check("holds", f"fitted weights: {file.name} is as the run has written it")


def _unlike_record(record: WeightsRecord, rows: Sequence[Row]) -> Iterator[str]:
    """Rows that make more of their weights than what these carry with them."""
    for row in rows:
        name, dataset = row["class_name"], row["dataset"]
        classes = sorted({other["class_name"] for other in rows if other["dataset"] == dataset} - {MEAN})
        known = marks(dataset, classes if name == MEAN else [name], record, row["n_images"], Overlap())
        known["trained_on"] = trained_on(record)
        flattering = {"zero_shot": True, "selected_on_test": False, "trained_on": row.get("trained_on")}
        for key, value in flattering.items():
            if row.get(key) == value != known[key]:
                yield f"{dataset} {name}: {key} {value} in results.json, {known[key]} by the weights"


def _backbones(rows: Sequence[Row], parts: Sequence[_Settings], *, fetch: bool) -> Iterator[Check]:
    looked_at: list[tuple[_Backbone, set[str]]] = []
    for part in parts:
        settings, served = part.get("clip", _Backbone()), part.get("data", {})
        recorded = {row["backbone_sha256"] for row in rows if row["dataset"] in served and row.get("backbone_sha256")}
        if (settings, recorded) in looked_at:
            continue
        looked_at.append((settings, recorded))
        name = settings.get("name")
        if not recorded or name is None:
            yield Check("unchecked", f"backbone {name}: its hash is not recorded")
            continue
        built_in = name in PRESETS and PRESETS[name].module
        if not (fetch or built_in or settings.get("checkpoint")):
            yield Check("unchecked", f"backbone {name}: backbone=true loads its weights, or downloads them, and checks")
            continue
        try:
            sha256 = load_clip(
                name,
                pretrained=settings.get("pretrained"),
                checkpoint=settings.get("checkpoint"),
                quick_gelu=settings.get("quick_gelu"),
                image_size=settings.get("image_size"),
            ).weights_sha256
        except UserError as error:
            yield Check("unchecked", f"backbone {name}: {error}")
            continue
        if recorded == {sha256}:
            yield Check("holds", f"backbone {name}: its weights are those that were used ({sha256[:12]})")
        else:
            then = ", ".join(weights[:12] for weights in sorted(recorded))
            yield Check("fails", f"backbone {name}: other weights: {then} then, {sha256[:12]} now")
