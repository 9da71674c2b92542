"""What is refused before a run: teachers that have seen the validation images, and a profile of nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer_data.errors import UserError
from fer_data.splits import Split
from fer_models.card import Card
from fer_models.checkpoint import load_model, save_checkpoint
from jobs.training.checks import check_profile, check_sources, missing_lines
from jobs.training.config import TrainConfig
from jobs.training.option_groups import BackboneConfig, DistillationConfig
from tests.jobs.evaluation.tiny import tiny_network


@pytest.fixture
def teacher(tmp_path) -> str:
    folder = str(tmp_path / "teacher")
    save_checkpoint(folder, tiny_network(0), Card("tiny", 1, 1, "float32", "challenge", "abc", {}, []))
    return folder


def config(teacher: str, protocol: str = "challenge") -> TrainConfig:
    return TrainConfig(protocol=protocol, distillation=DistillationConfig((teacher,)))


def test_a_checkpoint_of_the_same_data_and_protocol_may_teach(teacher):
    check_sources(config(teacher), "abc")


def test_one_that_was_trained_on_what_validates_here_may_not(teacher):
    with pytest.raises(UserError, match="trained on validation images of --protocol notebook"):
        check_sources(config(teacher, "notebook"), "abc")
    with pytest.raises(UserError, match="trained on other data"):
        check_sources(config(teacher), "other")
    model, card = load_model(teacher)
    save_checkpoint(teacher, model, replace(card, protocol="notebook"))
    check_sources(config(teacher), "abc")


def test_what_is_no_checkpoint_is_named(tmp_path):
    with pytest.raises(UserError, match="nobody"):
        check_sources(config(str(tmp_path / "nobody")), "abc")


def test_a_damaged_one_is_refused_before_a_run_is_begun(teacher):
    model = Path(teacher) / "model.keras"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    damaged = "does not match its card"
    with pytest.raises(UserError, match=damaged):
        check_sources(config(teacher), "abc")
    with pytest.raises(UserError, match=damaged):
        check_sources(TrainConfig("resnet50", backbone=BackboneConfig(teacher)), "abc")


def test_weights_to_begin_with_have_not_seen_what_validates_here(teacher, tmp_path):
    def begins(protocol: str, weights: str = teacher) -> TrainConfig:
        return TrainConfig("resnet50", protocol=protocol, backbone=BackboneConfig(weights))

    with pytest.raises(UserError, match=r"--weights .* was trained on validation images of --protocol notebook"):
        check_sources(begins("notebook"), "abc")
    check_sources(begins("notebook"), "other")
    check_sources(begins("challenge"), "abc")
    file = tmp_path / "resnet50.h5"
    file.touch()
    check_sources(begins("notebook", str(file)), "abc")


def test_a_profile_of_nothing_is_refused_before_the_run():
    config = TrainConfig(epochs=2, batch_size=100)
    check_profile(config, [], rows=150)
    with pytest.raises(UserError, match="2 steps are left"):
        check_profile(config, [], rows=100)
    finished = [{"epoch": epoch, "validation_loss": 1.0} for epoch in (1, 2)]
    with pytest.raises(UserError, match="nothing to profile: all 2 epochs done"):
        check_profile(config, finished, rows=1000)


def test_a_class_without_an_image_is_named_and_what_that_means():
    counts = np.array([5, 0, 1, 9, 9, 0, 3])
    few, all_classes = (Split("training", "challenge", (), each) for each in (counts, np.ones(7, int)))
    assert missing_lines(few, all_classes) == [
        "warning: no training image of disgust, surprise: the network cannot learn it"
    ]
    assert missing_lines(all_classes, few) == [
        "no validation image of disgust, surprise: such classes count as 0 in macro figures, "
        "so macro F1 is at most 0.714"
    ]
    assert missing_lines(all_classes, all_classes) == []
