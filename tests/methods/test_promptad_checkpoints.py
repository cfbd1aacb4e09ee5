"""PromptAD keeps what it fitted, and reads what its authors' code saves."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from adbench.engine.tensor_file import read_tensors, write_tensors
from adbench.errors import UserError
from fitted_promptad import fitted, make_method, support
from tiny import make_batch


def test_state_of_all_classes_scores_again_without_fitting(tmp_path):
    source, target, batch = fitted(), make_method(seed=5), make_batch()
    file = tmp_path / "weights.safetensors"
    write_tensors(file, source.learnable_state(), {})
    target.load_learnable_state(read_tensors(file)[0])
    ours, theirs = source.predict(batch), target.predict(batch)
    assert torch.equal(ours.scores, theirs.scores)
    assert torch.equal(ours.maps, theirs.maps)
    source.adapt("wood", support())
    target.adapt("wood", support())  # goes on with the same first values
    assert torch.equal(
        source.memory_bank["wood"].prompts["seg"].prototypes, target.memory_bank["wood"].prompts["seg"].prototypes
    )


def test_state_names_the_authors_keys():
    state = fitted(task="seg").learnable_state()
    shapes = {key: tuple(value.shape) for key, value in state.items() if key.startswith("carpet/")}
    assert shapes == {
        "carpet/feature_gallery1": (32, 48),
        "carpet/feature_gallery2": (32, 48),
        "carpet/seg/text_features": (2, 32),
        "carpet/seg/epoch_text_features": (3, 2, 32),
        "carpet/seg/prompt_learner.normal_ctx": (1, 4, 32),
        "carpet/seg/prompt_learner.abnormal_ctx": (4, 1, 32),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("carpet/cls/text_features"), "carpet/cls lacks text_features"),
        (lambda state: state.pop("seg/prompt_learner.normal_ctx"), "first contexts of seg"),
        (lambda state: state.update({"carpet/feature_gallery1": torch.zeros(4, 7)}), "expected 2 of width 48"),
        (lambda state: state.update({"carpet/cls/text_features": torch.zeros(2, 7)}), r"not \(2, 32\)"),
        (lambda state: state.update(other=torch.zeros(1)), "unexpected other"),
        (lambda state: [state.pop(f"carpet/feature_gallery{i}") for i in (1, 2)], "carpet lacks its gallery"),
    ],
)
def test_state_that_does_not_fit_changes_nothing(change, message):
    state, method = fitted().learnable_state(), make_method()
    change(state)
    with pytest.raises(UserError, match=message):
        method.load_learnable_state(state)
    assert method.memory_bank == {}


def test_official_checkpoints_of_a_folder(tmp_path):
    source, batch = fitted(), make_batch()
    source.save_official(tmp_path)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names[0] == "CLS-Seed_111-carpet-check_point.pt"
    assert len(names) == 6
    stored = torch.load(tmp_path / names[0], weights_only=True)
    assert {key: (tuple(value.shape), value.dtype) for key, value in stored.items()} == {
        "feature_gallery1": ((32, 48), torch.float16),
        "feature_gallery2": ((32, 48), torch.float16),
        "text_features": ((2, 32), torch.float16),
    }
    target = make_method(seed=4)
    target.load_official(tmp_path)
    assert_close(target.predict(batch).scores, source.predict(batch).scores, atol=2e-3, rtol=0)
    assert_close(target.predict(batch).maps, source.predict(batch).maps, atol=2e-3, rtol=0)
    only = make_method(task="cls")
    only.load_official(tmp_path / "CLS-Seed_111-carpet-check_point.pt")
    assert list(only.memory_bank) == ["carpet"]
    both = make_method()
    both.load_official(tmp_path / "CLS-Seed_111-carpet-check_point.pt")
    with pytest.raises(UserError, match="task cls only"):
        both.predict(replace(batch, class_names=["carpet"] * 4))


def test_checkpoint_of_another_name_serves_the_first_class_only(tmp_path):
    source, batch = fitted(task="seg"), make_batch()
    source.save_official(tmp_path)
    (tmp_path / "SEG-Seed_111-carpet-check_point.pt").rename(tmp_path / "mine.pt")
    target = make_method(task="seg")
    target.load_official(tmp_path / "mine.pt")
    assert target.predict(replace(batch, class_names=["carpet"] * 4)).maps.isfinite().all()
    with pytest.raises(UserError, match="class 'wood'"):
        target.predict(replace(batch, class_names=["wood"] * 4))
    with pytest.raises(UserError, match=r"does not say which task.*method\.task"):
        make_method().load_official(tmp_path / "mine.pt")


def test_whole_model_with_the_keys_among_others(tmp_path):
    """What the authors' test script for maps leaves."""
    source = fitted(task="seg")
    source.save_official(tmp_path)
    file = tmp_path / "SEG-Seed_111-carpet-check_point.pt"
    stored = torch.load(file, weights_only=True) | {"model.visual.proj": torch.zeros(3, 3)}
    torch.save(stored, file)
    method = make_method(task="seg")
    method.load_official(file)
    assert list(method.memory_bank) == ["carpet"]


def test_checkpoints_of_two_supports_are_not_mixed(tmp_path):
    for task, seed in (("cls", 1), ("seg", 2)):
        method = make_method(task=task)
        method.adapt("carpet", support(seed=seed))
        method.save_official(tmp_path)
    with pytest.raises(UserError, match="other support images"):
        make_method().load_official(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"text_features": torch.zeros(2, 32)}, "holds neither feature_gallery1"),
        ([1], "no state dict, but a list of 1"),
        (
            {"text_features": torch.full((2, 32), float("nan"))},
            "text_features holds values that are no finite fractions",
        ),
        (
            {f"feature_gallery{i}": torch.zeros(4, 9) for i in (1, 2)} | {"text_features": torch.zeros(2, 32)},
            "of width 48",
        ),
    ],
)
def test_file_that_is_no_checkpoint(tmp_path, content, message):
    file = tmp_path / "CLS-Seed_111-carpet-check_point.pt"
    torch.save(content, file)
    with pytest.raises(UserError, match=message):
        make_method(task="cls").load_official(file)


def test_empty_folder(tmp_path):
    with pytest.raises(UserError, match="no checkpoints for cls or seg"):
        make_method().load_official(tmp_path)


def test_checkpoints_of_two_seeds_in_a_folder(tmp_path):
    fitted(task="cls").save_official(tmp_path)
    shutil.copy(tmp_path / "CLS-Seed_111-carpet-check_point.pt", tmp_path / "CLS-Seed_5-carpet-check_point.pt")
    with pytest.raises(UserError, match=r"two checkpoints.*CLS-Seed_111-carpet.*CLS-Seed_5-carpet.*one seed"):
        make_method(task="cls").load_official(tmp_path)


def test_an_official_checkpoint_keeps_the_epoch_that_it_has(tmp_path):
    fitted(task="cls").save_official(tmp_path)
    method = make_method(task="cls", select="best_on_test")
    method.load_official(tmp_path)
    before = method.memory_bank["carpet"].prompts["cls"].prototypes
    batch = replace(make_batch(), class_names=["carpet"] * 4)
    method.select_on_test("carpet", [(method.encode(batch), batch)])
    assert torch.equal(before, method.memory_bank["carpet"].prompts["cls"].prototypes)


def test_the_memory_tells_the_number_of_shots(tmp_path):
    method = fitted(task="seg")
    assert [method.shots(name) for name in ("carpet", "wood")] == [2, 0]
    method.save_official(tmp_path)
    (tmp_path / "SEG-Seed_111-carpet-check_point.pt").rename(tmp_path / "mine.pt")
    other = make_method(task="seg")
    other.load_official(tmp_path / "mine.pt")
    assert other.shots("carpet") == 2
    other.memory_bank["odd"] = replace(method.memory_bank["carpet"], galleries=[torch.zeros(33, 48)] * 2)
    assert other.shots("odd") is None


def test_a_state_selected_on_test_serves_its_last_epoch_too():
    source = make_method(task="cls", select="best_on_test")
    source.adapt("carpet", support())
    prompts = source.memory_bank["carpet"].prompts
    prompts["cls"] = replace(prompts["cls"], prototypes=prompts["cls"].per_epoch[0])
    state = source.learnable_state()
    again, last = make_method(task="cls", select="best_on_test"), make_method(task="cls")
    again.load_learnable_state(state)
    last.load_learnable_state(state)
    assert torch.equal(again.memory_bank["carpet"].prompts["cls"].prototypes, prompts["cls"].per_epoch[0])
    assert torch.equal(last.memory_bank["carpet"].prompts["cls"].prototypes, prompts["cls"].per_epoch[-1])


def test_scoring_only_settings_leave_what_is_fitted_as_it_is():
    plain = fitted().learnable_state()
    changes = {
        "test_channel_order": "rgb",
        "guidance": "prompt",
        "select": "best_on_test",
        "resolution": 12,
        "map_blur_sigma": 1.0,
        "map_blur_truncate": 2.0,
    }
    assert changes.keys() == make_method().scoring_only
    other = fitted(**changes).learnable_state()
    assert plain.keys() == other.keys()
    assert all(torch.equal(value, other[key]) for key, value in plain.items())
