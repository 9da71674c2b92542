"""How reports put figures and comparisons into words."""

from collections.abc import Mapping, Sequence

from fer_models.metrics import absent_line
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


def absent_classes(split: str, per_class: Sequence[Row]) -> str:
    """What to know of macro figures if a class does not occur in `split`, by rows of that table; "" if all do.

    It is about the unseen images where they are known, else about all.
    """
    rows = {row["label"]: row for row in per_class if row["split"] == split}
    known = any(row["support_unseen"] for row in rows.values())
    column, images = ("support_unseen", "unseen image") if known else ("support", "image")
    return absent_line(images, [rows[label][column] for label in sorted(rows)])


def seen_in_training(images: int, exact: int, near: int) -> str:
    """A sentence on how many of the `images` of a split are copies of training images."""
    if not exact + near:
        return "None of these images shows a photograph that is in the training images."
    share = f"{100 * (exact + near) / images:.1f} %"
    return (
        f"{share} of these images show a photograph that is in the training images: {exact:,} exact and {near:,} near "
        "copies."
    )


def on_unseen_if_known(row: Row) -> Row:
    """A row of the comparisons with the figures of unseen images, if there are any, in the place of those of all."""
    if not row["rows_unseen"]:
        return row
    names = ("rows", "difference", "p_value", "p_value_corrected", "better")
    return row | {name: row[f"{name}_unseen"] for name in names}


def ahead_first(row: Row) -> Row:
    """A row of the comparisons with its pair as `first` and `second`, the one ahead on the leading images first.

    `ahead` and `ahead_unseen` are the accuracy of the first minus that of the second, so that a pair has one sign
    wherever people see it; `only_first_correct` and `only_second_correct` count images.
    """
    difference = on_unseen_if_known(row)["difference"]
    first, second = ("b", "a") if difference is not None and difference >= 0 else ("a", "b")
    sign = 1 if first == "b" else -1
    return (
        row
        | {"first": row[f"checkpoint_{first}"], "second": row[f"checkpoint_{second}"]}
        | {"only_first_correct": row[f"only_{first}_correct"], "only_second_correct": row[f"only_{second}_correct"]}
        | {
            name.replace("difference", "ahead"): None if row[name] is None else sign * row[name] + 0.0
            for name in ("difference", "difference_unseen")
        }
    )


def averaged(tta: str) -> str:
    """Which views of an image were averaged, to follow what was scored; empty for the image alone."""
    crops = "five crops of each image and their mirror images"
    views = {"none": "", "flip": "each image and its mirror image", "ten_crop": crops}
    return views[tta] and f", averaged over {views[tta]}"


def robustness(rows: Sequence[Row], labels: Labels) -> str:
    """The rows of the table of corruptions of one checkpoint and split, as a sentence."""
    original, *others = rows
    start = f"{original['split']}: {labels[original['checkpoint']]} under corruptions"
    known = [row for row in others if row["accuracy"] is not None]
    if not known:
        return f"{start}: no image was scored"
    mean = sum(row["accuracy"] for row in known) / len(known)
    worst = min(known, key=lambda row: row["accuracy"])
    return (
        f"{start}: {percent(mean)} on average (without: {percent(original['accuracy'])}), least with "
        f"{worst['corruption']} at strength {worst['strength']}: {percent(worst['accuracy'])}"
    )


def verdict(row: Row, labels: Labels) -> str:
    """A row of the comparisons as a sentence, on unseen images if there are any.

    It states no interval: those in the table are for one pair alone, so they can exclude 0 where the test, which is
    corrected for the number of pairs, finds no difference.
    """
    where = " on unseen photographs" if row["rows_unseen"] else ""
    row = on_unseen_if_known(ahead_first(row))
    first, second = labels[row["first"]], labels[row["second"]]
    if not row["rows"]:
        return f"{row['split']}: {first} and {second} have no images in common"
    test = f"McNemar's exact test, corrected p {p_value(row['p_value_corrected'])}"
    if row["better"] is None:
        return f"{row['split']}: no significant difference between {first} and {second}{where} ({test})"
    points = f"{100 * abs(row['difference']):.2f} points"
    return f"{row['split']}: {first} is significantly better than {second}{where}, by {points} ({test})"


def against_best(best: str, other: str, comparisons: Sequence[Row]) -> str:
    """How sure it is that the checkpoint `best` is better than `other`, from the comparisons of a split."""
    for row in comparisons:
        if {row["checkpoint_a"], row["checkpoint_b"]} == {best, other} and row["rows"]:
            relations = {None: "not significantly worse", best: "significantly worse"}
            # `other` can be ahead on the images that both scored.
            relation = relations.get(row["better"], "significantly better on the images in common")
            return f"{relation} (p {p_value(row['p_value_corrected'])})"
    return ""
