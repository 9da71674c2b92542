"""Whether the best trial of a sweep is better than the first by more than chance."""

from dataclasses import replace

import numpy as np
import pytest

from cluster.connect import WorkerResources
from fer_data.batches import ordered_batches
from fer_data.dataset import open_dataset
from fer_data.errors import UserError
from fer_data.splits import split
from fer_models.checkpoint import load_model
from jobs.training.defaults import DEFAULTS
from jobs.tuning.comparison import Comparison, compare
from jobs.tuning.sweep_folder import Outcome, SweepFolder, Trial
from jobs.tuning.tables import initial_trial
from tests.gpus import ray_with_gpus
from tests.jobs.evaluation.tiny import tiny_checkpoint


def test_a_clear_difference_is_more_than_chance_and_a_small_one_says_what_would_show_it():
    (line,) = Comparison(rows=1000, only_first=20, only_best=90, others=11).lines()
    assert line == (
        "the best trial is 7.0 points of accuracy above the initial configuration on the same 1,000 images "
        "(95 % interval +4.1 to +9.9, for the best of 12 trials): more than chance"
    )
    said, more = Comparison(rows=1000, only_first=70, only_best=90, others=11).lines()
    assert said.endswith(": that may be chance")
    # The interval reaches 1.8 times as far as the difference, and noise halves with four times as many trials.
    assert more == "if it is real, some 6 more trials would show it: half of each, with other --seed"
    (line,) = Comparison(rows=1000, only_first=40, only_best=30, others=1).lines()
    assert line.startswith("the best trial is 1.0 points of accuracy below the initial configuration")
    (line,) = Comparison(rows=1000, only_first=30, only_best=30, others=1).lines()
    assert line.endswith("(95 % interval -1.5 to +1.5, for the best of 2 trials): no more than chance")


def test_a_first_trial_that_went_on_from_another_is_not_the_initial_configuration():
    base = DEFAULTS["compact"]
    own = {"learning_rate": base.optimizer.learning_rate}
    for parameters, is_initial in (({}, True), (own, True), ({"learning_rate": 0.5}, False)):
        first = Trial("0000", parameters, [], None)
        assert initial_trial([first, Trial("0001", {}, [], None)], base) == (first if is_initial else None)


@pytest.mark.parametrize("trials", [2, 12])
def test_the_best_of_equal_trials_is_rarely_called_better(trials):
    """Trials of one accuracy that differ by chance alone: at most one sweep in twenty may call its best one better."""
    random, rows, sweeps = np.random.default_rng(0), 500, 400
    called = 0
    for _ in range(sweeps):
        hard = random.random(rows)  # How hard the images are is common to all trials.
        right = random.random((trials, rows)) > hard
        best = right[1:].sum(axis=1).argmax() + 1
        only_first, only_best = (right[0] & ~right[best]).sum(), (right[best] & ~right[0]).sum()
        called += Comparison(rows, int(only_first), int(only_best), trials - 1).interval[0] > 0
    assert called / sweeps < 0.05 + 2 * (0.05 * 0.95 / sweeps) ** 0.5


@pytest.mark.cluster
@pytest.mark.slow
def test_the_checkpoints_of_the_first_trial_and_of_the_best_are_compared_on_the_images_that_count(drawn_set, tmp_path):
    folder, dataset = SweepFolder(str(tmp_path / "sweep")), open_dataset(drawn_set)
    validation = split(dataset, "validation")
    trials = [Trial(f"{i:04d}", {}, [{"epoch": 1}], Outcome("over")) for i in range(3)]
    trials.append(Trial("0003", {}, [], Outcome("failed", "no epoch")))
    first, best = (tiny_checkpoint(folder.run(trials[i].name).best, seed=i) for i in (0, 2))
    labels = np.concatenate([labels for _, labels in ordered_batches(dataset, validation, batch_size=512)])
    unseen = np.arange(len(labels)) % 3 > 0
    shared = {"dataset": dataset, "validation": validation, "resources": WorkerResources(1, 0)}
    with ray_with_gpus(0):
        found = compare(folder, trials, trials[0], trials[2], unseen=unseen, **shared)
        of_all = compare(folder, trials, trials[0], trials[2], unseen=None, **shared)
        for nothing in (None, trials[2], replace(trials[0], history=[])):
            assert compare(folder, trials, nothing, trials[2], unseen=None, **shared) is None
        with pytest.raises(UserError, match="0001/best"):
            compare(folder, trials, trials[0], trials[1], unseen=None, **shared)
    pixels = np.concatenate([pixels for pixels, _ in ordered_batches(dataset, validation, batch_size=512)])
    one, other = (np.asarray(load_model(uri)[0](pixels)).argmax(axis=1) == labels for uri in (first, best))
    for counted, rows in ((found, unseen), (of_all, slice(None))):
        only = int((one & ~other)[rows].sum()), int((other & ~one)[rows].sum())
        assert counted == Comparison(len(labels[rows]), *only, others=2)
