"""VL4AD's formulas, and maps made in strips of rows."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from adbench.clip import load_clip
from adbench.data import catalogue
from adbench.methods.vl4ad.scoring import ImageSizes, class_probability, class_sums, ensembled_probability, score_map
from adbench.methods.vl4ad.views import averaged, lay_out
from adbench.methods.vl4ad.vocabulary import Columns, make_columns, read_vocabulary
from adbench.shipped import configs_dir

LOGITS = torch.tensor([[2.0, 1.0, 0.0, 3.0]])  # two classes, an OOD prompt, void


def test_ood_prompts_and_void_take_part_in_the_softmax_and_are_dropped():
    kept = class_probability(LOGITS, 2, use_void=True)
    assert_close(kept, LOGITS.softmax(dim=-1)[:, :2])
    assert_close(class_probability(LOGITS, 2, use_void=False), LOGITS[:, :3].softmax(dim=-1)[:, :2])


def test_the_ensemble_with_exponent_zero_is_the_learned_classifier_without_void():
    frozen = torch.tensor([[0.0, 5.0, 1.0]])
    seen = torch.tensor([True, True, False])
    found = ensembled_probability(LOGITS, frozen, 2, seen=seen, alpha=0.0, beta=0.0, use_void=False)
    assert_close(found, class_probability(LOGITS, 2, use_void=False))
    found = ensembled_probability(LOGITS, frozen, 3, seen=seen, alpha=1.0, beta=1.0, use_void=True)
    assert_close(found, frozen.softmax(dim=-1) * (1 - LOGITS.softmax(dim=-1)[:, 3:]))


def test_the_ensembles_exponent_depends_on_whether_a_column_was_trained_on():
    frozen, seen = torch.tensor([[0.5, 0.2, 1.0]]), torch.tensor([True, False, False])
    found = ensembled_probability(LOGITS, frozen, 3, seen=seen, alpha=0.4, beta=0.8, use_void=False)
    learned, other = LOGITS[:, :3].softmax(dim=-1), frozen.softmax(dim=-1)
    exponent = torch.tensor([0.4, 0.8, 0.8])
    product = learned ** (1 - exponent) * other**exponent
    assert_close(found, product / product.sum())


def columns_of(n_concepts, groups, seen=(True, False, False)) -> Columns:
    features = torch.eye(sum(n_concepts))
    return make_columns(features, n_concepts, n_id=2, seen=seen, groups=groups)


def test_the_nearest_concept_counts_and_merging_pools_concepts():
    embeddings = torch.tensor([[0.1, 0.9, 0.3, 0.2, 0.4]])
    unit = embeddings / embeddings.norm()
    single = columns_of((2, 1, 2), [(0,), (1,)])
    assert single.n_kept == 2
    assert_close(single.logits(embeddings, 10.0), 10 * unit[:, [1, 2, 4]])
    merged = columns_of((2, 1, 2), [(0, 1)])
    assert_close(merged.logits(embeddings, 10.0), 10 * unit[:, [1, 4]])
    assert merged.seen.tolist() == [True, False]


@pytest.mark.parametrize("name", sorted(file.stem for file in (configs_dir() / "vocabulary").glob("*.yaml")))
def test_a_shipped_vocabulary_is_consistent(name):
    words = read_vocabulary(name)
    assert tuple(words.classes) == tuple(catalogue.get(name).class_names)
    assert all(template.count("{}") == 1 for template in words.templates)
    for one in ("names", *words.concepts):
        assert len(words.concepts_of_classes(one)) == len(words.classes)
    for one in ("none", *words.superclasses):
        assert sorted(index for group in words.groups(one) for index in group) == list(range(len(words.classes)))
    assert words.ood_columns("none") == ()
    assert all(words.ood_columns(one) for one in words.ood)


def test_the_demo_clip_knows_the_words_of_its_road_scenes():
    words, clip = read_vocabulary("road_demo"), load_clip("demo")
    listed = [*words.concepts_of_classes("materials"), *words.ood_columns("other_materials")]
    for concept in (concept for column in listed for concept in column):
        ids = clip.tokenize([concept])[0]
        inside = ids[1 : int(ids.argmax())]  # between the start and the end of the text
        assert clip.model.token_embedding(inside).abs().sum(dim=-1).all(), concept
    assert set(words.ood_columns("materials_of_test")) < set(words.ood_columns("other_materials"))


def test_cityscapes_has_the_words_that_are_known():
    words = read_vocabulary("cityscapes")
    assert len(words.classes) == 19
    assert len(words.templates) == 14
    vegetation = words.concepts_of_classes("fcclip")[words.classes.index("vegetation")]
    assert vegetation == ("vegetation", "tree", "trees", "palm tree", "bushes")
    assert len(words.groups("cityscapes_categories")) == 7
    assert words.ood_columns("cityscapes_void_vehicles") == (("caravan",), ("trailer",))


FRAMES = {
    "as it is": ImageSizes((64, 96), (64, 96), (64, 96)),
    "padded": ImageSizes((64, 96), (53, 90), (53, 90)),
    "enlarged": ImageSizes((64, 96), (60, 90), (150, 211)),
    "reduced": ImageSizes((64, 96), (60, 90), (31, 47)),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("rows", [1, 7, 10_000])
def test_strips_give_what_resizing_the_whole_gives(frame, rows):
    generator = torch.Generator().manual_seed(2)
    masks = 3 * torch.randn(5, 16, 24, generator=generator)
    kept = torch.rand(5, 3, generator=generator)
    whole = F.interpolate(masks[None], size=frame.padded, mode="bilinear", align_corners=False)
    whole = whole[..., : frame.content[0], : frame.content[1]]
    whole = F.interpolate(whole, size=frame.original, mode="bilinear", align_corners=False)[0]
    expected = torch.einsum("nk,nhw->khw", kept, whole.sigmoid())
    values = rows * 5 * max(frame.original[1], frame.padded[1])
    strips = list(class_sums(masks, kept, frame, strip_values=values))
    assert max(strip.shape[1] for strip in strips) == min(rows, frame.original[0])
    assert_close(torch.cat(strips, dim=1), expected, atol=1e-5, rtol=1e-5)
    found = score_map(class_sums(masks, kept, frame, strip_values=values), "rba")
    assert_close(found, -expected.tanh().sum(dim=0), atol=1e-5, rtol=1e-5)


def test_windows_cover_the_image_and_the_last_one_ends_with_it():
    views = lay_out((512, 1024), window=512, stride=352, mirrored=False)
    assert [(view.top, view.left) for view in views] == [(0, 0), (0, 352), (0, 512)]
    assert len(lay_out((256, 320), window=512, stride=352, mirrored=False)) == 1
    views = lay_out((96, 160), window=64, stride=32, mirrored=True)
    assert [view.mirrored for view in views] == [False] * 8 + [True] * 8
    ones = [torch.ones(2, 64, 64) for _ in range(8)]
    assert torch.equal(averaged(ones, views[:8], (96, 160)), torch.ones(2, 96, 160))
