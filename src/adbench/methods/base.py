"""The one interface that training, evaluation and reports know a method by.

Over 300 lines, for whoever writes a method reads it as one text: every fact and every hook with its contract.
"""

from __future__ import annotations

import dataclasses
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from adbench.errors import UserError
from adbench.methods.weights import load_strictly
from adbench.typed import check_arguments

if TYPE_CHECKING:
    from typing_extensions import Self

    from adbench.clip import Clip
    from adbench.data.sample import Batch
    from adbench.data.transforms import Transform

Features = Mapping[str, Tensor]
"""What `encode` gives: tensors by name, the batch (or the support's images) being the first axis of each."""

Chunk = tuple[Features, Sequence[str]]
"""Features of some images of a class, and the images' paths."""

SUPPORT = "support."
"""Prefix of the features of `Batch.support` beside those of the queries."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a method says of a batch; higher means more anomalous.

    scores  (B,) float32, or None where the method gives no image score
    maps    (B, H, W) float32, or a list of (H, W) where sizes differ, or None
    """

    scores: Tensor | None
    maps: Tensor | Sequence[Tensor] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterGroup:
    """Learnable parameters that the optimiser treats alike.

    names         as `learnable_parameters` has them
    lr_factor     their learning rate, as a multiple of trainer.optimizer.lr; what a schedule goes down to is the same
                  for all groups
    weight_decay  None: trainer.optimizer's
    clip_norm     the largest 2-norm of this group's gradients together, whatever those of others; None: as they are
    """

    names: tuple[str, ...]
    lr_factor: float = 1.0
    weight_decay: float | None = None
    clip_norm: float | None = None


class Method(nn.Module, ABC):
    """A learnable (or training-free) head on a frozen CLIP.

    Work is split in two: `encode` uses frozen weights only and is a pure function of images and backbone;
    `loss` and `score` hold everything learnable. The constructor is `(clip, *, hyperparameter=default, ...)`.

    Facts that the engine reads:
    settings_class  a dataclass of the hyperparameters, where they are many: the constructor is `(clip, settings)` then
    supervision  what training needs: "anomaly" (labels and masks), "segmentation" (label maps), "none" (no training)
    adapts       True when the method takes K normal images of a class, its support, as its memory
    learns_from_masks  "not", "also" (beside labels), or "only": whether training reads masks
    needs_support  True when it cannot score a class without them
    fits         True when `adapt` learns, which takes its time: what it makes of each class is part of the learnable
                 state and kept with a run
    selects_on_test  True when `select_on_test` is to be called, with the images to be scored
    in_context   True when training gives every query its own support (`Batch.support`)
    features_suffice  True when loss and score read no images: features can be kept and used again, masks and labels
                  beside them
    keeps_features  True where features cost a pass of a tower and are small, and loss reads images too: training keeps
                 them between epochs, beside images that are loaded anew
    towers       kinds of image towers that it works on
    scoring_only  names of hyperparameters that may be others in testing than in training: weights fit whatever they
                  are, and what is scored with them is named by them
    scores_are_probabilities  True when an image score claims to be the probability that the image is anomalous
    remarks      what must stand beside every result, in words
    transductive  True when a prediction depends on all test images of its class: `relate` is given them first
    divides_by_label  True when `relate` wants to know which images have the same kind of defect
    loss_mixes_batch  True when a term of `loss` is neither a mean nor a sum over things that each belong to one image:
                  several processes then compute it on the whole batch each
    mixes_batch  True when a prediction depends on the other images of its batch: evaluation takes one at a time
    transform    the method's own preprocessing
    map_size     side of its anomaly maps in pixels
    memory_bank  class name -> what `adapt` has made of its support. Whoever evaluates may put another dictionary in
                 its place, to score the same features with several support sets
    hyperparameters  what `methods.build` made it with, defaults included: kept with its weights
    training_stages  names of the parts that training goes through one after the other, each with parameters, settings
                 and an optimiser of its own (`begin_stage`); none: one part
    without_gradient  names of learnable parameters that no loss term depends on, kept because the authors' checkpoints
                 hold them
    plugin       where a method that is not built in comes from: its "place" and the "sha256" of its code; kept with
                 weights, and part of what decides a result
    official_selects_on_test  True when the authors' code keeps the weights that do best on the very images it reports
    """

    name: ClassVar[str]
    plugin: ClassVar[Mapping[str, str] | None] = None
    settings_class: ClassVar[type[Any] | None] = None
    supervision: ClassVar[Literal["anomaly", "segmentation", "none"]] = "anomaly"
    learns_from_masks: Literal["not", "also", "only"] = "not"
    adapts: ClassVar[bool] = False
    needs_support: ClassVar[bool] = False
    fits: ClassVar[bool] = False
    selects_on_test: bool = False
    official_selects_on_test: ClassVar[bool] = False
    in_context: ClassVar[bool] = False
    features_suffice: ClassVar[bool] = False
    keeps_features: bool = False
    towers: ClassVar[frozenset[str]] = frozenset({"vit"})
    scoring_only: ClassVar[frozenset[str]] = frozenset()
    scores_are_probabilities: bool = False
    training_stages: Sequence[str] = ()
    without_gradient: Collection[str] = ()
    remarks: Sequence[str] = ()
    transductive: ClassVar[bool] = False
    divides_by_label: bool = False
    loss_mixes_batch: bool = False
    mixes_batch: bool = False
    transform: Transform
    map_size: int
    memory_bank: dict[str, Any]
    hyperparameters: Mapping[str, Any]

    def __init__(self, clip: Clip) -> None:
        super().__init__()
        # The backbone is shared and frozen: kept out of the module tree so that no state dict,
        # optimiser or `.train()` call of a method ever reaches it.
        self._clip = (clip,)
        self.memory_bank = {}

    @property
    def clip(self) -> Clip:
        """The frozen backbone."""
        return self._clip[0]

    @classmethod
    def assemble(cls, clip: Clip, **hyperparameters: Any) -> Self:
        """Make the method, hyperparameters checked. Raises ValueError for values that do not go with the backbone."""
        given = cls.check_hyperparameters(hyperparameters)
        made: Callable[..., Self] = cls  # what a constructor takes beside the backbone is the method's own business
        method = made(clip, **given) if cls.settings_class is None else made(clip, cls.settings_class(**given))
        method.hyperparameters = {**cls.hyperparameter_defaults(), **given}
        return method

    @classmethod
    def check_hyperparameters(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """`values` as the annotations want them. Raises UserError for an unknown one, another type, out of range."""
        return check_arguments(cls if cls.settings_class is None else cls.settings_class, values, "method")

    @classmethod
    def hyperparameter_defaults(cls) -> dict[str, Any]:
        """The hyperparameters with their defaults: fields of `settings_class`, else keywords of the constructor."""
        if cls.settings_class is not None:
            blank = cls.settings_class()
            return {field.name: getattr(blank, field.name) for field in dataclasses.fields(blank)}
        parameters = inspect.signature(cls).parameters.values()
        return {
            parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY
        }

    @classmethod
    def require_graph(cls, hyperparameters: Mapping[str, Any]) -> None:
        """Raise UserError (why) where no graph of tensor operations, as ONNX is, gives the predictions."""
        if cls.transductive:
            what = "it scores the pictures of a class together: no graph of one picture gives its scores"
            raise UserError(what, where=f"method {cls.name}")

    @abstractmethod
    def encode(self, batch: Batch) -> Features:
        """Frozen features of the batch, without gradient: a pure function of the images and the backbone."""

    def encode_support(self, batch: Batch) -> Features:
        """Frozen features of support images, for `adapt`: what `encode` gives, unless a method treats them apart."""
        return self.encode(batch)

    def feature_settings(self) -> Mapping[str, Any] | None:
        """What decides the result of `encode` beside images, transform and backbone, as JSON types; None: anything."""
        return None

    def loss(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Loss terms by name (scalars, already weighted): training minimises their sum.

        Terms of pixels are means over the images whose masks are known (`losses.known_masks`), and left out where the
        batch holds none.
        """
        raise UserError(f"method {self.name} is not trained", hint="run `eval` with it directly")

    def begin_stage(self, stage: str) -> None:
        """Get ready to learn the stage: its parameters alone require gradients, `transform` and `loss` are its own.

        Called before an optimiser is made for it, in the order of `training_stages`, and again where an interrupted
        training goes on. Without stages it is called once, with "".
        """

    def term_count(self, name: str, batch: Batch) -> int | None:
        """How many things of this batch the term `name` of `loss` is a mean over; None: it is a sum.

        Several processes weigh their shares of a batch by it. Images, unless the method says otherwise.
        """
        return len(batch)

    @abstractmethod
    def score(self, features: Features, batch: Batch) -> Prediction:
        """Anomaly scores and maps of the batch."""

    def predict(self, batch: Batch) -> Prediction:
        """Score a batch from its images."""
        with torch.no_grad():
            return self.score(self.encode(batch), batch)

    def adapt(self, class_name: str, support: Batch, features: Features | None = None) -> None:
        """Take K normal images of a class as its memory, and learn from them where the method does.

        features  what `encode_support` gives of the support, where the caller has it already
        """
        raise UserError(f"method {self.name} does not adapt to a class", hint="leave out support.k")

    def select_on_test(self, class_name: str, batches: Sequence[tuple[Features, Batch]]) -> None:
        """Choose among what `adapt` has left of a class by its results on the very images to be scored.

        Some authors' code does this; results are marked as selected on test.
        """
        raise UserError(f"method {self.name} selects nothing")

    def relate(
        self,
        class_name: str,
        chunks: Sequence[Chunk],
        *,
        strata: Sequence[str] | None = None,
        progress: Callable[[float], None] = lambda share: None,
    ) -> None:
        """Look at all test images of a class together and keep in the memory bank what `score` needs of that.

        Called by `transductive` methods' evaluation once per class, between encoding and scoring. There are neither
        labels nor masks here. `score` finds its images again by their paths.

        chunks    may be read any number of times, in any order; features come from memory or disk as they are read
        strata    the kind of defect of each image, in order; None unless `divides_by_label`, or where it is unknown
        progress  called now and then with the share of the work that is done
        """
        raise UserError(f"method {self.name} scores each image by itself")

    def prompt_words(self, class_name: str) -> str | None:
        """What prompts call the class; None where its name does not enter them."""
        return None

    def remembers(self, class_name: str) -> bool:
        """Whether there is a memory to score this class with."""
        return class_name in self.memory_bank

    def shots(self, class_name: str) -> int | None:
        """The number of normal images in the memory of this class; None where it does not tell."""
        return None if self.remembers(class_name) else 0

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Method:
        """Move the method: `to`, `half`, `double`. Raises UserError where its precision would not be the backbone's.

        The backbone is shared with other methods, so it never moves along.
        """
        backbone = getattr(self.clip, "dtype", torch.float32)
        asked = fn(torch.empty(0, dtype=backbone)).dtype
        if asked != backbone:
            raise UserError(
                f"the method would compute in {str(asked)[6:]}, its backbone in {str(backbone)[6:]}",
                where=f"method {self.name}",
                hint=f"move the backbone first, for all methods that share it: method.clip.to({asked})",
            )
        super()._apply(fn, recurse)
        return self

    def learnable_state(self) -> dict[str, Tensor]:
        """Everything learned, by the authors' checkpoint names where they published any; never the backbone."""
        return {key: value.detach() for key, value in self.state_dict().items()}

    def load_learnable_state(self, state: Mapping[str, Tensor]) -> None:
        """Load what `learnable_state` returned. Raises UserError naming missing, unexpected and misshapen tensors."""
        load_strictly(self, state)

    def load_official(self, path: str | Path) -> None:
        """Load weights in the format that the authors published."""
        raise UserError(f"no official checkpoint format is known for method {self.name}", where=str(path))

    def save_official(self, path: str | Path) -> None:
        """Write the learned weights in the format that the authors' code loads."""
        raise UserError(f"no official checkpoint format is known for method {self.name}", where=str(path))

    def learnable_parameters(self) -> dict[str, nn.Parameter]:
        """Trainable parameters by name, in the order in which the authors' optimiser holds them."""
        return {key: value for key, value in self.named_parameters() if value.requires_grad}

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """All learnable parameters, in the groups that the optimiser treats differently: one, unless said otherwise."""
        return [ParameterGroup(names=tuple(self.learnable_parameters()))]


def beside(features: Features, support: Features) -> Features:
    """Features of queries together with those of their support images (`Batch.support`), as `loss` expects them."""
    return {**features, **{f"{SUPPORT}{name}": value for name, value in support.items()}}
