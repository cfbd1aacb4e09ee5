"""Images whose masks nobody has drawn: they teach scores, never maps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from adbench.methods import build, method_class
from small_methods import TRAINED, small_settings
from tiny import make_batch, make_tiny_clip, rows

NAMES = [name for name in TRAINED if not method_class(name).in_context]


def make_method(name, **settings):
    torch.manual_seed(0)
    return build(name, make_tiny_clip(), **small_settings(name, use_hsf=False), **settings)


def losses(method, batch):
    return method.loss(method.encode(batch), batch)


def pixel_terms(terms):
    return {name: value for name, value in terms.items() if name.startswith(("pixel", "focal", "dice"))}


@pytest.mark.parametrize("name", NAMES)
def test_pixel_losses_are_those_of_the_annotated_images(name):
    method, batch = make_method(name), make_batch()
    wrong = replace(batch, masks=batch.masks.clone(), annotated=[True, True, True, False])
    wrong.masks[3] = False
    terms, expected = losses(method, wrong), pixel_terms(losses(method, rows(batch, slice(0, 3))))
    assert expected
    for key, value in expected.items():
        assert_close(terms[key], value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", [{"masks": None}, {"annotated": [False] * 4}], ids=["no masks", "none known"])
def test_without_annotation_only_image_losses_are_left(name, change):
    method, batch = make_method(name), make_batch()
    whole, terms = losses(method, batch), losses(method, replace(batch, **change))
    assert terms
    assert terms.keys() == whole.keys() - pixel_terms(whole).keys()
    for key, value in terms.items():
        assert_close(value, whole[key])


def test_what_each_method_learns_from():
    assert [make_method(name).learns_from_masks for name in NAMES] == ["also"] * len(NAMES)
    assert make_method("faprompt", global_losses=()).learns_from_masks == "only"
    assert make_method("faprompt", local_weights=(0.0, 0.0)).learns_from_masks == "not"
