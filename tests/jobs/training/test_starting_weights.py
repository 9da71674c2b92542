"""Weights that do not fit are refused before Ray starts."""

import subprocess
import sys

import pytest

from fer_data.errors import UserError
from jobs.training.config import TrainConfig
from jobs.training.option_groups import BackboneConfig
from jobs.training.options import parse_train_options
from jobs.training.starting_weights import check_weights
from tests.conftest import REPOSITORY
from tests.fer_models.test_start_weights import original

RELEASED = str(REPOSITORY / "fer_models/released")


@pytest.mark.parametrize(
    ("model", "width", "message"),
    [
        ("cnn", 1.0, "is of --model compact, not --model cnn"),
        ("compact", 1.5, "is of --model compact, not --model compact --width 1.5"),
        ("resnet50", 1.0, "is of --model compact, not --model resnet50"),
    ],
)
def test_a_card_tells_of_which_network_the_weights_are(model, width, message):
    check_weights(TrainConfig("compact", backbone=BackboneConfig(RELEASED)))
    with pytest.raises(UserError, match=message):
        check_weights(TrainConfig(model, width=width, backbone=BackboneConfig(RELEASED)))


def test_a_file_is_tried_before_ray_starts_and_refused_in_a_line(tmp_path):
    original(0, scale=0.5).save(tmp_path / "other.keras")
    arguments = ["jobs/train_cnn.py", "--weights", str(tmp_path / "other.keras"), "--storage", str(tmp_path / "runs")]
    done = subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path}/other.keras has the layers of cnn but computes something else")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--weights", "imagenet"), "--weights imagenet is for --model resnet50, not cnn"),
        (("--freeze", "stage1"), r"--freeze takes conv1, conv2, conv3, conv4, or STAGE=EPOCHS \(it is stage1\)"),
        (("--model", "compact", "--freeze", "stage1=x"), r"--freeze takes stem, stage1, .* \(it is stage1=x\)"),
        (("--start-share", "0.5"), "--start-share needs --weights"),
        (("--weights", "x.keras", "--start-share", "1"), "--start-share must be at least 0 and below 1"),
        (("--views", "3"), "--distillation, --temperature and --views need --teacher"),
        (("--teacher", "x", "--views", "-1"), "--views must be 0 or more"),
        (("--teacher", "x", "--views", "3", "--mixup", "0.2"), "--views repeats images, and --mixup makes new ones"),
        (("--input-size", "96"), "--input-size is for --model resnet50, not cnn"),
    ],
)
def test_options_of_fine_tuning_that_a_network_lacks_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        parse_train_options(arguments, "train_cnn", None)


def test_a_resnet_whose_head_starts_anew_has_no_mean_with_its_start():
    with pytest.raises(UserError, match="--start-share is for networks that start with all of their weights"):
        parse_train_options(["--weights", "imagenet", "--start-share", "0.5"], "train_resnet", None)
