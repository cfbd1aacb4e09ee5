"""`adbench export`: a detector of one class as an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence

from adbench.cli import detectors
from adbench.cli.overrides import Overrides
from adbench.errors import UserError
from adbench.typed import expanded

SUMMARY = "write a detector of one class as ONNX: picture in, score and map out"

HELP = f"""\
usage  python -m adbench export checkpoint=RUN class_name=NAME out=model.onnx [support.path=NORMALS] [input=PICTURES]

Writes model.onnx and the model card model.json. The model takes `image`, uint8 RGB (batch, S, S, 3), resized as the
card says and not normalised, and gives `score` (batch) and `map` (batch, M, M), float32. Normalisation, text features,
prompts and the memory of support pictures are constants in it. onnxruntime must give PyTorch's scores and maps within
0.0001, picture by picture and together, before the file is kept. Needs the extra: pip install 'adbench-clip[export]'.
Not exported: methods that score the pictures of a class together; VL4AD, whose windows follow the proportions of each
picture; AdaCLIP with k-means (add method.use_hsf=false: the same maps, other scores).

{detectors.HELP}
what comes out
  out=FILE.onnx             the model; its card lies beside it
  input=PICTURES            pictures to compare on, instead of three that adbench ships

examples
  python -m adbench export checkpoint=latest class_name=gear out=gear.onnx
  python -m adbench export method=winclip clip=demo class_name=gear support.path=normal out=gear.onnx
"""


def run(argv: Sequence[str]) -> int:
    """Run `adbench export` with these words."""
    overrides = Overrides("export", argv)
    overrides.only(*detectors.KEYS, "out", "input")
    if "out" not in overrides:
        raise UserError("export needs a file to write", hint="add out=model.onnx")
    if "device" not in overrides:
        overrides = Overrides("export", [*argv, "device=cpu"])
    from adbench.api.export import check_exportable, export_onnx
    from adbench.engine.progress import make_reporter
    from adbench.methods import method_class

    reporter, class_name = make_reporter(), detectors.class_name_of(overrides)
    try:
        detector = detectors.open_detector(overrides, check=check_exportable)
    except UserError:
        if overrides.method is not None:  # what cannot be exported is said before weights are asked for
            check_exportable(method_class(overrides.method), {})
        raise
    detectors.say_detector(detector, class_name, reporter)
    card = export_onnx(
        detector,
        expanded(str(overrides.get("out"))),
        class_name=class_name,
        support=detectors.support_pictures(overrides, detector, class_name),
        pictures=detectors.named_input(overrides).paths if "input" in overrides else None,
    )
    compared = card["compared_with_pytorch"]
    differences = ", ".join(f"{name} {value:.1g}" for name, value in compared["largest_difference"].items())
    reporter.say(f"compared     on {compared['pictures']} pictures, largest difference from PyTorch: {differences}")
    print(overrides.get("out"))
    return 0
