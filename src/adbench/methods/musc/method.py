"""MuSc: features in `encode`, all that concerns the class in `relate`, look-ups in `score`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from adbench.clip import Clip
from adbench.data.sample import Batch
from adbench.data.transforms import ClipTransform
from adbench.errors import UserError
from adbench.methods.base import Chunk, Features, Method, Prediction
from adbench.methods.blocks import check_blocks, quarters
from adbench.methods.maps import resize_bilinear
from adbench.methods.musc.aggregation import aggregate, standardise
from adbench.methods.musc.division import divide
from adbench.methods.musc.image_scores import neighbour_means
from adbench.methods.musc.mutual import bounds, interval_means, nearest_distances
from adbench.methods.musc.settings import MuScSettings
from adbench.methods.registry import register

_AT_ONCE = 8
"""Images that are aggregated, or whose maps are made, at a time."""


@dataclass(frozen=True, slots=True)
class Related:
    """What the images of a class have made of each other: row by path, patch scores (N, T) float64, scores (N,)."""

    rows: Mapping[str, int]
    patch_scores: Tensor
    scores: Tensor


@register("musc")
class MuSc(Method):
    """A patch that finds a near twin in many other images is normal. An image has a score within a set alone."""

    settings_class = MuScSettings
    supervision = "none"
    transductive = True
    features_suffice = True

    def __init__(self, clip: Clip, settings: MuScSettings) -> None:
        super().__init__(clip)
        self.settings = settings
        self.layers = tuple(dict.fromkeys(settings.feature_layers or quarters(clip)))
        check_blocks(clip, "feature_layers", self.layers)
        self.map_size = clip.image_size
        self.transform = ClipTransform(clip.image_size, clip.mean, clip.std, mask_rule=settings.mask_rule)
        self.divides_by_label = settings.divide_num > 1 and settings.divide_by == "defect"
        self.remarks = [f"image scores are means over the k most similar images, k = {_listed(settings.k_list)}"]
        if self.divides_by_label:
            self.remarks.append("subsets were drawn with the help of labels")
        if settings.mask_rule != "half":
            self.remarks.append(f"masks after resizing: mask_rule={settings.mask_rule}")

    def feature_settings(self) -> Mapping[str, Any]:
        """The blocks alone: other settings share features."""
        return {"feature_layers": list(self.layers)}

    @torch.no_grad()
    def encode(self, batch: Batch) -> Features:
        """image (B, E), unit length; block_L (B, T, D) for each layer L, standardised over the whole image."""
        streams = self.clip.image_blocks(self.clip.embed_image(batch.images), collect=self.layers)
        blocks = {f"block_{layer}": standardise(_precise(streams.blocks[layer][:, 1:])) for layer in self.layers}
        return {"image": F.normalize(_precise(self.clip.project(streams.tokens[:, 0])), dim=-1), **blocks}

    # The class as a whole

    def relate(
        self,
        class_name: str,
        chunks: Sequence[Chunk],
        *,
        strata: Sequence[str] | None = None,
        progress: Callable[[float], None] = lambda share: None,
    ) -> None:
        """Score the images by each other. Raises UserError for a subset too small, or unknown kinds of defects."""
        n_images, chosen = sum(len(paths) for _, paths in chunks), self.settings
        if self.divides_by_label and strata is None:
            raise UserError(
                "subsets are to hold an equal share of each kind of defect, which is not known here",
                where="method.divide_by=defect",
                hint="choose method.divide_by=none",
            )
        groups = strata if strata is not None and self.divides_by_label else [""] * n_images
        self.relate_subsets(class_name, chunks, divide(groups, chosen.divide_num, chosen.divide_seed), progress)

    @torch.no_grad()
    def relate_subsets(
        self,
        class_name: str,
        chunks: Sequence[Chunk],
        subsets: Sequence[Sequence[int]],
        progress: Callable[[float], None] = lambda share: None,
    ) -> None:
        """`relate` with given subsets: numbers of images in the order of `chunks`."""
        images = Images(chunks)
        self._check_sizes(class_name, subsets)
        total = sum(len(subset) * (len(subset) - 1) // 2 for subset in subsets) * len(self._levels)
        counter = _Counter(total, progress)
        device = self.clip.device
        patch_scores = torch.zeros(len(images.paths), self.clip.grid**2, dtype=torch.float64, device=device)
        # Rounding to half precision would make twins as different as defects.
        with torch.autocast(device.type, enabled=False):
            for subset in subsets:
                for _, _, scores in self.mutual_scores(images.only(subset), counter.add):
                    patch_scores[list(subset)] += scores / len(self._levels)
            maxima = [self.maps(part).flatten(1).amax(dim=1) for part in patch_scores.split(_AT_ONCE)]
            features = images.stack("image", range(len(images.paths)))
            scores = neighbour_means(torch.cat(maxima), features, self.settings.k_list)
        rows = {path: number for number, path in enumerate(images.paths)}
        self.memory_bank[class_name] = Related(rows, patch_scores, scores)

    @property
    def _levels(self) -> list[tuple[int, int]]:
        """All (r, layer)."""
        return [(r, layer) for layer in self.layers for r in dict.fromkeys(self.settings.r_list)]

    def mutual_scores(
        self, images: Images, advance: Callable[[int], None] = lambda pairs: None
    ) -> Iterator[tuple[int, int, Tensor]]:
        """r, layer and scores (n, T) of images by each other, for each r and layer."""
        low, high = bounds(self.settings.interval, len(images.paths) - 1)
        for r, layer in self._levels:
            with self.nearest_distances(images, r, layer, advance) as distances:
                yield r, layer, interval_means(distances, low, high, self.clip.device)

    def nearest_distances(
        self, images: Images, r: int, layer: int, advance: Callable[[int], None] = lambda pairs: None
    ) -> AbstractContextManager[Tensor]:
        """Distances (n, n, T) from each patch of an image to the nearest one of each other image."""
        load = partial(self.aggregated, images, r, layer)
        shape = (self.clip.grid**2, self.clip.vision_width)
        return nearest_distances(load, len(images.paths), shape, memory=self.settings.memory_mib << 20, advance=advance)

    def aggregated(self, images: Images, r: int, layer: int, numbers: Sequence[int]) -> Tensor:
        """Unit vectors (n, T, D) of the patches of some images with their r x r neighbours."""
        shape = (len(numbers), self.clip.grid**2, self.clip.vision_width)
        dtype = torch.promote_types(self.clip.dtype, torch.float32)
        vectors = torch.empty(shape, dtype=dtype, device=self.clip.device)
        for start in range(0, len(numbers), _AT_ONCE):
            part = numbers[start : start + _AT_ONCE]
            vectors[start : start + len(part)] = aggregate(images.stack(f"block_{layer}", part), self.clip.grid, r)
        return vectors

    def _check_sizes(self, class_name: str, subsets: Sequence[Sequence[int]]) -> None:
        chosen, n_images = self.settings, sum(map(len, subsets))
        others = min(map(len, subsets)) - 1
        low, high = bounds(chosen.interval, others)
        if not low < high <= others:
            raise UserError(
                f"{others + 1} images are too few to score each other: the interval {list(chosen.interval)} keeps none "
                f"of the distances to {others} others",
                where=f"class {class_name}, method.divide_num={chosen.divide_num}",
                hint="the default interval needs 5 images: give more of the class, divide it less, or widen interval",
            )
        if n_images < max(chosen.k_list):
            raise UserError(
                f"k_list names {max(chosen.k_list)} images, there are {n_images}",
                where=f"class {class_name}, method.k_list",
                hint="choose smaller numbers",
            )

    # One image of it

    def maps(self, patch_scores: Tensor) -> Tensor:
        """Anomaly maps (B, S, S) of patch scores (B, T)."""
        grids = patch_scores.unflatten(1, (1, self.clip.grid, self.clip.grid))
        return resize_bilinear(grids, self.map_size, align_corners=True)[:, 0]

    def score(self, features: Features, batch: Batch) -> Prediction:
        """What `relate` has found for these images. Raises UserError for an image that was not among those."""
        patch_scores, scores = [], []
        for class_name, path in zip(batch.class_names, batch.paths, strict=True):
            related = self.memory_bank.get(class_name)
            if related is None or path not in related.rows:
                raise UserError(
                    "musc scores the images of a class by each other, and this image is of no set that it knows",
                    where=f"class {class_name}: {path or 'an image'}",
                    hint="run `eval`, or give all images at once to Detector.predict",
                )
            patch_scores.append(related.patch_scores[related.rows[path]])
            scores.append(related.scores[related.rows[path]])
        return Prediction(torch.stack(scores), self.maps(torch.stack(patch_scores)).float())


class Images:
    """The images of several chunks, or some of them, by number."""

    def __init__(self, chunks: Sequence[Chunk], numbers: Sequence[int] | None = None) -> None:
        places = [(chunk, row) for chunk, (_, paths) in enumerate(chunks) for row in range(len(paths))]
        self._chunks = chunks
        self._places = places if numbers is None else [places[number] for number in numbers]
        self.paths = [chunks[chunk][1][row] for chunk, row in self._places]

    def only(self, numbers: Sequence[int]) -> Images:
        """Some of all images, in this order."""
        return Images(self._chunks, numbers)

    def stack(self, name: str, numbers: Sequence[int]) -> Tensor:
        """A feature of some images, (n, ...); each chunk is read once where its images are neighbours in the list."""
        rows, current, values = [], -1, torch.empty(0)
        for number in numbers:
            chunk, row = self._places[number]
            if chunk != current:
                current, values = chunk, self._chunks[chunk][0][name]
            rows.append(values[row])
        return torch.stack(rows)


class _Counter:
    """Tells the share of `total` that is done."""

    def __init__(self, total: int, progress: Callable[[float], None]) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def add(self, number: int) -> None:
        self._done += number
        self._progress(self._done / self._total)


def _precise(values: Tensor) -> Tensor:
    """Float32 at least, whatever autocast has left."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
