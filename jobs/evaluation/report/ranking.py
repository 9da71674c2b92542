"""Which checkpoint is best: by accuracy, then by macro F1."""

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Rows of the metrics table, the best first, with their `rank`. Equal figures share a rank; ties keep their order.

    Rows without an accuracy come last.
    """
    result: list[Row] = []
    for place, row in enumerate(sorted(rows, key=_merit), start=1):
        tied = bool(result) and _merit(row) == _merit(result[-1])
        result.append(row | {"rank": result[-1]["rank"] if tied else place})
    return result


def _merit(row: Row) -> tuple[float, float]:
    accuracy, f1 = (-1.0 if row[name] is None else row[name] for name in ("accuracy", "macro_f1"))
    return -accuracy, -f1
