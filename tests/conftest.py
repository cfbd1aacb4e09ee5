"""Fixtures shared by all tests, and what the generated ones are generated from."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tiny import make_tiny_clip

# The same inputs on every machine at every run; a busy machine is no fault.
settings.register_profile(
    "repeatable",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("repeatable")


@pytest.fixture
def tiny_clip():
    """A classic CLIP of a few thousand weights."""
    return make_tiny_clip()


# A GPU, data whose licences forbid shipping them, and a browser may be absent from where everything else must run.
MAY_BE_ABSENT = ("needs CUDA", "no real data here", "needs chromium")


def pytest_addoption(parser):
    parser.addoption(
        "--complete",
        action="store_true",
        help="fail where a test is skipped for want of more than a GPU, real data or a browser: of an extra, say",
    )


def pytest_configure(config):
    """Tests see a GPU with `-m cuda` alone: elsewhere `device=auto` would take it, and its last bits are its own."""
    if "cuda" not in config.getoption("markexpr").replace("not cuda", ""):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not session.config.getoption("--complete") or reporter is None:
        return
    skipped = [report for report in reporter.stats.get("skipped", []) if isinstance(report.longrepr, tuple)]
    missing = [report for report in skipped if not any(reason in report.longrepr[2] for reason in MAY_BE_ABSENT)]
    if missing:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line("")
        for report in missing:
            reporter.write_line(f"--complete: not run: {report.nodeid}: {report.longrepr[2]}", red=True)
