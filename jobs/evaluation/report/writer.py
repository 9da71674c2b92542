"""Write a report from finished predictions: tables, plots, page and run.json."""

import json
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from jobs.evaluation.report import tables
from jobs.evaluation.report.examples import (
    confident_mistakes,
    pixels_of_examples,
    suspected_label_errors,
    suspects_table,
)
from jobs.evaluation.report.page import Gallery, mistakes_gallery, render, suspects_gallery
from jobs.evaluation.report.pairs import near_copy_pairs
from jobs.evaluation.report.plots import draw_all
from jobs.evaluation.report.results import Predictions
from jobs.evaluation.report.terminal import print_comparisons, print_metrics, print_robustness
from jobs.evaluation.report_folder import RUN_FILE, ReportFolder
from jobs.evaluation.request import Request
from jobs.memory import peak_mib

FACES = 24
"""Faces in a gallery."""
SUSPECTS = 100
"""Suspected label errors on the page."""
PAIRS = 12
"""Near copies that are shown with their twins."""


def write_report(request: Request, about: dict[str, Any], folder: ReportFolder, console: Console) -> None:
    """Write the report on the predictions in `folder`, and print its main figures.

    `about` is what the actors reported about the contenders, which goes into run.json.
    """
    splits, labels = request.options.split, request.labels
    predictions = Predictions(request, folder)
    every = {name: predictions.results(position) for position, name in enumerate(labels)}
    suspects = {split: suspected_label_errors(predictions, split) for split in splits}
    found = {
        "metrics": tables.metrics_table(every),
        "per_class": tables.per_class_table(every),
        "confusion": tables.confusion_table(every),
        "calibration": tables.calibration_table(every),
        "comparisons": tables.comparisons_table(list(labels), predictions.pairs(), predictions.pairs(unseen=True)),
        "suspects": suspects_table(suspects),
    }
    if predictions.photographs is not None:
        found["copies"] = tables.copies_table(every)
    if request.options.corruptions:
        found["robustness"] = tables.robustness_table(every, predictions.corrupted())
    for name, table in found.items():
        folder.write_table(f"{name}.parquet", table)

    plots = draw_all(found, every, splits, labels)
    for name, png in plots.items():
        folder.write(name, png)

    galleries: list[Gallery] = []
    suspected: list[Gallery] = []
    for split in splits:
        for position, label in enumerate(labels.values()):
            chosen = confident_mistakes(predictions, position, split, FACES)
            galleries.append(mistakes_gallery(label, split, chosen, pixels_of_examples(request, chosen)))
        first = suspects[split][:SUSPECTS]
        images = pixels_of_examples(request, first)
        suspected.append(suspects_gallery(request.models, split, len(suspects[split]), first, images))

    run = request.description | about
    page = render(
        run=run,
        tables=found,
        labels=labels,
        plots=plots,
        galleries=galleries,
        suspects=suspected,
        pairs={split: near_copy_pairs(predictions, split, PAIRS) for split in splits},
        trained=request.dataset.manifest.rows("training") > 0,
    )
    folder.write("report.html", page.encode())
    run["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    run["driver_peak_mib"] = round(peak_mib(), 1)
    folder.write(RUN_FILE, (json.dumps(run, indent=1) + "\n").encode())
    print_metrics(found["metrics"], found["per_class"], labels, request.options.tta, console)
    print_comparisons(found["comparisons"], labels, console)
    if "robustness" in found:
        print_robustness(found["robustness"], labels, console)
