"""The main figures of a report as short tables on the terminal."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from fer_data.commands import counted
from jobs.evaluation.report.ranking import on_unseen
from jobs.evaluation.report.wording import Labels, absent_classes, averaged, hundred, number, robustness, verdict


def print_metrics(metrics: pa.Table, per_class: pa.Table, labels: Labels, tta: str, console: Console) -> None:
    """A table for each split, with one row for each checkpoint; `tta` says which views were averaged."""
    rows = metrics.to_pylist()
    for split in dict.fromkeys(row["split"] for row in rows):
        own = [row for row in rows if row["split"] == split]
        errors = max(row["errors"] for row in own)
        title = f"{split}: {counted(own[0]['rows'], 'image')}" + (f", {errors:,} of them with errors" if errors else "")
        unseen = on_unseen(own)
        shown = [
            ((labels[row["checkpoint"]],), (*main_figures(row, unseen=unseen), number(row["auc"]), number(row["ece"])))
            for row in own
        ]
        print_figures(title + averaged(tta), ("checkpoint",), shown, console, unseen=unseen, extra=("AUC", "ECE"))
        if line := absent_classes(split, per_class.to_pylist()):
            console.out(line)


def print_figures(
    title: str,
    columns: tuple[str, ...],
    rows: Sequence[tuple[tuple[str, ...], tuple[str, ...]]],
    console: Console,
    *,
    unseen: bool,
    extra: tuple[str, ...] = (),
) -> None:
    """A table of `rows`: names, under `columns`, and numbers, those of `main_figures` and `extra` ones.

    Names are never cut or broken: where the terminal is too narrow, they stand above the numbers.
    """
    first = ("unseen %", "95 % interval", "all images") if unseen else ("accuracy %", "95 % interval", "leak-free")
    headings = (*first, "macro F1", *extra)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for names, figures in rows:
        table.add_row(*names, *figures)
    console.out(title)
    if console.measure(table, options=console.options.update(width=10_000)).maximum <= console.width:
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(headings, *(figures for _, figures in rows), strict=True)]

    def numbers(figures: Sequence[str]) -> str:
        return "  " + "   ".join(text.rjust(width) for text, width in zip(figures, widths, strict=True))

    console.out("", numbers(headings), "  " + "─" * (sum(widths) + 3 * len(widths) - 3), sep="\n")
    for names, figures in rows:
        console.out("  ".join(names), numbers(figures), sep="\n")
    console.out()


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


def print_robustness(table: pa.Table, labels: Labels, console: Console) -> None:
    """One line for each split and checkpoint: how it does under corruptions."""
    rows = table.to_pylist()
    for split, name in dict.fromkeys((row["split"], row["checkpoint"]) for row in rows):
        own = [row for row in rows if (row["split"], row["checkpoint"]) == (split, name)]
        console.out(robustness(own, labels))
