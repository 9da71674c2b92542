"""Which checkpoint is best: by accuracy, then by macro F1, on unseen images where these figures are known."""

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def on_unseen(rows: Sequence[Row]) -> bool:
    """Whether rows of the metrics table are ranked on unseen images: every row with an accuracy also has that one.

    Otherwise all are ranked on all images: a figure of one kind is not compared with a figure of the other.
    """
    known = [row["accuracy_unseen"] is not None for row in rows if row["accuracy"] is not None]
    return bool(known) and all(known)


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Rows of the metrics table, the best first, with their `rank`. Equal figures share a rank; ties keep their order.

    Rows without an accuracy come last.
    """
    figures = ("accuracy_unseen", "macro_f1_unseen") if on_unseen(rows) else ("accuracy", "macro_f1")
    merits = [tuple(1.0 if row[name] is None else -row[name] for name in figures) for row in rows]
    result: list[Row] = []
    order = sorted(range(len(rows)), key=lambda i: merits[i])
    for place, i in enumerate(order, start=1):
        tied = bool(result) and merits[i] == merits[order[place - 2]]
        result.append(rows[i] | {"rank": result[-1]["rank"] if tied else place})
    return result
