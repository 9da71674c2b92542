import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from ray.tune.schedulers import TrialScheduler

from jobs.training.defaults import DEFAULTS
from jobs.tuning.options import SchedulerConfig
from jobs.tuning.report import importance
from jobs.tuning.search import FIRST_TRIAL, create_scheduler, create_search, mutable
from jobs.tuning.spaces import PRESETS, Choice, Range, Space
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


def begun(points: list[dict], results: list[float | None]) -> list[Trial]:
    """The trials at `points`; those without a result are under way."""
    return [
        Trial(
            point[TRIAL_KEY],
            {name: value for name, value in point.items() if name != TRIAL_KEY},
            [] if value is None else [{"epoch": 1, "validation_accuracy_unseen": value}],
            None if value is None else Outcome("done"),
        )
        for point, value in zip(points, results, strict=True)
    ]


def without_name(point: dict) -> dict:
    return {name: value for name, value in point.items() if name != TRIAL_KEY}


def test_the_first_trial_is_the_configuration_itself_and_the_next_has_no_value_of_it():
    search = create_search(SPACE, BASE, "tpe", [], 9)
    first, second = (search.suggest(name) for name in "ab")
    assert first == {"learning_rate": 3e-3, "schedule": "cosine", "warmup_epochs": 1.0, TRIAL_KEY: "0000"}
    assert second[TRIAL_KEY] == "0001"
    assert second["learning_rate"] != first["learning_rate"]


@pytest.mark.parametrize("seed", range(5))
def test_the_first_trials_cover_the_learning_rate(seed):
    search = create_search(SPACE, replace(BASE, seed=seed), "tpe", [], 9)
    rates = [search.suggest(str(i))["learning_rate"] for i in range(9)][1:]
    # Eight trials, of which each has an eighth of the range, on its logarithmic scale, to itself.
    assert sorted(int(8 * math.log(rate / 1e-4, 100)) for rate in rates) == list(range(8))


def random_space(random: np.random.Generator) -> Space:
    """One to six parameters of all kinds, of which the last may have a condition."""
    kinds = {
        "learning_rate": Range(1e-5, 1e-1, log=True),
        "rotation": Range(0.0, 30.0),
        "batch_size": Range(8, 256, log=True),
        "plateau_patience": Range(1, 3),
        "class_weights": Choice(["none", "cube_root", "balanced"]),
        "schedule": Choice(["constant", "cosine"]),
    }
    names = random.permutation(list(kinds))[: random.integers(1, len(kinds) + 1)]
    space = {str(name): kinds[name] for name in names}
    if "schedule" in space:
        space["warmup_epochs"] = Range(0.0, 2.0, when={"schedule": ["cosine"]})
    return space


@pytest.mark.parametrize("seed", range(200))
def test_no_point_is_tried_twice_and_a_stop_changes_nothing(seed):
    random = np.random.default_rng(seed)
    space, base = random_space(random), replace(BASE, seed=int(random.integers(1000)))
    kind = ["quasi-random", "random", "tpe"][seed % 3]
    trials = int(random.integers(4, 20))
    search = create_search(space, base, kind, [], trials)
    stop = int(random.integers(1, trials))
    points: list[dict] = []
    for number in range(trials):
        if number == stop:
            results = [None if random.random() < 0.2 else random.random() for _ in points]
            again = create_search(space, base, kind, begun(points, results), trials)
            waiting = [point for point, result in zip(points, results, strict=True) if result is None]
            assert [again.suggest(f"again {i}") for i in range(len(waiting))] == waiting
            if kind == "tpe":
                search = again
            else:
                expected = [search.suggest(str(i)) for i in range(number, trials)]
                points += [point for point in expected if point != "FINISHED"]
                assert [again.suggest(str(i)) for i in range(number, trials)] == expected
                break
        point = search.suggest(str(number))
        if point == "FINISHED":
            break
        points.append(point)
        search.on_trial_complete(str(number), {BASE.metric: random.random()})
    assert [point[TRIAL_KEY] for point in points] == [f"{i:04d}" for i in range(len(points))]
    tried = [without_name(point) for point in points]
    assert all(one != other for i, one in enumerate(tried) for other in tried[:i])
    assert len(tried) == trials or set(space) <= {"plateau_patience", "class_weights", "schedule"}
    if kind != "random" and len(tried) >= 4:
        for name, domain in space.items():
            values = [point[name] for point in tried[:4] if name in point]
            assert len(set(values)) > 1 or domain.when, name


def test_a_search_ends_when_a_small_space_is_used_up():
    space = {"class_weights": Choice(["none", "cube_root", "balanced"])}
    for kind in ("tpe", "quasi-random", "random"):
        search = create_search(space, BASE, kind, [], 9)
        points = [search.suggest(str(i)) for i in range(4)]
        assert {point["class_weights"] for point in points[:3]} == {"none", "cube_root", "balanced"}
        assert points[3] == "FINISHED"


def test_a_configuration_outside_the_space_is_tried_first_as_it_is():
    search = create_search({"learning_rate": Range(1e-5, 1e-4, log=True)}, BASE, "random", [], 5)
    assert search.suggest("a") == {TRIAL_KEY: "0000"}
    assert 1e-5 <= search.suggest("b")["learning_rate"] <= 1e-4


def test_after_a_stop_trials_under_way_come_first_and_names_go_on():
    past = [
        trial(0, [0.3, 0.5], Outcome("done")),
        trial(1, [0.2], None, learning_rate=5e-4),
        trial(2, [], Outcome("failed", "why"), learning_rate=9e-3),
    ]
    search = create_search(SPACE, BASE, "tpe", past, 9)
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
