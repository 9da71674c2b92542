"""A run with the plugin passes only while nothing is skipped but for the reasons that are listed."""

import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ("def test_a():\n    pytest.skip('/x/y.zip is not there: set FER2013_ZIP')", 0, ""),
        ("@pytest.mark.xfail\ndef test_a():\n    assert False", 0, ""),
        ("def test_a():\n    pytest.skip('not today')", 1, "test_some.py::test_a: not today"),
        ("@pytest.mark.skipif(True, reason='never')\ndef test_a():\n    pass", 1, "test_some.py::test_a: never"),
        ("pytest.importorskip('nowhere')", 1, "could not import 'nowhere'"),
    ],
)
@pytest.mark.parametrize("processes", [0, 1])
def test_a_skip_for_a_reason_that_is_not_listed_fails_the_run(body, code, says, processes, tmp_path):
    (tmp_path / "test_some.py").write_text(f"import pytest\n\n{body}\n")
    (tmp_path / "test_other.py").write_text("def test_other():\n    pass\n")
    command = ["-m", "pytest", "-q", "-p", "tests.expected_skips", "-n", str(processes), "-c", os.devnull, tmp_path]
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert ("unexpected skip: " in done.stdout) == bool(says)
    assert says in done.stdout
