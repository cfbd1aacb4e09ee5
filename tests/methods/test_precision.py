"""A method computes in the precision of its backbone, which other methods share."""

from __future__ import annotations

import pytest
import torch

from adbench import methods
from adbench.errors import UserError
from tiny import make_tiny_clip

SETTINGS = {"anomalyclip": {"n_ctx": 6, "deep_depth": 3, "dpam_layer": 3, "features_list": [4]}, "winclip": {}}


def build(name):
    return methods.build(name, make_tiny_clip(), **SETTINGS[name])


@pytest.mark.parametrize("name", ["winclip", "anomalyclip"])
@pytest.mark.parametrize(
    "move", [torch.nn.Module.double, torch.nn.Module.half, torch.nn.Module.bfloat16, lambda m: m.to(torch.float64)]
)
def test_another_precision_than_the_backbones_is_refused(name, move):
    method = build(name)
    with pytest.raises(UserError, match=r"its backbone in float32.*method\.clip\.to\(torch\."):
        move(method)
    assert method.clip.dtype == torch.float32
    assert all(value.dtype == torch.float32 for value in method.parameters())


def test_moves_to_the_same_precision_or_a_device_go_on():
    method = build("anomalyclip")
    assert method.to("cpu") is method
    assert method.float() is method
    assert method.to("meta").ctx_pos.device.type == "meta"
