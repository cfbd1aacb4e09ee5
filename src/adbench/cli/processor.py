"""What the numerical libraries are told before they load, so that they suit each other and the processor."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
_ZEN4_MODELS = {*range(0x10, 0x20), *range(0x60, 0x80), *range(0xA0, 0xB0)}  # of family 25: EPYC 9004, Ryzen 7000
_AVX512 = "X86_V4 AVX512_ICL"
_AVX512_BEFORE_NUMPY_2_4 = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL"


def suit_processor() -> None:
    """Set what is read when NumPy, PyTorch and scikit-learn load, where the environment does not say otherwise."""
    # torch and scikit-learn each bring OpenMP threads of their own. Waiting busily, those of one starve the other's:
    # k-means between two passes of the towers becomes ten times as slow.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Zen 4 stores compressed vectors in microcode, and NumPy's sort with AVX-512 does little else: with AVX2 it is five
    # to eight times as fast (github.com/numpy/x86-simd-sort/issues/6).
    if _is_zen4():
        major, minor = metadata.version("numpy").split(".")[:2]
        names = _AVX512 if (int(major), int(minor)) >= (2, 4) else _AVX512_BEFORE_NUMPY_2_4
        os.environ.setdefault("NPY_DISABLE_CPU_FEATURES", names)


def _is_zen4() -> bool:
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:  # another system
        return False
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if (facts.get("vendor_id"), facts.get("cpu family")) != ("AuthenticAMD", "25") or "avx512f" not in facts["flags"]:
        return False
    return int(facts["model"]) in _ZEN4_MODELS
