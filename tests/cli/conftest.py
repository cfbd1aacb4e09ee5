"""One training run that the tests of whole commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from adbench.cli.main import main
from cli.few_pictures import TRAIN, write_pictures


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with pictures/, others/ and a finished training run in outputs/. Not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    write_pictures(folder / "pictures" / "paper")
    write_pictures(folder / "others" / "cloth", first_seed=50)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", *TRAIN]) == 0
    return folder
