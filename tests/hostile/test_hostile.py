"""Files that mean harm are refused in one line, soon, in little memory, and leave nothing behind."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.hostile import inputs, models

MEGABYTES, SECONDS = 400, 5
FAMILIES = {
    "images": inputs.images,
    "archives and tables": lambda: [*inputs.archives(), *inputs.tables()],
    "networks": lambda: [*models.networks(), *models.exports()],
    "texts": inputs.texts,
}

ADDRESSES = (
    "", " ", "a\0b", "file://[x", "file://[::1", "s3://", "s3:///x", "gs://", "S3://", "s3://KEY:SEC/RET@bucket/x",
    "s3://KEY:SEC?RET@bucket", "s3://a b/x", "s3://bucket/x?token=SECRET", "http://[::1/x", "ftp://user:SECRET@h/x",
    "gs://KEY:SECRET@b", "s3://\x1b[2J/x", "file:///%00", "x://y", "s3://-/x", "//KEY:SECRET@host",
)  # fmt: skip
SOURCES = (
    "http://[::1/x", "http://user:SEC/RET@127.0.0.1:1/x.jpg", "http://127.0.0.1:1/x.jpg", "rtsp://u:SECRET@[::1",
    "file:///etc/passwd", "concat:/etc/passwd", "http://127.0.0.1:99999/x", "/nonexistent/\x1b[2J", "ftp://x/y",
    "http://user:SECRET@127.0.0.1:1/a.png?x=SECRET", "gopher://x", "data://text",
)  # fmt: skip


def read(asked: list[tuple[str, str]], folder: Path) -> list[tuple[str, str, dict]]:
    """What a process that reads all of them says of each."""
    listed, scratch = folder / "asked.json", folder / "tmp"
    listed.write_text(json.dumps(asked))
    scratch.mkdir()
    child = subprocess.run(
        [sys.executable, "-m", "tests.hostile.reading", str(listed)],
        cwd=REPOSITORY,
        env=os.environ | {"TMPDIR": str(scratch), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    lines = [json.loads(line) for line in child.stdout.splitlines()]
    assert child.returncode == 0, f"died of {asked[len(lines)]}: {child.stderr[-500:]}"
    assert "\x1b" not in child.stderr
    # ONNX Runtime makes this file when it is loaded, whatever it reads.
    assert {path.name for path in scratch.iterdir()} <= {".ses"}
    return lines


def faults(said: Iterable[tuple[str, str, dict]]) -> list[str]:
    """What was neither read nor refused, or took too much."""
    return [
        f"{kind} {Path(place).name!r}: {what}"
        for kind, place, what in said
        if what["said"].startswith("bug") or what["megabytes"] > MEGABYTES or what["seconds"] > SECONDS
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_hostile_file_is_refused_in_one_line_soon_and_in_little_memory(family, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    asked = []
    for kind, name, content in FAMILIES[family]():
        assert not (folder / name).exists(), name
        (folder / name).write_bytes(content)
        asked.append((kind, str(folder / name)))
    said = read(asked, tmp_path)
    assert faults(said) == []
    # Only what was read, and so may be good after all, has left anything: a data set.
    made = {path.name.removesuffix(".out") for path in folder.iterdir()} - {Path(place).name for _, place in asked}
    assert made == set()
    for kind, place, what in said:
        assert kind != "prepare" or Path(f"{place}.out").exists() == (what["said"] == "read"), place
    assert sorted(path.name for path in tmp_path.iterdir()) == ["asked.json", "files", "tmp"]
    assert len(said) == len(asked)


def test_no_address_ends_in_a_traceback_or_tells_a_secret(tmp_path):
    asked = [("place", uri) for uri in ADDRESSES] + [("source", uri) for uri in SOURCES]
    said = read(asked, tmp_path)
    assert faults(said) == []
    for kind, place, what in said:
        assert what["said"] != "read" or place in ("file:///%00", "//KEY:SECRET@host"), (kind, place)
        assert not any(secret in what["said"] for secret in ("SEC", "RET", "KEY")), what


def test_there_are_at_least_two_hundred():
    count = sum(len(list(make())) for make in FAMILIES.values()) + len(ADDRESSES) + len(SOURCES)
    assert count >= 200
