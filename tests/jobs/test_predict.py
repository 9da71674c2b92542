"""The command predict, and what it leaves."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from fer_data.commands import exit_with_code
from fer_data.faces.photographs import find_faces
from jobs.evaluation.predictions import PROBABILITIES
from jobs.predict import main
from jobs.prediction.units import PICTURED
from tests.conftest import REPOSITORY
from tests.fer_data.raw_forms import faces, png
from tests.live.scenes import photograph
from tests.processes import PATIENCE_SECONDS, until


def command(*arguments: object) -> list[str]:
    return [sys.executable, "jobs/predict.py", *map(str, arguments)]


def run(*arguments: object) -> str:
    done = subprocess.run(
        command(*arguments), cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A photograph of a face, a picture without one, and a file that is damaged."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    cv2.imwrite(str(folder / "more" / "face.png"), photograph())
    cv2.imwrite(str(folder / "grey.png"), np.full((300, 300, 3), 127, np.uint8))
    (folder / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "<b>.txt").write_text("notes")
    return folder


@pytest.mark.cluster
def test_every_picture_has_a_row_with_its_faces_or_the_reason_for_none(pictures, checkpoints, tmp_path):
    from fer_models.checkpoint import load_model

    out = tmp_path / "out"
    told = run(pictures, "--checkpoint", *checkpoints, "--faces", "detect", "--out", out)
    assert "left out: 1 file, no image by its content (txt)" in told
    assert "3 pictures: 1 without a face, 1 with errors" in told
    assert told.splitlines()[-2:] == [f"page {out}/report.html", f"tables {out}/predictions/*.parquet"]
    table = pq.read_table(out / "predictions")
    assert table.schema.equals(PICTURED, check_metadata=True)
    rows = table.to_pylist()
    assert [row["checkpoint"] for row in rows] == [name for name in checkpoints for _ in range(3)]
    cut, grey, face = rows[:3]
    assert (cut["source"], cut["face"], cut["predicted"]) == ("cut.jpg", None, None)
    assert "JPEG" in cut["error"]
    assert (grey["source"], grey["face"], grey["predicted"], grey["error"]) == ("grey.png", None, None, None)
    boxes, crops = find_faces(photograph())
    assert [face[name] for name in ("source", "face", "x", "y", "width", "height")] == [
        *("more/face.png", 0),
        *boxes[0].tolist(),
    ]
    want = load_model(checkpoints[0])[0].predict(crops, verbose=0)[0]
    np.testing.assert_allclose([face[name] for name in PROBABILITIES], want, atol=1e-6)
    page = (out / "report.html").read_text()
    assert page.count("data:image/png") == 2  # The face, for each checkpoint: as the surest, and not again.
    assert not re.search(r"(src|href)=[\"'](?!data:)", page)
    counts = json.loads((out / "run.json").read_text())["counts"]
    assert [one["pictures_without_face"] for one in counts.values()] == [1, 1]
    assert sorted(path.name for path in tmp_path.iterdir() if "out" in path.name) == ["out"]


def test_mistakes_are_told_in_a_line_and_leave_nothing(pictures, checkpoints, drawn_few, tmp_path, capsys):
    good = ("--checkpoint", checkpoints[0], "--out", str(tmp_path / "out"))

    def told(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stop:
            exit_with_code(lambda: main(list(map(str, arguments))))
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "the following arguments are required: --out" in told(pictures, *good[:2])
    assert "the following arguments are required: --checkpoint" in told(pictures, *good[2:])
    assert "/nowhere does not exist" in told("/nowhere", *good)
    assert "leave it out" in told(drawn_few, *good, "--faces", "detect")
    assert "lies in the pictures' folder" in told(pictures, *good[:2], "--out", pictures / "out")
    assert "argument --faces: invalid choice" in told(pictures, *good, "--faces", "some")
    assert not (tmp_path / "out").exists()


@pytest.mark.cluster
@pytest.mark.slow
def test_a_killed_prediction_goes_on_and_changes_no_byte(checkpoints, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, face in enumerate(faces(6 * 512)):
        (folder / f"{i:05d}.png").write_bytes(png(face))
    out = tmp_path / "out"
    arguments = (folder, "--checkpoint", checkpoints[0], "--tta", "ten_crop", "--batch-size", "2")

    def done() -> dict[str, int]:
        parts = tmp_path.glob(".out.unfinished-*/predictions/part-*.parquet")
        return {path.name: path.stat().st_mtime_ns for path in parts}

    first = subprocess.Popen(
        command(*arguments, "--out", out), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    until(lambda: len(done()) >= 2, first)
    first.kill()
    first.wait()
    scored = done()
    assert 0 < len(scored) < 6, "killed too late to show anything"
    assert f"resuming: {len(scored) * 512:,} pictures scored already" in run(*arguments, "--out", out)
    again = {path.name: path.stat().st_mtime_ns for path in (out / "predictions").iterdir()}
    assert {name: again[name] for name in scored} == scored
    whole = tmp_path / "whole"
    run(*arguments, "--out", whole)
    for path in (whole / "predictions").iterdir():
        assert path.read_bytes() == (out / "predictions" / path.name).read_bytes()
    shutil.rmtree(folder)
