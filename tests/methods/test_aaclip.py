"""AA-CLIP: switches, stages, the scale of a class, phrases, augmentation and checkpoints. The numbers are parity's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch.testing import assert_close

from adbench.cli.config import train_config
from adbench.cli.overrides import Overrides
from adbench.errors import UserError
from adbench.methods import build
from adbench.methods.aaclip.phrases import phrase, phrase_number, sentences
from adbench.methods.aaclip.related import scaled
from adbench.methods.maps import blurred
from cli.on_benchmarks import rows_of_a_set_alone
from tiny import make_batch, make_tiny_clip, rows


def make_method(clip=None, **settings):
    torch.manual_seed(0)
    return build("aaclip", clip or make_tiny_clip(), **settings)


def at_stage(stage, **settings):
    method = make_method(**settings)
    method.begin_stage(stage)
    return method


def related(method, batch):
    """Predictions, every class scaled over its images in the batch."""
    method.eval()
    features = method.encode(batch)
    for name in set(batch.class_names):
        own = [row for row, known in enumerate(batch.class_names) if known == name]
        method.relate(name, [({key: value[own] for key, value in features.items()}, [""] * len(own))])
    return method.score(features, batch)


def losses(method, batch):
    method.train()
    return method.loss(method.encode(batch), batch)


def test_scores_are_scaled_over_the_class_and_chunks_do_not_matter():
    method, batch = make_method(domain="industrial"), replace(make_batch(6), class_names=["nut"] * 6)
    prediction, features = related(method, batch), method.encode(batch)
    raw = method.raw(features, batch.class_names)
    maps = (raw.maps - raw.maps.min()) / (raw.maps.max() - raw.maps.min())
    scores = (raw.scores - raw.scores.min()) / (raw.scores.max() - raw.scores.min())
    assert_close(prediction.maps, maps)
    assert_close(prediction.scores, (maps.flatten(1).amax(1) + scores) / 2)
    one = [({key: value[i : i + 1] for key, value in features.items()}, [""]) for i in range(6)]
    method.relate("nut", one)
    single = [method.score(chunk, rows(batch, slice(i, i + 1))) for i, (chunk, _) in enumerate(one)]
    assert_close(torch.cat([p.scores for p in single]), prediction.scores, atol=1e-4, rtol=0)


@torch.no_grad()
def test_the_tower_is_run_once_for_images_that_have_paths(monkeypatch):
    """Scores are to the bit those of a tower that is run again. Images of one path, or of none, are not confused."""
    method = make_method(domain="industrial").eval()
    batch = replace(make_batch(4), class_names=["nut"] * 4, paths=["a", "b", "c", "d"])
    features, passes, run = method.encode(batch), [], method.raw
    monkeypatch.setattr(method, "raw", lambda *given: passes.append(len(given[1])) or run(*given))
    results = []
    for paths in (["", "", "", ""], ["a", "a", "c", ""], ["a", "b", "c", "d"]):
        method.relate("nut", [(features, paths)])
        results.append(method.score(features, replace(batch, paths=paths)))
    assert passes == [4, 4, 4, 4, 4]  # the last is scored without one
    part = method.score(method.encode(rows(batch, slice(2, 3))), rows(batch, slice(2, 3)))
    assert len(passes) == 5
    for result in results[1:]:
        assert torch.equal(result.scores, results[0].scores)
        assert torch.equal(result.maps, results[0].maps)
    assert torch.equal(part.maps, results[0].maps[2:3])


def test_medical_scores_are_the_largest_pixels():
    clip = make_tiny_clip(image_size=48)
    prediction = related(make_method(clip, domain="medical"), make_batch(size=48))
    assert_close(prediction.scores, prediction.maps.flatten(1).amax(1))
    with pytest.raises(UserError, match="4 patches a side are too few"):
        make_method(domain="medical")


def test_a_class_that_was_not_looked_at_is_refused():
    with pytest.raises(UserError, match="has not seen this class"):
        make_method().predict(make_batch())


def test_a_class_whose_largest_value_is_exactly_1_is_left_alone():
    low, high = torch.tensor(0.5), torch.tensor([1.0, 0.75, 0.5])
    values = torch.tensor([0.75, 0.625, 0.5])
    assert scaled(values, low, high).tolist() == [0.75, 0.5, 0.0]


def test_a_single_image_of_a_class_has_finite_scores():
    assert torch.isfinite(related(make_method(), make_batch(1)).scores).all()


def test_the_data_set_decides_whether_maps_are_medical_ones():
    method, batch = make_method(make_tiny_clip(image_size=48)), make_batch(size=48)
    for dataset, medical in [("mvtec", False), ("kvasir", True), ("brain_mri", True), ("visa", False)]:
        assert method.eval().encode(replace(batch, dataset=dataset))["medical"].tolist() == [medical] * len(batch)
    for dataset in ("", "folder:own"):  # a detector's pictures, a user's folder
        with pytest.raises(UserError, match=r"nothing says which.*method\.domain=industrial or medical"):
            method.encode(replace(batch, dataset=dataset))


def test_text_is_learned_before_images():
    """The image tower's adapters are trained towards the directions that the text's have learned."""
    assert list(make_method().training_stages) == ["text", "image"]


def test_colours_change_in_the_stage_of_images_alone():
    assert [at_stage(stage).transform.colours for stage in ("text", "image")] == [False, True]


def test_the_filter_mirrors_without_the_edge():
    grid = torch.randn(2, 6, 6)
    offsets = np.arange(-3, 4)
    kernel = np.exp(-0.5 * offsets**2)
    kernel /= kernel.sum()
    padded = np.pad(grid.numpy(), ((0, 0), (3, 3), (3, 3)), mode="reflect")
    expected = sum(kernel[i] * kernel[j] * padded[:, i : i + 6, j : j + 6] for i in range(7) for j in range(7))
    assert_close(blurred(grid, 7, 1.0).numpy(), expected.astype(np.float32), atol=1e-5, rtol=1e-5)


def test_positions_are_resized_as_open_clip_does():
    clip = make_tiny_clip(image_size=56)
    native = clip.model.visual.positional_embedding
    table = native[1:].reshape(1, 4, 4, -1).permute(0, 3, 1, 2)
    expected = F.interpolate(table, (7, 7), mode="bicubic", antialias=True, align_corners=False)
    ours = clip.positions((7, 7), "bicubic_antialias")
    assert_close(ours[1:], expected[0].flatten(1).T)
    assert not torch.allclose(ours, clip.positions((7, 7)), atol=1e-3)


@pytest.mark.parametrize("stage", ["text", "image"])
def test_a_stage_learns_its_own_part(stage):
    method, batch = at_stage(stage), make_batch()
    named = method.learnable_parameters()
    assert {name.partition("_")[0] for name in named} == {stage}
    sum(losses(method, batch).values()).backward()
    unused = {"image_adapter.det_proj.fc.weight"} if stage == "text" else set()
    assert all(parameter.grad.abs().max() > 0 for name, parameter in named.items() if name not in unused)
    others = {name: value for name, value in method.named_parameters() if name not in named}
    assert others
    assert all(parameter.grad is None for parameter in others.values())


@pytest.mark.parametrize("change", [{"text_levels": "all"}, {"surgery_axis": "tokens"}, {"surgery_until_layer": 2}])
def test_switches_of_the_stage_of_text_change_its_loss(change):
    batch = make_batch()
    before, after = (losses(at_stage("text", **c), batch)["pixel_focal"] for c in ({}, change))
    assert abs(before - after) > 1e-5


def test_paper_takes_all_levels_and_attends_to_patches_whatever_the_batch():
    method, batch = at_stage("text", variant="paper"), make_batch(4)
    assert (method.settings.text_levels, method.settings.surgery_axis) == ("all", "tokens")
    method.train()
    whole = method.surgery_patches(method.encode(batch))
    single = method.surgery_patches(method.encode(rows(batch, slice(1, 2))))
    assert set(whole) == {1, 2, 3, 4}
    for level, patches in whole.items():
        assert_close(patches[1:2], single[level], atol=1e-5, rtol=1e-5)


def test_in_the_authors_way_a_lone_image_attends_to_itself_alone():
    method, batch = at_stage("text"), make_batch(2)
    method.train()
    both = method.surgery_patches(method.encode(batch))[4][:1]
    alone = method.surgery_patches(method.encode(rows(batch, slice(0, 1))))[4]
    assert not torch.allclose(both, alone, atol=1e-4)


def test_phrases_are_the_authors_where_they_have_one():
    assert phrase(phrase_number("mvtec", "tile"), "tile", "official") == "speckled tile surface"
    assert phrase(phrase_number("visa+mvtec", "pcb1"), "pcb1", "official").endswith("sensor pcb module")
    assert phrase(phrase_number("colondb", "colon"), "colon", "official") == "colon endoscopy image"
    assert phrase(phrase_number("real_iad", "zipper"), "usb_adaptor", "official") == "usb adaptor"
    assert phrase(phrase_number("mvtec", "metal_nut"), "metal_nut", "name") == "metal nut"
    assert phrase(-1, "tile", {"tile": "a thing"}) == "a thing"
    assert len(sentences("q")) == 16
    assert sentences("q")[:3] == ["q.", "a photo of q.", "a q."]
    assert sentences("q")[6:8] == ["a damaged q.", "a photo of a damaged q."]


def test_results_say_that_phrases_describe_what_is_tested():
    told = [remark for remark in make_method().remarks if "describe the very objects tested" in remark]
    assert len(told) == 1
    assert "by name where the authors have none" in told[0]
    assert not any("phrases" in remark for remark in make_method(class_phrases="name").remarks)


def test_without_text_adapter_the_words_are_clips_own():
    method = make_method(adapt_text=False)
    assert not any(name.startswith("text") for name in method.learnable_state())
    expected = method.clip.encode_text(method.clip.tokenize(sentences("screw")))
    assert_close(method.raw_text("screw"), expected)
    assert list(method.training_stages) == ["image"]


def test_images_and_masks_are_changed_alike_by_seed():
    transform = make_method().transform
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[4:20, 6:14] = 255
    image, mask = Image.fromarray(picture), Image.fromarray(picture[..., 0])
    background = transform.image(image)[0, -1, -1]
    moved = set()
    for seed in range(12):
        tensor, changed = replace(transform, colours=False).augmented_pair(image, mask, np.random.default_rng(seed))
        again, _ = replace(transform, colours=False).augmented_pair(image, mask, np.random.default_rng(seed))
        assert torch.equal(tensor, again)
        assert torch.equal(tensor[0] > 1, changed)
        assert not torch.equal(tensor[0], torch.full_like(tensor[0], float(background)))
        moved.add(tuple(changed.nonzero().float().mean(0).tolist()))
    assert len(moved) > 6
    colours, _ = transform.augmented_pair(image.point(lambda value: value // 2), None, np.random.default_rng(3))
    plain, _ = replace(transform, colours=False).augmented_pair(
        image.point(lambda value: value // 2), None, np.random.default_rng(3)
    )
    assert not torch.equal(colours, plain)


def test_official_checkpoints_are_two_files_in_a_folder(tmp_path):
    source = make_method(relu=True)
    source.save_official(tmp_path / "weights")
    assert sorted(path.name for path in (tmp_path / "weights").iterdir()) == ["image_adapter.pth", "text_adapter.pth"]
    stored = torch.load(tmp_path / "weights" / "image_adapter.pth", weights_only=True)["image_adapter"]
    assert "seg_proj.0.fc.0.weight" in stored
    torch.manual_seed(9)
    target = build("aaclip", make_tiny_clip(), relu=True)
    target.load_official(tmp_path / "weights")
    assert_close(target.learnable_state(), source.learnable_state())
    with pytest.raises(UserError, match="seg_proj"):
        make_method(relu=False).load_official(tmp_path / "weights")
    (tmp_path / "weights" / "image_adapter.pth").rename(tmp_path / "weights" / "image_adapter_1.pth")
    target.load_official(tmp_path / "weights")
    torch.save({}, tmp_path / "weights" / "image_adapter_2.pth")
    with pytest.raises(UserError, match="holds 2 files"):
        target.load_official(tmp_path / "weights")
    with pytest.raises(UserError, match="no entry 'image_adapter'"):
        target.load_official(tmp_path / "weights" / "text_adapter.pth")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": [5]}, "levels names block 5"),
        ({"text_adapt_until": 4}, "text_adapt_until is 4, above 3"),
        ({"image_adapt_until": 5}, "image_adapt_until is 5, above 4"),
        ({"surgery_until_layer": 6}, "surgery_until_layer is 6, above 5"),
        ({"domain": "rural"}, r"method\.domain"),
    ],
    ids=str,
)
def test_impossible_settings_are_named(settings, message):
    with pytest.raises(UserError, match=message):
        make_method(**settings)


def test_a_stage_of_training_has_settings_of_its_own() -> None:
    words = ["method=aaclip", "data=demo", "clip=demo", "trainer.stages.text.optimizer.betas=[0.1,0.2]"]
    trainer = train_config(
        Overrides("train", [*words, "trainer.epochs=7", "trainer.stages.image.batch_size=3"])
    ).trainer
    text, image = trainer.of_stage("text"), trainer.of_stage("image")
    assert (text.epochs, text.batch_size, text.optimizer.lr, text.optimizer.betas) == (1, 16, 1e-5, (0.1, 0.2))
    assert (image.epochs, image.batch_size, image.optimizer.lr) == (7, 3, 5e-4)
    with pytest.raises(UserError, match=r"Did you mean trainer\.stages\.text\.epochs"):
        train_config(Overrides("train", [*words, "trainer.stages.txt.epochs=1"]))
    with pytest.raises(UserError, match=r"trainer\.stages\.text\.optimizer\.lr is -1"):
        train_config(Overrides("train", [*words, "trainer.stages.text.optimizer.lr=-1"]))


def test_a_set_has_the_rows_alone_that_it_has_in_a_benchmark(tmp_path, monkeypatch):
    found = rows_of_a_set_alone("aaclip", tmp_path, monkeypatch, "checkpoint=untrained")
    assert all("transductive: scored together with 10 images of the class" in row["notes"] for row in found)
