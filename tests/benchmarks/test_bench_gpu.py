import subprocess
import sys

import pandas as pd
import pytest

from tests.benchmarks.gpu_parts import HEADER, NETWORKS, PARTS, Run, Target, row
from tests.conftest import REPOSITORY

EPOCHS = pd.DataFrame(
    {
        "images_per_second": [70_000.0, 72_000.0, 71_000.0],
        "tflops": [21.7, 22.3, 22.0],
        "mfu": [0.02, 0.03, 0.025],
        "training_seconds": [0.40, 0.40, 0.41],
        "between_seconds": [0.2, 0.2, 0.3],
    }
)


def bench(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tests.benchmarks.bench_gpu", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=1800, check=False)


@pytest.mark.parametrize(
    ("target", "value", "said"),
    [
        (Target("images/s", 60_000), 71_234.0, "images/s at least 60,000: 71,234, met"),
        (Target("images/s", 60_000), 9_610.0, "images/s at least 60,000: 9,610, MISSED"),
        (Target("job / plain fit", 0.95), 0.949, "job / plain fit at least 0.95: 0.949, MISSED"),
        (Target("seconds between epochs", 0.3, most=True), 0.25, "seconds between epochs at most 0.3: 0.25, met"),
    ],
)
def test_each_target_says_its_threshold_and_whether_it_is_met(target, value, said):
    assert said in target.verdict(value)


def test_a_line_has_the_medians_of_the_steady_epochs_under_its_header():
    assert row("compact-256", Run(EPOCHS, "", 40.0)).split() == ["compact-256", "71,000", "22.00", "2.5%", "0.20"]
    assert len(row("compact-256", Run(EPOCHS, "", 40.0))) == len(HEADER)


def test_a_card_of_unknown_peak_has_no_mfu():
    assert row("wide", Run(EPOCHS.assign(mfu=None), "", 40.0)).split()[3] == "-"


def test_the_first_step_is_an_epoch_and_what_follows_it_before_the_first_epoch_is_there():
    assert Run(EPOCHS, "", 40.0).first_step_at == pytest.approx(40.0 - 0.4 - 0.2)


def test_every_network_is_a_part():
    assert set(NETWORKS) <= set(PARTS)
    assert len(PARTS) == len(set(PARTS))


def test_without_a_gpu_it_says_in_a_line_what_it_needs():
    done = bench("--only", "compact-256")
    if "finds no GPU" not in done.stderr:
        pytest.skip("there is a GPU here")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "pip install -c constraints.txt '.[gpu]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.cluster
@pytest.mark.soak
def test_the_whole_path_runs_on_processors():
    done = bench("--on-processors", "--epochs", "3", "--only", "compact-256")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "TINY NETWORKS ON PROCESSORS" in done.stdout
    for line in ("compact-256 ", "at least 60,000", "at most 0.3", "nothing in XLA's cache", "job / plain fit"):
        assert line in done.stdout
