"""A recipe is trained, interrupted, continued and exported by the real job."""

import json
import signal
import sys

import pandas as pd
import pytest

from fer_models.checkpoint_files import read_card, verify
from tests.conftest import REPOSITORY
from tests.processes import interrupted, run_to_end

RECIPE = """
[[stage]]
name = "one"
model = "compact"
width = 0.25
epochs = 2

[[stage]]
name = "two"
model = "large"
width = 0.25
epochs = 1
batch_size = 50

[[stage]]
name = "student"
model = "compact"
teachers = ["one", "two"]
start = "one"
width = 0.25
epochs = 10
batch_size = 50

[stage.distillation]
distillation = 0.8
views = 2

[stage.backbone]
start_share = 0.3
"""


@pytest.mark.slow
@pytest.mark.cluster
def test_a_recipe_goes_on_after_its_terminal_closed_and_ends_in_an_exported_checkpoint(tmp_path, drawn_few):
    (tmp_path / "mine.toml").write_text(RECIPE)
    command = [
        *(sys.executable, "jobs/train_recipe.py", tmp_path / "mine.toml", "--data", drawn_few),
        *("--storage", tmp_path, "--cpus-per-worker", 1),
    ]
    folder = tmp_path / "mine"
    student = folder / "student"
    interrupted(command, REPOSITORY, (student / "config.json").exists, signal.SIGHUP)
    begun = {stage: (folder / stage / "best/card.json").stat().st_mtime_ns for stage in ("one", "two")}
    printed = run_to_end(command, REPOSITORY)
    assert "stage one: finished before\nstage two: finished before\nstage student, 3 of 3\n" in printed
    assert {stage: (folder / stage / "best/card.json").stat().st_mtime_ns for stage in begun} == begun
    card = verify(str(student / "best"))
    assert card.configuration["distillation"]["teacher"] == [str(folder / stage / "best") for stage in begun]
    assert card.configuration["backbone"]["weights"] == str(folder / "one/best")
    assert sorted(path.name for path in (student / "answers").iterdir()) == ["view-0001", "view-0002"]
    assert set(card.exports) == {"model.tflite", "model.int8.tflite"}
    table = pd.read_csv(folder / "stages.csv").set_index("stage")
    assert list(table.index) == ["one", "two", "student"]
    assert table.loc["two", "parameters"] == read_card(str(folder / "two/best")).parameters
    best = card.metrics[card.epoch - 1]
    assert table.loc["student", "accuracy"] == pytest.approx(best["validation_accuracy"])
    assert json.loads((student / "config.json").read_text())["data"] == drawn_few
    assert run_to_end(command, REPOSITORY).count("\n") < 15  # There is nothing to do but to print the table.
