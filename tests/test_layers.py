"""Layers import leftwards only: metrics, clip, data <- methods <- engine <- report and its like <- api <- cli."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import adbench
from adbench import methods

PACKAGE = Path(adbench.__file__).parent
RANKS = {
    "metrics": 1,
    "clip": 1,
    "data": 1,
    "methods": 2,
    "engine": 3,
    "report": 4,
    "parity": 4,
    "demo": 4,
    "contract": 4,
    "bench": 4,
    "api": 5,
    "cli": 6,
}
# Modules that every layer may use; they use none.
GROUND = ("errors", "atomic", "plugins", "shipped", "weight_files")

FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(file: Path) -> str:
    return str(file.relative_to(PACKAGE))


def layer_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports(file: Path, *, at_import_time: bool = False) -> Iterator[str]:
    """Absolute names of what `file` imports; with `at_import_time`, only what importing it runs."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = list(run_at_import(tree.body)) if at_import_time else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from adbench import metrics` imports adbench.metrics; a leading dot means the file's own package.
            above = file.relative_to(PACKAGE.parent).parts[: -node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def run_at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from run_at_import(node.orelse)
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            yield from run_at_import(
                [part for part in ast.walk(node) if isinstance(part, ast.stmt) and part is not node]
            )
        else:
            yield node


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_point_left(file: Path) -> None:
    parts = file.relative_to(PACKAGE).parts
    own = parts[0].removesuffix(".py")
    if own in ("__main__", "__init__"):
        return
    for module in imports(file):
        target = layer_of(module) if module.startswith("adbench.") else ""
        if own in GROUND:
            assert target not in RANKS, f"{name_of(file)} imports {module}"
        elif target in RANKS and target != own:
            assert RANKS[target] < RANKS[own], f"{name_of(file)} imports {module}"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_hydra_stays_in_the_cli(file: Path) -> None:
    if file.is_relative_to(PACKAGE / "cli"):
        return
    assert not [module for module in imports(file) if module.split(".")[0] in ("hydra", "omegaconf")]


@pytest.mark.parametrize("file", sorted((PACKAGE / "cli").glob("*.py")), ids=name_of)
def test_the_cli_imports_torch_in_functions_only(file: Path) -> None:
    heavy = ("torch", "open_clip", "hydra", "omegaconf", "rich")
    assert not [module for module in imports(file, at_import_time=True) if module.split(".")[0] in heavy]


@pytest.mark.parametrize(
    "module",
    [
        "adbench",
        "adbench.errors",
        "adbench.atomic",
        "adbench.metrics",
        "adbench.data.catalogue",
        "adbench.engine.settings",
        "adbench.engine.run_folder",
        "adbench.cli.main",
        "adbench.cli.config",
    ],
)
def test_light_modules_leave_torch_alone(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_heavy_libraries_are_imported_where_they_are_used(file: Path) -> None:
    slow = ("sklearn", "scipy", "skimage", "transformers", "tensorboard")
    assert not [module for module in imports(file, at_import_time=True) if module.split(".")[0] in slow]


def test_one_method_does_not_import_the_others() -> None:
    code = """import sys
from adbench.methods import method_class
assert method_class("winclip").name == "winclip"
for other in ("adbench.methods.adaclip", "adbench.methods.vl4ad", "sklearn", "scipy"):
    assert other not in sys.modules, other"""
    subprocess.run([sys.executable, "-c", code], check=True)


def named_methods(file: Path) -> set[str]:
    """Methods, other than that whose module or parity module it is, that a file imports or asks for by name."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    own = parts[parts.index("methods") + 1] if "methods" in parts[:-1] else ""
    texts = {node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)}
    modules = {module.split(".")[2] for module in imports(file) if module.startswith("adbench.methods.")}
    return (texts | modules) & set(methods.names()) - {own}


# What the demo shows, the floor that bench leaves out, and support sets called after the papers that published them.
NAMED = {
    "cli/bench.py": {"median_colour"},
    "cli/demo.py": {"adaclip", "clip_zeroshot", "median_colour"},
    "data/support_sources.py": {"inctrl", "promptad"},
}


def test_nobody_asks_for_a_method_by_name() -> None:
    """A method is one module and its YAML: registries, facts and settings are all that others know of it."""
    asked = {file.relative_to(PACKAGE).as_posix(): named_methods(file) for file in FILES}
    assert {name: found for name, found in asked.items() if found} == NAMED


# These stand in help texts and comments, to make them clear. The next method needs none of them edited.
EXAMPLES = {
    *("adaclip", "anomalyclip", "clip_zeroshot", "faprompt", "inctrl", "median_colour", "promptad", "vl4ad", "winclip"),
}


@pytest.mark.parametrize("method", sorted({*methods.names()} - EXAMPLES))
def test_other_methods_are_named_in_their_own_modules_alone(method: str) -> None:
    folders = ("methods", "parity/methods")
    own = [PACKAGE / folder / name for folder in folders for name in (method, f"{method}.py")]
    others = [file for file in FILES if not any(file.is_relative_to(place) for place in own)]
    assert [name_of(f) for f in others if re.search(rf"\b{method}\b", f.read_text().lower().replace("-", ""))] == []


def test_no_two_modules_import_each_other() -> None:
    """Not for types and not within functions either: of two such modules neither can be read alone."""
    modules = {".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts): file for file in FILES}
    used = {
        name: {module if module in modules else module.rpartition(".")[0] for module in imports(file)} - {name}
        for name, file in modules.items()
    }
    assert not [(name, other) for name in modules for other in used[name] & set(modules) if name in used[other]]


def test_every_layer_is_ranked() -> None:
    folders = {file.parent.name for file in PACKAGE.glob("*/__init__.py")}
    assert folders - set(GROUND) == set(RANKS)


def test_this_test_sees_a_wrong_import(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text("def f():\n    from adbench import report\n\nif True:\n    import torch\n")
    assert sorted(imports(file)) == ["adbench.report", "torch"]
    assert list(imports(file, at_import_time=True)) == ["torch"]
