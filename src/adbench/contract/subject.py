"""A method under test: how it is built, and what it does with pictures, as training and evaluation have it do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adbench.clip import Clip
from adbench.contract.pictures import CLASSES, write_pictures, write_scenes
from adbench.data.episodes import EpisodePlan
from adbench.data.loading import load_batch, make_episode_loader, make_loader
from adbench.data.sample import Batch, Sample
from adbench.engine.optim import build_optimizer
from adbench.engine.rng import seed_streams
from adbench.engine.settings import OptimizerSpec
from adbench.errors import UserError
from adbench.methods import build, method_class
from adbench.methods.base import Method, Prediction

SEED = 11


class Broken(Exception):
    """What a method does not keep to, and where."""


class NotChecked(Exception):
    """Why a check does not apply, or cannot be made here."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A method with its hyperparameters, a way to load its backbone, and a folder for pictures.

    n_classes  of label maps that a method of supervision "segmentation" learns from
    """

    name: str
    load_clip: Callable[[], Clip]
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    folder: Path
    n_classes: int = 4
    _made: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def cls(self) -> type[Method]:
        """Its class."""
        return method_class(self.name)

    @property
    def clip(self) -> Clip:
        """The backbone that the checks share."""
        if "clip" not in self._made:
            self._made["clip"] = self.load_clip()
        clip: Clip = self._made["clip"]
        return clip

    def build(self, *, seed: int = SEED, clip: Clip | None = None) -> Method:
        """A fresh one; the same for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build(self.name, clip or self.clip, **self.hyperparameters).eval()

    @property
    def learns(self) -> bool:
        """Whether it is trained on auxiliary data."""
        return self.cls.supervision != "none"

    def _pictures(self) -> tuple[list[Sample], list[Sample], dict[str, list[Sample]]]:
        """Samples to be scored, to be trained on, and of support."""
        if "pictures" not in self._made:
            folder = self.folder / "pictures"
            folder.mkdir(parents=True)
            if self.cls.supervision == "segmentation":
                self._made["pictures"] = (*write_scenes(folder, self.n_classes), {})
            else:
                tested, support = write_pictures(folder)
                self._made["pictures"] = (tested, tested, support)
        pictures: tuple[list[Sample], list[Sample], dict[str, list[Sample]]] = self._made["pictures"]
        return pictures

    @property
    def tested(self) -> list[Sample]:
        """The images to be scored, class by class."""
        return self._pictures()[0]

    @property
    def classes(self) -> list[str]:
        """Of the images to be scored."""
        return list(dict.fromkeys(sample.class_name for sample in self.tested))

    @property
    def prediction(self) -> Prediction:
        """What a fresh one says of the images to be scored, in batches of four."""
        if "prediction" not in self._made:
            self._made["prediction"] = self.scored(self.build())
        prediction: Prediction = self._made["prediction"]
        return prediction

    def adapt(self, method: Method, name: str, *, called: str | None = None) -> None:
        """Give the method two normal images of a class, under another name where it is to be `called` so."""
        samples = [replace(sample, class_name=called or name) for sample in self._pictures()[2][name]]
        batch = load_batch(samples, method.transform, with_masks=False).to(_device(method))
        seed_streams(SEED, method)
        with torch.no_grad():
            features = method.encode_support(batch)
        method.adapt(called or name, batch, features)

    def scored(
        self,
        method: Method,
        samples: Sequence[Sample] | None = None,
        *,
        batch_size: int = 4,
        with_support: bool = True,
        with_truth: bool = True,
        with_images: bool = True,
    ) -> Prediction:
        """Scores (N,) and maps, a list of (H, W), of samples, class by class as evaluation does it; on the CPU.

        with_truth   False: nobody knows labels and masks
        with_images  False: `score` gets features alone
        """
        samples = self.tested if samples is None else samples
        scores: list[Tensor] = []
        maps: list[Tensor] = []
        size = 1 if method.mixes_batch else batch_size
        for name in dict.fromkeys(sample.class_name for sample in samples):
            of_class = [sample for sample in samples if sample.class_name == name]
            batches = [b.to(_device(method)) for b in make_loader(of_class, method.transform, batch_size=size)]
            batches = batches if with_truth else [_without_truth(batch) for batch in batches]
            if method.adapts and with_support and not method.remembers(name):
                self.adapt(method, name if name in CLASSES else CLASSES[0], called=name)
            seed_streams(SEED, method)
            with torch.no_grad():
                encoded = [(method.encode(batch), batch) for batch in batches]
                if method.transductive:
                    strata = [sample.defect for sample in of_class] if method.divides_by_label else None
                    method.relate(name, [(features, batch.paths) for features, batch in encoded], strata=strata)
                for features, batch in encoded:
                    prediction = method.score(features, batch if with_images else without_images(batch))
                    scores += [] if prediction.scores is None else list(prediction.scores.cpu())
                    maps += [] if prediction.maps is None else [map_.cpu() for map_ in prediction.maps]
        return Prediction(torch.stack(scores) if scores else None, maps or None)

    def training_batch(self, method: Method, rows: slice = slice(0, 4)) -> Batch:
        """A batch as training gives it, or the part of it that a process among several gets."""
        samples = self._pictures()[1]
        if method.in_context:
            samples = [*samples, *(sample for support in self._pictures()[2].values() for sample in support)]
        plan = (
            EpisodePlan(samples, batch_size=4, seed=SEED, sampler="balanced", shots=2 if method.in_context else 0)
            if self.cls.supervision == "anomaly"
            else EpisodePlan(samples, batch_size=4, seed=SEED)
        )
        episode = plan.batches(0)[0].part(rows)
        (batch,) = make_episode_loader(samples, method.transform, [episode], seed=SEED)
        seeds = [SEED + index for index in episode.queries]
        return replace(batch.to(_device(method)), seeds=seeds)

    def losses(self, method: Method, batch: Batch) -> dict[str, Tensor]:
        """The terms of a batch's loss, encoded without gradient; random streams begin anew."""
        seed_streams(SEED, method)
        with torch.no_grad():
            features = method.encode(batch)
        return method.loss(features, batch)

    def trained(self, method: Method, *, steps: int = 3, watch: Callable[[Method], None] | None = None) -> Method:
        """The method after `steps` steps of each stage on one batch; `watch` sees the gradients of each step."""
        for stage in method.training_stages or ("",):
            method.begin_stage(stage)
            method.train()
            batch = self.training_batch(method)
            optimizer = build_optimizer(method, OptimizerSpec(name="adam", lr=1e-3))
            for _ in range(steps):
                optimizer.zero_grad(set_to_none=True)
                total = torch.stack([term.float() for term in self.losses(method, batch).values()]).sum()
                torch.autograd.backward(total)
                if watch is not None:
                    watch(method)
                optimizer.step()
        return method.eval()


def without_images(batch: Batch) -> Batch:
    """The batch as it is where features were kept: with no pixels."""
    return replace(batch, images=torch.empty(len(batch), 0, device=batch.images.device))


def _without_truth(batch: Batch) -> Batch:
    return replace(batch, labels=torch.full_like(batch.labels, -1), masks=None, label_maps=None, annotated=None)


def backbone_state(method: Method) -> dict[str, Tensor]:
    """The backbone's tensors as they are now."""
    return {name: value.detach().clone() for name, value in method.clip.model.state_dict().items()}


def check_backbone(method: Method, before: Mapping[str, Tensor], what: str) -> None:
    """Raise Broken where `what` has changed the backbone, or it is not frozen."""
    for name, value in method.clip.model.state_dict().items():
        if not torch.equal(value, before[name]):
            raise Broken(f"{what} changes the backbone: {name}")
    for name, parameter in method.clip.model.named_parameters():
        if parameter.requires_grad:
            raise Broken(f"the backbone is not frozen: {name} requires a gradient")


def refuses(action: Callable[[], object]) -> bool:
    """Whether it ends with the one line of a UserError."""
    try:
        action()
    except UserError:
        return True
    return False


def largest_difference(a: Prediction, b: Prediction) -> tuple[float, str]:
    """Between two predictions of the same images, as a share of the range of the first; and where it is."""
    worst = (0.0, "")
    for what, first, second in (("score", a.scores, b.scores), ("map", a.maps, b.maps)):
        if first is None or second is None:
            if first is not second:
                raise Broken(f"there is a {what} in one case and none in the other")
            continue
        values = torch.cat([part.double().flatten() for part in first])
        span = max(float(values.max() - values.min()), 1e-6)
        for index, (x, y) in enumerate(zip(first, second, strict=True)):
            if x.shape != y.shape:
                raise Broken(
                    f"image {index} has a {what} of shape {tuple(x.shape)} in one case, {tuple(y.shape)} in the other"
                )
            apart = float((x.double() - y.double()).abs().max()) / span
            if not apart <= worst[0]:
                worst = (apart, f"{what} of image {index}")
    return worst


def _device(method: Method) -> torch.device:
    return method.clip.device
