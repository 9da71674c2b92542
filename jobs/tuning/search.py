"""Which trials to run and which to stop early: Optuna and Ray Tune's schedulers, with the results so far."""

import warnings
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from cluster.ray_internals import population_based_training
from jobs.training.config import TrainConfig
from jobs.tuning.options import SchedulerConfig
from jobs.tuning.spaces import Parameters, Range, Space, defaults, suggest
from jobs.tuning.sweep_folder import Trial
from jobs.tuning.trial import TRIAL_KEY, worst

STARTUP_TRIALS = 10
"""The first trials, near the given configuration, from which the estimator learns."""
FIRST_TRIAL = "0000"
"""The name of the trial that trains the given configuration."""
_STUDY = "sweep"
_DEFAULT = "default"
_NEVER_MUTATED = ("warmup_epochs", "batch_size")
"""Parameters that cannot change during a run."""


def create_search(space: Space, base: TrainConfig, kind: str, past: Sequence[Trial]) -> OptunaSearch:
    """Optuna over `space`, given the finished trials of `past`; it starts with the unfinished ones.

    The first trial of a sweep is `base` itself. `kind` is tpe or random; the seed of `base` seeds both.
    """
    metric, mode = base.metric, base.mode
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(base.seed)
    if kind == "random":
        # Draw the past points again, so that a resumed sweep gets the same points as an uninterrupted one.
        drawn = optuna.create_study(sampler=sampler)
        for _ in past[1:]:
            suggest(space, drawn.ask(), {})
    else:
        # A resumed sweep needs another seed, because the same one would draw the same points again.
        seed = base.seed + 7919 * len(past)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=STARTUP_TRIALS, multivariate=True, group=True, constant_liar=True, seed=seed
            )
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(
        study_name=_STUDY, storage=storage, sampler=sampler, direction="minimize" if mode == "min" else "maximize"
    )
    point = _Point(space, max((int(trial.name) for trial in past), default=-1) + 1)
    for trial in past:
        if trial.outcome is None:
            continue
        study.enqueue_trial(trial.parameters, user_attrs={TRIAL_KEY: trial.name, _DEFAULT: not trial.parameters})
        again = study.ask()
        point(again)
        best = trial.best(base)
        value = None if best is None or trial.outcome.error else best[metric]
        state = optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE
        study.tell(again, value, state=state)
    for trial in [trial for trial in past if not trial.outcome]:
        study.enqueue_trial(trial.parameters, user_attrs={TRIAL_KEY: trial.name, _DEFAULT: not trial.parameters})
    own = defaults(space, base)
    if not past:
        study.enqueue_trial(own or {}, user_attrs={_DEFAULT: own is None})
    if kind == "tpe" and own is not None:
        for neighbour in neighbours(space, own, base.seed)[max(len(past) - 1, 0) :]:
            study.enqueue_trial(neighbour)
    return OptunaSearch(point, metric=metric, mode=mode, sampler=sampler, storage=storage, study_name=_STUDY)


def neighbours(space: Space, own: Parameters, seed: int) -> list[Parameters]:
    """The points to try after the configuration's `own`. Each differs from it in about a third of the parameters.

    In a space of many parameters almost every random point is worse than carefully chosen settings. Better points are
    more often near those.
    """
    random = np.random.default_rng(seed)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    found: list[Parameters] = []
    names = list(space)
    while len(found) < STARTUP_TRIALS - 1:
        redrawn = {str(name) for name in random.choice(names, max(1, round(len(names) / 3)), replace=False)}
        drawn = suggest(space, study.ask(), {name: value for name, value in own.items() if name not in redrawn})
        # A drawn value may be the old one, and a condition may exclude it.
        if drawn != own:
            found.append(drawn)
    return found


def create_scheduler(config: SchedulerConfig, space: Space, base: TrainConfig, past: Sequence[Trial]) -> TrialScheduler:
    """Ray Tune's scheduler, given the results of the finished trials of `past`."""
    metric, mode = base.metric, base.mode
    if config.scheduler == "none":
        return FIFOScheduler()
    if config.scheduler == "pbt":
        ranges = mutable(space, base)
        return population_based_training(
            # A trial that copies another's values keeps its own name.
            lambda point, trial: point | {TRIAL_KEY: trial.config[TRIAL_KEY]},
            time_attr="epoch",
            metric=metric,
            mode=mode,
            perturbation_interval=config.grace_epochs,
            hyperparam_mutations={name: _domain(domain) for name, domain in ranges.items()},
            custom_explore_fn=_Clip(ranges),
        )
    scheduler = _Halving(
        time_attr="epoch",
        metric=metric,
        mode=mode,
        max_t=base.epochs,
        grace_period=min(config.grace_epochs, base.epochs),
        reduction_factor=config.reduction,
    )
    for trial in past:
        if trial.outcome and trial.history:
            stand_in: Any = SimpleNamespace(trial_id=trial.name, config={TRIAL_KEY: trial.name})
            scheduler.on_trial_add(None, stand_in)  # type: ignore[arg-type]
            for row in trial.history:
                value = row[metric] if row[metric] is not None else worst(base.monitor)
                scheduler.on_trial_result(None, stand_in, row | {metric: value})
    return scheduler


def mutable(space: Space, base: TrainConfig) -> dict[str, Range]:
    """The parameters that population-based training may change during a run: numbers that every trial has."""
    return {
        name: domain
        for name, domain in space.items()
        if isinstance(domain, Range)
        and isinstance(domain.low, float)
        and not domain.when
        and name not in _NEVER_MUTATED
        and base.flat()[name] is not None
    }


def _domain(domain: Range) -> Any:
    return (tune.loguniform if domain.log else tune.uniform)(domain.low, domain.high)


class _Point:
    """Turns an Optuna trial into a point for Tune. A class and not a closure, because Tune pickles it."""

    def __init__(self, space: Space, next_number: int) -> None:
        self._space, self._next_number = space, next_number

    def __call__(self, trial: Any) -> dict[str, Any]:
        attributes = trial.user_attrs
        # No parameters for a given configuration outside the space.
        point: Parameters = {} if attributes.get(_DEFAULT) else suggest(self._space, trial)
        name = attributes.get(TRIAL_KEY)
        if not name:
            name, self._next_number = f"{self._next_number:04d}", self._next_number + 1
        return {**point, TRIAL_KEY: name}


class _Halving(ASHAScheduler):
    """Asynchronous successive halving that never stops the first trial, so that the baseline finishes."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict) -> str:
        decision = super().on_trial_result(tune_controller, trial, result)
        return TrialScheduler.CONTINUE if trial.config[TRIAL_KEY] == FIRST_TRIAL else decision


class _Clip:
    """Clips the values that population-based training tries to their ranges."""

    def __init__(self, ranges: dict[str, Range]) -> None:
        self._ranges = ranges

    def __call__(self, point: dict[str, Any]) -> dict[str, Any]:
        for name, domain in self._ranges.items():
            if name in point:
                point[name] = min(max(point[name], domain.low), domain.high)
        return point
