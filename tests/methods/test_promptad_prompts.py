"""PromptAD's prompts: sentences, tokens, nouns, suffixes, pairing; encoded together and alone."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from adbench.methods.promptad.prompts import encode_prompts
from adbench.methods.promptad.states import after_noun, noun, templates_of
from fitted_promptad import make_method
from tiny import make_tiny_clip


def test_prompts_are_the_sentences_of_the_specification():
    clip = make_tiny_clip()
    before = make_method(clip).job("metal_nut", "mvtec", "seg", {"local": torch.zeros(1, 1, 32)}).prompts
    after = make_method(clip, lap_position="after_noun", manual_form="after_noun")
    after = after.job("metal_nut", "mvtec", "seg", {"local": torch.zeros(1, 1, 32)}).prompts
    manual = [f"N N N N {state} metal nut." for state in ("damaged", "flawed", "abnormal", "imperfect", "blemished")]
    manual += [f"N N N N metal nut with {words}." for words in ("flaw", "defect", "damage")]
    own = ("a bent shape", "color stain", "a flipped orientation", "scratch")
    manual += [f"N N N N metal nut with {words}." for words in own]
    learned = ["N N N N A metal nut."] * 4
    assert torch.equal(before.ids, clip.tokenize(["N N N N metal nut.", *manual, *learned]))
    assert torch.equal(after.ids[1], clip.tokenize(["N N N N metal nut damaged."])[0])
    assert torch.equal(after.ids[-1], clip.tokenize(["N N N N metal nut A."])[0])
    assert before.abnormal_start.tolist() == [5] * 4
    assert after.abnormal_start.tolist() == [7] * 4


def test_bottles_learned_prompt_has_the_known_tokens():
    prompts = make_method().job("bottle", "mvtec", "cls", {"global": torch.zeros(1, 32)}).prompts
    assert prompts.ids[-1, :9].tolist() == [49406, 333, 333, 333, 333, 320, 5392, 269, 49407]
    assert prompts.counts == (3, 3 * 11, 12)


@pytest.mark.parametrize(("pairing", "pairs"), [("modulo", 4), ("product", 8)])
def test_pairing_of_two_with_four_contexts(pairing, pairs):
    prompts = make_method(n_pro=2, pairing=pairing).job("x", "d", "cls", {"global": torch.zeros(1, 32)}).prompts
    assert len(set(zip(prompts.normal[-8:].tolist(), prompts.abnormal.tolist(), strict=True))) == pairs
    assert prompts.normal[:6].tolist() == [0, 1] * 3


def test_suffixes_belong_to_the_classes_of_their_data_set():
    assert templates_of("screw", "visa") == templates_of("screw", "visa", "generic")
    assert templates_of("screw", "other", "own")[8:] == [
        "{} with manipulated front",
        "{} with scratch neck",
        "{} with scratch head",
    ]
    assert len(templates_of("screw", "mvtec", "generic")) == 8
    assert templates_of("capsule", "mvtec")[-1] == "{} squeezed with compression"
    assert templates_of("fryum", "visa").count("{} with colour spot") == 2
    counts = [len(templates_of(name, "", "own")) for name in ("toothbrush", "candle", "pcb4", "grid", "transistor")]
    assert counts == [10, 15, 15, 14, 12]


def test_nouns():
    assert [noun(name) for name in ("pcb3", "macaroni2", "bottle", "left_shoe")] == [
        "printed circuit board",
        "macaroni",
        "bottle",
        "left shoe",
    ]


def test_states_behind_the_noun():
    assert [after_noun(template) for template in ("damaged {}", "{} with flaw")] == ["{} damaged", "{} with flaw"]


def test_every_prompt_set_is_encoded_as_if_alone():
    method = make_method()
    features = {"global": torch.zeros(1, 32), "local": torch.zeros(1, 1, 32)}
    jobs = [method.job("carpet", "mvtec", "cls", features), method.job("pcb1", "visa", "seg", features)]
    sets = [(job.prompts, job.contexts) for job in jobs]
    for together, one in zip(encode_prompts(method.clip, sets), sets, strict=True):
        (alone,) = encode_prompts(method.clip, [one])
        assert_close(together.manual, alone.manual)
        assert_close(together.learned, alone.learned)


def test_context_of_another_prompt_changes_nothing():
    method = make_method(task="cls")
    job = method.job("carpet", "mvtec", "cls", {"global": torch.zeros(1, 32)})
    before = encode_prompts(method.clip, [(job.prompts, job.contexts)])[0]
    job.contexts.abnormal[1] += 1
    after = encode_prompts(method.clip, [(job.prompts, job.contexts)])[0]
    changed = (before.learned != after.learned).any(dim=1)
    assert changed.tolist() == [i % 4 == 1 for i in range(12)]
    assert torch.equal(before.normal, after.normal)
    assert torch.equal(before.manual, after.manual)
