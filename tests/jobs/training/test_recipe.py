import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from cluster.connect import WorkerResources
from fer_data.dataset import open_dataset
from fer_data.errors import UserError
from fer_models.card import Card
from fer_models.checkpoint_files import publish_checkpoint
from jobs.training import recipe_driver
from jobs.training.defaults import DEFAULTS
from jobs.training.options import TrainRunOptions
from jobs.training.recipe import read_recipe
from jobs.training.recipe_driver import train_recipe
from jobs.training.run_folder import RunFolder
from tests.conftest import REPOSITORY

TWO = '[[stage]]\nname = "a"\nmodel = "compact"\n[[stage]]\nname = "b"\nmodel = "cnn"\nepochs = 3\nteachers = ["a"]\n'


def stages(tmp_path, text):
    (tmp_path / "r.toml").write_text(text)
    return read_recipe(str(tmp_path / "r.toml"))


def test_a_stage_is_the_default_of_its_model_with_its_own_fields_and_teachers(tmp_path):
    text = TWO + "[stage.optimizer]\nlearning_rate = 0.5\n[stage.distillation]\ntemperature = 3\n"
    first, second = stages(tmp_path, text)
    assert (first.name, first.teachers, first.config) == ("a", (), DEFAULTS["compact"])
    optimizer = replace(DEFAULTS["cnn"].optimizer, learning_rate=0.5)
    config = second.configuration("/runs", "/data")
    assert config.distillation.teacher == ("/runs/a/best",)
    assert config.distillation.temperature == 3
    assert replace(config, distillation=DEFAULTS["cnn"].distillation) == replace(
        DEFAULTS["cnn"], epochs=3, optimizer=optimizer, data="/data"
    )


def test_the_recipe_that_ships_makes_the_network_that_ships():
    *teachers, student, robust = read_recipe(str(REPOSITORY / "fer_models/released/recipe.toml"))
    assert student.teachers == tuple(stage.name for stage in teachers)
    assert {stage.config.model for stage in teachers} == {"large"}
    assert robust.start == student.name
    assert robust.config.model == student.config.model == "compact"


def test_a_stage_may_start_from_the_weights_of_another(tmp_path):
    text = TWO.replace('"cnn"', '"compact"') + 'start = "a"\n[stage.backbone]\nstart_share = 0.8\n'
    stage = stages(tmp_path, text)[1]
    assert stage.needs == ("a", "a")
    backbone = stage.configuration("/runs", "/data").backbone
    assert (backbone.weights, backbone.start_share) == ("/runs/a/best", 0.8)
    imagenet = '[[stage]]\nname = "a"\nmodel = "resnet50"\n[stage.backbone]\nweights = "imagenet"\n'
    one, other = stages(tmp_path, imagenet + '[[stage]]\nname = "b"\nmodel = "resnet50"\nstart = "a"\n')
    assert one.config.backbone.preprocessing == "auto"
    assert other.config.backbone.preprocessing == "imagenet"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TWO + 'start = "c"', "stage b: start: 'c' is no stage before this one"),
        (TWO + 'start = ["a"]', r"stage b: start: \['a'\] is no stage before this one"),
        (TWO + 'start = "a"', "stage b: start: a is another network"),
        (
            TWO.replace('"cnn"', '"compact"') + 'start = "a"\n[stage.backbone]\nweights = "x"',
            "stage b: backbone: weights: it has a start",
        ),
        (TWO + "[stage.backbone]\nstart_share = 0.5", "stage b: backbone: start_share and freeze need a start"),
        (TWO + '[stage.backbone]\nfreeze = ["conv1"]', "stage b: backbone: start_share and freeze need a start"),
        ("stage =", "not TOML"),
        ("", r"one or more \[\[stage\]\] tables"),
        ("stage = 1", r"one or more \[\[stage\]\] tables"),
        ("seed = 1\n" + TWO, "nothing else, not 'seed'"),
        (TWO.replace('"b"', '"../b"'), "stage 2: name: may hold letters"),
        (TWO.replace('"b"', "7"), "stage 2: name: "),
        (TWO.replace('"b"', '"a"'), "stage a: another stage has this name"),
        (TWO.replace('"cnn"', '"vgg"'), "stage b: model: give one of cnn, compact, large, resnet50"),
        (TWO.replace('["a"]', '"a"'), "stage b: teachers: give a list"),
        (TWO.replace('["a"]', '["b"]'), "stage b: teachers: 'b' is no stage before this one"),
        (TWO + 'data = "x"', "stage b: data: all stages have the data of --data"),
        (TWO + "epoch = 1", "stage b: epoch: "),
        (TWO.replace("epochs = 3", "epochs = 0"), "stage b: --epochs must be 1 or more"),
        (TWO.replace("epochs = 3", "width = 2"), "stage b: --width is for --model compact or large"),
        (TWO.replace('teachers = ["a"]', "[stage.distillation]\ntemperature = 3"), "stage b: distillation: it needs"),
    ],
)
def test_a_mistake_is_told_with_its_stage_and_field(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        stages(tmp_path, text)


# What follows runs the driver with a stand-in for the training of a stage. tests/jobs/test_train_recipe.py trains.

FOUR = """
[[stage]]
name = "left"
model = "compact"
epochs = 1
[[stage]]
name = "right"
model = "compact"
epochs = 1
[[stage]]
name = "both"
model = "compact"
epochs = 1
teachers = ["left", "right"]
[[stage]]
name = "last"
model = "compact"
epochs = 1
teachers = ["both"]
start = "right"
"""


class Training:
    """Stands in for `train`: keeps what was begun and ended, and finishes a stage with a card."""

    def __init__(self, monkeypatch, *, cpus=2, gpus=0):
        self.events, self.options, self.broken = [], [], set()
        monkeypatch.setattr(recipe_driver, "train", self)
        monkeypatch.setattr(recipe_driver, "connect", lambda: None)
        nodes = [{"Alive": True, "Resources": {"CPU": cpus, "GPU": gpus}}]
        monkeypatch.setattr(recipe_driver.ray, "nodes", lambda: nodes)
        monkeypatch.setattr(
            recipe_driver, "reserve", lambda options, say: WorkerResources(options.cpus_per_worker or cpus, 0)
        )

    def __call__(self, config, options, console):
        self.events.append(f"+{options.name}")
        self.options.append(options)
        folder = RunFolder(f"{options.storage}/{options.name}")
        for teacher in config.distillation.teacher:
            assert RunFolder(teacher.removesuffix("/best")).latest(), "a stage began before its teachers had finished"
        if config.backbone.weights != "none":
            assert RunFolder(config.backbone.weights.removesuffix("/best")).latest()
        if options.name in self.broken:
            raise UserError(f"{options.name} is broken")
        fingerprint = open_dataset(config.data).manifest.fingerprint
        folder.start(config, fingerprint, overwrite=options.overwrite)
        row = {"epoch": 1, "validation_accuracy": 0.5, "validation_accuracy_unseen": 0.4, "validation_macro_f1": 0.3}
        card = Card("compact", 1, 408_249, "float32", "challenge", fingerprint, {}, [row])
        publish_checkpoint(folder.checkpoint(1), {"model.keras": b""}, card)
        publish_checkpoint(folder.best, {"model.keras": b""}, card)
        self.events.append(f"-{options.name}")


@pytest.fixture
def go(tmp_path, drawn_few, monkeypatch):
    def run(text=FOUR, **options):
        (tmp_path / "r.toml").write_text(text)
        run.console = Console(record=True, width=80)
        return train_recipe(
            str(tmp_path / "r.toml"),
            str(drawn_few),
            TrainRunOptions(storage=str(tmp_path / "runs"), **options),
            run.console,
        )

    run.folder = tmp_path / "runs" / "r"
    run.with_training = lambda **machine: Training(monkeypatch, **machine)
    return run


def test_stages_run_in_order_and_their_table_is_written(go):
    training = go.with_training()
    result = go()
    assert training.events == ["+left", "-left", "+right", "-right", "+both", "-both", "+last", "-last"]
    assert result.checkpoint == f"{go.folder}/last/best"
    table = pd.read_csv(result.table)
    assert list(table["stage"]) == ["left", "right", "both", "last"]
    assert list(table["teachers"].fillna("")) == ["", "", "left right", "both"]
    assert list(table["start"].fillna("")) == ["", "", "", "right"]
    np.testing.assert_array_equal(table[["best_epoch", "accuracy", "macro_f1"]], [[1, 0.5, 0.3]] * 4)
    shown = go.console.export_text()
    assert "stage both, 3 of 4" in shown
    assert "validation, best epochs" in shown


@pytest.mark.parametrize(
    ("cpus", "gpus", "options", "expected"),
    [
        (16, 4, {}, (2, "gpu", 8)),  # Two of the four stages need not wait for one another.
        (16, 1, {}, (1, "auto", None)),
        (16, 4, {"workers": 2}, (2, "gpu", 4)),
        (16, 4, {"device": "cpu"}, (1, "cpu", None)),
        (16, 0, {"cpus_per_worker": 4}, (2, "auto", 4)),
        (2, 0, {"cpus_per_worker": 2}, (1, "auto", 2)),
    ],
)
def test_stages_run_side_by_side_where_there_is_room(tmp_path, drawn_few, monkeypatch, cpus, gpus, options, expected):
    Training(monkeypatch, cpus=cpus, gpus=gpus)
    (tmp_path / "r.toml").write_text(FOUR)
    runs = {
        stage.name: recipe_driver._Run(stage, str(tmp_path), str(drawn_few), Console())
        for stage in read_recipe(str(tmp_path / "r.toml"))
    }
    at_a_time, chosen = recipe_driver._at_a_time(runs, TrainRunOptions(**options), Console())
    assert (at_a_time, chosen.device, chosen.cpus_per_worker) == expected


def test_what_is_finished_is_not_run_again(go):
    training = go.with_training()
    training.broken = {"both"}
    with pytest.raises(UserError, match="both is broken"):
        go()
    assert "+last" not in training.events
    training.events, training.broken = [], set()
    go()
    assert training.events == ["+both", "-both", "+last", "-last"]
    training.events = []
    go()
    assert training.events == []


def test_a_stage_that_has_begun_cannot_change_but_later_ones_can(go):
    training = go.with_training()
    training.broken = {"both"}
    with pytest.raises(UserError):
        go()
    training.broken = set()
    changed = FOUR.replace('"left"\nmodel = "compact"', '"left"\nmodel = "compact"\nseed = 4')
    with pytest.raises(UserError, match=r"other settings \(stage left: seed 0 -> 4\): choose another --name"):
        go(changed)
    later = FOUR.replace('"last"\nmodel = "compact"', '"last"\nmodel = "compact"\nseed = 4')
    assert go(later).checkpoint.endswith("last/best")
    training.events = []
    go(changed, overwrite=True)
    assert len(training.events) == 8


def test_a_stage_whose_teacher_is_gone_is_not_taken_for_taught_by_a_new_one(go):
    training = go.with_training()
    go()
    shutil.rmtree(go.folder / "left")
    with pytest.raises(UserError, match="both learned from another stage 'left'"):
        go()
    assert training.events.count("+left") == 1


def test_a_folder_of_something_else_is_refused(go):
    go.with_training()
    go.folder.mkdir(parents=True)
    (go.folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="exists and is not a recipe"):
        go()
