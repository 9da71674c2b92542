from dataclasses import replace
from types import SimpleNamespace

import pytest
from ray.tune.schedulers import TrialScheduler

from jobs.training.config import TrainConfig
from jobs.training.defaults import DEFAULTS
from jobs.tuning.options import SchedulerConfig
from jobs.tuning.report import importance
from jobs.tuning.search import FIRST_TRIAL, STARTUP_TRIALS, create_scheduler, create_search, mutable, neighbours
from jobs.tuning.spaces import PRESETS, Range, defaults
from jobs.tuning.sweep_folder import Outcome, Trial
from jobs.tuning.tables import best_trial, trials_table
from jobs.tuning.trial import TRIAL_KEY

BASE = replace(DEFAULTS["compact"], epochs=9)
SPACE = PRESETS["learning-rate"]


def trial(number: int, accuracies: list, outcome: Outcome | None, **parameters) -> Trial:
    """A trial with these accuracies on unseen images; those on all images would order trials and epochs otherwise."""
    history = [
        {"epoch": i + 1, "validation_accuracy": 1 - (value or 0), "validation_accuracy_unseen": value}
        | {"seconds": 2.0, "images_per_second": 50.0}
        for i, value in enumerate(accuracies)
    ]
    return Trial(f"{number:04d}", {"learning_rate": 1e-3, "schedule": "constant"} | parameters, history, outcome)


def test_the_first_trial_is_the_configuration_itself_and_the_others_are_not():
    search = create_search(SPACE, BASE, "tpe", [])
    first, second = (search.suggest(name) for name in "ab")
    assert first == {"learning_rate": 3e-3, "schedule": "cosine", "warmup_epochs": 1.0, TRIAL_KEY: "0000"}
    assert second.pop(TRIAL_KEY) == "0001"
    assert second.items() != first.items() - {(TRIAL_KEY, "0000")}


def test_the_next_trials_are_near_the_configuration_even_after_a_stop():
    space = PRESETS["full"]
    own = defaults(space, BASE)
    assert own is not None, "the recipe is inside of the space"
    search = create_search(space, BASE, "tpe", [])
    points = [search.suggest(str(i)) for i in range(STARTUP_TRIALS)]
    for point in points[1:]:
        changed = [name for name in own if point.get(name) != own[name]]
        assert 1 <= len(changed) <= len(space) // 3 + 2
    past = [Trial(point.pop(TRIAL_KEY), point, [], Outcome("failed", "why")) for point in points[:4]]
    again = create_search(space, BASE, "tpe", past)
    assert again.suggest("a") == points[4]


@pytest.mark.parametrize("seed", range(3))
def test_none_of_them_is_the_configuration_again_where_few_parameters_apply(seed):
    space = PRESETS["learning-rate"]
    own = defaults(space, TrainConfig())
    assert own == {"learning_rate": 1e-3, "schedule": "constant"}
    found = neighbours(space, own, seed)
    assert len(found) == STARTUP_TRIALS - 1
    assert own not in found


def test_a_configuration_outside_the_space_is_tried_first_as_it_is():
    search = create_search({"learning_rate": Range(1e-5, 1e-4, log=True)}, BASE, "random", [])
    assert search.suggest("a") == {TRIAL_KEY: "0000"}
    assert 1e-5 <= search.suggest("b")["learning_rate"] <= 1e-4


def test_the_same_seed_draws_the_same_points():
    one, other = (create_search(SPACE, BASE, "random", []) for _ in range(2))
    assert [one.suggest(str(i)) for i in range(5)] == [other.suggest(str(i)) for i in range(5)]


@pytest.mark.parametrize("begun", [0, 1, 3])
def test_after_a_stop_a_random_search_goes_on_with_the_points_that_it_would_have_drawn(begun):
    whole = create_search(PRESETS["full"], BASE, "random", [])
    points = [whole.suggest(str(i)) for i in range(5)]
    past = [
        Trial(point[TRIAL_KEY], {k: v for k, v in point.items() if k != TRIAL_KEY}, [], Outcome("failed", "why"))
        for point in points[:begun]
    ]
    resumed = create_search(PRESETS["full"], BASE, "random", past)
    assert [resumed.suggest(str(i)) for i in range(begun, 5)] == points[begun:]


def test_after_a_stop_trials_under_way_come_first_and_names_go_on():
    past = [
        trial(0, [0.3, 0.5], Outcome("done")),
        trial(1, [0.2], None, learning_rate=5e-4),
        trial(2, [], Outcome("failed", "why"), learning_rate=9e-3),
    ]
    search = create_search(SPACE, BASE, "tpe", past)
    assert search.suggest("a") == {"learning_rate": 5e-4, "schedule": "constant", TRIAL_KEY: "0001"}
    assert search.suggest("b")[TRIAL_KEY] == "0003"


def test_a_resumed_scheduler_remembers_the_rungs():
    config = SchedulerConfig(grace_epochs=1, reduction=3)
    assert config.rungs(9) == [1, 3]
    past = [trial(i, [0.5, 0.6, 0.7], Outcome("done")) for i in range(3)]

    def decide(scheduler: TrialScheduler, name: str = "0009") -> str:
        newcomer = SimpleNamespace(trial_id="new", config={TRIAL_KEY: name})
        scheduler.on_trial_add(None, newcomer)
        return scheduler.on_trial_result(None, newcomer, {"epoch": 1, BASE.metric: 0.2})

    assert decide(create_scheduler(config, SPACE, BASE, past)) == TrialScheduler.STOP
    assert decide(create_scheduler(config, SPACE, BASE, [])) == TrialScheduler.CONTINUE
    # Nothing can be held against a configuration that was not let finish.
    assert decide(create_scheduler(config, SPACE, BASE, past), FIRST_TRIAL) == TrialScheduler.CONTINUE


def test_population_based_training_leaves_alone_what_a_run_cannot_change():
    changed = set(mutable(PRESETS["full"], BASE))
    assert changed & {"batch_size", "warmup_epochs", "optimizer", "schedule", "flip"} == set()
    assert {"learning_rate", "rotation", "label_smoothing"} <= changed


def test_the_table_has_a_row_for_every_trial_with_the_metrics_of_its_best_epoch():
    trials = [
        trial(0, [0.3, 0.5, 0.4], Outcome("all epochs done"), schedule="cosine", warmup_epochs=0.5),
        trial(1, [None, 0.6], Outcome("stopped by asha after epoch 2")),
        trial(2, [], Outcome("failed", "RuntimeError: no")),
        trial(3, [0.1], None),
    ]
    table = trials_table(trials, BASE, SPACE)
    assert table["best_epoch"].tolist()[:2] == [2, 2]
    assert table["validation_accuracy_unseen"].tolist()[:2] == [0.5, 0.6]
    assert table["validation_accuracy"].tolist()[:2] == [0.5, 0.4]
    assert table["warmup_epochs"].tolist() == [0.5, 1, 1, 1]
    assert table["stopped"].tolist()[2:] == ["failed", "not over"]
    assert table["error"].tolist()[2] == "RuntimeError: no"
    assert table["training_seconds"].tolist() == [6, 4, 0, 2]
    assert table["images_per_second"].tolist()[0] == 50
    assert best_trial(trials, BASE) is trials[1]
    assert best_trial(trials[2:3], BASE) is None
    assert best_trial(trials, replace(BASE, select="all")) is trials[1], "1 for an epoch without an unseen value"
    assert best_trial(trials[::3], replace(BASE, select="all")) is trials[3]


def test_importance_goes_to_the_parameter_that_matters():
    space = {"learning_rate": Range(1e-4, 1e-2, log=True), "dropout": Range(0.0, 0.5)}
    rates = [1e-4 * 1.26**i for i in range(20)]
    trials = [
        trial(i, [0.5 + 10 * rate], Outcome("done"), learning_rate=rate, dropout=0.5 * (i * 7 % 20) / 20)
        for i, rate in enumerate(rates)
    ]
    shares = importance(trials_table(trials, BASE, space), space, BASE.metric, "max")
    assert shares["learning_rate"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
