"""The command: what it prints, what it leaves, and its exit code for every mistake."""

import io
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_data.commands import exit_with_code
from fer_data.dataset import open_dataset
from jobs.prepare_data import main
from tests.conftest import REPOSITORY

ROW = f"3,{' '.join(['7'] * 2304)},Training"


def csv(*rows: str, header: str = "emotion,pixels,Usage") -> bytes:
    return "\n".join([header, *rows]).encode()


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return buffer.getvalue()


def tar_gz(path: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(path)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


FACE = cv2.imencode(".png", np.arange(2304, dtype=np.uint8).reshape(48, 48))[1].tobytes()
SMALL = cv2.imencode(".png", np.zeros((40, 48), np.uint8))[1].tobytes()

MISTAKES = {
    "an empty file": (b"", "is empty"),
    "not an archive": (b"hello", "the header is 'hello'"),
    "a truncated zip": (zipped(**{"train/sad/a.png": FACE})[:-30], "damaged"),
    "a path out of a zip": (zipped(**{"../a.csv": csv(ROW)}), "not safe"),
    "an absolute path in a tar": (tar_gz("/a.csv", csv(ROW)), "not safe"),
    "an oversized member": (zipped(**{"train/sad/a.png": bytes(33 * 2**20)}), "no image here is that large"),
    "a wrong header": (csv(ROW, header="label,pixels,Usage"), "emotion,pixels,Usage"),
    "a row of 2,303 values": (csv(ROW.replace("7 ", "", 1)), "has 2,303 pixels"),
    "a value that is no number": (csv(ROW.replace("7", "seven", 1)), "not numbers"),
    "an unknown usage": (csv(ROW, ROW.replace("Training", "Holdout")), "row 2: Usage is 'Holdout'"),
    "an unreadable image": (zipped(**{"train/sad/a.png": b"torn"}), "neither a JPEG nor a PNG"),
    "a wrong-sized image": (zipped(**{"train/sad/a.png": SMALL}), "48x40, not 48x48"),
    "an unknown class folder": (zipped(**{"train/contempt/a.png": FACE}), "'contempt'"),
}


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command."""
    code = 0
    try:
        exit_with_code(lambda: main(argv))
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_data_is_one_line_and_exit_code_2_and_leaves_nothing(mistake, capsys, tmp_path):
    content, message = MISTAKES[mistake]
    raw = tmp_path / "raw.bin"
    raw.write_bytes(content)
    code, _, err = run(capsys, str(raw), "--out", str(tmp_path / "out"))
    assert code == 2
    assert message in err
    assert "raw.bin" in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["raw.bin"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("missing.zip", "--out", "out"), "missing.zip does not exist"),
        (("", "--out", "out"), "path is empty"),
        (("raw.csv",), "--out"),
        (("raw.csv", "--out", "out", "--max-rejected", "1.5"), "--max-rejected must be in 0 to 1 (it is 1.5)"),
        (("raw.csv", "--out", "out", "--max-rejected", "nan"), "--max-rejected must be in 0 to 1 (it is nan)"),
        (
            ("raw.csv", "--out", "out", "--split-shares", "0.8", "0.1"),
            "must be two or three numbers above 0 that sum to 1",
        ),
        (("raw.csv", "--out", "out", "--split-shares", "0.8", "0.2"), "raw.csv has the column Usage"),
        (("raw.csv", "--out", "out", "--group-by", "x"), "--group-by needs --split-shares (it is x)"),
        (("raw.csv", "--out", "out", "--split-shares", ".8", ".2", "--group-by", "("), "--group-by '(' is no regular"),
        (
            ("raw.csv", "--out", "out", "--class-map", "ck"),
            "--class-map ck: there is no such map: give affectnet, raf-db",
        ),
        (("raw.csv", "--out", "out", "--labels", "none.csv"), "none.csv does not exist"),
        (("raw.csv", "--out", "out", "--labels", "raw.csv"), "--labels raw.csv: the header is 'emotion,pixels,Usage'"),
        (("raw.csv", "--out", "out", "--workers", "0"), "--workers must be 1 or more (it is 0)"),
        (("raw.csv", "--out", "out", "--wrokers", "2"), "--wrokers"),
        (("raw.csv", "--out", "raw.csv"), "raw.csv is a file"),
        (("raw.csv", "--out", "full"), "full exists already"),
        (("raw.csv", "--out", "raw.csv/out"), "raw.csv/out"),
        (("gopher://x/raw.csv", "--out", "out"), "not gopher://"),
    ],
)
def test_a_mistake_in_the_options_is_one_line_and_exit_code_2(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("raw.csv").write_bytes(csv(ROW))
    Path("full").mkdir()
    Path("full/thesis.tex").touch()
    code, _, err = run(capsys, *argv)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "raw.csv"]


def test_counts_audit_and_reasons_are_printed(capsys, tmp_path):
    rows = [ROW, ROW, ROW.replace("3,7", "4,7"), ROW.replace("Training", "PublicTest"), ROW.replace("7", "x", 1)]
    (tmp_path / "raw.csv").write_bytes(csv(*rows))
    out = str(tmp_path / "out")
    code, printed, err = run(capsys, str(tmp_path / "raw.csv"), "--out", out, "--max-rejected", "0.5")
    assert (code, err) == (0, "")
    lines = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in printed.splitlines() if "│" in line}
    cells = {name: [cell.strip() for cell in row] for name, row in lines.items()}
    assert cells["happy"] == ["2", "1"]
    assert cells["all"] == ["3", "1"]
    assert cells["redundant copies"] == ["2", "0", "3"]
    assert "redundant copies: 2 within a usage + 1 between usages = 3" in printed
    assert cells["also in training"] == ["", "1", ""]
    assert cells["blank images"] == ["3", "1", "4"]
    assert cells["label conflicts"] == ["1", "0", "1"]
    assert "Rejected rows: 1" in printed
    assert "1 row: pixels are not numbers between spaces" in printed
    assert f"Prepared in {out}" in printed
    assert open_dataset(out).manifest.rows("training") == 3


def test_pictures_in_class_folders_are_divided_and_what_is_missing_or_left_out_is_printed(capsys, tmp_path):
    dice = np.random.default_rng(0)
    for number, count in {3: 20, 5: 10, 7: 3}.items():
        (tmp_path / f"mine/{number}").mkdir(parents=True)
        for i in range(count):
            picture = dice.integers(0, 256, (90, 60, 3), np.uint8)
            (tmp_path / f"mine/{number}/{i}").write_bytes(cv2.imencode(".webp", picture)[1].tobytes())
    (tmp_path / "mine/notes.txt").write_text("holiday")
    options = ["--out", str(tmp_path / "out"), "--resize", "--class-map", "raf-db", "--ignore-class", "neutral"]
    code, printed, err = run(capsys, str(tmp_path / "mine"), *options, "--split-shares", "0.8", "0.2")
    assert (code, err) == (0, "")
    assert "warning: no image of angry, fear, happy, surprise, neutral" in printed
    assert "Rejected rows: 4 (rejected.parquet names them)" in printed
    assert "3 rows: is of the class 7, which is ignored" in printed
    assert "warning: --ignore-class" not in printed
    assert "1 row: is no image" in printed
    manifest = open_dataset(str(tmp_path / "out")).manifest
    assert [manifest.counts[usage]["disgust"] for usage in ("training", "public_test")] == [16, 4]
    assert [manifest.rows(usage) for usage in ("training", "public_test")] == [24, 6]


def test_an_ignored_class_that_does_not_occur_is_told(capsys, tmp_path):
    (tmp_path / "raw.csv").write_bytes(csv(ROW))
    _, printed, _ = run(capsys, str(tmp_path / "raw.csv"), "--out", str(tmp_path / "out"), "--ignore-class", "contemt")
    assert "warning: --ignore-class contemt: no image is of such a class" in printed


def test_a_place_where_nothing_can_be_written_is_found_before_the_data_are_read(capsys, tmp_path):
    code, printed, err = run(capsys, str(tmp_path), "--out", "/proc/nothing/set")
    assert (code, printed) == (2, "")
    assert re.fullmatch("error: cannot write /proc/nothing/set: .+: name another folder\n", err)


def test_overwrite_replaces_a_data_set(capsys, tmp_path):
    out = str(tmp_path / "out")
    for rows in (1, 2):
        (tmp_path / "raw.csv").write_bytes(csv(*[ROW] * rows))
        assert run(capsys, str(tmp_path / "raw.csv"), "--out", out, "--overwrite")[0] == 0
    assert open_dataset(out).manifest.rows("training") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("missing.csv",), "missing.csv does not exist"),
        (("raw.csv", "--workers", "1"), "no Ray cluster answers at RAY_ADDRESS=127.0.0.1:9"),
    ],
)
def test_the_script_by_itself_fails_in_one_line(options, message, tmp_path):
    (tmp_path / "raw.csv").write_bytes(csv(ROW))
    command = [sys.executable, str(REPOSITORY / "jobs/prepare_data.py"), *options, "--out", "out"]
    places = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": places, "RAY_ADDRESS": "127.0.0.1:9"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["raw.csv"]
