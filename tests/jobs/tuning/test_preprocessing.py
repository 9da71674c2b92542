"""`auto` preprocessing means the same to driver, trial and rank, also where a sweep changes the weights."""

from dataclasses import replace

import pytest

from cluster.connect import WorkerResources
from fer_data.errors import UserError
from fer_models.card import Card
from fer_models.checkpoint import save_checkpoint
from fer_models.resnet50 import preprocessing_of
from jobs.training.checks import resolved
from jobs.training.config import TrainConfig
from jobs.training.defaults import DEFAULTS
from jobs.training.option_groups import BackboneConfig
from jobs.training.rank import _new_model
from jobs.tuning.driver import _starts
from jobs.tuning.options import SweepRunOptions
from jobs.tuning.spaces import Choice
from jobs.tuning.trial import TRIAL_KEY, TrialRun, TrialSetup
from tests.jobs.evaluation.tiny import tiny_network

RECIPE = DEFAULTS["resnet50"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, str]:
    """By the preprocessing that their cards state, checkpoints; only cards matter here."""
    folder = tmp_path_factory.mktemp("weights")
    for name in ("imagenet", "divide_by_255", "auto", "nothing"):
        said = {} if name == "nothing" else {"backbone": {"preprocessing": name}}
        card = Card("resnet50", 1, 1, "float32", "challenge", "f00d", said, [])
        save_checkpoint(str(folder / name), tiny_network(0), card)
    return {path.name: str(path) for path in folder.iterdir()}


def trained_by_a_trial(**parameters) -> TrainConfig:
    """What a trial that changes `parameters` of the recipe saves and hands to its ranks."""
    trial = object.__new__(TrialRun)  # Without Tune's own set-up, which wants a cluster.
    setup = TrialSetup("/nowhere", RECIPE, None, WorkerResources(1, 0), SweepRunOptions(), 2)
    trial.setup({TRIAL_KEY: "0001", **parameters}, setup)
    return trial._config


@pytest.mark.parametrize(
    ("weights", "preprocessing"), [("none", "divide_by_255"), ("imagenet", "imagenet"), ("/some/file.h5", "imagenet")]
)
def test_a_run_and_a_trial_decide_alike(weights, preprocessing):
    config = replace(RECIPE, backbone=BackboneConfig(weights))
    assert resolved(config).backbone.preprocessing == preprocessing
    assert trained_by_a_trial(weights=weights) == resolved(config)
    assert trained_by_a_trial(weights=weights, preprocessing="auto") == resolved(config)


@pytest.mark.parametrize("stated", ["imagenet", "divide_by_255", "auto", "nothing"])
def test_that_of_a_checkpoint_is_the_one_its_network_was_trained_with(checkpoints, stated):
    decided = trained_by_a_trial(weights=checkpoints[stated]).backbone.preprocessing
    assert decided == ("imagenet" if stated == "imagenet" else "divide_by_255")


def test_what_is_asked_for_stands():
    assert (
        trained_by_a_trial(weights="imagenet", preprocessing="divide_by_255").backbone.preprocessing == "divide_by_255"
    )


def test_ranks_build_what_was_decided_and_decide_nothing_themselves():
    small = {"input_size": 48, "head": "pooled"}
    for weights in ("none", "imagenet"):
        config = trained_by_a_trial(weights=weights, **small)
        assert preprocessing_of(_new_model(config, "float32")) == config.backbone.preprocessing
    with pytest.raises(UserError, match="unknown preprocessing 'auto'"):
        _new_model(RECIPE, "float32")


def test_every_start_of_a_sweep_is_known_before_it_begins(checkpoints):
    given = replace(RECIPE, backbone=BackboneConfig(checkpoints["divide_by_255"]))
    assert [start.backbone for start in _starts({}, given)] == [replace(given.backbone, preprocessing="divide_by_255")]
    space = {"weights": Choice(["none", checkpoints["imagenet"]])}
    assert [start.backbone.preprocessing for start in _starts(space, given)] == ["divide_by_255", "imagenet"]
    with pytest.raises(UserError, match="nowhere"):
        _starts({"weights": Choice(["none", "/nowhere"])}, given)


def test_deciding_twice_changes_nothing():
    for model, recipe in DEFAULTS.items():
        assert resolved(resolved(recipe)) == resolved(recipe), model
