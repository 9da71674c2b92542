"""The main figures of a report as short tables on the terminal."""

from collections.abc import Mapping

import pyarrow as pa
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from jobs.evaluation.report.wording import Labels, hundred, number, verdict


def print_metrics(metrics: pa.Table, labels: Labels, console: Console) -> None:
    """A table for each split, with one row for each checkpoint."""
    rows = metrics.to_pylist()
    for split in dict.fromkeys(row["split"] for row in rows):
        own = [row for row in rows if row["split"] == split]
        errors = max(row["errors"] for row in own)
        title = f"{split}: {own[0]['rows']:,} images" + (f", {errors:,} of them with errors" if errors else "")
        table = figures_table(title, "checkpoint", extra=("AUC", "ECE"))
        for row in own:
            table.add_row(labels[row["checkpoint"]], *main_figures(row), number(row["auc"]), number(row["ece"]))
        console.print(table)


def figures_table(title: str, *columns: str, extra: tuple[str, ...] = ()) -> Table:
    """An empty table of `columns`, those of `main_figures`, and `extra` ones for numbers."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)  # Narrow, for the names.
    for heading in columns:
        table.add_column(heading, overflow="fold")
    for heading in ("accuracy %", "95 % interval", "leak-free", "macro F1", *extra):
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def main_figures(row: Mapping[str, float | None]) -> tuple[str, str, str, str]:
    """Accuracy, its interval, leak-free accuracy and macro F1 of a row of the metrics table."""
    interval = f"{hundred(row['accuracy_low'])} – {hundred(row['accuracy_high'])}"
    return hundred(row["accuracy"]), interval, hundred(row["accuracy_leak_free"]), number(row["macro_f1"])


def print_comparisons(comparisons: pa.Table, labels: Labels, console: Console) -> None:
    """One line for each pair of checkpoints: which is better, and how certain that is."""
    for row in comparisons.to_pylist():
        console.out(verdict(row, labels))
