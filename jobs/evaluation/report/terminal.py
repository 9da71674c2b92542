"""The main figures of a report as short tables on the terminal."""

from collections.abc import Mapping

import pyarrow as pa
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from jobs.evaluation.report.ranking import on_unseen
from jobs.evaluation.report.wording import Labels, hundred, number, verdict


def print_metrics(metrics: pa.Table, labels: Labels, console: Console) -> None:
    """A table for each split, with one row for each checkpoint."""
    rows = metrics.to_pylist()
    for split in dict.fromkeys(row["split"] for row in rows):
        own = [row for row in rows if row["split"] == split]
        errors = max(row["errors"] for row in own)
        title = f"{split}: {own[0]['rows']:,} images" + (f", {errors:,} of them with errors" if errors else "")
        unseen = on_unseen(own)
        table = figures_table(title, "checkpoint", unseen=unseen, extra=("AUC", "ECE"))
        for row in own:
            figures = main_figures(row, unseen=unseen)
            table.add_row(labels[row["checkpoint"]], *figures, number(row["auc"]), number(row["ece"]))
        console.print(table)


def figures_table(title: str, *columns: str, unseen: bool, extra: tuple[str, ...] = ()) -> Table:
    """An empty table of `columns`, those of `main_figures`, and `extra` ones for numbers."""
    figures = ("unseen %", "95 % interval", "all images") if unseen else ("accuracy %", "95 % interval", "leak-free")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)  # Narrow, for the names.
    for heading in columns:
        table.add_column(heading, overflow="fold")
    for heading in (*figures, "macro F1", *extra):
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def main_figures(row: Mapping[str, float | None], *, unseen: bool) -> tuple[str, str, str, str]:
    """Accuracy, its interval, another accuracy and macro F1 (of all images) of a row of the metrics table.

    `unseen`: the accuracy on unseen images comes first, and that on all images is the other one. Otherwise the accuracy
    on all images comes first, and the other one is leak-free.
    """
    kind = "_unseen" if unseen else ""
    interval = f"{hundred(row[f'accuracy{kind}_low'])} – {hundred(row[f'accuracy{kind}_high'])}"
    other = row["accuracy" if unseen else "accuracy_leak_free"]
    return hundred(row[f"accuracy{kind}"]), interval, hundred(other), number(row["macro_f1"])


def print_comparisons(comparisons: pa.Table, labels: Labels, console: Console) -> None:
    """One line for each pair of checkpoints: which is better, and how certain that is."""
    for row in comparisons.to_pylist():
        console.out(verdict(row, labels))
