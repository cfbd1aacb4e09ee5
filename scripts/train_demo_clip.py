"""Pre-train the demo CLIP on the procedural world and export it.

    python scripts/train_demo_clip.py --minutes 40        # plus the rendering of the pool before it
    python scripts/train_demo_clip.py --smoke --out /tmp/smoke.safetensors

Three losses from the first step: CLIP's own on random captions; the pair term (class token against one normal and one
anomalous prompt of the same name); and a defect head on the patch tokens of two middle layers, thrown away afterwards,
which makes middle layers see defects without aligning patches with text. The schedule follows elapsed time / --minutes:
learning rate by a cosine, 64 px pictures for the first part, 96 px for the rest. --out is rewritten every few minutes.
"""

from __future__ import annotations

import argparse
import copy
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from torch import nn

from adbench.demo.synthetic import PRETRAINING_CLASSES, PRETRAINING_KINDS, WORLD_VERSION
from adbench.demo.synthetic.captions import caption, state_prompts, unseen_words, vocabulary
from adbench.demo.synthetic.frame import COLOURS
from demo_pretraining.export import build_model, load, save
from demo_pretraining.pool import PairBatch, Pool
from demo_pretraining.towers import DefectHead, text_forward, vision_forward

HEAD_LAYERS = (4, 6)
COVERED, MAX_TOKENS = 0.12, 32
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Settings:
    """What is exported with the weights, so that a run can be repeated."""

    minutes: float = 40.0
    seed: int = 0
    n_pairs: int = 36_000
    batch_pairs: int = 64
    rate: float = 1.5e-3
    weight_decay: float = 0.05
    warmup_steps: int = 100
    small_share: float = 0.6  # of the time at 64 px
    head_weight: float = 1.0
    kind_weight: float = 0.25
    pair_weight: float = 0.5
    threads: int = 2
    precision: str = "bf16"


class Captioner:
    """Text to token indices of the rows in use; index 0 is the zero row of all other tokens."""

    def __init__(self) -> None:
        self._tokenizer = open_clip.SimpleTokenizer()
        self._words: dict[str, list[int]] = {}
        start, end = self._tokenizer.sot_token_id, self._tokenizer.eot_token_id
        unseen = {t for word in unseen_words() for t in self._tokenizer.encode(word)}
        used = {t for phrase in vocabulary() for t in self._tokenizer.encode(phrase)}
        if used & unseen:
            raise ValueError(f"words of held-out names are in the captions: {self._tokenizer.decode(used & unseen)}")
        self.ids = [*sorted(used), start, end]
        self._index = {t: k for k, t in enumerate(self.ids, 1)}

    def __call__(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token indices (B, L) and positions of the end token (B,)."""
        start, end = len(self.ids) - 1, len(self.ids)
        lists = []
        for text in texts:
            body: list[int] = []
            for word in text.split():
                if word not in self._words:
                    self._words[word] = [self._index.get(t, 0) for t in self._tokenizer.encode(word)]
                body += self._words[word]
            lists.append([start, *body, end])
        longest = max(map(len, lists))
        if longest > MAX_TOKENS:
            raise ValueError(f"a caption has {longest} tokens, more than {MAX_TOKENS}")
        lengths = torch.tensor([len(tokens) - 1 for tokens in lists])
        return torch.tensor([tokens + [0] * (longest - len(tokens)) for tokens in lists]), lengths


class Student(nn.Module):
    """Everything learnable: the CLIP, its vocabulary rows and the throw-away heads."""

    def __init__(self, n_rows: int) -> None:
        super().__init__()
        self.clip = build_model()
        self.rows = nn.Parameter(torch.randn(n_rows, self.clip.token_embedding.embedding_dim) * 0.02)
        width = self.clip.visual.conv1.out_channels
        self.heads = nn.ModuleDict({str(k): DefectHead(width, len(PRETRAINING_KINDS)) for k in HEAD_LAYERS})
        self.clip.token_embedding.requires_grad_(False)


def head_loss(logits: torch.Tensor, cover: torch.Tensor, kinds: torch.Tensor, kind_weight: float) -> torch.Tensor:
    """Logits (2B, N, 1 + K), normals first; cover (B, N) of the defective half; kinds (B,).

    Defective and clean patches weigh equally; a patch touched by less than COVERED counts as neither.
    """
    share = torch.cat([torch.zeros_like(cover), cover])
    positive, negative = share > COVERED, share == 0
    defect = logits[..., 0]
    loss = 0.5 * (F.softplus(-defect[positive]).mean() + F.softplus(defect[negative]).mean())
    wanted = torch.cat([kinds, kinds])[:, None].expand(share.shape)[positive]
    return loss + kind_weight * F.cross_entropy(logits[..., 1:][positive], wanted)


class Trainer:
    """Masters in float32; the vision tower and the heads run in a copy of lower precision."""

    def __init__(self, settings: Settings, pool: Pool, start: Path | None) -> None:
        self.settings, self.pool, self.captioner = settings, pool, Captioner()
        self.rng = np.random.default_rng([settings.seed, 1])
        self.student = Student(len(self.captioner.ids))
        if start is not None:
            self._start_from(start)
        self.fast = copy.deepcopy(nn.ModuleDict({"visual": self.student.clip.visual, "heads": self.student.heads}))
        if settings.precision == "bf16":
            self.fast.bfloat16()
        masters = nn.ModuleDict({"visual": self.student.clip.visual, "heads": self.student.heads})
        self.pairs = [
            (m, f) for m, f in zip(masters.parameters(), self.fast.parameters(), strict=True) if m.requires_grad
        ]
        learnable = [p for p in self.student.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in learnable if p.ndim >= 2], "weight_decay": settings.weight_decay},
            {"params": [p for p in learnable if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.learnable = learnable
        self.optimizer = torch.optim.AdamW(groups, lr=settings.rate, betas=(0.9, 0.98), fused=True)
        self.steps = self.samples = 0

    def _start_from(self, path: Path) -> None:
        clip = load(path)
        with torch.no_grad():
            self.student.rows.copy_(clip.token_embedding.weight[self.captioner.ids])
        clip.token_embedding.weight.data.zero_()
        self.student.clip.load_state_dict(clip.state_dict())

    def _texts(self, batch: PairBatch) -> list[str]:
        """2B captions in the pictures' order, then B normal and B anomalous prompts."""
        colours = list(COLOURS)
        facts = [(PRETRAINING_CLASSES[c], PRETRAINING_KINDS[k], colours[h]) for c, k, h in batch.facts]
        normal = [caption(name, colour, None, self.rng) for name, _, colour in facts]
        anomalous = [caption(name, colour, kind, self.rng) for name, kind, colour in facts]
        prompts = [state_prompts(name, self.rng) for name, _, _ in facts]
        return normal + anomalous + [p[0] for p in prompts] + [p[1] for p in prompts]

    def losses(self, batch: PairBatch) -> dict[str, torch.Tensor]:
        """The three losses and, for the log, the share of pairs in the right order."""
        clip, b = self.student.clip, len(batch.facts)
        rows = torch.cat([torch.zeros_like(self.student.rows[:1]), self.student.rows])
        texts = F.normalize(text_forward(clip, rows, *self.captioner(self._texts(batch))), dim=-1)
        embedded, kept = vision_forward(self.fast["visual"], torch.from_numpy(batch.pictures), HEAD_LAYERS)
        images = F.normalize(embedded.float(), dim=-1)
        scale = clip.logit_scale.exp()
        logits, target = scale * images @ texts[: 2 * b].T, torch.arange(2 * b)
        contrast = 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))
        direction = texts[3 * b :] - texts[2 * b : 3 * b]  # (B, D) anomalous minus normal
        state = scale * (images.view(2, b, -1) * direction).sum(-1)  # (2, B)
        pair = 0.5 * (F.softplus(state[0]).mean() + F.softplus(-state[1]).mean())
        cover = torch.from_numpy(batch.cover).flatten(1).float() / 255
        kinds = torch.from_numpy(batch.facts[:, 1].astype(np.int64))
        heads = [
            head_loss(self.fast["heads"][str(k)](t), cover, kinds, self.settings.kind_weight) for k, t in kept.items()
        ]
        return {
            "clip": contrast,
            "pair": pair,
            "head": torch.stack(heads).mean(),
            "ordered": (state[1] > state[0]).float().mean().detach(),
            "right": 0.5 * ((state[1] > 0).float().mean() + (state[0] < 0).float().mean()).detach(),
        }

    def step(self, progress: float) -> dict[str, float]:
        """One update; ``progress`` is elapsed / budget in [0, 1]."""
        s = self.settings
        rate = (
            s.rate
            * min(1.0, (self.steps + 1) / s.warmup_steps)
            * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        losses = self.losses(self.pool.draw(s.batch_pairs, small=progress < s.small_share))
        self.optimizer.zero_grad()
        (losses["clip"] + s.pair_weight * losses["pair"] + s.head_weight * losses["head"]).backward()
        for master, fast in self.pairs:
            master.grad = fast.grad.float()
            fast.grad = None
        nn.utils.clip_grad_norm_(self.learnable, 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.student.clip.logit_scale.clamp_(0, math.log(100))
            torch._foreach_copy_([f for _, f in self.pairs], [m for m, _ in self.pairs])
        self.steps += 1
        self.samples += 2 * s.batch_pairs
        return {k: float(v.detach()) for k, v in losses.items()}

    def export(self, out: Path, progress: float) -> None:
        """Write what has been learnt so far."""
        facts = {**vars(self.settings), "world_version": WORLD_VERSION, "steps": self.steps, "samples": self.samples}
        facts["finished_share"] = round(progress, 3)
        save(out, self.student.clip, self.captioner.ids, self.student.rows, facts)


def train(settings: Settings, out: Path, pool: Pool, start: Path | None, max_steps: int | None) -> None:
    """Run until the time is over (or ``max_steps``), logging every 50 steps, exporting every 4 minutes."""
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    trainer = Trainer(settings, pool, start)
    began = exported = logged = time.monotonic()
    sums: dict[str, float] = {}
    while max_steps is None or trainer.steps < max_steps:
        progress = (time.monotonic() - began) / (60 * settings.minutes)
        if progress >= 1:
            break
        for key, value in trainer.step(progress).items():
            sums[key] = sums.get(key, 0.0) + value
        if trainer.steps % 50 == 0:
            now = time.monotonic()
            figures = " ".join(f"{k} {v / 50:.3f}" for k, v in sums.items())
            speed = 50 * 2 * settings.batch_pairs / (now - logged)
            scale = trainer.student.clip.logit_scale.exp().item()
            print(
                f"step {trainer.steps} at {progress:.1%}: {figures} scale {scale:.1f}, {speed:.0f} samples/s",
                flush=True,
            )
            sums, logged = {}, now
        if time.monotonic() - exported > 240:
            trainer.export(out, progress)
            exported = time.monotonic()
    trainer.export(out, 1.0)
    print(f"wrote {out} after {trainer.steps} steps, {trainer.samples} samples", flush=True)


def main() -> None:
    """Command line."""
    default = Settings()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=default.minutes, help="training time (default %(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "src/adbench/demo/demo_clip.safetensors")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--pairs", type=int, default=default.n_pairs, help="rendered pairs (default %(default)s)")
    parser.add_argument(
        "--pool", type=Path, help="folder of the rendered pool; kept and used again (default: temporary)"
    )
    parser.add_argument("--start", type=Path, help="an exported file to continue from (heads start anew)")
    parser.add_argument("--rate", type=float, default=default.rate, help="highest learning rate (default %(default)s)")
    parser.add_argument("--small-share", type=float, default=default.small_share, help="part of the time at 64 px")
    parser.add_argument("--threads", type=int, default=default.threads)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default=default.precision)
    parser.add_argument("--smoke", action="store_true", help="a few steps on a few pictures")
    a = parser.parse_args()
    shape = {"n_pairs": 16, "batch_pairs": 4} if a.smoke else {"n_pairs": a.pairs}
    settings = Settings(
        minutes=a.minutes,
        seed=a.seed,
        rate=a.rate,
        small_share=a.small_share,
        threads=a.threads,
        precision=a.precision,
        **shape,
    )
    with tempfile.TemporaryDirectory(prefix="adbench-pool-") as temporary:
        folder = a.pool or Path(temporary)
        if not (folder / "complete").exists():
            folder.mkdir(parents=True, exist_ok=True)
            Pool.render(folder, settings.n_pairs, settings.seed, 1 if a.smoke else a.threads)
            (folder / "complete").touch()
        train(settings, a.out, Pool(folder, settings.seed), a.start, 3 if a.smoke else None)


if __name__ == "__main__":
    main()
