"""NumPy sorts with AVX2 on AMD Zen 4, and with what it likes elsewhere."""

import os
from pathlib import Path

import pytest

from adbench.cli import processor

GENOA = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC 9654
flags\t\t: fpu avx2 avx512f avx512_vbmi2

processor\t: 1
vendor_id\t: other
"""


@pytest.mark.parametrize(
    ("was", "now", "slow"),
    [
        ("", "", True),
        (": 17\n", ": 24\n", True),  # Threadripper 7000
        (": 17\n", ": 97\n", True),  # Ryzen 7000
        (": 17\n", ": 160\n", True),  # EPYC 8004
        (": 17\n", ": 1\n", False),  # Zen 3
        ("family\t: 25", "family\t: 26", False),  # Zen 5
        ("AuthenticAMD", "GenuineIntel", False),
        (" avx512f avx512_vbmi2", "", False),  # turned off by the host
    ],
)
def test_zen4_is_known_by_its_family_and_model(
    was: str, now: str, slow: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(GENOA.replace(was, now) if was else GENOA, encoding="utf-8")
    monkeypatch.setattr(processor, "_CPU_INFO", info)
    monkeypatch.setenv("NPY_DISABLE_CPU_FEATURES", "undone behind the test")
    monkeypatch.delenv("NPY_DISABLE_CPU_FEATURES")
    processor.suit_processor()
    assert ("NPY_DISABLE_CPU_FEATURES" in os.environ) == slow


def test_what_the_user_says_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(GENOA, encoding="utf-8")
    monkeypatch.setattr(processor, "_CPU_INFO", info)
    monkeypatch.setenv("NPY_DISABLE_CPU_FEATURES", "AVX512_ICL")
    processor.suit_processor()
    assert os.environ["NPY_DISABLE_CPU_FEATURES"] == "AVX512_ICL"


def test_another_system_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_CPU_INFO", tmp_path / "none")
    monkeypatch.setenv("NPY_DISABLE_CPU_FEATURES", "")
    monkeypatch.delenv("NPY_DISABLE_CPU_FEATURES")
    processor.suit_processor()
    assert "NPY_DISABLE_CPU_FEATURES" not in os.environ
