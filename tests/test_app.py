"""The page for a detector: what it says of pictures, and that a browser can work it."""

from __future__ import annotations

import importlib.util
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import adbench
from adbench.api import app as page
from adbench.cli import app as command
from adbench.cli.main import main
from adbench.errors import UserError
from cli.few_pictures import write_pictures
from report.browser import needs_browser, opened
from tiny import make_tiny_clip

needs_gradio = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="needs the extra: pip install 'adbench-clip[app]'"
)


@pytest.fixture
def detector() -> adbench.Detector:
    return adbench.Detector(adbench.build("clip_zeroshot", make_tiny_clip()), device="cpu")


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    write_pictures(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    return [str(tmp_path / name) for name in ("good/0.png", "bad/0.png", "broken.png")]


def test_rows_are_those_of_the_detector(detector: adbench.Detector, files: list[str]) -> None:
    good, bad = detector.predict(files[:2], class_name="metal_nut")
    middle = (good.score + bad.score) / 2
    summary, rows, maps = page._scored(detector, files, "metal_nut", None, middle)
    assert rows == [
        ["0.png (1)", f"{good.score:.4g}", "anomalous" if good.score > middle else "normal"],
        ["0.png (2)", f"{bad.score:.4g}", "anomalous" if bad.score > middle else "normal"],
        ["broken.png", "", "not read"],
    ]
    assert "2 pictures scored, 1 anomalous" in summary
    assert "prompts say “metal nut”" in summary
    assert "broken.png: image file cannot be read" in summary
    low, high = min(map(float, (good.map.min(), bad.map.min()))), max(map(float, (good.map.max(), bad.map.max())))
    assert f"colours from {low:.3g} to {high:.3g}" in summary
    assert [image.size for image, _ in maps] == [(64, 64), (64, 64)]
    assert maps[1][1] == f"{bad.score:.4g} · {rows[1][2]} · 0.png (2)"  # the score first: the end of long ones is cut


def test_the_calibrated_threshold_is_taken_and_without_one_there_are_no_verdicts(
    detector: adbench.Detector, files: list[str]
) -> None:
    summary, rows, _ = page._scored(detector, files[:1], "object", None, None)
    assert "no threshold is known" in summary
    assert rows[0][2] == ""
    write_pictures(Path(files[0]).parents[1] / "more", n=29, first_seed=100)
    normals = sorted((Path(files[0]).parents[1] / "more" / "good").iterdir())
    found = detector.calibrate(normals, fpr=0.1)
    summary, rows, _ = page._scored(detector, files[:1], "object", None, None)
    assert f"threshold {found.value:.6g}" in summary
    assert rows[0][2] in ("normal", "anomalous")


def test_an_empty_threshold_is_none_and_words_are_refused() -> None:
    assert [page._number(text) for text in ("", " ", "0", "-1.5e-3")] == [None, None, 0.0, -0.0015]
    for text in ("high", "nan", "inf"):
        with pytest.raises(UserError, match=f"no number: {text}"):
            page._number(text)


def test_a_transductive_method_scores_the_pictures_of_the_page_together(files: list[str]) -> None:
    detector = adbench.Detector(adbench.build("musc", make_tiny_clip()), device="cpu")
    pictures = sorted(str(path) for path in Path(files[0]).parents[1].glob("*/*.png"))
    together = detector.predict(pictures)
    _, rows, _ = page._scored(detector, pictures, "object", None, None)
    assert [row[1] for row in rows] == [f"{one.score:.4g}" for one in together]


def test_without_the_extra_one_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(page.importlib.util, "find_spec", lambda name: None)
    assert main(["app", "method=clip_zeroshot", "clip=demo"]) == 2
    assert capsys.readouterr().err == ("adbench: error: the app needs gradio. Pip install 'adbench-clip[app]'\n")


@needs_gradio
def test_the_command_serves_until_it_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "time", SimpleNamespace(sleep=interrupt))
    assert main(["app", "method=clip_zeroshot", "clip=demo", "class_name=gear"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("http://127.0.0.1:")
    assert "prompts say  gear" in said.err
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((page.LOOPBACK, int(said.out.strip().rstrip("/").rpartition(":")[2])), timeout=5)


@needs_gradio
def test_a_port_that_is_taken_is_named(detector: adbench.Detector) -> None:
    with socket.socket() as taken:
        taken.bind((page.LOOPBACK, 0))
        taken.listen()
        with pytest.raises(UserError, match=f"port cannot be had.*{taken.getsockname()[1]}"):
            page.serve(page.make_app(detector), port=taken.getsockname()[1])
    with pytest.raises(UserError, match=r"port cannot be had.*99999"):
        page.serve(page.make_app(detector), port=99999)


@needs_gradio
@needs_browser
@pytest.mark.slow
def test_pictures_are_scored_in_a_browser(
    detector: adbench.Detector, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (bad,) = detector.predict(files[1], class_name="metal nut")
    (tmp_path / "what_a_camera_calls_a_picture_2024-11-29T20-15-33.tga").write_text("dropped along with the pictures")
    files = [*files, str(tmp_path / "what_a_camera_calls_a_picture_2024-11-29T20-15-33.tga")]
    app = page.make_app(detector, class_name="metal nut")
    address = page.serve(app)
    try:
        assert address.startswith("http://127.0.0.1:")
        with opened(tmp_path / "profile") as browser:
            for width in (1400, 390):
                browser.show(address, width)
                wait(browser, "document.querySelector('input[type=file]')")
                browser.send("input[type=file]", "\n".join(files[1:]))
                wait(browser, "document.querySelector('#table').innerText.includes('not read')")
                assert f"{bad.score:.4g}" in browser.run("return document.querySelector('#table').innerText")
                assert "no threshold is known" in browser.run("return document.querySelector('#summary').innerText")
                wait(browser, "[...document.querySelectorAll('#maps img')].some(image => image.naturalWidth == 64)")
                browser.send("#threshold textarea, #threshold input", f"{bad.score - 0.01}\ue007")  # Enter
                wait(browser, "document.querySelector('#table').innerText.includes('anomalous')")
                assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
                verdict = "[...document.querySelectorAll('#table *')].find(cell => cell.innerText == 'anomalous')"
                assert browser.run(f"return {verdict}.getBoundingClientRect().right <= window.innerWidth - 16")
                elsewhere = "return performance.getEntriesByType('resource').filter(r => !r.name.includes('127.0.0.1'))"
                assert browser.run(elsewhere + ".map(r => r.name).filter(name => name.startsWith('http'))") == []
    finally:
        app.close(verbose=False)


def wait(browser, condition: str) -> None:
    """Until a condition in JavaScript holds, a minute at most."""
    for _ in range(240):
        if browser.run(f"return Boolean({condition})"):
            return
        time.sleep(0.25)
    pytest.fail(f"did not come true: {condition}")
