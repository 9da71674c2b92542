"""The training command as a user runs it: what it leaves behind, and what it refuses."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fer_data.batches import ordered_batches
from fer_data.commands import exit_with_code
from fer_data.dataset import open_dataset
from fer_data.dataset_writer import write_dataset
from fer_data.drawing import draw
from fer_data.near_copies.table import Copies
from fer_data.rows import rows_table
from fer_data.splits import split
from fer_models.checkpoint import load_model, load_training_state
from fer_models.checkpoint_files import verify
from fer_models.metrics import summarise
from jobs.train_cnn import main
from tests.conftest import REPOSITORY, write_drawn_set
from tests.processes import interrupted

pytestmark = pytest.mark.cluster


def train(*options: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "jobs/train_cnn.py", *options],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def refusal(*options: str, **environment: str) -> str:
    """The one line on stderr of a command that ends with exit code 2."""
    done = train(*options, **environment)
    assert done.returncode == 2, done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in done.stderr
    return errors[0]


TRAINING, VALIDATION, SEEN = 600, 203, 90


@pytest.fixture(scope="module")
def copied_set(tmp_path_factory) -> str:
    """600 training and 203 validation faces; the first 90 of the latter count as near copies of training images."""

    def copies(pixels: np.ndarray, hashes: np.ndarray) -> Copies:
        originals, copied = np.arange(SEEN), TRAINING + np.arange(SEEN)
        both = np.concatenate([originals, copied])
        correlation, mirrored = np.full(2 * SEEN, 0.98, np.float32), np.zeros(2 * SEEN, bool)
        return Copies(both, np.tile(originals, 2), np.concatenate([copied, originals]), correlation, mirrored)

    folder = tmp_path_factory.mktemp("copied") / "set"
    return write_drawn_set(folder, training=TRAINING, validation=VALIDATION, near_copies=copies)


@pytest.fixture(scope="module")
def run(copied_set, tmp_path_factory) -> Path:
    """Two epochs of compact with everything switched on that is off by default."""
    storage = tmp_path_factory.mktemp("runs")
    done = train(
        *("--model", "compact", "--data", copied_set, "--epochs", "2", "--batch-size", "64", "--name", "run"),
        *("--optimizer", "sgd", "--learning-rate", "0.05", "--weight-decay", "0.0005", "--clip-norm", "5"),
        *("--schedule", "plateau", "--class-weights", "balanced", "--label-smoothing", "0.1", "--mixup", "0.2"),
        *("--precision", "auto", "--monitor", "macro_f1", "--calibrate", "--tensorboard", "--storage", str(storage)),
    )
    assert done.returncode == 0, done.stderr
    for name in ("best", "history.csv", "curves.png"):
        assert str(storage / "run" / name) in done.stdout
    assert "epoch 2/2" in done.stdout
    assert "44% of the validation images show a photograph that is also trained on; 113 are unseen" in done.stdout
    for told, accuracy in zip(
        re.findall(r"\(unseen (\d+\.\d)%\)", done.stdout),  # The last line repeats the best epoch.
        pd.read_csv(storage / "run/history.csv")["validation_accuracy_unseen"],
        strict=False,
    ):
        assert float(told) == pytest.approx(100 * accuracy, abs=0.06)
    return storage / "run"


def test_a_run_leaves_checkpoint_history_curves_and_logs(run):
    assert {path.name for path in run.iterdir()} >= {"best", "checkpoints", "config.json", "curves.png", "tensorboard"}
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((run / "tensorboard").glob("events.*"))
    csv, parquet = pd.read_csv(run / "history.csv"), pd.read_parquet(run / "history.parquet")
    pd.testing.assert_frame_equal(csv, parquet, check_exact=False, rtol=1e-12)
    assert csv["epoch"].tolist() == [1, 2]
    for name in ("loss", "accuracy", "macro_precision", "macro_recall", "macro_f1", "auc"):
        assert csv[[f"training_{name}", f"validation_{name}", f"validation_{name}_unseen"]].notna().all(axis=None)


def test_the_card_tells_what_the_checkpoint_is_and_by_which_images_it_was_chosen(run, copied_set):
    card = verify(str(run / "best"))
    assert (card.model, card.protocol) == ("compact", "challenge")
    assert card.precision in ("float32", "mixed_bfloat16", "mixed_float16")  # What auto chose on this machine.
    assert card.data_fingerprint == open_dataset(copied_set).manifest.fingerprint
    assert card.configuration == json.loads((run / "config.json").read_text())
    assert (card.configuration["monitor"], card.configuration["select"]) == ("macro_f1", "unseen")
    assert card.epoch == 1 + int(pd.read_csv(run / "history.csv")["validation_macro_f1_unseen"].idxmax())
    assert len(card.metrics) == card.epoch


def test_validation_metrics_are_those_of_the_saved_model_over_every_row_and_over_the_unseen_ones(run, copied_set):
    model, card = load_model(str(run / "best"))
    dataset = open_dataset(copied_set)
    batches = list(ordered_batches(dataset, split(dataset, "validation"), batch_size=512))
    probabilities = np.concatenate([np.asarray(model(pixels)) for pixels, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    assert len(labels) == VALIDATION
    assert abs(card.metrics[-1]["validation_temperature"] - 1) > 0.01  # The saved model has it within.
    for suffix, rows in (("", slice(None)), ("_unseen", slice(SEEN, None))):
        for name, value in summarise(labels[rows], probabilities[rows]).items():
            assert card.metrics[-1][f"validation_{name}{suffix}"] == pytest.approx(value, abs=1e-5), name + suffix


@pytest.mark.parametrize(
    "protocol", [pytest.param("challenge", marks=pytest.mark.slow), pytest.param("notebook", marks=pytest.mark.soak)]
)
def test_what_is_in_the_test_usages_changes_no_weight_of_a_run(protocol, tmp_path):
    def trained(name: str, seed: int) -> Path:
        """Two epochs on the same training rows beside public and private rows that are drawn anew for every seed."""
        usages = [("training", 190, 0), ("public_test", 40, seed), ("private_test", 40, seed)]
        tables = [
            rows_table([f"{usage}-{i:06d}" for i in range(rows)], usage, labels, pixels)
            for start, (usage, rows, drawn) in zip((0, 190, 230), usages, strict=True)
            for pixels, labels in [draw(np.arange(start, start + rows), drawn)]
        ]
        write_dataset(tables, str(tmp_path / f"{name}-data"), "drawn faces")
        done = train(
            *("--data", str(tmp_path / f"{name}-data"), "--protocol", protocol, "--epochs", "2", "--batch-size", "64"),
            *("--storage", str(tmp_path), "--name", name),
        )
        assert done.returncode == 0, done.stderr
        return tmp_path / name

    one, other = trained("one", 1), trained("other", 2)
    first, _ = load_training_state(str(one / "checkpoints/epoch-0002"))
    again, _ = load_training_state(str(other / "checkpoints/epoch-0002"))
    assert first.keys() == again.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name], err_msg=name)
    losses = [pd.read_csv(run / "history.csv")["validation_loss"].to_list() for run in (one, other)]
    assert (losses[0] == losses[1]) == (protocol == "notebook")  # There the public test does not validate either.


@pytest.mark.slow
def test_a_runs_configuration_repeats_it_bit_for_bit_in_an_object_store(run, bucket):
    options = ("--config", str(run / "config.json"), "--storage", f"{bucket}/runs", "--name", "again")
    done = train(*options)
    assert done.returncode == 0, done.stderr
    assert f"{bucket}/runs/again/best" in done.stdout
    first, _ = load_training_state(str(run / "checkpoints/epoch-0002"))
    again, card = load_training_state(f"{bucket}/runs/again/checkpoints/epoch-0002")
    assert card == verify(f"{bucket}/runs/again/checkpoints/epoch-0002")
    assert first.keys() == again.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name], err_msg=name)
    assert "nothing to do: all 2 epochs done" in train(*options).stdout
    line = refusal(*options, "--learning-rate", "0.5")
    assert "holds a run with other settings (learning_rate 0.05 -> 0.5)" in line


def test_more_than_the_cluster_has_is_refused_with_what_it_has(drawn_set, tmp_path):
    line = refusal("--data", drawn_set, "--storage", str(tmp_path), "--workers", "64")
    assert "but the cluster has 1 machine with" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "/no/such/data"], "/no/such/data does not exist"),
        (["--data", ""], "--data must name a data set"),
        (["--epochs", "0"], "--epochs must be 1 or more"),
        (["--storage", "ftp://host/runs"], "paths are local, s3:// or gs://"),
        (["--batch-size", "1", "--workers", "2"], "--batch-size 1 is too small for 2 workers"),
    ],
)
def test_a_users_mistake_gets_one_line_and_exit_code_two(options, message, drawn_set, tmp_path, capsys):
    given = [option for option in options if option.startswith("--")]
    defaults = {"--data": drawn_set, "--storage": str(tmp_path)}
    extra = [part for name, value in defaults.items() if name not in given for part in (name, value)]
    with pytest.raises(SystemExit) as stop:
        exit_with_code(lambda: main([*options, *extra]))
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not list(tmp_path.iterdir())


def test_a_cluster_that_does_not_answer_is_named(drawn_set, tmp_path):
    line = refusal("--data", drawn_set, "--storage", str(tmp_path), RAY_ADDRESS="127.0.0.1:1")
    assert "RAY_ADDRESS=127.0.0.1:1" in line


def test_a_source_without_validation_rows_is_refused_before_anything_starts(tmp_path):
    from tests.fer_data.raw_forms import png

    for name in ("happy", "sad"):
        (tmp_path / "tree/train" / name).mkdir(parents=True)
        image = np.random.default_rng(len(name)).integers(0, 256, (48, 48), np.uint8)
        (tmp_path / "tree/train" / name / "a.png").write_bytes(png(image))
    line = refusal("--data", str(tmp_path / "tree"), "--storage", str(tmp_path / "runs"), XDG_CACHE_HOME=str(tmp_path))
    assert "has no rows for validation" in line
    assert "--protocol notebook" in line


def test_sigterm_to_its_group_ends_a_run_with_a_word_after_a_whole_epoch(drawn_few, tmp_path):
    run = tmp_path / "run"
    options = ("--data", drawn_few, "--storage", str(tmp_path), "--name", "run", "--epochs", "1000")
    command = [sys.executable, "jobs/train_cnn.py", *options]
    interrupted(command, REPOSITORY, (run / "history.csv").exists, signal.SIGTERM)
    finished = len(pd.read_csv(run / "history.csv"))
    verify(str(run / "checkpoints" / f"epoch-{finished:04d}"))


@pytest.mark.slow
def test_a_full_disk_while_a_checkpoint_is_written_ends_the_run_with_one_line(drawn_few, small_disk):
    line = refusal(
        *("--model", "compact", "--data", drawn_few, "--epochs", "3", "--storage", str(small_disk), "--name", "run"),
    )
    assert "cannot write a checkpoint to" in line
    assert "No space left" in line
    sound = [path for path in (small_disk / "run/checkpoints").iterdir() if verify(str(path))]
    assert len(sound) == 1  # What was finished is there; nothing half-written is.
