"""A pytest plugin: it fails the run when a test is skipped for a reason other than those listed here.

conftest.py loads it, so that a test which no longer runs does not go unnoticed.
"""

import re

import pytest

EXPECTED = (
    r"is not there: set (FER2013_ZIP|ORIGINAL_CNN)$",  # The real data are not published with the code.
    r"^mounting a small file system takes root$",
    r"^cannot mount a small file system: ",  # Containers may forbid it to root too.
    r"^no Chromium is installed$",
    r"^\w+ is not installed: apt-get install xvfb xdotool$",
    r"^this machine has a GPU to be found$",
    r"^there is a GPU here$",
    r"^this machine has no address on a network$",
)
"""What a machine may lack, or have, so that some tests have nothing to test there."""
_unexpected: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _unexpected and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for skip in _unexpected:
        terminalreporter.write_line(f"unexpected skip: {skip}", red=True)


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    _, _, said = report.longrepr  # type: ignore[misc]
    reason = str(said).removeprefix("Skipped: ")
    if not any(re.search(expected, reason) for expected in EXPECTED):
        _unexpected.append(f"{report.nodeid}: {reason}")
