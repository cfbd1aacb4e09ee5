"""The code blocks of README.md and docs/: what they hold, and how their commands are run or checked.

```sh                       every line is a command (bash, console, shell too; in a console block, where a line begins
                            with "$ ", only such lines are)
```python                   run as one piece; the blocks of a page share their names
```ANY title="FILE"         written to FILE, not run
<!-- needs: SOMETHING -->   on the line before a block: only checked: settings compose, files may be missing
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SHELLS = ("sh", "bash", "console", "shell")

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)(?P<rest>.*)$")
_NEEDS = re.compile(r"^ *<!-- needs: (.+?) -->$")
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A fenced block: `line` is that of its first line of content, `needs` what it takes to run it."""

    page: Path
    line: int
    language: str
    title: str | None
    needs: str | None
    text: str

    @property
    def place(self) -> str:
        """Where it stands, for a message."""
        return f"{name_of(self.page)}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The commands of a shell block, without comments; lines that end with a backslash are joined."""
        if self.language not in SHELLS or self.title:
            return []
        lines = re.sub(r"\\\n *", " ", self.text).splitlines()
        prompted = [line.strip()[2:] for line in lines if line.strip().startswith("$ ")]
        stripped = [line.strip() for line in prompted or lines]
        return [line for line in stripped if line and not line.startswith("#")]


def pages() -> list[Path]:
    """README.md and every page below docs/, sorted."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("**/*.md"))]


def name_of(page: Path) -> str:
    """The page's path in the repository: what a test is called by."""
    return str(page.relative_to(REPOSITORY))


def blocks_of(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page in order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    number, before = 0, ""
    while number < len(lines):
        if not (fence := _FENCE.match(lines[number])):
            before = lines[number] if lines[number].strip() else before
            number += 1
            continue
        end = next(k for k in range(number + 1, len(lines)) if lines[k].strip() == "```")
        indent = len(fence["indent"])
        title, needs = _TITLE.search(fence["rest"]), _NEEDS.match(before)
        yield Block(
            page,
            number + 2,
            fence["language"],
            title and title[1],
            needs and needs[1],
            "\n".join(line[indent:] for line in lines[number + 1 : end]) + "\n",
        )
        number, before = end + 1, ""


def adbench_words(command: str) -> list[str] | None:
    """The words behind `python -m adbench` (or torchrun's `-m adbench`, or `adbench-clip`); None: another command."""
    words = shlex.split(command, comments=True)
    if words[:3] == ["python", "-m", "adbench"]:
        return words[3:]
    if words[:1] == ["adbench-clip"]:
        return words[1:]
    if "torchrun" in words and "adbench" in words:
        return words[words.index("adbench") + 1 :]
    return None
