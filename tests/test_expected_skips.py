"""A run with the plugin passes only while nothing is skipped but for the reasons that are listed."""

import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

LISTED = {
    "test_file.py": "def test_a():\n    pytest.skip('/x/y.zip is not there: set FER2013_ZIP')",
    "test_fails.py": "@pytest.mark.xfail\ndef test_a():\n    assert False",
}
NOT_LISTED = {
    "test_called.py": ("def test_a():\n    pytest.skip('not today')", "test_called.py::test_a: not today"),
    "test_marked.py": (
        "@pytest.mark.skipif(True, reason='never')\ndef test_a():\n    pass",
        "test_marked.py::test_a: never",
    ),
    "test_imports.py": ("pytest.importorskip('nowhere')", "could not import 'nowhere'"),
}


@pytest.mark.parametrize("processes", [0, 1])
def test_a_skip_for_a_reason_that_is_not_listed_fails_the_run(processes, tmp_path):
    def run() -> subprocess.CompletedProcess:
        command = ["-m", "pytest", "-q", "-p", "tests.expected_skips", "-n", str(processes), "-c", os.devnull, tmp_path]
        return subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )

    (tmp_path / "test_other.py").write_text("def test_other():\n    pass\n")
    for name, body in LISTED.items():
        (tmp_path / name).write_text(f"import pytest\n\n{body}\n")
    passes = run()
    assert passes.returncode == 0, passes.stdout + passes.stderr
    assert "unexpected skip: " not in passes.stdout
    for name, (body, _) in NOT_LISTED.items():
        (tmp_path / name).write_text(f"import pytest\n\n{body}\n")
    fails = run()
    assert fails.returncode == 1, fails.stdout + fails.stderr
    assert fails.stdout.count("unexpected skip: ") == len(NOT_LISTED)
    for _, says in NOT_LISTED.values():
        assert says in fails.stdout
