import json
from dataclasses import replace

import pytest

from fer_data.errors import UserError
from jobs.training.config import TrainConfig
from jobs.training.defaults import DEFAULTS
from jobs.training.option_groups import DistillationConfig
from jobs.training.options import parse_train_options


def options(*argv):
    return parse_train_options(argv, "train_cnn", None)


def test_each_model_starts_from_its_default_configuration():
    assert options().train == DEFAULTS["cnn"]
    assert options("--model", "compact").train == DEFAULTS["compact"]


def test_options_change_the_default_configuration():
    parsed = options("--model", "compact", "--learning-rate", "0.01", "--rotation", "3", "--workers", "2")
    assert parsed.train.optimizer == replace(DEFAULTS["compact"].optimizer, learning_rate=0.01)
    assert parsed.train.augmentation == replace(DEFAULTS["compact"].augmentation, rotation=3)
    assert parsed.run.workers == 2


def test_a_saved_configuration_repeats_a_run_and_options_beside_it_win(tmp_path):
    config = replace(DEFAULTS["compact"], epochs=7, seed=3, data="/data")
    (tmp_path / "config.json").write_text(config.to_json())
    parsed = options("--config", str(tmp_path / "config.json"))
    assert parsed.train == config
    assert options("--config", str(tmp_path / "config.json"), "--epochs", "9").train.epochs == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "--epochs must be 1 or more"),
        ({"width": 2}, "--width is for --model compact or large"),
        ({"epochs": "many"}, "epochs: Input should be a valid integer"),
        ({"depth": 3}, "depth: Unexpected keyword argument"),
        ({"optimizer": {"learning_rate": -1}}, "--learning-rate must be above 0"),
        ({"schedule": "cosine"}, "schedule: "),
    ],
)
def test_a_bad_configuration_file_is_refused_with_file_and_field(tmp_path, change, message):
    values = json.loads(TrainConfig().to_json()) | change
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match=message) as refusal:
        options("--config", str(path))
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [("config.json", ""), ("config.json", "not json"), ("config.json", "[1]"), ("config.json", "3"), ("a.toml", "[1")],
)
def test_a_configuration_that_is_none_is_refused(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=name):
        options("--config", str(tmp_path / name))


def test_a_configuration_may_say_how_to_learn_from_the_teacher_that_is_given_beside_it(tmp_path):
    config = tmp_path / "student.toml"
    config.write_text('model = "compact"\n[distillation]\ndistillation = 0.9\n')
    assert options("--config", str(config), "--teacher", "a").train.distillation == DistillationConfig(("a",), 0.9)
    with pytest.raises(UserError, match="--distillation, --temperature and --views need --teacher"):
        options("--config", str(config))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--epochs", "0"], "--epochs must be 1 or more"),
        (["--epochs", "x"], "--epochs"),
        (["--batch-size", "-4"], "--batch-size must be 1 or more"),
        (["--label-smoothing", "1"], "--label-smoothing"),
        (["--shift", "2"], "--shift must be between 0 and 1"),
        (["--optimizer", "none"], "--optimizer"),
        (["--weight-decay", "0.1"], "--weight-decay needs --optimizer adamw or sgd"),
        (["--workers", "0"], "--workers must be 1 or more"),
        (["--name", "../elsewhere"], "--name may hold"),
        (["--name", "/tmp/x"], "--name may hold"),
        (["--learning-rat", "1"], "--learning-rat"),
        (["--model", "vgg"], "this job trains cnn or compact or large"),
        (["--config"], "--config"),
        (["--config", "/no/such/file"], "/no/such/file does not exist"),
    ],
)
def test_a_wrong_option_gets_one_line_that_names_it(argv, message):
    with pytest.raises(UserError) as refusal:
        options(*argv)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_identity_of_a_run_is_what_it_computes_not_where_its_data_lie():
    config = TrainConfig(data="/here")
    assert config.identity("a") == replace(config, data="/there", resize=True).identity("a")
    assert config.identity("a") != config.identity("b")
    assert config.identity("a") != replace(config, seed=1).identity("a")
    noisy = replace(config, augmentation=replace(config.augmentation, noise=0.1))
    assert config.identity("a") != noisy.identity("a")
    # Runs without a name have this one. An option that came later and is off must not change it.
    assert config.identity("a") == "11dbff7e"
