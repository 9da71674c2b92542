"""Jobs on an S3 server that fails requests, or keeps them waiting, end as on one that does neither."""

import sys
import time

import pytest

from fer_data.storage import read_file
from fer_models.checkpoint import load_training_state
from tests.conftest import REPOSITORY, write_drawn_set
from tests.flaky_storage import behind
from tests.processes import run_to_end

pytestmark = [pytest.mark.cluster, pytest.mark.soak]
STALL_SECONDS = 30


def run(*command: object) -> None:
    run_to_end([sys.executable, *command], REPOSITORY)


def train_and_evaluate(bucket: str, data: str, name: str) -> tuple[dict, dict[str, bytes]]:
    """The last training state, and the tables of the report on the best checkpoint; everything is in the bucket."""
    training = ("--model", "compact", "--epochs", 3, "--batch-size", 50, "--workers", 2)
    run("jobs/train_cnn.py", *training, "--data", data, "--storage", f"{bucket}/runs", "--name", name)
    best, report = f"{bucket}/runs/{name}/best", f"{bucket}/reports/{name}"
    run("jobs/evaluate.py", "--checkpoint", f"it={best}", "--data", data, "--split", "public_test", "--out", report)
    tables = {table: read_file(f"{report}/{table}.parquet") for table in ("metrics", "per_class", "confusion")}
    return load_training_state(f"{bucket}/runs/{name}/checkpoints/epoch-0003")[0], tables


def assert_equal(found: tuple[dict, dict[str, bytes]], expected: tuple[dict, dict[str, bytes]]) -> None:
    for part, reference in zip(found, expected, strict=True):
        assert part.keys() == reference.keys()
    for name, array in expected[0].items():
        assert found[0][name].tobytes() == array.tobytes(), name
    assert found[1] == expected[1]


def test_failing_and_stalling_storage_changes_no_result(bucket, s3_server, monkeypatch):
    data = f"{bucket}/data"
    write_drawn_set(data, training=190, validation=33)
    reference = train_and_evaluate(bucket, data, "reference")

    stalls: list[float] = []

    def delay(number: int) -> float:
        """All is silent for half a minute from the hundredth request on."""
        if number < 100:
            return 0
        if not stalls:
            stalls.append(time.monotonic())
        return max(0.0, stalls[0] + STALL_SECONDS - time.monotonic())

    with behind(s3_server, monkeypatch, fails=lambda number: number % 5 == 0, delay=delay) as flaky:
        found = train_and_evaluate(bucket, data, "flaky")
    assert flaky.failures > 20
    assert stalls
    assert_equal(found, reference)
