"""InCTRL: residuals against plain loops, the authors' batch layout, memories, losses, checkpoints."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from adbench.clip.prompts import INCTRL_ENSEMBLE, NATURAL_ENSEMBLE, encode_ensemble
from adbench.data.sample import Batch
from adbench.errors import UserError
from adbench.methods import build
from adbench.methods.losses import score_focal
from tiny import make_batch, make_tiny_clip

LAYERS = (2, 3)
NAMES = ("metal_nut", "pipe-fryum", "carpet")


def build_inctrl(seed=0, **settings):
    torch.manual_seed(seed)
    method = build("inctrl", make_tiny_clip(), **{"out_layers": LAYERS, **settings})
    for module in (method.diff_head, method.diff_head_ref):  # running statistics that are not the identity
        for name, buffer in module.named_buffers():
            if buffer.dtype.is_floating_point:
                buffer.copy_(torch.rand_like(buffer) + 0.5 * name.endswith("var"))
    return method.eval()


def adapted(method, k=2):
    for number, name in enumerate(NAMES):
        method.adapt(name, make_batch(k, seed=20 + number))
    return method


def in_context(n=4, k=2, seed=3):
    return replace(make_batch(n, seed=seed), support=make_batch(n * k, seed=seed + 1))


def scores(method, batch):
    return method.predict(batch).scores


def test_residuals_against_loops():
    method, batch = adapted(build_inctrl()), make_batch(2)
    _, query = method.raw_features(batch.images)
    for i, name in enumerate(batch.class_names[:2]):
        _, normal = method.raw_features(make_batch(2, seed=20 + NAMES.index(name)).images)
        maps = [
            0.5 * (1 - F.cosine_similarity(q[:, None], p.flatten(0, 1)[None], dim=-1)).amin(1)
            for q, p in zip(query[i], normal.transpose(0, 1), strict=True)
        ]
        output = method.outputs(method.encode(batch), batch)
        assert_close(output.residual_map[i], torch.stack(maps).mean(0), atol=1e-6, rtol=1e-5)
    assert_close(output.s_p, output.residual_map.amax(1))
    assert_close(output.holistic_map, output.residual_map + (output.s_i + output.s_a)[:, None])
    assert_close(output.final_score, (output.holistic_score + output.s_p) / 2)


def test_support_in_the_batch_equals_a_memory():
    batch = make_batch(2)
    support = [make_batch(3, seed=20 + NAMES.index(name)) for name in batch.class_names]
    images = torch.cat([one.images for one in support])
    joined = Batch(images, torch.zeros(6, dtype=torch.long), ["x"] * 6, ["x"] * 6, "made")
    method = build_inctrl()
    assert_close(scores(method, replace(batch, support=joined)), scores(adapted(method, k=3), batch))


def literal_reshape(features, k):
    """The authors' grouping, step by step: shot-major, layers first, then reshaped with the batch in front."""
    query, (n, layers, patches, width) = features["patches"], features["patches"].shape
    prompt = features["support.patches"].unflatten(0, (n, k))
    query = torch.stack([query[:, layer] for layer in range(layers)])
    prompt = torch.stack([torch.cat([prompt[:, shot, layer] for shot in range(k)]) for layer in range(layers)])
    found = features["support.class"].unflatten(0, (n, k))
    found = torch.cat([found[:, shot] for shot in range(k)])
    return (
        query.reshape(n, layers, patches, width),
        prompt.reshape(n, layers, k * patches, width),
        found.reshape(n, k, -1),
    )


@pytest.mark.parametrize(("n", "k"), [(4, 2), (3, 1), (2, 4)])
def test_the_authors_layout_is_their_reshape(n, k):
    method, batch = build_inctrl(batch_layout="official"), in_context(n, k)
    features = method.encode(batch)
    output = method.outputs(features, batch)
    query, prompt, found = literal_reshape(features, k)
    expected = 0.5 * (1 - (query @ prompt.mT).amax(-1))
    assert_close(output.comparison.layer_maps, expected)
    assert_close(output.comparison.prompts, found)
    corrected = build_inctrl().outputs(features, batch)
    assert not torch.allclose(output.residual_map, corrected.residual_map, atol=1e-4)


def test_both_layouts_agree_for_one_query_at_a_time():
    batch = in_context(1, 3)
    assert_close(scores(build_inctrl(batch_layout="official"), batch), scores(build_inctrl(), batch))


def test_the_authors_layout_needs_equal_numbers_of_support_images():
    method = adapted(build_inctrl(batch_layout="official"))
    method.adapt("carpet", make_batch(3))
    with pytest.raises(UserError, match="different numbers of support images"):
        method.predict(make_batch(4))


def test_text_prior_is_the_ensembles_or_the_natural_pair():
    method = build_inctrl()
    expected = encode_ensemble(method.clip, INCTRL_ENSEMBLE, "metal nut").T
    assert_close(method.text_features("metal_nut"), expected)
    assert_close(method.text_features("deer"), encode_ensemble(method.clip, NATURAL_ENSEMBLE, "deer").T)
    plain = build_inctrl(natural_prompts=False)
    assert_close(plain.text_features("deer"), encode_ensemble(plain.clip, INCTRL_ENSEMBLE, "deer").T)


def test_losses_and_where_their_gradients_go():
    method, batch = build_inctrl().train(), in_context()
    features = method.encode(batch)
    state = {key: value.clone() for key, value in method.state_dict().items()}
    output = method.outputs(features, batch)
    method.load_state_dict(state)
    terms = method.loss(features, batch)
    assert_close(terms["final"], score_focal(output.final_score, batch.labels, logits=True))
    assert_close(terms["image"], score_focal(output.s_i, batch.labels, logits=True))
    sum(terms.values()).backward()
    learnable = method.learnable_parameters()
    assert not any(".bn1." in name for name in learnable)
    assert all(parameter.grad.abs().sum() > 0 for parameter in learnable.values())


def test_the_papers_variant_sets_what_it_says():
    method = build_inctrl(variant="paper")
    chosen = method.settings
    assert (chosen.final_divisor, chosen.residual_scale, chosen.image_loss, chosen.final_loss) == (1, 1, "bce", "focal")
    assert build_inctrl(variant="paper", residual_scale=0.5).settings.residual_scale == 0.5


def test_training_on_single_images_is_refused():
    method = build_inctrl().train()
    batch = in_context(1)
    with pytest.raises(UserError, match="batches of at least 2"):
        method.loss(method.encode(batch), batch)


def test_a_class_without_memory_is_named():
    with pytest.raises(UserError, match="no normal images of class 'metal_nut'"):
        build_inctrl().predict(make_batch(1))


@pytest.mark.parametrize("wrong", [{"out_layers": [5]}, {"batch_layout": "x"}, {"image_loss": "x"}, {"variant": "x"}])
def test_bad_settings_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        build_inctrl(**wrong)


# Checkpoints


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"model_state": state, "epoch": 6}])
def test_a_checkpoint_of_the_authors_comes_back(tmp_path, wrap):
    method, other = build_inctrl(), build_inctrl(seed=1)
    method.save_official(tmp_path / "theirs.pyth")
    state = torch.load(tmp_path / "theirs.pyth", weights_only=True)
    assert "visual.proj" in state
    assert "diff_head.bn1.running_mean" in state
    assert "logit_scale" not in state
    torch.save(wrap(state), tmp_path / "wrapped.pyth")
    other.load_official(tmp_path / "wrapped.pyth")
    batch = in_context()
    assert torch.equal(scores(method, batch), scores(other, batch))


def test_a_checkpoint_without_towers_is_fine_and_a_wrong_one_is_named(tmp_path):
    method = build_inctrl()
    learned = method.learnable_state()
    file = tmp_path / "c.pyth"

    def load(state):
        torch.save(state, file)
        method.load_official(file)

    load(learned)
    towers = {"visual.proj": method.clip.model.visual.proj.detach()}
    load({**learned, **towers})
    for state, message in [
        ({key: value for key, value in learned.items() if key != "adapter.fc.0.weight"}, "missing adapter.fc.0.weight"),
        ({**learned, "diff_head.projection1.weight": torch.zeros(2, 2)}, r"projection1.weight is \(2, 2\) instead of"),
        ({**learned, "visual.proj": towers["visual.proj"] + 0.1}, "visual.proj has other values"),
        ({**learned, "visual.proj": torch.zeros(3)}, r"visual.proj is \(3,\) instead of"),
        ({**learned, "strange": torch.zeros(1)}, "unexpected strange"),
        (
            {**learned, "adapter.fc.0.weight": learned["adapter.fc.0.weight"] / 0},
            "weight holds values that are not finite",
        ),
        ({**learned, "adapter.fc.0.weight": learned["adapter.fc.0.weight"].long()}, "weight holds int64 instead of"),
    ]:
        with pytest.raises(UserError, match=message):
            load(state)
    file.write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match="this is no file of weights"):
        method.load_official(file)
