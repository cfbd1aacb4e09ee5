"""PromptAD: contexts of normal and abnormal prompts, fitted to a class on K normal images, and a memory of these."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from adbench.clip import Clip
from adbench.data.sample import Batch
from adbench.errors import UserError
from adbench.methods.base import Features, Method, Prediction
from adbench.methods.maps import to_grid
from adbench.methods.memories import not_adapted, rows_by_class
from adbench.methods.promptad.fitting import Job, fit
from adbench.methods.promptad.memory_bank import ClassMemory, FittedPrompts, as_tensors, first_contexts, from_tensors
from adbench.methods.promptad.official import read_files, write_file
from adbench.methods.promptad.prompts import Contexts, make_prompts
from adbench.methods.promptad.scores import abnormal_probability, image_score, memory_distance, pixel_map
from adbench.methods.promptad.settings import BY_VARIANT, PromptAdSettings, Task
from adbench.methods.promptad.states import noun
from adbench.methods.promptad.transform import PromptAdTransform, exchange_red_and_blue
from adbench.methods.promptad.vvclip import VvClip
from adbench.methods.registry import register
from adbench.methods.variants import by_variant
from adbench.metrics import ImageMetrics, PixelMetrics


@register("promptad")
class PromptAd(Method):
    """PromptAD, fitted to each class on its K support images."""

    supervision = "none"
    adapts = needs_support = fits = features_suffice = True
    official_selects_on_test = True
    scoring_only = frozenset(
        {"test_channel_order", "guidance", "select", "resolution", "map_blur_sigma", "map_blur_truncate"}
    )
    memory_bank: dict[str, ClassMemory]

    settings_class = PromptAdSettings

    def __init__(self, clip: Clip, settings: PromptAdSettings) -> None:
        super().__init__(clip)
        self.settings = chosen = by_variant(settings, BY_VARIANT)
        n_normal = chosen.normal_contexts()
        self.tasks = list(n_normal)
        self.selects_on_test = chosen.select == "best_on_test"
        self.scale = float(clip.model.logit_scale.exp() if chosen.logit_scale == "exp" else clip.model.logit_scale)
        self.vv_clip = VvClip(
            clip,
            vv_last_blocks=chosen.vv_last_blocks,
            memory_blocks=chosen.memory_blocks,
            taps_attention=chosen.memory_tap == "post_attention_next",
        )
        self.map_size = chosen.resolution
        side = chosen.img_cropsize or clip.image_size
        self.grid = side // clip.patch_size
        self.transform = PromptAdTransform(side, chosen.img_resize or side, chosen.resolution, clip.mean, clip.std)
        # Every class begins with the same values, as it does in the authors' code: one process and one seed per class.
        self.initial = {task: Contexts.drawn(n, chosen, clip.text_width) for task, n in n_normal.items()}
        self._nameless: ClassMemory | None = None

    # Frozen stage

    def encode(self, batch: Batch) -> Features:
        """Features of test images (see `VvClip.raw`) of unit length; the authors' code exchanges their red and blue."""
        images = batch.images
        if self.settings.test_channel_order == "bgr":
            images = exchange_red_and_blue(images, self.clip.mean, self.clip.std)
        return self.vv_clip.features(images)

    def encode_support(self, batch: Batch) -> Features:
        """Features of support images: other than of test images, their red and blue are never exchanged."""
        return self.vv_clip.support_features(batch.images)

    # Adaptation

    def adapt(self, class_name: str, support: Batch, features: Features | None = None) -> None:
        """Remember the patches of K normal images and fit the prompts of all tasks to them."""
        encoded = self.encode_support(support) if features is None else features
        jobs = {task: self.job(class_name, support.dataset, task, encoded) for task in self.tasks}
        with torch.enable_grad():
            for _ in fit(self.clip, list(jobs.values()), self.settings, self.scale):
                pass
        prompts = {}
        for task, job in jobs.items():
            prototypes = torch.stack(job.prototypes)
            if not prototypes.isfinite().all():
                raise UserError(
                    f"fitting the prompts of class {class_name!r} ({task}) has diverged",
                    where=f"method.lr={self.settings.lr}",
                    hint="lower method.lr",
                )
            prompts[task] = FittedPrompts(prototypes[-1], prototypes, job.contexts)
        self.memory_bank[class_name] = ClassMemory(self.vv_clip.galleries(encoded), prompts)

    def job(
        self, class_name: str, dataset: str, task: Task, features: Features, order: Sequence[Tensor] | None = None
    ) -> Job:
        """The fit of a class's prompts to support features; order: support images of each step, default all in turn."""
        initial = self.initial[task]
        visual = features["global" if task == "cls" else "local"]
        normal, abnormal = (tensor.to(visual, copy=True) for tensor in (initial.normal, initial.abnormal))
        return Job(
            prompts=make_prompts(
                self.clip, class_name, dataset, n_normal=len(normal), n_abnormal=len(abnormal), settings=self.settings
            ),
            visual=visual,
            contexts=Contexts(normal, abnormal),
            order=torch.arange(len(visual)).split(self.settings.batch_size) if order is None else order,
        )

    @torch.no_grad()
    def select_on_test(self, class_name: str, batches: Sequence[tuple[Features, Batch]]) -> None:
        """Put the best epoch's prompts into use: by image AUROC for cls, by pixel AUROC for seg, the first one on ties.

        Where the epochs are not known (the authors' checkpoints) or the metric is undefined, the prompts stay.
        """
        memory = self._memory(class_name)
        grids = [self.visual_grid(features, class_name) for features, _ in batches]
        for task, fitted in list(memory.prompts.items()):
            best, prototypes_of_best = -math.inf, fitted.prototypes
            for prototypes in () if fitted.per_epoch is None else fitted.per_epoch:
                memory.prompts[task] = replace(fitted, prototypes=prototypes)
                auroc = self._auroc(class_name, task, batches, grids)
                if auroc > best:
                    best, prototypes_of_best = auroc, prototypes
            memory.prompts[task] = replace(fitted, prototypes=prototypes_of_best)

    def _auroc(
        self, class_name: str, task: Task, batches: Sequence[tuple[Features, Batch]], grids: Sequence[Tensor]
    ) -> float:
        image, pixel = ImageMetrics(), PixelMetrics()
        for (features, batch), visual in zip(batches, grids, strict=True):
            if task == "cls":
                scores = image_score(visual, self.text_score(features, class_name), self.settings)
                image.update(scores.float().cpu().numpy(), batch.labels.cpu().numpy())
            elif batch.truth is not None:
                maps = pixel_map(visual, self.text_grid(features, class_name), self.settings)
                pixel.update(maps.float().cpu().numpy(), batch.truth.cpu().numpy())
        return image.compute()["image_auroc"] if task == "cls" else pixel.compute()["pixel_auroc"]

    # Scores

    def score(self, features: Features, batch: Batch) -> Prediction:
        """Image scores of the task cls, maps of the task seg; None where the other task alone was fitted."""
        local, side = features["local"], self.map_size
        n = local.shape[0]
        scores = local.new_empty(n, dtype=torch.float32) if "cls" in self.tasks else None
        maps = local.new_empty(n, side, side, dtype=torch.float32) if "seg" in self.tasks else None
        for name, rows in rows_by_class(batch.class_names):
            part = {key: value[rows] for key, value in features.items()}
            visual = self.visual_grid(part, name)
            if scores is not None:
                scores[rows] = image_score(visual, self.text_score(part, name), self.settings).float()
            if maps is not None:
                maps[rows] = pixel_map(visual, self.text_grid(part, name), self.settings).float()
        return Prediction(scores, maps)

    def visual_grid(self, features: Features, class_name: str) -> Tensor:
        """Half the distance of each patch to its nearest in the memory, mean over layers: (B, 1, G, G) in [0, 1]."""
        distances = memory_distance(features, self._memory(class_name).galleries)
        return to_grid(distances.unsqueeze(-1), self.grid)

    def text_grid(self, features: Features, class_name: str) -> Tensor:
        """Probability of the abnormal prototype for each patch, (B, 1, G, G)."""
        return to_grid(self._abnormal(features["local"], class_name, "seg").unsqueeze(-1), self.grid)

    def text_score(self, features: Features, class_name: str) -> Tensor:
        """Probability of the abnormal prototype for the image, (B,)."""
        return self._abnormal(features["global"], class_name, "cls")

    def _abnormal(self, features: Tensor, class_name: str, task: Task) -> Tensor:
        prompts = self._memory(class_name).prompts
        if task not in prompts:
            raise UserError(
                f"class {class_name!r} has memory and prompts for the task {', '.join(prompts)} only",
                where=f"method.task={self.settings.task}",
                hint=f"set method.task={next(iter(prompts))}, or fit the class for {task}",
            )
        return abnormal_probability(features, prompts[task].prototypes, self.scale)

    def prompt_words(self, class_name: str) -> str:
        """The noun that the authors write for the class, else its name with spaces for underscores."""
        return noun(class_name)

    def remembers(self, class_name: str) -> bool:
        """Whether the class was fitted, or a checkpoint that does not name its class waits for one."""
        return class_name in self.memory_bank or self._nameless is not None

    def shots(self, class_name: str) -> int | None:
        """K, which the size of the memory tells."""
        memory_bank = self.memory_bank.get(class_name, self._nameless)
        if memory_bank is None:
            return 0
        images, rest = divmod(len(memory_bank.galleries[0]), self.grid**2)
        return None if rest else images

    def _memory(self, class_name: str) -> ClassMemory:
        if class_name not in self.memory_bank:
            if self._nameless is None:
                raise not_adapted(self, class_name)
            self.memory_bank[class_name], self._nameless = self._nameless, None
        return self.memory_bank[class_name]

    # Checkpoints

    def learnable_state(self) -> dict[str, Tensor]:
        """The contexts that every class begins with, and of each class its galleries, prototypes and contexts."""
        state = {f"{task}/{key}": value for task, first in self.initial.items() for key, value in first.named().items()}
        for name, memory_bank in self.memory_bank.items():
            state |= as_tensors(name, memory_bank)
        return {key: value.detach() for key, value in state.items()}

    def load_learnable_state(self, state: Mapping[str, Tensor]) -> None:
        """Load what `learnable_state` gave: what was fitted can be scored, further classes can be fitted.

        With select="last" the prompts in use are those of the last epoch, whichever were when the state was kept.
        """
        rest = {key: value.to(self.clip.device) for key, value in state.items()}
        initial = {task: first_contexts(rest, task, like) for task, like in self.initial.items()}
        memory_bank = from_tensors(rest)
        for name, memory in memory_bank.items():
            memory.check(self.clip, len(self.vv_clip.blocks), where=name)
            if not self.selects_on_test:
                memory.use_last_epoch()
        self.initial, self.memory_bank, self._nameless = initial, memory_bank, None

    def load_official(self, path: str | Path) -> None:
        """Load a checkpoint of the authors' training scripts, or a folder of them.

        A file's name says class and task. A file of another name is taken for `method.task` and for the first class
        that is scored. A file of contexts alone gives the values that every class begins with.
        """
        where, n_layers = str(path), len(self.vv_clip.blocks)
        for file in read_files(Path(path), self.tasks):
            if file.contexts is not None:
                self.initial[file.task] = file.contexts
            if file.memory_bank is None:
                continue
            memory = file.memory_bank.to(self.clip.device).check(self.clip, n_layers, where=where)
            if file.class_name is None:
                self._nameless = memory
            else:
                before = self.memory_bank.get(file.class_name)
                self.memory_bank[file.class_name] = memory if before is None else before.joined(memory, where=where)

    def save_official(self, path: str | Path) -> None:
        """Write a file per class and task into the folder `path`, half precision, as the authors' code names them."""
        for name, memory_bank in self.memory_bank.items():
            for task in memory_bank.prompts:
                write_file(Path(path), name, task, memory_bank)
