"""PromptAD's settings: what may be chosen, what the variants "official" and "paper" choose where nothing is, and which
part of the method each is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal, TypeVar

from adbench.methods.promptad.prompts import Prototype, Task
from adbench.methods.promptad.scores import Guidance
from adbench.methods.promptad.states import Source
from adbench.typed import (
    Few,
    Fraction,
    NonEmpty,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    Range,
    Side,
    Sigma,
)

_Part = TypeVar("_Part")

# Of each switch the authors' code's choice, then the paper's.
_BY_VARIANT = {
    "memory_tap": ("post_attention_next", "block_output"),
    "logit_scale": ("raw", "exp"),
    "margin_axis": ("tokens", "channels"),
    "lap_position": ("before_noun", "after_noun"),
    "manual_form": ("around_noun", "after_noun"),
    "pairing": ("modulo", "product"),
    "test_channel_order": ("bgr", "rgb"),
}
# Normal contexts per task where no number is given.
_N_PRO: dict[Task, int] = {"cls": 3, "seg": 1}


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptAdSettings:
    """Hyperparameters of PromptAD.

    variant             "official" follows the authors' code, "paper" the text: it decides switches that are None
    task                "cls": image scores; "seg": maps; "both": a prompt set for each, fitted in one run
    n_pro, n_pro_ab     normal and abnormal contexts; n_pro None: 3 for cls, 1 for seg
    n_ctx, n_ctx_ab     their lengths in tokens; init_std of their first values
    suffixes            manual suffixes: "auto", those of MVTec AD's and VisA's classes beside the generic ones; "own",
                        by class name in any data set; "generic". The own ones paraphrase the test set's defects
    vv_last_blocks      image blocks with a V-V path, counted from the last; all where the tower has fewer
    memory_blocks       image blocks (from 0) whose patches are remembered; None: 2 and 7, or as deep in a tower of
                        fewer than 12 blocks
    memory_tap          of them: "block_output", or "post_attention_next": what the authors' code reads in fact, the
                        stream behind the attention of the block that follows
    logit_scale         the backbone's parameter: "raw", as stored, or "exp"
    margin, margin_axis of the margin loss; the axis in seg: "tokens" or "channels"
    lap_position        of learnable suffixes: "before_noun", "after_noun"; manual_form of manual ones: "around_noun",
                        "after_noun"; pairing of contexts: "modulo", "product"
    test_channel_order  "bgr": red and blue of test images are exchanged, those of the memory are not; "rgb"
    guidance            what scores and maps are made of: "both", fused; "prompt" or "vision", that part alone
    select              which epoch's prompts: "last", or "best_on_test", what the authors' code keeps
    epochs ... lambda1  of the fit, batch_size in images; epochs=0 leaves the prompts as they begin
    resolution          side of the maps; map_blur_sigma in pixels, map_blur_truncate in sigmas: their Gaussian filter
    img_resize, img_cropsize  sides of the images; None: as the backbone
    """

    variant: Literal["official", "paper"] = "official"
    task: Literal["cls", "seg", "both"] = "both"
    n_pro: Few | None = None
    n_pro_ab: Few = 4
    n_ctx: Few = 4
    n_ctx_ab: Few = 1
    init_std: NonNegativeFloat = 0.02
    suffixes: Source = "auto"
    vv_last_blocks: PositiveInt = 12
    memory_blocks: Annotated[Sequence[NonNegativeInt], NonEmpty] | None = None
    memory_tap: Literal["post_attention_next", "block_output"] | None = None
    logit_scale: Literal["raw", "exp"] | None = None
    margin: float = 0.0
    margin_axis: Literal["tokens", "channels"] | None = None
    lap_position: Literal["before_noun", "after_noun"] | None = None
    manual_form: Literal["around_noun", "after_noun"] | None = None
    pairing: Literal["modulo", "product"] | None = None
    prototype: Prototype = "mean_of_raw"
    test_channel_order: Literal["bgr", "rgb"] | None = None
    guidance: Guidance = "both"
    select: Literal["last", "best_on_test"] = "last"
    epochs: NonNegativeInt = 100
    batch_size: PositiveInt = 400
    lr: NonNegativeFloat = 0.002
    eta_min: NonNegativeFloat = 1e-5
    momentum: Fraction = 0.9
    weight_decay: NonNegativeFloat = 5e-4
    lambda1: NonNegativeFloat = 0.001
    resolution: Side = 400
    map_blur_sigma: Sigma = 4.0
    map_blur_truncate: Annotated[float, Range(0, 100, above=True)] = 4.0
    img_resize: Side | None = None
    img_cropsize: Side | None = None

    def switches(self) -> Switches:
        """The switches, with what is None decided by the variant."""
        place = 0 if self.variant == "official" else 1
        decided: dict[str, Any] = {key: getattr(self, key) or both[place] for key, both in _BY_VARIANT.items()}
        return Switches(**decided)

    def contexts(self) -> dict[Task, int]:
        """The tasks that prompts are fitted for, and the number of normal contexts of each."""
        tasks: list[Task] = ["cls", "seg"] if self.task == "both" else [self.task]
        return {task: self.n_pro or _N_PRO[task] for task in tasks}


@dataclass(frozen=True, kw_only=True, slots=True)
class Switches:
    """Decided switches: fields of `PromptAdSettings` by the same names."""

    memory_tap: Literal["post_attention_next", "block_output"]
    logit_scale: Literal["raw", "exp"]
    margin_axis: Literal["tokens", "channels"]
    lap_position: Literal["before_noun", "after_noun"]
    manual_form: Literal["around_noun", "after_noun"]
    pairing: Literal["modulo", "product"]
    test_channel_order: Literal["bgr", "rgb"]


def chosen(kind: type[_Part], given: Mapping[str, Any], switches: Switches, **more: Any) -> _Part:
    """The settings of one part of the method, a dataclass: its fields among the hyperparameters, switches decided."""
    values = {**given, **asdict(switches), **more}
    return kind(**{field.name: values[field.name] for field in fields(kind)})  # type: ignore[arg-type]
