"""The sweep as a command: killed, resumed, with a trial that fails; what it leaves; what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from fer_data.errors import UserError
from fer_models.checkpoint import load_model
from jobs.sweep import main
from jobs.training.config import TrainConfig
from jobs.training.defaults import DEFAULTS
from jobs.tuning.spaces import Range
from jobs.tuning.sweep_folder import SweepFolder, settings
from tests.conftest import REPOSITORY
from tests.processes import PATIENCE_SECONDS, assert_all_end, descendants, interrupted, kill, until

SPACE = """
[learning_rate]
low = 1e-4
high = 1e-2
log = true
[batch_size]           # One image cannot be shared by two workers: such trials fail.
choices = [1, 50]
"""


@pytest.mark.cluster
@pytest.mark.soak
def test_a_sweep_that_is_killed_goes_on_and_records_the_trial_that_fails(drawn_few, tmp_path):
    (tmp_path / "space.toml").write_text(SPACE)
    command = [
        *(sys.executable, "jobs/sweep.py", "--model", "compact", "--data", drawn_few, "--epochs", "2"),
        # The second and the third point differ in each parameter, and so one of the two trials fails.
        *("--batch-size", "50", "--trials", "3", "--space", str(tmp_path / "space.toml"), "--search", "quasi-random"),
        *("--workers-per-trial", "2", "--max-failures", "1", "--storage", str(tmp_path), "--name", "sweep"),
    ]
    folder = tmp_path / "sweep"
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until(lambda: (folder / "trials/0000/history.csv").exists(), process)
    kill(pid for pid, line in descendants(process.pid).items() if "ray::RayTrainWorker" in line)
    first = folder / "trials/0000/outcome.json"
    until(first.exists, process)
    killed = kill(descendants(process.pid))
    process.kill()
    process.communicate(timeout=PATIENCE_SECONDS)
    assert_all_end(killed)
    written = first.stat().st_mtime_ns

    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=2 * PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resuming: 1 trials are over" in done.stdout
    assert first.stat().st_mtime_ns == written

    trials = pd.read_parquet(folder / "trials.parquet")
    assert trials["trial"].tolist() == ["0000", "0001", "0002"]
    assert trials.loc[0, "learning_rate"] == DEFAULTS["compact"].optimizer.learning_rate
    failed = trials["error"].notna()
    assert (failed == (trials["batch_size"] == 1)).all()
    assert failed.sum() == 1
    assert trials["error"][failed].str.contains("is too small for 2 workers").all()
    assert (trials["epochs"][~failed] >= 1).all()
    history = pd.read_parquet(folder / "history.parquet")
    assert not history.duplicated(["trial", "epoch"]).any()
    assert history.groupby("trial").size().tolist() == trials["epochs"][~failed].tolist()

    best = trials.loc[trials["validation_accuracy"].idxmax()]
    config = TrainConfig.read(str(folder / "best/config.json"))
    assert config.optimizer.learning_rate == best["learning_rate"]
    _, card = load_model(str(folder / "best/checkpoint"))
    assert card.metrics[card.epoch - 1]["validation_accuracy"] == best["validation_accuracy"]
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png") == len(list(folder.glob("*.png"))) >= 5
    assert not (folder / "ray_tune").exists()

    again = subprocess.run(
        [*command, "--learning-rate", "0.004"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert again.returncode == 2
    assert "holds a sweep with other settings (learning_rate 0.003 -> 0.004)" in again.stderr.splitlines()[-1]


@pytest.mark.cluster
@pytest.mark.soak
def test_a_full_disk_ends_a_sweep_with_one_line_and_no_trial_with_it(drawn_few, small_disk):
    command = [
        *(sys.executable, "jobs/sweep.py", "--model", "compact", "--data", drawn_few, "--epochs", "2"),
        *("--batch-size", "50", "--trials", "1", "--search", "random", "--scheduler", "none"),
        *("--storage", str(small_disk), "--name", "sweep"),
    ]

    def run() -> subprocess.CompletedProcess:
        return subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=2 * PATIENCE_SECONDS, check=False
        )

    refused = run()
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "No space left" in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr
    subprocess.run(["mount", "-o", "remount,size=200m", small_disk], check=True)
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    trials = pd.read_parquet(small_disk / "sweep/trials.parquet")
    assert trials["error"].isna().all()
    assert trials["epochs"].tolist() == [2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials", "0"], "--trials must be 1 or more"),
        (["--time-budget", "0"], "--time-budget must be above 0"),
        (["--model", "vgg"], "--model vgg"),
        (["--reduction", "1"], "--reduction must be 2 or more"),
        (["--grace-epochs", "0"], "--grace-epochs must be 1 or more"),
        (["--workers-per-trial", "0"], "--workers-per-trial must be 1 or more"),
        (["--train-fraction", "0"], "--train-fraction must be above 0"),
        (["--name", "../elsewhere"], "--name may hold"),
        (["--space", "everything"], "--space everything"),
        (["--space", "nowhere.toml"], "nowhere.toml does not exist"),
    ],
)
def test_bad_options_are_refused_in_one_line(arguments, message):
    with pytest.raises(UserError) as refusal:
        main(arguments)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_folder_holds_one_sweep_and_says_what_another_changes(tmp_path):
    def of(high: float, search: str = "tpe") -> dict:
        space = {"dropout": Range(0.0, high)}
        return settings(
            DEFAULTS["compact"], space, search=search, scheduler={"scheduler": "asha"}, data_fingerprint="f"
        )

    folder = SweepFolder(str(tmp_path / "sweep"))
    folder.start(of(0.5), overwrite=False)
    folder.start(of(0.5), overwrite=False)
    with pytest.raises(UserError, match=r"dropout: high 0\.5 -> high 0\.6"):
        folder.start(of(0.6), overwrite=False)
    with pytest.raises(UserError, match="search tpe -> random"):
        folder.start(of(0.5, "random"), overwrite=False)
    folder.start(of(0.5) | {"format_version": 0}, overwrite=True)
    with pytest.raises(UserError, match="the version of the program"):
        folder.start(of(0.5), overwrite=False)
    folder.start(of(0.6), overwrite=True)
    assert json.loads(Path(folder.uri, "sweep.json").read_text())["space"]["dropout"]["high"] == 0.6
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine").touch()
    for overwrite in (False, True):
        with pytest.raises(UserError, match="is not a sweep"):
            SweepFolder(str(tmp_path / "other")).start(of(0.5), overwrite=overwrite)
    assert (tmp_path / "other/mine").exists()


@pytest.mark.cluster
@pytest.mark.soak
def test_a_sweep_lives_in_an_object_store_and_goes_on_there(drawn_few, bucket):
    options = (
        *("--model", "compact", "--data", drawn_few, "--epochs", "1", "--batch-size", "50"),
        *("--storage", f"{bucket}/runs", "--name", "sweep"),
    )
    for trials in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "jobs/sweep.py", *options, "--trials", trials],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "testing" not in done.stdout + done.stderr, "the environment's secret"
    assert "resuming: 1 trials are over" in done.stdout
    assert [trial.outcome.error for trial in SweepFolder(f"{bucket}/runs/sweep").trials()] == [None] * 2
    assert load_model(f"{bucket}/runs/sweep/best/checkpoint")[1].model == "compact"


@pytest.mark.cluster
@pytest.mark.slow
def test_ctrl_c_ends_a_sweep_with_a_word_and_leaves_its_trial_to_go_on(drawn_few, tmp_path):
    options = (
        *("--model", "compact", "--data", drawn_few, "--epochs", "500", "--batch-size", "50", "--trials", "1"),
        *("--storage", str(tmp_path), "--name", "sweep"),
    )
    history = tmp_path / "sweep/trials/0000/history.csv"
    interrupted([sys.executable, "jobs/sweep.py", *options], REPOSITORY, history.exists)
    (trial,) = SweepFolder(str(tmp_path / "sweep")).trials()
    assert trial.outcome is None
    assert trial.history
