"""Mistakes of the user end an evaluation with one line and exit code 2, and leave nothing."""

import shutil
import subprocess
from pathlib import Path

import pytest

from fer_data.commands import exit_with_code
from jobs.evaluate import main
from tests.conftest import REPOSITORY
from tests.jobs.evaluation.command import command
from tests.jobs.evaluation.damage import rewrite, with_label
from tests.processes import PATIENCE_SECONDS


def fails(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        exit_with_code(lambda: main(arguments))
    told = capsys.readouterr().err
    lines = [line for line in told.splitlines() if line.startswith("error: ")]
    assert stop.value.code == 2, told
    assert len(lines) == 1
    assert "Traceback" not in told
    return lines[0]


def damaged(checkpoint: str, folder: Path) -> str:
    copy = shutil.copytree(checkpoint, folder / "damaged")
    content = bytearray((copy / "model.keras").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "model.keras").write_bytes(content)
    return str(copy)


def test_mistakes_in_the_options_are_told_in_a_line(capsys, checkpoints, drawn_set, tmp_path):
    out = ("--out", str(tmp_path / "report"))
    good = ("--checkpoint", checkpoints[0], "--data", drawn_set)
    assert "--checkpoint" in fails(capsys, *out)
    assert "--out" in fails(capsys, *good)
    assert "--split must be among" in fails(capsys, *good, *out, "--split", "tset")
    assert "each once" in fails(capsys, *good, *out, "--split", "test", "test")
    assert "--workers" in fails(capsys, *good, *out, "--workers", "0")
    assert "--gpus-per-worker" in fails(capsys, *good, *out, "--gpus-per-worker", "1.5")
    assert "two or more" in fails(capsys, *good, *out, "--ensemble")
    assert "NAME=PATH" in fails(capsys, "--checkpoint", *(checkpoints[:1] * 2), *out)
    assert "one of the two" in fails(capsys, *good, *out, "--compare", str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_mistakes_in_the_input_are_told_in_a_line(capsys, checkpoints, drawn_set, tmp_path):
    scratch, reports = tmp_path / "scratch", tmp_path / "reports"
    scratch.mkdir()
    reports.mkdir()
    out = ("--split", "public_test", "--out", str(reports / "x"))

    def told(checkpoint: str, *options: str, data: str = drawn_set) -> str:
        return fails(capsys, "--checkpoint", checkpoint, "--data", data, *(options or out))

    assert "/nowhere does not exist" in told("/nowhere")
    assert "it has no card.json" in told(drawn_set)
    shutil.copytree(checkpoints[0], scratch / "run/best")
    assert told(str(scratch / "run")).endswith(f"it has no card.json: give {scratch}/run/best")
    assert "model.keras does not match its card" in told(damaged(checkpoints[0], scratch))
    (scratch / "notes.txt").touch()
    assert "notes.txt: give a checkpoint folder or a file" in told(str(scratch / "notes.txt"))
    assert "has no rows for test" in told(checkpoints[0], "--split", "test", "--out", str(reports / "x"))
    assert "/nowhere does not exist" in told(checkpoints[0], data="/nowhere")
    spoilt = shutil.copytree(drawn_set, scratch / "set").as_posix()
    rewrite(spoilt, "public_test", with_label(5, 9))
    assert "image public_test-000005 has label 9" in told(checkpoints[0], data=spoilt)
    assert not list(reports.iterdir())


def test_an_output_that_exists_or_cannot_be_written_is_told_in_a_line(capsys, checkpoints, drawn_set, tmp_path):
    good = ("--checkpoint", checkpoints[0], "--data", drawn_set, "--split", "public_test")
    assert "exists: choose another --out" in fails(capsys, *good, "--out", str(tmp_path))
    told = fails(capsys, *good, "--out", "/proc/x")
    assert "cannot write the report /proc/x: " in told
    assert "unfinished" not in told
    assert "cannot write the report /proc/1/report" in fails(capsys, *good, "--out", "/proc/1/report")
    (tmp_path / "file").touch()
    assert "is a file" in fails(capsys, *good, "--out", str(tmp_path / "file"), "--overwrite")


@pytest.mark.cluster
@pytest.mark.slow
def test_a_model_that_only_loading_shows_to_be_unfit_is_told_in_a_line(checkpoints, drawn_set, tmp_path):
    from tests.jobs.evaluation.tiny import tiny_network

    (tmp_path / "models").mkdir()
    tiny_network(0, side=2048).save(tmp_path / "models/large.keras")
    done = subprocess.run(
        command(
            *("--checkpoint", checkpoints[0], str(tmp_path / "models/large.keras"), "--data", drawn_set),
            *("--split", "public_test", "--out", str(tmp_path / "report")),
        ),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2
    assert "takes 2048×2048×1" in line
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["models"]
