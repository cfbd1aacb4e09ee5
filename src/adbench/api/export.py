"""A detector of one class as an ONNX file, which needs neither torch nor adbench: picture in, score and map out.

MODEL.onnx   input `image` (batch, S, S, 3) uint8, RGB, resized as the method does; outputs `score` (batch,) and `map`
             (batch, M, M) float32. Normalisation, text features, prompts and memory are constants in it
MODEL.json   the model card: preprocessing, threshold, words, hashes, licences, versions, how near it is to PyTorch
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from adbench.api.contents import Picture, support_sha256
from adbench.api.pictures import prepare
from adbench.atomic import replacing, write_json
from adbench.data.sample import Batch
from adbench.engine.borrowed import borrowed
from adbench.engine.provenance import versions
from adbench.engine.weights import file_sha256, hyperparameters
from adbench.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from adbench.api.detector import Detector
    from adbench.methods import Method

TOLERANCE = 1e-4
"""By how much scores and maps of the file may differ from PyTorch's."""
_TOOLS = ("onnx", "onnxscript", "onnxruntime")
_LAYOUT = "RGB, rows from the top; resized as `preprocessing` says, not normalised"
_LICENCES = (
    "backbone: its weights come under the licence of whoever published them",
    "method: trained weights come under the licence of their code and of the data they were trained on, which may "
    "forbid commercial use",
    "adbench: Apache-2.0",
)


class _Graph(nn.Module):
    """uint8 pictures (B, S, S, 3) of one class -> score (B,), and map (B, M, M) where the method gives one."""

    mean: Tensor
    std: Tensor

    def __init__(self, method: Method, class_name: str) -> None:
        super().__init__()
        self.method, self.clip, self.class_name = method, method.clip, class_name
        for name, values in _normalisation(method).items():
            self.register_buffer(name, values)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        pixels = ((image.float() / 255 - self.mean) / self.std).permute(0, 3, 1, 2)  # (B, 3, S, S)
        # One name stands for all pictures: how many there are is not known yet.
        batch = Batch(pixels.contiguous(), torch.full((1,), -1), [self.class_name], [""], "")
        prediction = self.method.predict(batch)
        maps = prediction.maps
        assert maps is None or isinstance(maps, Tensor)  # lists are for pictures of several sizes
        score = maps.flatten(1).amax(dim=1) if prediction.scores is None and maps is not None else prediction.scores
        outputs = {"score": score, "map": maps}
        return {name: values for name, values in outputs.items() if values is not None}


def check_exportable(method: type[Method], hyperparameters: Mapping[str, Any]) -> None:
    """Raise UserError where a method cannot be exported (why), or the packages are missing that it takes."""
    method.require_graph({**method.hyperparameter_defaults(), **hyperparameters})
    if missing := [name for name in _TOOLS if importlib.util.find_spec(name) is None]:
        raise UserError(f"export needs {', '.join(missing)}", hint="pip install 'adbench-clip[export]'")


def export_onnx(
    detector: Detector,
    path: str | Path,
    *,
    class_name: str = "object",
    support: Sequence[Picture] | None = None,
    pictures: Sequence[Picture] | None = None,
) -> dict[str, Any]:
    """Write a detector of one class as ONNX with a model card (.json) beside it, and return the card.

    support   normal pictures of the class, for methods that compare with such: they become constants
    pictures  on which the file is compared with PyTorch, alone and together; None: a few that adbench ships
    Raises UserError for what cannot be exported (why), and where the file's scores or maps would differ by more than
    `TOLERANCE`: nothing is written then.
    """
    method, path = detector.method, Path(path).expanduser()
    check_exportable(type(method), hyperparameters(method))
    if detector.device.type != "cpu":
        raise UserError(f"the detector is on {detector.device}", hint="export it from the CPU: device=cpu")
    if method.clip.blocks_dtype != torch.float32:
        what = f"the backbone is held in {str(method.clip.blocks_dtype)[6:]}, a file in float32 has other scores"
        raise UserError(what, where="clip.dtype", hint="export it with clip.dtype=float32")
    if path.suffix != ".onnx":
        raise UserError("the file's name does not end in .onnx", where=str(path), hint="out=model.onnx")
    card_path = path.with_suffix(".json")
    if card_path.exists() and not path.exists():  # as weights.json of a run
        what = "there is a file already where the model card would be"
        raise UserError(what, where=str(card_path), hint="give another name: out=model.onnx")
    threshold = detector.threshold(class_name, support)
    images = _as_seen(method, pictures or _shipped())
    with borrowed(method), torch.no_grad(), replacing(path) as temporary:
        method.memory_bank = detector._memory_bank(class_name, support)
        graph = _Graph(method, class_name).eval()
        expected = [graph(part) for part in _batches(images)]  # fills what methods compute once, too
        opset = _write(graph, images, temporary)
        difference = _difference(temporary, images, expected, path)
    card = {
        "model": path.name,
        "model_sha256": file_sha256(path),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "class_name": class_name,
        "prompt_words": method.prompt_words(class_name),
        "input": {"name": "image", "dtype": "uint8", "shape": ["batch", *images.shape[1:]], "layout": _LAYOUT},
        "preprocessing": method.transform.describe(),
        "outputs": {name: {"dtype": "float32", "shape": ["batch", *v.shape[1:]]} for name, v in expected[0].items()},
        "threshold": threshold,
        "threshold_details": None if threshold is None else asdict(detector.thresholds[class_name]),
        "verdict": "anomalous where the score is strictly above the threshold",
        "detector": detector.identity,
        "support": {"n": len(support or ()), "sha256": support_sha256(support)},
        "compared_with_pytorch": {"pictures": len(images), "largest_difference": difference, "tolerance": TOLERANCE},
        "opset": opset,
        "versions": versions() | {name: metadata.version(name) for name in _TOOLS},
        "licences": list(_LICENCES),
    }
    write_json(card_path, card)
    return card


def _shipped() -> list[Path]:
    from adbench.api.dataset import open_dataset

    return [sample.path for sample in open_dataset("piped_mini").test[:3]]


def _as_seen(method: Method, pictures: Sequence[Picture]) -> Tensor:
    """Pictures as the graph takes them, (n, S, S, 3) uint8: resized and cropped by the method, not yet normalised."""
    pixels = torch.stack([prepare(picture, method.transform).pixels for picture in pictures]).permute(0, 2, 3, 1)
    facts = _normalisation(method)
    values = (pixels * facts["std"] + facts["mean"]) * 255
    if (values - values.round()).abs().max() > 0.02:
        what = "its preprocessing gives no picture of 8 bits, which the graph takes"
        raise UserError(what, where=f"method {method.name}")
    return values.round().to(torch.uint8)


def _normalisation(method: Method) -> dict[str, Tensor]:
    """Mean and standard deviation (3,) of the channels in [0, 1], as the method's preprocessing takes them."""
    facts = method.transform.describe()
    return {name: torch.tensor(facts.get(name, getattr(method.clip, name))) for name in ("mean", "std")}


def _batches(images: Tensor) -> list[Tensor]:
    """Each picture alone, and all of them together."""
    return [*images.split(1), images]


def _write(graph: nn.Module, images: Tensor, path: Path) -> int:
    """Write the graph with a batch of any size; returns its opset."""
    from onnx_ir.passes.common import NameFixPass

    example = torch.cat([images, images])[:2]  # of a batch of 1 torch would think that it is always 1
    sizes = {"image": {0: torch.export.Dim("batch")}}
    with _quiet():
        try:
            program = torch.export.export(graph, (example,), dynamic_shapes=sizes)
            onnx = torch.onnx.export(program, dynamo=True, verbose=False, optimize=False, input_names=["image"])
        except (RuntimeError, torch.onnx.OnnxExporterError) as error:  # what torch.export and the exporter raise
            what = f"torch cannot write the predictions as a graph: {_reason(error)}"
            raise UserError(what, where="export") from error
        assert onnx is not None
        for value, name in zip(onnx.model.graph.outputs, graph(example), strict=True):
            value.name = name
        # The exporter names a buffer `mean` and the result of a mean alike, over which its own optimiser stumbles.
        NameFixPass()(onnx.model)
        onnx.optimize()
    n_bytes = sum(value.const_value.nbytes for value in onnx.model.graph.initializers.values() if value.const_value)
    if n_bytes >= 2**31 - 2**20:
        raise UserError(f"the model has {n_bytes / 2**30:.1f} GiB", where="export", hint="ONNX files hold up to 2 GiB")
    onnx.save(path, external_data=False)
    return int(onnx.model.opset_imports[""])


def _reason(error: BaseException) -> str:
    """The first line of what an exporter's error was caused by."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter logs of each operator."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _difference(file: Path, images: Tensor, expected: Sequence[dict[str, Tensor]], path: Path) -> dict[str, float]:
    """The largest difference between the file's outputs and those of PyTorch, by output.

    Raises UserError where one is above the tolerance or NaN: the file must not come to `path`.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    largest = dict.fromkeys(expected[0], 0.0)
    for part, values in zip(_batches(images), expected, strict=True):
        theirs: list[NDArray[np.float32]] = session.run(list(largest), {"image": part.numpy()})
        for name, ours in zip(largest, theirs, strict=True):
            largest[name] = float(np.maximum(largest[name], np.abs(ours - values[name].numpy()).max()))
    if not max(largest.values()) <= TOLERANCE:
        shown = ", ".join(f"{name} {value:.2g}" for name, value in largest.items())
        raise UserError(f"the graph differs from PyTorch by more than {TOLERANCE}: {shown}", where=str(path))
    return largest
