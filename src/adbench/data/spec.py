"""What is known of a data set, and how its samples are found: `DatasetSpec`. Sets are registered in `catalogue`."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from adbench.data.counts import Counts, count_images
from adbench.data.meta import META_NAME, read_meta
from adbench.data.place import is_here, place_of, refusal, with_packed
from adbench.data.sample import Sample
from adbench.data.stems import composed
from adbench.data.survey import BROKEN, CHOICES, Entry, Survey, survey
from adbench.data.tree import is_occupied
from adbench.errors import UserError, unknown
from adbench.typed import check_arguments, read

Progress = Callable[[int, int], None]  # (done, total)
Indexer = Callable[..., Iterable[Entry]]  # (root, classes, *, options)


Supervision = Literal["anomaly", "segmentation", "none"]

SPLIT = "split"
"""The option of every set that can be evaluated on several splits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetSpec:
    """A data set: facts for people, and where its files are.

    classes         in the official order, which tables follow; empty: whatever the folder holds
    expected        class -> published counts (train, normal test, anomalous test), where they are known for certain
    held_back       split -> class -> number of images as published, of splits whose labels are not public
    submitted       split -> what follows the number in its images' names, of splits that go to the authors' server
    sizes           class -> published (width, height) of the images, where all have one and it is known for certain
    metric_set      "industrial": a table per class; "road": pixels pooled over the set, unknown ones ignored, and
                    components (see `metrics.road`)
    component_sizes of a road set: pixels of the smallest predicted and of the smallest annotated component that count
    supervision     what training on this set gives: "anomaly" (labels, masks), "segmentation" (label maps), "none"
    class_names     of segmentation: the train ids' names, in order
    auxiliary_split the split that a method is trained on when this set is auxiliary data
    evaluation_splits  splits that can be evaluated, the first by default (option `split`); none: there are no anomalies
    split_notes     what a reader of results on a split must know
    reported_options  options whose values a reader must know too
    folders         further names under which the set is looked for in the data folder (the archive's own)
    marks           glob patterns of which one at least is found in the raw layout; empty: the index function decides
    unit_of         an image's key -> what it shows a part of (a part seen by several cameras, a strip cut into tiles):
                    images of one unit are not independent. None: every image is a unit
    part_of         the set whose images these are, where it is a part of one: support sets are drawn as of that
    bundled         the folder of a set that ships with the package, else None
    prepare_root    makes a set that is rendered rather than downloaded, else None
    """

    name: str
    title: str
    domain: str = "any"
    task: str = "classification"
    classes: tuple[str, ...] = ()
    licence: str = "unknown"
    source: str = ""
    citation: str = ""
    how_to_get: str = ""
    layout: str = "images"
    index_files: Indexer
    quirks: tuple[str, ...] = ()
    expected: Mapping[str, Counts] = field(default_factory=dict)
    held_back: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    submitted: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    metric_set: Literal["industrial", "road"] = "industrial"
    component_sizes: tuple[int, int] = (500, 100)
    supervision: Supervision = "anomaly"
    class_names: tuple[str, ...] = ()
    auxiliary_split: str = "test"
    evaluation_splits: tuple[str, ...] = ("test",)
    split_notes: Mapping[str, str] = field(default_factory=dict)
    reported_options: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    unit_of: Callable[[str], str] | None = None
    part_of: str | None = None
    bundled: Path | None = None
    prepare_root: Callable[[Path, Progress | None], None] | None = None

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the data set's own options."""
        return tuple(self.option_defaults)

    @property
    def option_defaults(self) -> dict[str, Any]:
        """The data set's own options with the values that they have unless somebody says otherwise."""
        values = {name: parameter.default for name, parameter in self.own_options().items()}
        split = {SPLIT: self.evaluation_splits[0]} if len(self.evaluation_splits) > 1 else {}
        return {**values, **split, BROKEN: CHOICES[0]}

    def own_options(self) -> dict[str, inspect.Parameter]:
        """The keyword-only parameters of the index function, by name."""
        parameters = inspect.signature(self.index_files).parameters
        return {name: parameter for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}

    def changed_options(self, options: Mapping[str, Any]) -> list[str]:
        """Those of the own options that are not as the index function has them by default."""
        parameters = self.own_options().items()
        return [name for name, parameter in parameters if options.get(name) and options[name] != parameter.default]

    def default_root(self, data_dir: Path) -> Path:
        """The set's folder below the user's data folder: its own name, else the archive's name if that exists."""
        if self.bundled is not None:
            return self.bundled
        candidates = [Path(data_dir) / name for name in (self.name, *self.folders)]
        return next((folder for folder in candidates if is_occupied(folder)), candidates[0])

    @property
    def how_to_obtain(self) -> str:
        """`how_to_get` for where the source page is not shown beside it: with its address."""
        return self.how_to_get.replace("the source page", self.source).replace("source page", self.source)

    @property
    def n_published(self) -> int:
        """The number of images as published, of all classes; 0 where it is not known for certain."""
        if not self.classes or not set(self.classes) <= set(self.expected):
            return 0
        tested = [
            counts.validation + counts.normal + counts.anomalous + counts.mapped for counts in self.expected.values()
        ]
        # One class against the others: every class has all test images.
        n_tested = max(tested) if self.domain == "semantic" else sum(tested)
        return sum(counts.train for counts in self.expected.values()) + n_tested

    def prepare(self, root: Path, progress: Progress | None = None) -> None:
        """Render the set to `root` if it is one that renders itself and is not there yet; otherwise do nothing."""
        if self.prepare_root is not None:
            self.prepare_root(root, progress)

    def index(
        self, root: Path, classes: Sequence[str] | None = None, options: Mapping[str, Any] | None = None
    ) -> list[Sample]:
        """Return the samples of `survey`; raises UserError also for what cannot be used, unless `broken` is "skip"."""
        return self.usable(self.survey(root, classes, options), options)

    def usable(self, surveyed: Survey, options: Mapping[str, Any] | None = None) -> list[Sample]:
        """The samples without faults. Raises UserError for faults, unless options say broken=skip and some remain."""
        error = surveyed.error()
        samples = surveyed.samples
        if error is not None and ((options or {}).get(BROKEN, CHOICES[0]) == CHOICES[0] or not samples):
            raise error
        return samples

    def survey(
        self, root: Path, classes: Sequence[str] | None = None, options: Mapping[str, Any] | None = None
    ) -> Survey:
        """Find all samples below `root`, or those of `classes`, sorted by class (official order), split and key, and
        what of them cannot be used.

        The raw layout is read where it is recognised, else a `meta.json` in the format of AdaCLIP and AnomalyCLIP.
        Raises UserError for an unknown layout, class or option, and for classes without files.
        """
        root, options = Path(root), self.check_options(options or {})
        classes = [composed(str(name)) for name in classes] if classes else None
        for_index = {key: value for key, value in options.items() if key in self.own_options()}
        entries = list(self._read(root, classes, for_index))
        surveyed = survey(entries)
        names = [*(sample.class_name for sample in surveyed.listed), *(fault.class_name for fault in surveyed.faults)]
        for class_name in classes or ():
            if class_name not in names:
                raise unknown(f"class of data set {self.name}", class_name, dict.fromkeys(names), where=str(root))
        if not names:
            raise UserError(f"data set {self.name} holds no images", where=str(root), hint=self._expectation())
        wanted = set(names) if classes is None else set(classes)
        listed = sorted((sample for sample in surveyed.listed if sample.class_name in wanted), key=self._sort_key())
        faults = [fault for fault in surveyed.faults if fault.class_name in wanted]
        return Survey(listed, faults, surveyed.notes)

    def check_options(self, options: Mapping[str, Any], where: str = "data") -> dict[str, Any]:
        """The options as the index function wants them. Raises UserError for an unknown one and for another type."""
        for option in options:
            if option not in self.options:
                raise unknown(f"option of data set {self.name}", option, self.options, where=f"{where}.{option}")
        for_index = {key: value for key, value in options.items() if key in self.own_options()}
        checked = check_arguments(self.index_files, for_index, where)
        for option, value in options.items():
            if option in for_index:
                continue
            checked[option] = read(value)
            if option == BROKEN and checked[option] not in CHOICES:
                raise unknown("value", str(checked[option]), CHOICES, where=f"{where}.{option}")
            if option == SPLIT:
                self._evaluation_split(checked[option])
        return checked

    def auxiliary(
        self, samples: Iterable[Sample], *, train_normals: bool = False, skip_upper_jpg: bool = False
    ) -> list[Sample]:
        """The samples that a method trains on when this set is auxiliary data: the test split, as the papers do.

        train_normals   the normal images of the train split too, of the same classes (InCTRL)
        skip_upper_jpg  of these not the files named *.JPG: InCTRL's script overlooks them, and with them all of VisA's
        """
        samples = list(samples)
        chosen = [sample for sample in samples if sample.split == self.auxiliary_split]
        if train_normals and self.auxiliary_split != "train":
            classes = {sample.class_name for sample in chosen}
            normals = [s for s in samples if s.split == "train" and s.label == 0 and s.class_name in classes]
            chosen += [s for s in normals if not (skip_upper_jpg and s.path.suffix == ".JPG")]
        return chosen

    def evaluation(self, samples: Iterable[Sample], split: str | None = None) -> list[Sample]:
        """The samples to be scored: of `split`, or of the set's default (the test split, of most sets).

        Classes without anomalous images are left out, unless no class has any.

        Raises UserError for a split that is not for evaluation, and for a set that holds no anomalies.
        """
        chosen = self._evaluation_split(split)
        scored = [sample for sample in samples if sample.split == chosen]
        able = {sample.class_name for sample in scored if sample.label != 0}
        return [sample for sample in scored if sample.class_name in able] if able else scored

    def note(self, options: Mapping[str, Any] | None = None) -> str | None:
        """What a reader of results with these options must know; None where there is nothing to say."""
        options = options or {}
        values = {**{name: parameter.default for name, parameter in self.own_options().items()}, **options}
        said = [f"data.{name}={values[name]}" for name in self.reported_options]
        split = self.split_notes.get(self._evaluation_split(options.get(SPLIT)))
        return "; ".join([*([split] if split else []), *said]) or None

    def _evaluation_split(self, split: str | None) -> str:
        if not self.evaluation_splits:
            hint = f"train on it; sets of this kind to evaluate on have the metrics {self.metric_set!r}"
            raise UserError(f"data set {self.name} holds no anomalies to be found", where="data", hint=hint)
        if split is not None and split not in self.evaluation_splits:
            raise unknown(f"split of data set {self.name}", split, self.evaluation_splits, where=f"data.{SPLIT}")
        return split or self.evaluation_splits[0]

    def support_pool(self, samples: Iterable[Sample], class_name: str) -> list[Sample]:
        """The normal samples of a class's train split, from which support sets are drawn."""
        return [s for s in samples if s.split == "train" and s.label == 0 and s.class_name == class_name]

    def count(self, samples: Iterable[Sample]) -> dict[str, Counts]:
        """Numbers of images by class; splits that are evaluated on request only are for validation."""
        return count_images(samples, self.evaluation_splits[1:])

    def deviations(self, samples: Iterable[Sample], options: Mapping[str, Any] | None = None) -> list[str]:
        """One line for each class of `samples` whose numbers of images differ from the published ones.

        None where `options` that the samples were indexed with change what is read, or into which split.
        """
        if self.changed_options(options or {}):
            return []
        lines, samples = [], list(samples)
        for class_name, counted in self.count(samples).items():
            expected = self.expected.get(class_name)
            if expected is not None and expected != counted:
                lines.append(f"{self.name}/{class_name} has {counted} images; published: {expected}")
        counts = Counter((sample.split, sample.class_name) for sample in samples)
        for (split, class_name), n in counts.items():
            published = self.held_back.get(split, {}).get(class_name, n)
            if n != published:
                lines.append(f"{self.name}/{class_name} has {n} images in {split}; published: {published}")
        return lines

    def is_raw(self, root: Path) -> bool:
        """Whether `root`, or a folder below it that an archive added, has the raw layout, as far as its marks tell."""
        return is_here(self._place(root), self.marks)

    def _read(self, root: Path, classes: Sequence[str] | None, options: Mapping[str, Any]) -> Iterator[Entry]:
        root = self._place(root)
        if is_here(root, self.marks):
            for class_name in classes or ():
                if self.classes and class_name not in self.classes:
                    raise unknown(f"class of data set {self.name}", class_name, self.classes, where="data.classes")
            yield from with_packed(root, self.classes, classes, lambda some: self.index_files(root, some, **options))
        elif (root / META_NAME).is_file():
            for option in self.changed_options(options):
                where, hint = f"data.{option}, {root / META_NAME}", "leave it out, or give the raw layout"
                raise UserError("the option is for the raw layout, not for a meta.json", where=where, hint=hint)
            yield from read_meta(root, dataset=self.name)
        else:
            raise refusal(root, f"the folder does not hold data set {self.name}", self._expectation())

    def _place(self, root: Path) -> Path:
        """Where the set lies at or below `root`: an unpacked archive often brings a folder of its own."""
        return place_of(root, self.marks, (self.name, *self.folders))

    def _expectation(self) -> str:
        layout = self.layout.split("\n")[0].split("  ")[0]  # without its explanation
        return f"expected: {layout} (or a meta.json). {self.how_to_obtain}"

    def _sort_key(self) -> Callable[[Sample], tuple[int, str, int, str]]:
        rank = {name: number for number, name in enumerate(self.classes)}
        splits = {"train": 0, "test": 1}
        return lambda s: (rank.get(s.class_name, len(rank)), s.class_name, splits.get(s.split, 2), s.key)
