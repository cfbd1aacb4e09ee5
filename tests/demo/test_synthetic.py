"""The procedural world, the rendered demo data set, and the pre-training script on a few pictures."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.demo.pictures import AUXILIARY_DIR, DemoCounts, is_rendered, render_demo
from adbench.demo.synthetic import (
    AUXILIARY_CLASSES,
    CLASSES,
    DEFECT_KINDS,
    HELD_OUT_CLASSES,
    HELD_OUT_KINDS,
    PRETRAINING_CLASSES,
    PRETRAINING_KINDS,
    render,
    render_pair,
)
from adbench.demo.synthetic.captions import caption, state_prompts
from adbench.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
TINY = DemoCounts(train=1, normal=1, defective=10, auxiliary_normal=1, auxiliary_defective=8)


def _digest() -> str:
    pictures = [render(name, seed=7, defect=DEFECT_KINDS[k % 10], size=48)[0] for k, name in enumerate(CLASSES)]
    return hashlib.sha256(b"".join(p.tobytes() for p in pictures)).hexdigest()


def test_same_seed_same_picture_also_in_another_process():
    code = "import sys; sys.path.insert(0, sys.argv[1]); from test_synthetic import _digest; print(_digest())"
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    other = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert other == _digest()


def test_other_seed_other_picture():
    assert (render("tile", 1)[0] != render("tile", 2)[0]).mean() > 0.5


@pytest.mark.parametrize("kind", DEFECT_KINDS)
def test_a_pair_differs_only_where_the_mask_says(kind):
    for name in ("granite", "stripes", "button", "screw", *HELD_OUT_CLASSES[:2]):
        for seed in range(3):
            pair = render_pair(name, seed, kind)
            inside, outside = pair.mask, ~pair.mask
            change = np.abs(pair.defective.astype(int) - pair.normal).mean(-1)

            assert change[outside].max() == 0
            assert 20 <= inside.sum() <= inside.size / 3
            assert change[inside].mean() > 15  # of 255: a person sees it


def test_render_gives_either_side_of_the_pair():
    pair = render_pair("coin", 4, "crack")

    assert np.array_equal(render("coin", 4)[0], pair.normal)
    assert not render("coin", 4)[1].any()
    assert np.array_equal(render("coin", 4, "crack")[0], pair.defective)
    assert np.array_equal(render("coin", 4, "crack")[1], pair.mask)


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_is_drawn_at_any_size(name):
    for size in (48, 96):
        image, mask = render(name, 3, size=size)

        assert (image.shape, image.dtype) == ((size, size, 3), np.uint8)
        assert (mask.shape, mask.dtype) == ((size, size), np.bool_)
        assert image.std() > 4


def test_what_is_held_out_is_in_no_pretraining_list():
    assert not set(HELD_OUT_CLASSES) & set(PRETRAINING_CLASSES)
    assert not set(HELD_OUT_KINDS) & set(PRETRAINING_KINDS)
    assert set(AUXILIARY_CLASSES) <= set(PRETRAINING_CLASSES)
    assert set(HELD_OUT_CLASSES) | set(PRETRAINING_CLASSES) == set(CLASSES)


def test_the_pretraining_sampler_draws_nothing_held_out(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from demo_pretraining.pool import draw_pair

    drawn = [draw_pair(index, seed=0) for index in range(500)]

    assert {name for name, _ in drawn} <= set(PRETRAINING_CLASSES)
    assert {kind for _, kind in drawn} == set(PRETRAINING_KINDS)


def test_captions_tell_the_state():
    rng = np.random.default_rng(0)
    captions = [caption("coin", "red", "crack", rng) for _ in range(200)]
    normal, anomalous = state_prompts("coin", rng)

    assert sum("crack" in c or "damage" in c or "defect" in c for c in captions) > 60
    assert any("{" in c for c in captions) is False
    assert normal != anomalous


def test_render_demo_writes_the_mvtec_layout(tmp_path):
    seen = []
    render_demo(tmp_path / "demo", lambda done, total: seen.append((done, total)), counts=TINY)
    root = tmp_path / "demo"

    assert seen[-1] == (len(HELD_OUT_CLASSES) + len(AUXILIARY_CLASSES),) * 2
    assert {p.name for p in root.iterdir()} == {*HELD_OUT_CLASSES, AUXILIARY_DIR, "demo.json"}
    assert {p.name for p in (root / "gear" / "test").iterdir()} == {"good", *DEFECT_KINDS}
    assert {p.name for p in (root / "gear" / "train").iterdir()} == {"good"}
    assert {p.name for p in (root / AUXILIARY_DIR).iterdir()} == set(AUXILIARY_CLASSES)
    assert {p.name for p in (root / AUXILIARY_DIR / "coin" / "test").iterdir()} == {"good", *PRETRAINING_KINDS}
    mask = np.asarray(Image.open(root / "gear" / "ground_truth" / "thread" / "000_mask.png"))
    assert mask.shape == (96, 96)
    assert set(np.unique(mask)) == {0, 255}
    assert not list(tmp_path.glob(".*"))


def test_render_demo_keeps_what_is_current_and_replaces_what_is_stale(tmp_path):
    root = tmp_path / "demo"
    root.mkdir()
    (root / "demo.json").write_text(json.dumps({"world_version": 0}))
    (root / "old.png").touch()
    render_demo(root, counts=TINY)
    assert is_rendered(root, TINY)
    assert not (root / "old.png").exists()

    (root / "mark").touch()
    render_demo(root, counts=TINY)
    assert (root / "mark").exists()


def test_render_demo_refuses_a_foreign_folder(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(UserError, match="not a rendered demo"):
        render_demo(tmp_path, counts=TINY)
    assert (tmp_path / "holiday.jpg").exists()


@pytest.mark.slow
def test_the_training_script_exports_a_file_that_loads_back(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from demo_pretraining.export import load

    out = tmp_path / "demo.safetensors"
    command = [sys.executable, str(ROOT / "scripts" / "train_demo_clip.py"), "--smoke", "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    clip = load(out)

    assert out.stat().st_size < 8e6
    assert clip.visual.image_size == (96, 96)
    table = clip.token_embedding.weight
    assert 50 < int((table != 0).any(1).sum()) < 400
