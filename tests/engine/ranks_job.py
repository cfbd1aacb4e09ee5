"""Train and evaluate tiny methods on the ranks that torchrun has started (run by test_ranks.py, and by one process).

usage: torchrun --nproc-per-node N -m engine.ranks_job DATA_DIR OUT_DIR

OUT_DIR/NAME/weights.safetensors   of each trained method, in float64 where it can
OUT_DIR/rows.json                  of each evaluation
OUT_DIR/predict, winclip, ...      what `predict` and `calibrate` leave, with what they say
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from adbench import methods
from adbench.cli.main import main as adbench
from adbench.data.support import SupportSet
from adbench.engine import ranks
from adbench.engine.evaluate import evaluate
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings, OptimizerSpec, TrainData, TrainSettings
from adbench.engine.train import train
from adbench.report.heatmaps import paint
from cli.few_pictures import picture
from engine.test_class_results import Fitting
from engine.test_road import ROAD, SceneMethod, scenes
from engine.test_transductive import Ranked
from engine.tiny_engine import build_method, fake_clip, write_dataset
from small_methods import TRAINED, small_settings
from tiny import make_tiny_clip, make_tiny_convnext
from tiny_vl4ad import make_vl4ad

CPU = torch.device("cpu")
# Some draw, some round: dropout shows that what is drawn goes by image, float64 that sums are the same.
DRAWN = {"dropout": 0.3, "gaussian_sigma": 0.0, "deep_token_half_cast": False}
IN_CONTEXT = {"shots": 2, "sampler": "balanced", "steps_per_epoch": 3}
# Features kept from the first epoch on, and weights chosen by validation: by what all ranks have together.
SELECTED = {
    "anomalyclip": {"cache": "ram", "epochs": 2, "select": "best_on_test", "select_metric": "image_auroc"},
    "faprompt": {"cache": "disk", "epochs": 2},
}


def trained(name, samples, out, validation=(), **more):
    """The weights of a method after an epoch of batches of 5, the last one smaller."""
    clip = make_tiny_convnext() if name == "vl4ad" else make_tiny_clip()
    settings = IN_CONTEXT if methods.method_class(name).in_context else {}
    precision = torch.float32 if name == "vl4ad" else torch.float64  # the library's loss knows no other
    clip.to(precision)
    torch.manual_seed(3)
    if name == "vl4ad":
        method = make_vl4ad(clip, short_side=48, crop=[48, 64])
    else:
        method = methods.build(name, clip, **small_settings(name, **DRAWN))
    method.to(precision)
    optimizer = OptimizerSpec(name="sgd", lr=0.05, clip_norm=1.0)
    settings = {"epochs": 1, "batch_size": 5, "optimizer": optimizer, "cache": "off"} | settings | more
    chosen = TrainSettings(**settings, cache_dir=str(out / "cache"))
    data = TrainData(name="tiny", samples=samples, supervision=method.supervision)
    with ranks.claimed(RunFolder.claim("train", name, "tiny", out=out / name)) as run:
        train(method, [data], chosen, run, device=CPU, validation=validation)


def evaluations(samples, normal, road, out):
    """Rows of methods that score image by image, with support, fitted, of classes as a whole, and of roads."""
    settings = EvalSettings(batch_size=3, heat_maps=2, maps=True)
    sets = {
        name: SupportSet(
            dataset="tiny",
            class_name=name,
            k=2,
            source="seeded",
            seed=0,
            names=tuple(s.key for s in normal if s.class_name == name)[:2],
            pool_size=4,
            pool_sha256="",
            flags={},
            samples=tuple(s for s in normal if s.class_name == name)[:2],
        )
        for name in ("dots", "lines")
    }
    data = EvalData(name="tiny", samples=samples)
    drawn = replace(data, supports={(2, 0): sets, (2, 1): sets})
    roads = EvalData(name="tiny", samples=road, metric_set=ROAD)
    cases = {
        "tiny": (by_image(), data),
        "in_order": (build_method(noise=0.5), data),
        "winclip": (methods.build("winclip", make_tiny_clip()), drawn),
        "fitting": (Fitting(fake_clip()), drawn),
        "chosen_on_test": (Fitting(fake_clip(), select="best_on_test"), drawn),
        "transductive": (Ranked(fake_clip()), data),
        "roads": (SceneMethod(fake_clip()), roads),
    }
    for name, (method, data) in cases.items():
        scores = []
        with ranks.claimed(RunFolder.claim("eval", name, "tiny", out=out / f"eval_{name}")) as run:
            rows = evaluate(method, data, settings, device=CPU, run=run, painter=paint, scores=scores)
        yield name, {"rows": rows, "scores": scores}


def by_image():
    """A method whose images ranks share out: it draws nothing."""
    method = build_method()
    method.random_state = None
    method._logits = lambda features: method.head(features["patches"].movedim(1, -1)).squeeze(-1)
    return method


def predictions(out):
    """`predict` from the start, again behind half of the rows, as lines of JSON; `calibrate`; what is refused."""
    with ranks.first_alone():
        for folder, first, n in (("in", 0, 9), ("normal", 100, 29), ("support", 200, 2)):
            Path(folder).mkdir(exist_ok=True)
            for number in range(n):
                picture(first + number, spot=folder == "in")[0].save(f"{folder}/{number:02d}.png")
        for number in (3, 5):
            Path(f"in/{number:02d}.png").write_bytes(b"broken")
    zero_shot = ["predict", "method=clip_zeroshot", "clip=demo", "device=cpu", "input=in", "batch_size=2"]
    to_folder = [*zero_shot, "threshold=0.5", "maps=npy", "overlays=true", f"out={out / 'predict'}"]
    few_shot = ["method=winclip", "clip=demo", "device=cpu", "support.path=support", f"thresholds={out / 'winclip'}"]
    status = [adbench(to_folder)]
    table = out / "predict" / "predictions.csv"
    if ranks.is_first():
        table.rename(out / "first.csv")
        table.write_bytes((out / "first.csv").read_bytes()[:170])
    ranks.barrier()
    status += [adbench(to_folder), adbench([*zero_shot, "format=jsonl"])]
    status += [adbench(["calibrate", *few_shot, "input=normal", "fpr=0.1"])]
    status += [adbench(["predict", *few_shot, "input=in", f"out={out / 'few_shot'}"])]
    if ranks.count() > 1:
        assert adbench(["predict", "method=musc", "clip=demo", "device=cpu", "input=in", "out=refused"]) == 2
    assert status == ([1, 1, 1, 0, 1] if ranks.is_first() else [0] * 5)


def main(data_dir, out):
    with ranks.joined(CPU):
        with ranks.first_alone():
            # Anomalous images with and without masks, so that ranks hold none, some or only such as are annotated.
            samples = write_dataset(data_dir / "a", n_normal=5, n_anomalous=4)
            samples += write_dataset(data_dir / "b", name="bare", n_normal=3, n_anomalous=2, masks=False, seed=1)
            normal = write_dataset(data_dir / "c", n_normal=3, n_anomalous=0, seed=2)
            road = scenes(data_dir / "d")
        for name in [*TRAINED, "vl4ad"]:
            trained(name, road if name == "vl4ad" else samples, out)
        for name, settings in SELECTED.items():
            trained(name, samples, out / "selected", [EvalData(name="v", samples=samples[:18])], **settings)
        found = dict(evaluations(samples[:18], normal, road, out))
        if ranks.is_first():
            (out / "rows.json").write_text(json.dumps(found))
        with contextlib.chdir(data_dir), contextlib.ExitStack() as stack:
            for name, redirect in (("out", contextlib.redirect_stdout), ("said", contextlib.redirect_stderr)):
                stack.enter_context(redirect(stack.enter_context((out / f"{name}{ranks.rank()}").open("w"))))
            predictions(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
