"""How reports put figures and comparisons into words."""

from collections.abc import Mapping, Sequence

from jobs.evaluation.report.ranking import Row

Labels = Mapping[str, str]
"""By the name of a checkpoint, the short name that people see."""


def percent(value: float | None) -> str:
    """A share in per cent; a dash for None."""
    return "–" if value is None else f"{hundred(value)} %"


def hundred(value: float | None) -> str:
    """A share in per cent, without the sign; a dash for None."""
    return "–" if value is None else f"{100 * value:.2f}"


def number(value: float | None) -> str:
    """Three decimals; a dash for None."""
    return "–" if value is None else f"{value:.3f}"


def p_value(value: float) -> str:
    """A p value with two digits, and with its relation: = 0.28."""
    return "< 0.0001" if value < 1e-4 else f"= {value:.2g}"


def verdict(row: Row, labels: Labels) -> str:
    """A row of the comparisons as a sentence.

    It states no interval: those in the table are for one pair alone, so they can exclude 0 where the test, which is
    corrected for the number of pairs, finds no difference.
    """
    a, b = labels[row["checkpoint_a"]], labels[row["checkpoint_b"]]
    if not row["rows"]:
        return f"{row['split']}: {a} and {b} have no images in common"
    first, second = (b, a) if row["difference"] >= 0 else (a, b)
    test = f"McNemar's exact test, corrected p {p_value(row['p_value_corrected'])}"
    if row["better"] is None:
        return f"{row['split']}: no significant difference between {first} and {second} ({test})"
    points = f"{100 * abs(row['difference']):.2f} points"
    return f"{row['split']}: {first} is significantly better than {second}, by {points} ({test})"


def against_best(best: str, other: str, comparisons: Sequence[Row]) -> str:
    """How sure it is that the checkpoint `best` is better than `other`, from the comparisons of a split."""
    for row in comparisons:
        if {row["checkpoint_a"], row["checkpoint_b"]} == {best, other} and row["rows"]:
            relations = {None: "not significantly worse", best: "significantly worse"}
            # `other` can be ahead on the images that both scored.
            relation = relations.get(row["better"], "significantly better on the images in common")
            return f"{relation} (p {p_value(row['p_value_corrected'])})"
    return ""
