"""Features of test images, encoded once and kept for later evaluations with other settings (`eval.feature_cache`).

    FOLDER/METHOD-KEY/     KEY: hash of all that decides features beside the images
      cache.json           what KEY stands for
      BATCH.safetensors    features of one batch; BATCH: hash of all that its samples say and of their files' bytes

A batch is found again as a whole: encoded in another one, an image's features can differ in the last bits.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from adbench.atomic import sweep, write_json
from adbench.data.fingerprint import file_hashes, mark
from adbench.data.sample import Batch, Sample
from adbench.engine.feature_facts import encoding_facts, facts_hash
from adbench.engine.progress import Reporter
from adbench.engine.settings import EvalSettings
from adbench.engine.tensor_file import read_tensors, write_tensors
from adbench.errors import UserError
from adbench.methods.base import Features, Method

FOLDER = "outputs/features"
"""Where features are kept with eval.feature_cache=true."""
_NOTE = "cache.json"
_HINT = "name a folder with room, or use eval.feature_cache=false"
_LOOKS = 64
"""How often a folder is looked through while as much is written as it may hold: others may write there too."""
_NAME = re.compile(r"[0-9a-f]{24}\.safetensors")


class FeatureFolder:
    """The features of `samples`, by batch. What was used longest ago goes where newer ones need its room.

    Raises UserError where all samples together take more than `settings.feature_cache_mib`, or than there is.
    """

    def __init__(
        self,
        method: Method,
        samples: Sequence[Sample],
        settings: EvalSettings,
        device: torch.device,
        reporter: Reporter,
    ) -> None:
        self._reporter, self._limit = reporter, settings.feature_cache_mib << 20
        self._top = Path(FOLDER if settings.feature_cache is True else str(settings.feature_cache)).expanduser()
        self._facts = encoding_facts(method, settings.amp, device)
        self._folder = self._top / f"{method.name}-{facts_hash(self._facts)[:20]}"
        hashes = file_hashes(path for sample in samples for path in sample.files)
        self._marks = {(sample.class_name, sample.key): mark(sample, hashes) for sample in samples}
        self._admitted = False
        self._filled = self._since = self._limit  # bytes in the folder, as known; written since it was looked through
        self._oldest: Iterator[tuple[int, int, Path]] = iter(())  # what it held then

    def encode(self, batch: Batch, encode: Callable[[Batch], Features]) -> tuple[Features, float]:
        """What `encode`, the method's, gives, and the seconds that it takes, or took when these were encoded."""
        marks = "".join(self._marks[key] for key in zip(batch.class_names, batch.paths, strict=True))
        digest = hashlib.sha256(marks.encode("utf-8", "surrogateescape")).hexdigest()
        path = self._folder / f"{digest[:24]}.safetensors"
        with contextlib.suppress(UserError):  # missing or damaged: encoded again
            tensors, record = read_tensors(path, sealed=True)
            with contextlib.suppress(OSError):  # somebody else's files
                os.utime(path)
            device = batch.images.device
            return {name: values.to(device) for name, values in tensors.items()}, float((record or {})["seconds"])
        begin = time.perf_counter()
        features = {name: values.contiguous() for name, values in encode(batch).items()}
        plain = {name: values.cpu() for name, values in features.items()}
        seconds = time.perf_counter() - begin
        size = sum(values.nbytes for values in plain.values())
        if not self._admitted:
            self._admit(size * len(self._marks) // len(batch))
        try:
            self._make_room(size)
            if not (self._folder / _NOTE).exists():
                write_json(self._folder / _NOTE, self._facts)
            write_tensors(path, plain, {"seconds": seconds})
        except OSError as error:
            raise UserError(f"the features cannot be written: {error}", where=str(self._top), hint=_HINT) from error
        return features, seconds

    def _admit(self, n_bytes: int) -> None:
        """Say how much there will be. Raises UserError where there is no room."""
        what = f"{n_bytes / 1e6:,.0f} MB of features of {len(self._marks)} images"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            sweep(self._folder)
            room = shutil.disk_usage(self._top).free + sum(size for _, size, _ in self._files())
        except OSError as error:
            raise UserError(f"the features cannot be written: {error}", where=str(self._top), hint=_HINT) from error
        if n_bytes > self._limit:
            allowed = f"eval.feature_cache_mib={self._limit >> 20}"
            raise UserError(f"{what} are more than allowed", where=allowed, hint="raise it, or classes by themselves")
        if n_bytes > room:
            raise UserError(f"{what}, and {room / 1e6:,.0f} MB are free", where=str(self._top), hint=_HINT)
        self._reporter.say(f"features     {what} are kept in {self._top}")
        self._admitted = True

    def _make_room(self, n_bytes: int) -> None:
        """Remove what was used longest ago until so many bytes more are within the limit.

        Looks through the folder only now and then: there can be a file per image.
        """
        self._filled, self._since = self._filled + n_bytes, self._since + n_bytes
        if self._since > self._limit // _LOOKS:
            files = sorted(self._files())
            self._oldest = iter(files)
            self._filled, self._since = n_bytes + sum(size for _, size, _ in files), 0
        while self._filled > self._limit and (file := next(self._oldest, None)):
            used, size, path = file
            with contextlib.suppress(FileNotFoundError):  # another process has removed it
                if path.stat().st_mtime_ns > used:  # and is not among the oldest any more
                    continue
                path.unlink()
            self._filled -= size

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """When each file of any such cache in the folder was used last, its size and path; nobody else's files."""
        for note in self._top.glob(f"*/{_NOTE}"):
            for path in note.parent.iterdir():
                if _NAME.fullmatch(path.name):
                    with contextlib.suppress(FileNotFoundError):  # another process has removed it
                        status = path.stat()
                        yield status.st_mtime_ns, status.st_size, path
