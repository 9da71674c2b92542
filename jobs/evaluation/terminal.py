"""The main figures of a report as short tables on the terminal."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.table import Table


def print_metrics(metrics: pa.Table, labels: Mapping[str, str], console: Console) -> None:
    """A table for each split, one row for each checkpoint; `labels` gives checkpoints their short names."""
    rows = metrics.to_pylist()
    for split in dict.fromkeys(row["split"] for row in rows):
        own = [row for row in rows if row["split"] == split]
        errors = max(row["errors"] for row in own)
        title = f"{split}: {own[0]['rows']:,} images" + (f", {errors:,} of them with errors" if errors else "")
        table = Table("checkpoint", title=title, title_justify="left")
        for heading in ("accuracy %", "95 % interval", "leak-free", "macro-F1", "AUC", "ECE"):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in own:
            table.add_row(
                labels[row["checkpoint"]],
                hundred(row["accuracy"]),
                f"{hundred(row['accuracy_low'])} – {hundred(row['accuracy_high'])}",
                hundred(row["accuracy_leak_free"]),
                number(row["macro_f1"]),
                number(row["auc"]),
                number(row["ece"]),
            )
        console.print(table)


def print_comparisons(comparisons: pa.Table, labels: Mapping[str, str], console: Console) -> None:
    """One line for each pair: which is better, by how much, how surely."""
    for row in comparisons.to_pylist():
        console.print(verdict(row, labels), highlight=False, markup=False, soft_wrap=True)


def verdict(row: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """A row of the comparisons in words."""
    a, b = labels[row["checkpoint_a"]], labels[row["checkpoint_b"]]
    if not row["rows"]:
        return f"{row['split']}: {a} and {b} have no images in common"
    sign, first, second = (1, b, a) if row["difference"] >= 0 else (-1, a, b)
    low, high = sorted((sign * row["difference_low"], sign * row["difference_high"]))
    gap = f"{100 * abs(row['difference']):.2f} points (95 % interval {100 * low:.2f} to {100 * high:.2f})"
    odds = f"McNemar's exact p {p_value(row['p_value_corrected'])}"
    if row["better"] is None:
        return f"{row['split']}: no telling {first} from {second}: {gap}, {odds}"
    return f"{row['split']}: {first} is better than {second} by {gap}, {odds}"


def percent(value: float | None) -> str:
    """A share in per cent; a dash for none."""
    return "–" if value is None else f"{100 * value:.2f} %"


def hundred(value: float | None) -> str:
    """A share in per cent, without the sign; a dash for none."""
    return "–" if value is None else f"{100 * value:.2f}"


def number(value: float | None) -> str:
    """Three decimals; a dash for none."""
    return "–" if value is None else f"{value:.3f}"


def p_value(value: float) -> str:
    """A p value to two digits; below 0.0001 only that."""
    return "< 0.0001" if value < 1e-4 else f"= {value:.2g}"
