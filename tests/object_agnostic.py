"""AnomalyCLIP and FAPrompt a second time, word for word from their specifications: one image and one sentence at a
time, all 77 positions, open_clip's own blocks. Slow and plain on purpose: the tests compare the methods with it."""

from __future__ import annotations

import math
from itertools import combinations

import torch
import torch.nn.functional as F

START, END, FULL_STOP, OBJECT, DAMAGED = 49406, 49407, 269, 14115, 13568


def text_feature(clip, ids, learned, deep, half_cast):
    """Feature (C,) of token ids with `learned` (position -> vector) in place, `deep` tables written over 1...n."""
    model = clip.model
    ids = ids + [0] * (77 - len(ids))
    x = model.token_embedding(torch.tensor(ids)).clone()
    for position, vector in learned.items():
        x = torch.cat([x[:position], vector[None], x[position + 1 :]])
    x = x + model.positional_embedding
    mask = torch.full((77, 77), -math.inf).triu(1)
    for number, block in enumerate(model.transformer.resblocks, start=1):
        if 2 <= number <= len(deep) + 1:
            table = deep[number - 2]
            table = table.half().float() if half_cast else table
            x = torch.cat([x[:1], table, x[1 + len(table) :]])
        x = block(x[None], attn_mask=mask)[0]
    return model.ln_final(x)[ids.index(END)] @ model.text_projection


def move_deep_tokens_beyond_half_precision(*methods):
    """fp16 holds multiples of 4 near 4096: rounding there wipes the tokens out, unlike any kernel."""
    with torch.no_grad():
        for method in methods:
            for name, table in method.learnable_parameters().items():
                if "compound_prompts_text" in name:
                    table.add_(4096)


def visual(clip, image, *, dpam_layer, layers, cls_ln_post=False):
    """Unit image feature (C,) and, per layer, unit patch features (N, C) of one image (3, S, S)."""
    tower = clip.model.visual
    x = tower.conv1(image[None]).flatten(2).transpose(1, 2)[0]
    side = math.isqrt(len(x))
    positions = tower.positional_embedding
    if side * side + 1 != len(positions):
        native = math.isqrt(len(positions) - 1)
        table = positions[1:].T.reshape(1, -1, native, native)
        table = F.interpolate(table, (side, side), mode="bilinear", align_corners=False)
        positions = torch.cat([positions[:1], table[0].flatten(1).T])
    x = tower.ln_pre(torch.cat([tower.class_embedding[None], x]) + positions)
    blocks = tower.transformer.resblocks
    vv, patches = None, {}
    for number, block in enumerate(blocks, start=1):
        if number >= len(blocks) - dpam_layer + 2:
            value = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, -1)[2]
            heads = value.unflatten(-1, (block.attn.num_heads, -1)).transpose(0, 1)
            weights = (heads @ heads.transpose(1, 2) / math.sqrt(heads.shape[-1])).softmax(-1)
            added = block.attn.out_proj((weights @ heads).transpose(0, 1).flatten(1))
            vv = (x if vv is None else vv) + added
        x = block(x[None])[0]
        if number in layers:
            patches[number] = F.normalize(tower.ln_post(x if vv is None else vv) @ tower.proj, dim=-1)[1:]
    class_token = tower.ln_post(x[0]) if cls_ln_post else x[0]
    return F.normalize(class_token @ tower.proj, dim=0), patches


def probabilities(features, text, temperature=0.07):
    """Softmax over {normal, abnormal}: (..., C) and (2, C) -> (..., 2)."""
    return (features @ text.T / temperature).softmax(-1)


def upsampled(patch_probabilities, size):
    """(N, 2) -> (2, S, S)."""
    side = math.isqrt(len(patch_probabilities))
    grid = patch_probabilities.T.reshape(1, 2, side, side)
    return F.interpolate(grid, (size, size), mode="bilinear", align_corners=False)[0]


def focal(maps, masks):
    """Over all pixels of a batch: maps (B, 2, S, S), masks (B, S, S) of 0 and 1."""
    onehot = torch.stack([1 - masks, masks], dim=1).clamp(1e-5, 1 - 1e-5)
    p = (onehot * maps).sum(1) + 1e-5
    return (-((1 - p) ** 2) * p.log()).mean()


def dice(channel, target):
    """(B, S, S) each."""
    per_image = [(2 * (a * t).sum() + 1) / (a.sum() + t.sum() + 1) for a, t in zip(channel, target, strict=True)]
    return 1 - sum(per_image) / len(per_image)


def local_loss(maps, masks):
    """Focal plus both dice losses of (B, 2, S, S)."""
    return focal(maps, masks) + dice(maps[:, 1], masks) + dice(maps[:, 0], 1 - masks)


class AnomalyClipBySpecification:
    """AnomalyCLIP's text features, predictions and losses for the learnables of `method`, at its settings."""

    def __init__(self, method, *, layers, dpam_layer, suffix=(FULL_STOP,), cls_ln_post=False, half_cast=True):
        self.method, self.clip, self.layers = method, method.clip, layers
        self.dpam_layer, self.suffix, self.cls_ln_post, self.half_cast = dpam_layer, suffix, cls_ln_post, half_cast

    def text(self):
        rows = []
        state = self.method.state_dict(keep_vars=True)
        deep = [state[key] for key in sorted(state) if key.startswith("compound_prompts_text.")]
        for ctx, words in ((state["ctx_pos"], [OBJECT]), (state["ctx_neg"], [DAMAGED, OBJECT])):
            vectors = ctx[0, 0]
            ids = [START, *[343] * len(vectors), *words, *self.suffix, END]
            learned = dict(enumerate(vectors, start=1))
            rows.append(F.normalize(text_feature(self.clip, ids, learned, deep, self.half_cast), dim=0))
        return torch.stack(rows)

    def _views(self, batch):
        return [
            visual(self.clip, i, dpam_layer=self.dpam_layer, layers=self.layers, cls_ln_post=self.cls_ln_post)
            for i in batch.images
        ]

    def predict(self, batch, temperature=0.07):
        """Image scores (B,) and maps (B, S, S) before smoothing."""
        text, size = self.text(), batch.images.shape[-1]
        scores, maps = [], []
        for image, patches in self._views(batch):
            scores.append(probabilities(image, text, temperature)[1])
            two = [upsampled(probabilities(patches[layer], text, temperature), size) for layer in self.layers]
            maps.append(sum((m[1] + 1 - m[0]) / 2 for m in two))
        return torch.stack(scores), torch.stack(maps)

    def loss(self, batch, lambda_local=4.0, temperature=0.07):
        text, size, views = self.text(), batch.images.shape[-1], self._views(batch)
        masks = torch.zeros(len(batch), size, size) if batch.masks is None else batch.masks.float()
        local = 0
        for layer in self.layers:
            maps = [upsampled(probabilities(patches[layer], text, temperature), size) for _, patches in views]
            local = local + local_loss(torch.stack(maps), masks)
        logits = torch.stack([image @ text.T / temperature for image, _ in views])
        return lambda_local * local + F.cross_entropy(logits, batch.labels)


class FaPromptBySpecification:
    """FAPrompt's passes, predictions and losses for the learnables of `method`; keyword arguments are its switches."""

    def __init__(self, method, *, dpam_layer, n_prior, select="first_m", state=(DAMAGED,), suffix=(FULL_STOP,),
                 cls_ln_post=False, half_cast=True, temperature=0.07, score_weights=(2 / 3, 1 / 3)):  # fmt: skip
        self.clip, self.learned = method.clip, method.prompt_learner.state_dict(keep_vars=True)
        self.dpam_layer, self.n_prior, self.select, self.state, self.suffix = dpam_layer, n_prior, select, state, suffix
        self.cls_ln_post, self.half_cast = cls_ln_post, half_cast
        self.temperature, self.score_weights = temperature, score_weights

    def _sentences(self, prior=0.0):
        """Normal feature (C,) and abnormal ones (K, C), not normalised, with `prior` on the A tokens."""
        deep = [self.learned[key] for key in sorted(self.learned) if key.startswith("compound_prompts_text.")]
        shared, own = self.learned["ctx_pos"][0, 0], self.learned["ctx_neg"][0]
        n_shared = len(shared)
        v = dict(enumerate(shared, start=1))
        ids = [START, *[333] * n_shared, OBJECT, *self.suffix, END]
        normal = text_feature(self.clip, ids, v, deep, self.half_cast)
        abnormal = []
        for tokens in own:
            a = dict(enumerate((token + prior for token in tokens), start=1 + n_shared))
            ids = [START, *[333] * n_shared, *[320] * len(tokens), *self.state, OBJECT, *self.suffix, END]
            abnormal.append(text_feature(self.clip, ids, v | a, deep, self.half_cast))
        return normal, torch.stack(abnormal)

    @staticmethod
    def _two(normal, abnormal):
        return torch.stack([F.normalize(normal, dim=0), F.normalize(abnormal.mean(0), dim=0)])

    def prior(self, patches, abnormal_probability):
        if self.select == "top_m":
            patches = patches[abnormal_probability.argsort(descending=True)]
        chosen = patches[: self.n_prior].flatten().detach()
        net = {key.removeprefix("patch_meta_net."): value for key, value in self.learned.items()}
        hidden = (net["linear1.weight"] @ chosen + net["linear1.bias"]).relu()
        return net["linear2.weight"] @ hidden + net["linear2.bias"]

    def image(self, image, free=None):
        """Everything about one image, by name; `free`: sentences without prior, if they are there already."""
        layer = self.clip.n_layers
        view, patches = visual(
            self.clip, image, dpam_layer=self.dpam_layer, layers=[layer], cls_ln_post=self.cls_ln_post
        )
        free = self._sentences() if free is None else free
        s = probabilities(patches[layer], self._two(*free), self.temperature)
        prior = self.prior(patches[layer], s[:, 1])
        text_prior = self._two(*self._sentences(prior))
        s_prior = probabilities(patches[layer], text_prior, self.temperature)
        logits = view @ text_prior.T / self.temperature
        maxima = self.score_weights[0] * s[:, 1].max() + self.score_weights[1] * s_prior[:, 1].max()
        return {
            "free_abnormal": free[1],
            "prior": prior,
            "maps": upsampled(s, image.shape[-1]),
            "maps_prior": upsampled(s_prior, image.shape[-1]),
            "logits": logits,
            "score": (logits.softmax(0)[1] + maxima) / 2,
        }

    def predict(self, batch):
        """Image scores (B,) and maps (B, S, S) before smoothing."""
        found = [self.image(image) for image in batch.images]
        maps = [(m[1] + 1 - m[0] + h[1] + 1 - h[0]) / 4 for m, h in ((f["maps"], f["maps_prior"]) for f in found)]
        return torch.stack([f["score"] for f in found]), torch.stack(maps)

    def loss(self, batch, *, local=(1.0, 0.5), ortho=0.1, sum_squares=False, ce=True, score_focal=True, sigmoid=True):
        free = self._sentences()  # once per batch in training
        found = [self.image(image, free) for image in batch.images]
        size = batch.images.shape[-1]
        masks = torch.zeros(len(batch), size, size) if batch.masks is None else batch.masks.float()
        total = local[0] * local_loss(torch.stack([f["maps"] for f in found]), masks)
        total = total + local[1] * local_loss(torch.stack([f["maps_prior"] for f in found]), masks)
        if ce:
            total = total + F.cross_entropy(torch.stack([f["logits"] for f in found]), batch.labels)
        if score_focal:
            scores, y = torch.stack([f["score"] for f in found]), batch.labels.float()
            p = scores.sigmoid() if sigmoid else scores
            b = -(y * p.log() + (1 - y) * (1 - p).log())
            total = total + ((1 - torch.exp(-b)) ** 2 * b).mean()
        pairs = combinations(found[0]["free_abnormal"], 2)
        total = total + ortho * sum(F.cosine_similarity(a, b, dim=0).abs() for a, b in pairs)
        squares = [f["prior"] ** 2 for f, label in zip(found, batch.labels, strict=True) if label == 0]
        return total + sum(q.sum() if sum_squares else q.mean() for q in squares)
