"""Train and evaluate tiny methods on the ranks that torchrun has started (run by test_ranks.py, and by one process).

usage: torchrun --nproc-per-node N -m engine.ranks_job DATA_DIR OUT_DIR

OUT_DIR/NAME/weights.safetensors   of each trained method, in float64
OUT_DIR/rows.json                  of each evaluation
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from adbench import methods
from adbench.data.support import SupportSet
from adbench.engine import ranks
from adbench.engine.evaluate import evaluate
from adbench.engine.run_folder import RunFolder
from adbench.engine.settings import EvalData, EvalSettings, OptimizerSpec, TrainData, TrainSettings
from adbench.engine.train import train
from adbench.report.heatmaps import paint
from engine.tiny_engine import build_method, write_dataset
from tiny import make_tiny_clip

CPU = torch.device("cpu")
TOKENS = {"deep_depth": 3, "dpam_layer": 3, "deep_token_half_cast": False}
TRAINED = {
    "adaclip": ({"prompting_depth": 3, "prompting_length": 3, "k_clusters": 2}, {}),
    "anomalyclip": (TOKENS | {"n_ctx": 4, "features_list": [3, 4]}, {}),
    "faprompt": (TOKENS | {"num_abnormal_prompts": 3, "num_prior_patches": 3}, {}),
    "inctrl": ({"out_layers": [2, 3]}, {"shots": 2, "sampler": "balanced", "steps_per_epoch": 3}),
}


def trained(name, samples, out):
    """The weights of a method after an epoch of batches of 5, the last one smaller."""
    hyperparameters, settings = TRAINED[name]
    clip = make_tiny_clip()
    clip.to(torch.float64)
    torch.manual_seed(3)
    method = methods.build(name, clip, **hyperparameters).to(torch.float64)
    optimizer = OptimizerSpec(name="sgd", lr=0.05, clip_norm=1.0)
    chosen = TrainSettings(**{"epochs": 1, "batch_size": 5, "optimizer": optimizer, "cache": "off"} | settings)
    with ranks.claimed(RunFolder.claim("train", name, "tiny", out=out / name)) as run:
        train(method, [TrainData(name="tiny", samples=samples)], chosen, run, device=CPU)


def evaluations(samples, normal, out):
    """Rows of a method without support, and of one with it."""
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
    cases = {
        "tiny": (build_method(), {}),
        "in_order": (build_method(noise=0.5), {}),
        "winclip": (methods.build("winclip", make_tiny_clip()), {(2, 0): sets}),
    }
    for name, (method, supports) in cases.items():
        data = EvalData(name="tiny", samples=samples, supports=supports)
        scores = []
        with ranks.claimed(RunFolder.claim("eval", name, "tiny", out=out / f"eval_{name}")) as run:
            rows = evaluate(method, data, settings, device=CPU, run=run, painter=paint, scores=scores)
        yield name, {"rows": rows, "scores": scores}


def main(data_dir, out):
    with ranks.joined(CPU):
        with ranks.first_alone():
            # Anomalous images with and without masks, so that ranks hold none, some or only such as are annotated.
            samples = write_dataset(data_dir / "a", n_normal=5, n_anomalous=4)
            samples += write_dataset(data_dir / "b", name="bare", n_normal=3, n_anomalous=2, masks=False, seed=1)
            normal = write_dataset(data_dir / "c", n_normal=3, n_anomalous=0, seed=2)
        for name in TRAINED:
            trained(name, samples, out)
        found = dict(evaluations(samples[:18], normal, out))
        if ranks.is_first():
            (out / "rows.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
