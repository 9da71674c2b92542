"""The plots of a report, as PNG. All are narrow enough to read on a phone."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fer_data.emotions import CLASSES, NUM_CLASSES
from fer_models.metric_state import BINS, FINE_BINS, MetricState
from fer_models.metrics import METRICS
from jobs.evaluation.report.ranking import on_unseen
from jobs.evaluation.report.results import Results
from jobs.evaluation.report.tables import Every, calibration_rows
from jobs.evaluation.report.wording import Labels
from jobs.png import png

WIDTH = 5.0  # inches; text of 9 points is then 10 pixels high on a screen 390 pixels wide
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito


def confusion_matrix(confusion: np.ndarray, title: str) -> bytes:
    """Counts of images; the colour is their share of the annotated class."""
    figure, axis = _figure(4.9)
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for label, predicted in np.ndindex(confusion.shape):
        shade = share[label, predicted]
        text = f"{confusion[label, predicted]:,}\n{100 * shade:.0f} %" if confusion[label].sum() else "0"
        axis.text(
            predicted, label, text, ha="center", va="center", fontsize=7.5, color="white" if shade > 0.5 else "black"
        )
    axis.set_xticks(range(NUM_CLASSES), CLASSES, rotation=40, ha="right", fontsize=9)
    axis.set_yticks(range(NUM_CLASSES), CLASSES, fontsize=9)
    axis.set_xlabel("predicted", fontsize=9)
    axis.set_ylabel("annotated", fontsize=9)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_title(title, fontsize=9.5)
    return png(figure)


def per_class_bars(per_class: pa.Table, split: str, labels: Labels) -> bytes:
    """Recall and precision of each class with 95 % intervals, a bar for each checkpoint."""
    rows = [row for row in per_class.to_pylist() if row["split"] == split]
    names = list(dict.fromkeys(row["checkpoint"] for row in rows))
    height = 0.8 / len(names)
    figure = Figure(figsize=(WIDTH, 1.5 + NUM_CLASSES * max(0.34, 0.15 * len(names))), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axis, figure_of in ((left, "recall"), (right, "precision")):
        for i, name in enumerate(names):
            own = [row for row in rows if row["checkpoint"] == name]
            values = np.array([row[figure_of] for row in own])
            low = values - [_or(row[f"{figure_of}_low"], row[figure_of]) for row in own]
            high = np.array([_or(row[f"{figure_of}_high"], row[figure_of]) for row in own]) - values
            axis.barh(
                np.arange(NUM_CLASSES) - 0.4 + height * (i + 0.5),
                values,
                height,
                xerr=np.maximum([low, high], 0),
                color=_colour(i),
                label=labels[name],
                error_kw={"elinewidth": 0.8, "ecolor": "#333333"},
            )
        axis.set_xlim(0, 1)
        axis.set_title(figure_of, fontsize=9.5)
        _plain(axis, "x")
    support = [row["support"] for row in rows if row["checkpoint"] == names[0]]
    left.set_yticks(range(NUM_CLASSES), [f"{c}\n{n:,}" for c, n in zip(CLASSES, support, strict=True)], fontsize=8.5)
    left.invert_yaxis()
    if len(names) > 1:
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return png(figure)


def reliability_diagram(state: MetricState, ece: float | None, title: str) -> bytes:
    """Accuracy with its 95 % interval, and the number of images, in each bin of confidence."""
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    rows = [row for row in calibration_rows(state) if row["rows"]]
    if rows:
        x = np.array([row["mean_confidence"] for row in rows])
        y = np.array([row["accuracy"] for row in rows])
        reach = [y - [row["accuracy_low"] for row in rows], np.array([row["accuracy_high"] for row in rows]) - y]
        above.errorbar(x, y, np.maximum(reach, 0), fmt="o-", ms=4, lw=1.2, capsize=2, color=COLOURS[0])
    above.plot([0, 1], [0, 1], ":", color="#888888", lw=1)
    above.text(0.03, 0.93, "above the line: underconfident", color="#666666", fontsize=8)
    above.text(0.97, 0.04, "below: overconfident", color="#666666", fontsize=8, ha="right")
    above.set(xlim=(0, 1), ylim=(0, 1))
    above.set_ylabel("accuracy", fontsize=9)
    above.set_title(title if ece is None else f"{title}: ECE {ece:.3f}", fontsize=9.5)
    below.bar((np.arange(BINS) + 0.5) / BINS, state.bin_rows, 0.9 / BINS, color="#bbbbbb")
    below.set_ylabel("images", fontsize=9)
    below.set_xlabel("confidence: the probability of the predicted class", fontsize=9)
    for axis in (above, below):
        _plain(axis)
    return png(figure)


def accuracy_against_confidence(found: Mapping[str, Results], labels: Labels) -> bytes:
    """Accuracy on the most confident images, against their share of all images."""
    figure, axis = _figure(3.8)
    for i, (name, results) in enumerate(found.items()):
        rows = np.cumsum(results.everything.fine_rows[::-1])
        correct = np.cumsum(results.everything.fine_correct[::-1])
        total = max(results.everything.scored, 1)
        seen = rows >= min(20, total)  # Too few images for an accuracy.
        axis.plot(rows[seen] / total, correct[seen] / np.maximum(rows[seen], 1), color=_colour(i), label=labels[name])
        for threshold, marker in ((0.5, "o"), (0.9, "s")):
            at = FINE_BINS - 1 - int(threshold * FINE_BINS)
            if rows[at] >= min(20, total):
                axis.plot(rows[at] / total, correct[at] / rows[at], marker, color=_colour(i), ms=5)
    axis.plot([], [], "o", color="#666666", ms=5, label="confidence 0.5 or more")
    axis.plot([], [], "s", color="#666666", ms=5, label="confidence 0.9 or more")
    axis.set_xlim(0, 1.01)
    axis.set_ylim(top=1.01)
    axis.set_xlabel("share of the images, most confident first", fontsize=9)
    axis.set_ylabel("accuracy on these images", fontsize=9)
    axis.legend(frameon=False, fontsize=8)
    _plain(axis)
    return png(figure)


def side_by_side(metrics: pa.Table, split: str, labels: Labels) -> bytes:
    """Accuracy and macro F1 of each checkpoint with 95 % intervals; rings on unseen images, or else leak-free ones."""
    rows = [row for row in metrics.to_pylist() if row["split"] == split]
    subset = "unseen" if on_unseen(rows) else "leak_free"
    figure = Figure(figsize=(WIDTH, 1.6 + 0.42 * len(rows)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axis, name in zip(panels, ("accuracy", "macro_f1"), strict=True):
        for i, row in enumerate(rows):
            if row[name] is None:
                continue
            axis.plot([row[f"{name}_low"], row[f"{name}_high"]], [i, i], color=_colour(i), lw=2)
            axis.plot(row[name], i, "o", color=_colour(i), ms=6)
            if row[f"{name}_{subset}"] is not None:
                axis.plot(row[f"{name}_{subset}"], i, "o", mfc="none", mec=_colour(i), ms=10)
        axis.set_title(METRICS[name].title, fontsize=9.5)
        axis.margins(x=0.08)
        _plain(axis, "x")
    panels[0].set_yticks(range(len(rows)), [_wrapped(labels[row["checkpoint"]]) for row in rows], fontsize=8.5)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    shown = [Line2D([], [], color="#555555", marker="o", lw=2, ms=6, label="all images, 95 % interval")]
    if any(row[f"accuracy_{subset}"] is not None for row in rows):
        ring = subset.replace("_", "-")
        shown.append(Line2D([], [], color="#555555", marker="o", mfc="none", lw=0, ms=10, label=ring))
    figure.legend(handles=shown, loc="outside lower center", ncols=2, frameon=False, fontsize=8.5)
    return png(figure)


def robustness_curves(robustness: pa.Table, split: str, labels: Labels) -> bytes:
    """Accuracy against strength: a panel for each corruption, a line for each checkpoint."""
    rows = [row for row in robustness.to_pylist() if row["split"] == split]
    names = list(dict.fromkeys(row["checkpoint"] for row in rows))
    corruptions = [c for c in dict.fromkeys(row["corruption"] for row in rows) if c != "none"]
    columns = 3
    lines = -(-len(corruptions) // columns)
    figure = Figure(figsize=(WIDTH, 0.8 + 1.35 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axis in panels.flat[len(corruptions) :]:
        axis.set_visible(False)
    for axis, corruption in zip(panels.flat, corruptions, strict=False):
        for i, name in enumerate(names):
            own = {
                row["strength"]: row["accuracy"]
                for row in rows
                if row["checkpoint"] == name and row["corruption"] in ("none", corruption)
            }
            axis.plot(list(own), list(own.values()), ".-", color=_colour(i), lw=1.2, label=labels[name])
        axis.set_title(corruption.replace("_", " "), fontsize=8.5)
        axis.set_xticks(range(4))
        axis.tick_params(labelbottom=True)
        _plain(axis)
    # All panels share this axis, and its automatic limits would be those of the first panel.
    panels[0, 0].set_ylim(0, 1.05 * max(row["accuracy"] or 0 for row in rows) or 1)
    figure.supxlabel("strength (0: the original images)", fontsize=9)
    figure.supylabel("accuracy", fontsize=9)
    if len(names) > 1:
        handles = panels[0, 0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return png(figure)


def draw_all(tables: Mapping[str, pa.Table], every: Every, splits: Sequence[str], labels: Labels) -> dict[str, bytes]:
    """Every plot by its file name, which numbers the checkpoints from 1 in the order given."""
    found: dict[str, bytes] = {}
    ece = {(row["checkpoint"], row["split"]): row["ece"] for row in tables["metrics"].to_pylist()}
    for split in splits:
        found[f"side_by_side-{split}.png"] = side_by_side(tables["metrics"], split, labels)
        found[f"per_class-{split}.png"] = per_class_bars(tables["per_class"], split, labels)
        found[f"confidence-{split}.png"] = accuracy_against_confidence({n: r[split] for n, r in every.items()}, labels)
        for number, (name, results) in enumerate(every.items(), start=1):
            state = results[split].everything
            title = f"{labels[name]}, {split}"
            found[f"confusion-{split}-{number}.png"] = confusion_matrix(state.confusion, title)
            found[f"reliability-{split}-{number}.png"] = reliability_diagram(state, ece[name, split], title)
        if "robustness" in tables:
            found[f"robustness-{split}.png"] = robustness_curves(tables["robustness"], split, labels)
    return found


def face(pixels: np.ndarray) -> bytes:
    """A face, uint8 [48, 48], as PNG."""
    import cv2

    return cv2.imencode(".png", pixels)[1].tobytes()


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _plain(axis: Axes, grid: Literal["both", "x"] = "both") -> None:
    axis.grid(axis=grid, alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8.5)


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


def _wrapped(text: str, width: int = 16) -> str:
    return "\n".join(text[i : i + width] for i in range(0, len(text), width))
