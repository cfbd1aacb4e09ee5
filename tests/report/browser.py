"""A headless Chromium, spoken to by chromedriver's own protocol: nothing to install beside the two programs."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest

DRIVER, CHROMIUM = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(not (DRIVER and CHROMIUM), reason="needs chromium and chromedriver")


class Browser:
    """One tab."""

    def __init__(self, address):
        self._address = address

    def _ask(self, path, **content):
        request = urllib.request.Request(f"{self._address}/{path}", json.dumps(content).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]

    def show(self, page, width, *, dark=False):
        """Open a file, or an address, in a window of `width` pixels."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._ask("goog/cdp/execute", cmd="Emulation.setDeviceMetricsOverride", params=size)
        self._ask("goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params={"features": scheme})
        self._ask("url", url=page if str(page).startswith("http") else Path(page).resolve().as_uri())

    def send(self, selector, text):
        """Type a text into the element that a CSS selector names; into one for files: their paths, one a line."""
        (element,) = self._ask("element", using="css selector", value=selector).values()
        self._ask(f"element/{element}/value", text=text)

    def click(self, selector):
        """Click on the element that a CSS selector names."""
        (element,) = self._ask("element", using="css selector", value=selector).values()
        self._ask(f"element/{element}/click")

    def screenshot(self):
        """What the window shows, as PNG."""
        with urllib.request.urlopen(f"{self._address}/screenshot", timeout=120) as answer:
            return base64.b64decode(json.load(answer)["value"])

    def run(self, script):
        """What a function body of JavaScript returns."""
        return self._ask("execute/sync", script=script, args=[])


@contextlib.contextmanager
def opened(profile):
    """A browser, whose profile lies in a folder."""
    driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        line = next(line for line in driver.stdout if "successfully on port" in line)
        port = line.rpartition("on port")[2].strip().rstrip(".")
        root = f"http://127.0.0.1:{port}"
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        options = {"goog:chromeOptions": {"binary": CHROMIUM, "args": arguments}}
        content = json.dumps({"capabilities": {"alwaysMatch": options}}).encode()
        with urllib.request.urlopen(f"{root}/session", content, timeout=120) as answer:
            session = f"{root}/session/{json.load(answer)['value']['sessionId']}"
        try:
            yield Browser(session)
        finally:
            urllib.request.urlopen(urllib.request.Request(session, method="DELETE"), timeout=60).close()
    finally:
        driver.terminate()
        driver.wait()
        driver.stdout.close()
