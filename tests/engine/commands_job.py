"""Commands of adbench one after another on the ranks that torchrun has started: loading libraries takes longest.

usage: torchrun ... -m engine.commands_job COMMANDS.json     a list of lists of words
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from adbench.cli.main import main
from adbench.engine import ranks

if __name__ == "__main__":
    with ranks.joined(torch.device("cpu")):
        sys.exit(max(main(words) for words in json.loads(Path(sys.argv[1]).read_text())))
