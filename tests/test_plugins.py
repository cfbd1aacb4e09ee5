"""Methods and data sets of others: from files that are named, from installed packages, never from a weights file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import adbench
from adbench import methods
from adbench.data import catalogue
from adbench.errors import UserError
from adbench.plugins import METHODS, is_file, load_plugin
from plugged import DATA, METHOD, forgotten, write_plugin
from tiny import make_tiny_clip


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    with forgotten():
        yield


def install(folder: Path, group: str, entry: str, module: str, text: str) -> None:
    """What pip leaves of a package `shelves` 2.1 with one module and one entry point."""
    folder.mkdir()
    (folder / f"{module}.py").write_text(text, encoding="utf-8")
    about = folder / "shelves-2.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shelves\nVersion: 2.1\n")
    (about / "entry_points.txt").write_text(f"[{group}]\n{entry}\n")


def test_what_a_plugin_file_is_called() -> None:
    assert is_file("./mine.py")
    assert is_file("folder/mine.py:two")
    assert not is_file("winclip")


def test_a_file_adds_a_method_whose_settings_are_checked(tmp_path: Path) -> None:
    file = write_plugin(tmp_path / "mine.py", METHOD)
    assert load_plugin(file) == ["colour"]
    assert "colour" in methods.names()
    method = methods.build("colour", make_tiny_clip(), gain=3)
    assert method.hyperparameters == {"gain": 3.0, "norm": "l2"}
    assert method.plugin is not None
    assert method.plugin["place"] == str(file)
    with pytest.raises(UserError, match=r"method\.gain is -1.*above 0"):
        methods.build("colour", make_tiny_clip(), gain=-1)
    with pytest.raises(UserError, match=r"unknown setting 'method\.gian'.*method\.gain"):
        methods.build("colour", make_tiny_clip(), gian=1)


def test_a_file_adds_a_data_set(tmp_path: Path) -> None:
    assert adbench.load_plugin(write_plugin(tmp_path / "mine.py", DATA)) == ["shelf"]
    assert "shelf" in catalogue.names()
    with pytest.raises(UserError, match=r"data\.suffix is 3"):
        catalogue.get("shelf").check_options({"suffix": 3})


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"shelf"', '"my/shelf"', "a data set is called 'my/shelf'"),
        ('"shelf"', '"my.shelf"', "a data set is called 'my.shelf'"),
        (' = ".png"', "", "'suffix' of data set shelf has no default"),
        ("suffix: str", "broken: str", "'broken' of data set shelf is called as one of all sets"),
    ],
)
def test_a_data_set_that_settings_cannot_name_is_refused(tmp_path: Path, before: str, after: str, said: str) -> None:
    text = DATA.replace(before, after)
    assert text != DATA
    with pytest.raises(UserError, match=rf"{said}.*mine\.py"):
        load_plugin(write_plugin(tmp_path / "mine.py", text))


def test_a_file_is_run_once_and_an_edited_one_anew(tmp_path: Path) -> None:
    file = write_plugin(tmp_path / "mine.py", METHOD)
    load_plugin(file)
    first = methods.method_class("colour")
    load_plugin(file)
    assert methods.method_class("colour") is first
    load_plugin(write_plugin(file, METHOD.replace("= 2.0", "= 4.0")))
    assert methods.method_class("colour").hyperparameter_defaults()["gain"] == 4.0


def test_the_file_that_was_named_last_counts(tmp_path: Path) -> None:
    here, there = (write_plugin(tmp_path / name, METHOD + f"# {name}") for name in ("a.py", "b.py"))
    for file in (here, there, here):
        assert METHODS.from_file(str(file)) == "colour"
        assert METHODS.source("colour").place == str(file)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("import nothing_so_called", "ModuleNotFoundError.*line 1"),
        ("\n\ndef (", "SyntaxError.*line 3"),
        ("x = 1", "registers no method"),
        ("import sys\nsys.exit(3)", "SystemExit"),
        (METHOD.replace('"colour"', '"winclip"'), "'winclip', as one of adbench itself is"),
        (METHOD + METHOD, "a method is called 'colour', as one of .*mine.py is"),
    ],
)
def test_a_faulty_file_is_one_line(tmp_path: Path, text: str, fault: str) -> None:
    file = write_plugin(tmp_path / "mine.py", text)
    with pytest.raises(UserError, match=fault) as raised:
        METHODS.from_file(str(file))
    assert str(file) in str(raised.value)
    assert "colour" not in METHODS.entries  # nothing of a file that fails stays


def test_of_several_methods_in_a_file_one_is_named(tmp_path: Path) -> None:
    further = METHOD.replace('"colour"', '"shade"').replace("class Colour", "class Shade")
    file = write_plugin(tmp_path / "mine.py", METHOD + further.replace("from __future__", "#"))
    with pytest.raises(UserError, match=r"registers colour, shade.*method=.*mine\.py:colour"):
        METHODS.from_file(str(file))
    assert METHODS.from_file(f"{file}:shade") == "shade"
    with pytest.raises(UserError, match=r"unknown method 'shadow'.*shade"):
        METHODS.from_file(f"{file}:shadow")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read: No such file.*mine\.py"):
        load_plugin(tmp_path / "mine.py")


def test_an_installed_package_adds_a_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site", "adbench.methods", "colour = shelf_methods", "shelf_methods", METHOD)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert "colour" in methods.names()
    method = methods.build("colour", make_tiny_clip())
    assert method.plugin is not None
    assert method.plugin["place"] == "shelves 2.1"


def test_an_installed_package_adds_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site", "adbench.datasets", "shelf = shelf_data:index", "shelf_data", DATA)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert "shelf" in catalogue.names()
    assert catalogue.get("shelf").title == "Things on a shelf"


def test_an_installed_package_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site", "adbench.methods", "colour = broken_methods", "broken_methods", "1 / 0")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert "winclip" in methods.names()  # others are not kept from working
    with pytest.raises(UserError, match=r"ZeroDivisionError.*shelves 2\.1"):
        methods.method_class("colour")


def test_a_path_is_no_name(tmp_path: Path) -> None:
    """Names come out of weights files too: no file may be run for one."""
    trace = tmp_path / "trace"
    file = write_plugin(tmp_path / "evil.py", f"open({str(trace)!r}, 'w')" + METHOD)
    for name in (str(file), f"{file}:colour", "../evil.py", "evil.py"):
        with pytest.raises(UserError, match="unknown method"):
            methods.method_class(name)
    assert not trace.exists()
