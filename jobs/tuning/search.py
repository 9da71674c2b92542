"""Which trials to run and which to stop early: Optuna and Ray Tune's schedulers, with the results so far."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch
from scipy.stats.qmc import Sobol

from cluster.ray_internals import population_based_training
from jobs.training.config import TrainConfig
from jobs.tuning.options import SchedulerConfig
from jobs.tuning.spaces import Parameters, Range, Space, defaults, point_at, suggest
from jobs.tuning.sweep_folder import Trial
from jobs.tuning.trial import TRIAL_KEY, worst

STARTUP_TRIALS = 10
"""The first trials, spread over the space, from which the estimator learns."""
FIRST_TRIAL = "0000"
"""The name of the trial that trains the given configuration."""
_ATTEMPTS, _MISSES = 20, 200
"""How often in a row a sampler may repeat itself before a spare point is tried, and before the search ends."""
_STUDY = "sweep"
_DEFAULT = "default"
_NEVER_MUTATED = ("warmup_epochs", "batch_size")
"""Parameters that cannot change during a run."""


def create_search(space: Space, base: TrainConfig, kind: str, past: Sequence[Trial], trials: int) -> OptunaSearch:
    """Optuna over `space`, given the finished trials of `past`; it starts with the unfinished ones.

    The first trial of a sweep is `base` itself. Then `kind`, which is tpe, quasi-random or random, proposes points,
    each once, up to `trials` in all. With the last two, the seed of `base` alone decides the points, whether or not
    the sweep was interrupted.
    """
    metric, mode = base.metric, base.mode
    optuna.logging.set_verbosity(optuna.logging.ERROR)
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
    point = _Point(space)
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
    planned = list(islice(points(space, kind, base.seed, without=own), trials + STARTUP_TRIALS))
    first = STARTUP_TRIALS if kind == "tpe" else trials
    for new in planned[max(len(past) - 1, 0) : first - 1]:
        study.enqueue_trial(new)
    return _Distinct(
        past,
        planned,
        point,
        metric=metric,
        mode=mode,
        sampler=sampler,
        storage=storage,
        study_name=_STUDY,
    )


def points(space: Space, kind: str, seed: int, *, without: Parameters | None = None) -> Iterator[Parameters]:
    """Points of `space` that differ from each other and from `without`, until there are no more.

    They are drawn at random if `kind` is random, and otherwise from a scrambled Sobol sequence, whose points, and whose
    values of each parameter, are spread as evenly as can be, however many are taken (Sobol 1967; Owen 1998).
    """
    seen = set() if without is None else {_key(without)}
    random = np.random.default_rng(seed)
    sobol = Sobol(len(space), rng=random)
    misses = 0
    while misses < _MISSES:
        drawn = random.random(len(space)) if kind == "random" else sobol.random()[0]
        point = point_at(space, drawn.tolist())
        misses += 1
        if _key(point) not in seen:
            misses = 0
            seen.add(_key(point))
            yield point


def _key(point: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    return frozenset((name, value) for name, value in point.items() if name != TRIAL_KEY)


class _Distinct(OptunaSearch):
    """Optuna's search, except that it proposes no point twice, and ends when it finds no other.

    `past` are the trials so far, `spare` points to try when the sampler repeats itself.
    """

    def __init__(self, past: Sequence[Trial], spare: list[Parameters], *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._seen = {_key(trial.parameters) for trial in past}
        self._spare = spare
        self._next_number = max((int(trial.name) for trial in past), default=-1) + 1

    def suggest(self, trial_id: str) -> Any:
        study: Any = self._ot_study
        for attempt in range(_MISSES):
            if attempt == _ATTEMPTS and (new := [point for point in self._spare if _key(point) not in self._seen]):
                study.enqueue_trial(new[0])
            point: Any = super().suggest(trial_id)
            if TRIAL_KEY in point:
                return point
            if _key(point) not in self._seen:
                self._seen.add(_key(point))
                self._next_number += 1
                return point | {TRIAL_KEY: f"{self._next_number - 1:04d}"}
            study.tell(self._ot_trials.pop(trial_id), state=optuna.trial.TrialState.FAIL)
        return Searcher.FINISHED


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

    def __init__(self, space: Space) -> None:
        self._space = space

    def __call__(self, trial: Any) -> dict[str, Any]:
        attributes = trial.user_attrs
        # No parameters for a given configuration outside the space.
        point: Parameters = {} if attributes.get(_DEFAULT) else suggest(self._space, trial)
        return {**point, **{key: attributes[key] for key in [TRIAL_KEY] if key in attributes}}


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
