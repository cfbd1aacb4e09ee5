"""open_clip without timm, transformers and PyTorch's compiler, until they are needed."""

import subprocess
import sys

import pytest

_TIMM = """
import sys
from adbench.clip import load_clip
load_clip("demo")
print(sorted({"timm", "transformers", "torch._dynamo"} & set(sys.modules)))
load_clip("toy_convnext")
print("timm" in sys.modules)
"""
_OTHERS = """
from adbench.clip import load_clip
load_clip("demo")
import torch, torchvision, open_clip
print(torchvision.ops.roi_align(torch.ones(1, 1, 8, 8), torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]]), 1).item())
print(torchvision.ops.roi_align.__globals__["is_compile_supported"]("cpu"), "trace_rules" in dir(torch._dynamo))
from transformers import BertConfig
sizes = dict(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4)
tower = open_clip.hf_model.HFTextEncoder("", 3, config=BertConfig(**sizes), proj_type="linear", pretrained=False)
print(tuple(tower(torch.ones(2, 5, dtype=torch.long)).shape))
"""


def _lines(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_timm_comes_with_a_tower_of_its_own_and_not_before():
    assert _lines(_TIMM) == ["[]", "True"]


@pytest.mark.slow
def test_other_libraries_come_when_others_use_them():
    pytest.importorskip("transformers")
    assert _lines(_OTHERS) == ["1.0", "True True", "(2, 3)"]
