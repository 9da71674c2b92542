"""The command: the report it leaves, its exit code for every mistake, and what survives a kill."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss

from fer_data.commands import exit_with_code
from fer_data.dataset import open_dataset
from fer_data.dataset_writer import write_dataset
from fer_data.emotions import CLASSES
from fer_data.rows import pixels_of, rows_table
from jobs.evaluate import main
from jobs.evaluation.report import schemas
from jobs.evaluation.scoring.corruptions import CORRUPTIONS
from tests.conftest import REPOSITORY
from tests.jobs.evaluation.damage import rewrite, with_label, with_pixels
from tests.processes import PATIENCE_SECONDS, descendants, kill, press_ctrl_c, until

PROBABILITIES = [f"p_{name}" for name in CLASSES]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "jobs/evaluate.py", *arguments]


def run(*arguments: str) -> str:
    done = subprocess.run(
        command(*arguments), cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> list[str]:
    from tests.jobs.evaluation.tiny import tiny_checkpoint

    folder = tmp_path_factory.mktemp("checkpoints")
    return [tiny_checkpoint(str(folder / name), seed) for seed, name in enumerate(("one", "two"))]


@pytest.fixture(scope="module")
def spoilt_set(drawn_set, tmp_path_factory) -> str:
    """203 faces of which number 17 does not match its hash."""
    folder = shutil.copytree(drawn_set, tmp_path_factory.mktemp("spoilt") / "set").as_posix()
    rewrite(folder, "public_test", with_pixels(17, bytes(2304)))
    return folder


@pytest.fixture(scope="module")
def report(checkpoints, spoilt_set, tmp_path_factory) -> tuple[Path, str]:
    """Two checkpoints and their ensemble on two splits, corruptions too; and what was printed."""
    out = tmp_path_factory.mktemp("reports") / "full"
    told = run(
        *("--checkpoint", checkpoints[0], f"second={checkpoints[1]}", "--ensemble", "--corruptions"),
        *("--data", spoilt_set, "--split", "public_test", "training", "--out", str(out)),
    )
    return out, told


def rows_of(report: Path, table: str) -> list[dict]:
    return pq.read_table(report / f"{table}.parquet").to_pylist()


@pytest.mark.cluster
def test_every_image_has_one_row_for_each_checkpoint(report, checkpoints, spoilt_set):
    predictions = pq.read_table(report[0] / "predictions").to_pandas()
    assert list(predictions.columns) == schemas.PREDICTIONS.names
    dataset = open_dataset(spoilt_set)
    groups = [*dataset.row_groups("public_test"), *dataset.row_groups("training")]
    images = [i for g in groups for i in dataset.read(g, columns=("image_id",)).column("image_id").to_pylist()]
    for name in (checkpoints[0], "second", "ensemble"):
        assert sorted(predictions.loc[predictions.checkpoint == name, "image_id"]) == sorted(images)
    assert len(predictions) == 3 * 803


@pytest.mark.cluster
def test_a_damaged_row_is_there_with_its_error_and_in_no_metric(report):
    predictions = pq.read_table(report[0] / "predictions").to_pandas()
    damaged = predictions[predictions.error.notna()]
    assert set(damaged.image_id) == {"public_test-000017"}
    assert len(damaged) == 3
    assert damaged[["predicted", *PROBABILITIES]].isna().all(axis=None)
    for row in rows_of(report[0], "metrics"):
        assert row["errors"] == (1 if row["split"] == "public_test" else 0)
        assert row["rows"] == (203 if row["split"] == "public_test" else 600)
    confusion = [row["rows"] for row in rows_of(report[0], "confusion") if row["split"] == "public_test"]
    assert sum(confusion) == 3 * 202


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_metrics_are_those_of_the_predictions(report):
    predictions = pq.read_table(report[0] / "predictions").to_pandas().query("error.isna()")
    for row in rows_of(report[0], "metrics"):
        own = predictions.query("checkpoint == @row['checkpoint'] and usage == @row['split']")
        labels, probabilities = own.label.to_numpy(), own[PROBABILITIES].to_numpy(np.float64)
        np.testing.assert_array_equal(probabilities.argmax(axis=1), own.predicted)
        assert row["accuracy"] == pytest.approx(accuracy_score(labels, own.predicted), abs=1e-9)
        f1 = f1_score(labels, own.predicted, labels=range(7), average="macro", zero_division=0)
        assert row["macro_f1"] == pytest.approx(f1, abs=1e-9)
        assert row["log_loss"] == pytest.approx(log_loss(labels, probabilities, labels=range(7)), abs=1e-9)
        assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]


@pytest.mark.cluster
def test_predictions_are_those_of_keras(report, checkpoints, drawn_set):
    from fer_models.checkpoint import load_model

    dataset = open_dataset(drawn_set)
    (group,) = dataset.row_groups("public_test")
    want = load_model(checkpoints[0])[0].predict(pixels_of(dataset.read(group)), verbose=0)
    rows = pq.read_table(report[0] / "predictions").to_pandas()
    own = rows[(rows.checkpoint == checkpoints[0]) & (rows.usage == "public_test")]
    sound = own.error.isna().to_numpy()
    np.testing.assert_allclose(own[PROBABILITIES].to_numpy()[sound], want[sound], atol=1e-6)
    second, both = (rows[(rows.checkpoint == n) & (rows.usage == "public_test")] for n in ("second", "ensemble"))
    mean = (own[PROBABILITIES].to_numpy(float) + second[PROBABILITIES].to_numpy(float)) / 2
    np.testing.assert_allclose(both[PROBABILITIES].to_numpy(float)[sound], mean[sound], atol=1e-6)


@pytest.mark.cluster
def test_training_images_are_never_leak_free_and_the_others_are(report):
    for row in rows_of(report[0], "metrics"):
        leaks = row["split"] == "training"
        assert row["rows_leak_free"] == (0 if leaks else row["rows"])
        assert row["accuracy_leak_free"] == (None if leaks else row["accuracy"])


@pytest.mark.cluster
def test_every_pair_is_compared_on_every_split(report, checkpoints):
    rows = rows_of(report[0], "comparisons")
    assert len(rows) == 2 * 3
    assert {(row["checkpoint_a"], row["checkpoint_b"]) for row in rows} == {
        (checkpoints[0], "second"),
        (checkpoints[0], "ensemble"),
        ("second", "ensemble"),
    }
    assert all(row["p_value_corrected"] >= row["p_value"] for row in rows)


@pytest.mark.cluster
def test_robustness_has_every_corruption_at_every_strength(report):
    rows = rows_of(report[0], "robustness")
    assert len(rows) == 3 * 2 * (1 + 3 * len(CORRUPTIONS))
    assert {row["rows"] for row in rows} == {202, 600}
    clean = next(row for row in rows if row["corruption"] == "none")
    assert clean["accuracy"] == rows_of(report[0], "metrics")[0]["accuracy"]


@pytest.mark.cluster
def test_tables_have_the_documented_columns_with_their_meaning(report):
    for name, schema in schemas.TABLES.items():
        if name != "predictions":
            assert pq.read_schema(report[0] / f"{name}.parquet").equals(schema, check_metadata=True)


@pytest.mark.cluster
def test_the_page_stands_alone_and_shows_every_picture(report):
    page = (report[0] / "report.html").read_text()
    assert not re.search(r"(src|href)=[\"'](?!data:)", page)
    assert "http" not in re.sub(r"http-equiv", "", page.split("What was run")[0])
    pictures = list(report[0].glob("*.png"))
    assert len(pictures) == 2 * (4 + 2 * 3)
    assert page.count("data:image/png;base64,") >= len(pictures)
    assert "binary accuracy" in page.lower()


@pytest.mark.cluster
def test_the_terminal_shows_accuracy_and_who_is_better(report):
    assert "public_test: 203 images, 1 of them with errors" in report[1]
    assert "McNemar's exact test" in report[1]
    assert str(report[0]) in report[1]


@pytest.mark.cluster
def test_a_finished_run_says_what_it_ran(report):
    found = json.loads((report[0] / "run.json").read_text())
    assert found["splits"] == ["public_test", "training"]
    assert found["checkpoints"][1]["name"] == "second"
    assert sorted(path.name for path in report[0].parent.iterdir()) == ["full"]


# What dies, and what is left of it.


class Interrupted:
    """A run of several shards that takes some seconds, as often as it is started."""

    ROWS = 8 * 1024

    def __init__(self, checkpoint: str, folder: Path) -> None:
        random = np.random.default_rng(0)
        pixels = random.integers(0, 256, (self.ROWS, 48, 48), np.uint8)
        labels = random.integers(0, 7, self.ROWS)
        ids = [f"noise-{i:05d}" for i in range(self.ROWS)]
        write_dataset(iter([rows_table(ids, "public_test", labels, pixels)]), str(folder / "data"), "noise")
        self.folder, self.out = folder, folder / "report"
        self.arguments = (
            *("--checkpoint", checkpoint, "--data", str(folder / "data"), "--split", "public_test"),
            *("--tta", "ten_crop", "--batch-size", "4"),
        )

    def start(self) -> subprocess.Popen:
        return subprocess.Popen(
            command(*self.arguments, "--out", str(self.out)),
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def done(self) -> dict[str, int]:
        """The shards in the unfinished report, and when each was written."""
        return {
            path.name: path.stat().st_mtime_ns
            for path in self.folder.glob(".report.unfinished-*/predictions/part-*.parquet")
        }


def actors_of(pid: int) -> list[int]:
    """The scoring actors among the descendants of `pid`."""
    return [child for child, command in descendants(pid).items() if "MapWorker" in command]


@pytest.mark.cluster
def test_killed_actor_and_killed_driver_cost_no_row_and_change_no_byte(checkpoints, tmp_path):
    work = Interrupted(checkpoints[0], tmp_path)
    first = work.start()
    until(lambda: len(work.done()) >= 1 and bool(actors_of(first.pid)), first)
    killed = kill(actors_of(first.pid))
    before = len(work.done())
    until(lambda: len(work.done()) > before + 1, first)
    assert not set(killed) & set(actors_of(first.pid))
    first.kill()
    first.wait()
    scored = work.done()
    assert 0 < len(scored) < work.ROWS / 1024, "the driver was killed too late to show anything"
    assert not work.out.exists()

    told = run(*work.arguments, "--out", str(work.out))
    assert f"resuming: {len(scored) * 1024:,} images are scored already" in told
    again = {path.name: path.stat().st_mtime_ns for path in (work.out / "predictions").iterdir()}
    assert {name: again[name] for name in scored} == scored

    whole = tmp_path / "whole"
    run(*work.arguments, "--out", str(whole))
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.suffix in (".parquet", ".png"))
    assert files == sorted(p.relative_to(work.out) for p in work.out.rglob("*") if p.suffix in (".parquet", ".png"))
    for name in files:
        assert (whole / name).read_bytes() == (work.out / name).read_bytes(), name
    assert pq.read_table(whole / "metrics.parquet").column("rows").to_pylist() == [work.ROWS]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "report", "whole"]


@pytest.mark.cluster
def test_ctrl_c_ends_an_evaluation_with_a_word_and_leaves_what_is_scored(checkpoints, tmp_path):
    work = Interrupted(checkpoints[0], tmp_path)
    process = work.start()
    until(lambda: len(work.done()) >= 1, process)
    pids = press_ctrl_c(process)
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    kill(pids)
    assert process.returncode == 130, output
    assert "interrupted" in output.splitlines()  # Ray may report the actors that it ends after it.
    assert "Traceback" not in output
    assert work.done()


@pytest.mark.cluster
def test_an_actor_that_stops_without_dying_is_started_anew_within_the_stated_time(checkpoints, tmp_path):
    work = Interrupted(checkpoints[0], tmp_path)
    work.arguments += ("--stall-timeout", "5")
    process = work.start()
    until(lambda: len(work.done()) >= 1 and bool(actors_of(process.pid)), process)
    (stopped,) = actors_of(process.pid)
    os.kill(stopped, signal.SIGSTOP)
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, output
    assert not Path(f"/proc/{stopped}").exists()
    assert pq.read_table(work.out / "metrics.parquet").column("rows").to_pylist() == [work.ROWS]


# Mistakes: one line, exit code 2, nothing left.


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
    assert "cannot write the report /proc/1/report" in fails(capsys, *good, "--out", "/proc/1/report")
    (tmp_path / "file").touch()
    assert "is a file" in fails(capsys, *good, "--out", str(tmp_path / "file"), "--overwrite")


@pytest.mark.cluster
def test_models_that_only_loading_shows_to_be_unfit_are_told_in_a_line(checkpoints, drawn_set, tmp_path):
    from tests.jobs.evaluation.tiny import tiny_network

    (tmp_path / "models").mkdir()
    (tmp_path / "models/torn.keras").write_bytes(b"PK\x03\x04 torn")
    tiny_network(0, side=64).save(tmp_path / "models/large.keras")
    for name, says in (("torn", "torn.keras"), ("large", "48")):
        done = subprocess.run(
            command(
                *("--checkpoint", checkpoints[0], str(tmp_path / f"models/{name}.keras"), "--data", drawn_set),
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
        assert says in line
        assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["models"]
