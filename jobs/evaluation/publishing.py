"""From finished predictions to everything else in the report."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from fer_data.dataset import PreparedDataset
from jobs.evaluation import tables
from jobs.evaluation.analysis import Analysis
from jobs.evaluation.contenders import ENSEMBLE, Contender
from jobs.evaluation.examples import confident_mistakes, pixels_of_examples, suspected_label_errors, suspects_table
from jobs.evaluation.options import EvaluateOptions
from jobs.evaluation.page import Gallery, mistakes_gallery, render, suspects_gallery
from jobs.evaluation.plots import draw_all
from jobs.evaluation.shards import Shard
from jobs.evaluation.terminal import print_comparisons, print_metrics
from jobs.evaluation.workspace import RUN_FILE, Workspace
from jobs.memory import peak_mib

FACES = 24
"""How many faces a gallery shows."""


def write_report(
    options: EvaluateOptions,
    request: dict[str, Any],
    about: dict[str, Any],
    contenders: Sequence[Contender],
    dataset: PreparedDataset,
    shards: Sequence[Shard],
    workspace: Workspace,
    console: Console,
) -> None:
    """Write tables, pictures, page and run.json into the workspace, and print the main figures."""
    names = [contender.name for contender in contenders]
    labels = {contender.name: contender.label for contender in contenders}
    analysis = Analysis(workspace, dataset, shards, options.split, len(contenders))
    every = {name: analysis.results(position) for position, name in enumerate(names)}
    models = len(contenders) - (contenders[-1].kind == ENSEMBLE)
    suspects = {split: suspected_label_errors(workspace, shards, models, split) for split in options.split}
    found = {
        "metrics": tables.metrics_table(every),
        "per_class": tables.per_class_table(every),
        "confusion": tables.confusion_table(every),
        "calibration": tables.calibration_table(every),
        "comparisons": tables.comparisons_table(names, analysis.pairs()),
        "suspects": suspects_table(suspects),
    }
    if options.corruptions:
        found["robustness"] = tables.robustness_table(every, analysis.corrupted())
    for name, table in found.items():
        workspace.write_table(f"{name}.parquet", table)

    plots = draw_all(found, every, options.split, labels)
    for name, png in plots.items():
        workspace.write(name, png)

    galleries: list[Gallery] = []
    for split in options.split:
        for position, name in enumerate(names):
            chosen = confident_mistakes(workspace, shards, position, split, FACES)
            images = pixels_of_examples(dataset, shards, chosen)
            galleries.append(mistakes_gallery(labels[name], split, chosen, images))
        first = suspects[split][:FACES]
        images = pixels_of_examples(dataset, shards, first)
        galleries.append(suspects_gallery(models, split, len(suspects[split]), first, images))

    run = request | about
    page = render(run=run, tables=found, labels=labels, plots=plots, galleries=galleries)
    workspace.write("report.html", page.encode())
    run["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    run["driver_peak_mib"] = round(peak_mib(), 1)
    workspace.write(RUN_FILE, (json.dumps(run, indent=1) + "\n").encode())
    print_metrics(found["metrics"], labels, console)
    print_comparisons(found["comparisons"], labels, console)
