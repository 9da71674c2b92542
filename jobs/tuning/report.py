"""The results of a sweep: tables, plots, the best trial's checkpoint and configuration, and a page."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pandas as pd

from fer_data.commands import counted
from fer_data.storage import absolute, join, read_file, redacted, write_file
from fer_data.text import for_spreadsheet
from fer_models.catalogue import NETWORKS
from fer_models.checkpoint_files import MODEL_FILE, publish_checkpoint, read_card, read_verified
from jobs.page import environment, picture
from jobs.run_options import RunOptions
from jobs.training.config import TrainConfig
from jobs.training.run_folder import CONFIG_FILE
from jobs.tuning import plots
from jobs.tuning.comparison import Comparison
from jobs.tuning.spaces import Range, Space
from jobs.tuning.sweep_folder import Sweep, SweepFolder, Trial
from jobs.tuning.tables import history_table, initial_trial, trials_table

_COLUMNS = ("validation_accuracy", "validation_macro_f1", "validation_loss")


def publish(sweep: Sweep, trials: Sequence[Trial], best: Trial | None, comparison: Comparison | None) -> None:
    """Write tables, plots, best trial and page into the sweep's folder, replacing earlier ones.

    `best` is None when no trial has finished an epoch: then there is only the table of trials.
    """
    folder, base = sweep.folder, sweep.base
    table = trials_table(trials, base, sweep.space)
    write_file(join(folder.uri, "trials.parquet"), table.to_parquet(index=False))
    write_file(join(folder.uri, "trials.csv"), table.map(for_spreadsheet).to_csv(index=False).encode())
    if best is None:
        return
    history = history_table(trials)
    write_file(join(folder.uri, "history.parquet"), history.to_parquet(index=False))
    run = folder.run(best.name)
    write_file(join(folder.uri, "best", "config.json"), read_file(join(run.uri, CONFIG_FILE)))
    source = run.best
    card = read_card(source)
    publish_checkpoint(
        join(folder.uri, "best", "checkpoint"), {MODEL_FILE: read_verified(source, card, MODEL_FILE)}, card
    )
    numbers = json.dumps(comparison and comparison.to_dict(), indent=1) + "\n"  # Replaces that of fewer trials.
    write_file(join(folder.uri, "best", "comparison.json"), numbers.encode())
    pictures = _pictures(sweep, table, history)
    for name, png in pictures.items():
        write_file(join(folder.uri, f"{name}.png"), png)
    lines = summary(trials, best, base, comparison)
    write_file(join(folder.uri, "report.html"), _page(sweep, lines, table, pictures).encode())


def summary(trials: Sequence[Trial], best: Trial, base: TrainConfig, comparison: Comparison | None) -> list[str]:
    """The result in a few lines."""
    row, initial = best.best(base), initial_trial(trials, base)
    assert row is not None
    epochs = sum(len(trial.history) for trial in trials)
    value, epoch = row[base.metric], row["epoch"]
    lines = [f"best: trial {best.name}, {base.metric_in_words} {value:.4f} after epoch {epoch} of {base.epochs}"]
    if initial is not None and best.name == initial.name:
        lines.append("no trial beat the initial configuration")
    elif initial is not None and (first := initial.best(base)) and first[base.metric] is not None:
        lines.append(f"the initial configuration (trial {initial.name}) reached {first[base.metric]:.4f}")
    if comparison is not None:
        lines += comparison.lines()
    changed = ", ".join(f"{name} {_short(value)}" for name, value in best.parameters.items())
    lines.append(f"parameters of the best trial: {changed or 'as given'}")
    failed = sum(bool(trial.outcome and trial.outcome.error) for trial in trials)
    share = epochs / (len(trials) * base.epochs)
    lines.append(
        f"{counted(len(trials), 'trial')}, {counted(epochs, 'epoch')}: "
        f"{share:.0%} of the epochs of training every trial in full"
        + (f"; {failed} failed (see trials.csv)" if failed else "")
    )
    return lines


def commands(folder: SweepFolder, base: TrainConfig) -> list[str]:
    """What trains the best configuration again, and in full, beside the sweep."""
    again = f"python jobs/{NETWORKS[base.model].job}.py --config {redacted(folder.uri)}/best/config.json"
    storage = folder.uri.rpartition("/")[0]
    if storage != absolute(RunOptions.storage):
        again += f" --storage {redacted(storage)}"
    return [again, f"{again} --train-fraction 1 --epochs {max(60, base.epochs)}"]


def _pictures(sweep: Sweep, table: pd.DataFrame, history: pd.DataFrame) -> dict[str, bytes]:
    metric, mode = sweep.base.metric, sweep.base.mode
    logs = {name: isinstance(domain, Range) and domain.log for name, domain in sweep.space.items()}
    pictures = {
        "best_so_far": plots.best_so_far(history, metric, mode == "min"),
        "learning_curves": plots.learning_curves(history, metric, sweep.scheduler.rungs(sweep.base.epochs)),
    }
    if table[metric].notna().sum() > 1:
        pictures["parallel_coordinates"] = plots.parallel_coordinates(table, logs, metric, mode == "min")
    importances = importance(table, sweep.space, metric, mode)
    if importances:
        pictures["importance"] = plots.importance_bars(importances)
    for name, log in logs.items():
        pictures[f"parameter-{name}"] = plots.parameter_scatter(table, name, log, metric)
    return pictures


def importance(table: pd.DataFrame, space: Space, metric: str, mode: str) -> dict[str, float]:
    """The share of the variance of `metric` that each unconditional parameter explains (fANOVA); {} for few trials."""
    known = table[table[metric].notna()]
    own = {name: domain for name, domain in space.items() if not domain.when}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="minimize" if mode == "min" else "maximize")
    for row in known.to_dict("records"):
        if not all(domain.holds(row[name]) for name, domain in own.items()):
            continue  # The first trial, if the given configuration is outside the space.
        study.enqueue_trial({name: row[name] for name in own})
        trial = study.ask()
        for name, domain in own.items():
            domain.suggest(name, trial)
        study.tell(trial, row[metric])
    if len(study.trials) < 4 or len({trial.value for trial in study.trials}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _page(sweep: Sweep, lines: list[str], table: pd.DataFrame, pictures: Mapping[str, bytes]) -> str:
    metric, ascending = sweep.base.metric, sweep.base.mode == "min"
    headings = ["trial", *dict.fromkeys([metric, *_COLUMNS]), *sweep.space, "epochs", "stopped"]
    ordered = table.sort_values(metric, ascending=ascending, na_position="last", kind="stable")
    others = [name for name in pictures if name.startswith("parameter-")]
    sections = [
        (
            "Progress",
            "Compute is measured in the time of the epochs and in their number, summed over all trials.",
            ["best_so_far", "learning_curves"],
        ),
        (
            "What matters",
            "Each row runs from its lowest to its highest value. Orange: the best trial. Blue: the best third.",
            ["importance", "parallel_coordinates"],
        ),
        ("Each parameter", "Filled dots ran longest. The orange ring is the initial configuration.", others),
    ]
    return (
        environment(Path(__file__).parent)
        .get_template("report.html.j2")
        .render(
            title=f"Sweep of {sweep.base.model}: {counted(len(table), 'trial')}",
            subtitle=redacted(sweep.folder.uri),
            summary=lines,
            commands=commands(sweep.folder, sweep.base),
            sections=[
                {
                    "title": title,
                    "text": text,
                    "plots": [{"name": name, "png": picture(pictures[name])} for name in names if name in pictures],
                }
                for title, text, names in sections
            ],
            headings=[heading.replace("validation_", "").replace("_", " ") for heading in headings],
            rows=[[_short(row[heading]) for heading in headings] for row in ordered.to_dict("records")],
        )
    )


def _short(value: Any) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
