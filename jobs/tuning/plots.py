"""The plots of a sweep, as PNG, narrow enough to be read on a phone."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jobs.png import png

WIDTH = 5.0  # inches
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#999999"


def best_so_far(history: pd.DataFrame, metric: str, lower_is_better: bool) -> bytes:
    """The best value so far over the training time and over the epochs of all trials together.

    `history` has a row per trial and epoch, in the order in which trials started.
    """
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    values = history[metric].astype(float)
    best = values.cummin() if lower_is_better else values.cummax()
    for axis, (x, label) in zip(
        figure.subplots(2, 1, sharey=True),
        [
            (history["seconds"].cumsum() / 60, "minutes, all trials together"),
            (np.arange(1, len(history) + 1), "epochs, all trials together"),
        ],
        strict=True,
    ):
        axis.plot(x, values, ".", color=GREY, markersize=4, label="an epoch")
        axis.step(x, best, where="post", color=BLUE, label="best so far")
        axis.set_xlabel(label, fontsize=9)
        _tidy(axis, metric)
    figure.axes[1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    figure.axes[0].legend(frameon=False, fontsize=8)
    return png(figure)


def parameter_scatter(trials: pd.DataFrame, name: str, log: bool, metric: str) -> bytes:
    """One parameter against the metric, a dot per trial; filled where the trial ran to its end."""
    figure = Figure(figsize=(WIDTH, 2.7), layout="constrained")
    axis = figure.subplots()
    known = trials[trials[metric].notna()]
    numeric = pd.api.types.is_numeric_dtype(known[name]) and not pd.api.types.is_bool_dtype(known[name])
    labels = sorted(map(str, known[name].unique()))
    x = known[name].astype(float) if numeric else known[name].map(lambda value: labels.index(str(value)))
    full = known["epochs"] == known["epochs"].max()
    axis.scatter(x[~full], known[metric][~full], s=22, facecolors="none", edgecolors=GREY, label="stopped early")
    axis.scatter(x[full], known[metric][full], s=22, color=BLUE, label="ran longest")
    axis.scatter(x[:1], known[metric][:1], s=70, facecolors="none", edgecolors=ORANGE, label="defaults")
    if numeric and log:
        axis.set_xscale("log")
    if not numeric:
        axis.set_xticks(range(len(labels)), labels)
    axis.set_xlabel(name, fontsize=9)
    _tidy(axis, metric)
    axis.legend(frameon=False, fontsize=7)
    return png(figure)


def importance_bars(importances: Mapping[str, float]) -> bytes:
    """The share of the metric's variance that each parameter explains."""
    names = sorted(importances, key=lambda name: importances[name])
    figure = Figure(figsize=(WIDTH, 0.8 + 0.27 * len(names)), layout="constrained")
    axis = figure.subplots()
    axis.barh(names, [importances[name] for name in names], color=BLUE, height=0.6)
    axis.tick_params(labelsize=8)
    axis.set_xlabel("share of the differences between trials that it explains", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    return png(figure)


def learning_curves(history: pd.DataFrame, metric: str, rungs: Sequence[int]) -> bytes:
    """The metric over the epochs, a line per trial, coloured by the last rung that it passed."""
    figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
    axis = figure.subplots()
    steps = [0, *rungs]
    shades = [str(shade) for shade in np.linspace(0.75, 0.5, max(len(steps) - 1, 1))]
    colours = [*shades[: len(steps) - 1], BLUE]
    shown = set()
    for _, run in history.groupby("trial", sort=True):
        passed = max(i for i, rung in enumerate(steps) if len(run) > rung)
        label = None
        if passed not in shown:
            shown.add(passed)
            label = f"past epoch {steps[passed]}" if passed else "the first rung or less"
        axis.plot(run["epoch"], run[metric], marker=".", markersize=4, linewidth=1, color=colours[passed], label=label)
    for rung in rungs:
        axis.axvline(rung, color=GREY, linestyle=":", linewidth=0.8)
    axis.set_xlabel("epoch (dotted: rungs)" if rungs else "epoch", fontsize=9)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _tidy(axis, metric)
    axis.legend(frameon=False, fontsize=7)
    return png(figure)


def parallel_coordinates(trials: pd.DataFrame, logs: Mapping[str, bool], metric: str, lower_is_better: bool) -> bytes:
    """A row for every parameter and the metric, and a line per trial, the best third in colour.

    `logs` maps each parameter to whether its scale is logarithmic.
    """
    known = trials[trials[metric].notna()]
    names = [*logs, metric]
    figure = Figure(figsize=(WIDTH, 0.9 + 0.36 * len(names)), layout="constrained")
    axis = figure.subplots()
    columns, ends = [], []
    for name in names:
        own = known[name]
        if pd.api.types.is_numeric_dtype(own) and not pd.api.types.is_bool_dtype(own):
            low, high = float(own.min()), float(own.max())
            values = own.astype(float)
            if logs.get(name):  # A trial without a value, such as adam's weight decay, is drawn at the minimum.
                values = values.where(values > 0).map(math.log, na_action="ignore")
            values = values.fillna(values.min())
            ends.append((f"{low:.3g}", f"{high:.3g}"))
        else:
            labels = sorted(map(str, own.unique()))
            values = own.map(lambda value, labels=labels: float(labels.index(str(value))))
            ends.append((labels[0], labels[-1]))
        spread = values.max() - values.min()
        columns.append(np.asarray((values - values.min()) / spread if spread else values * 0 + 0.5))
    order = known[metric].rank(ascending=lower_is_better, method="first").to_numpy()
    rows = np.arange(len(names))
    for i in np.argsort(-order):
        best, top = order[i] == 1, order[i] <= max(1, len(known) // 3)
        colour, width = (ORANGE, 1.8) if best else (BLUE, 0.9) if top else ("#d5d5d5", 0.7)
        axis.plot([column[i] for column in columns], rows, color=colour, linewidth=width)
    axis.set_yticks(rows, names, fontsize=8)
    axis.set_xticks([])
    axis.set_xlim(-0.04, 1.04)
    axis.set_ylim(len(names) - 0.7, -0.4)
    for row, (least, greatest) in zip(rows, ends, strict=True):
        axis.text(0, row - 0.12, least, fontsize=6.5, color="#555555")
        axis.text(1, row - 0.12, greatest, fontsize=6.5, color="#555555", ha="right")
    axis.grid(axis="y", alpha=0.3)
    axis.spines[:].set_visible(False)
    return png(figure)


def _tidy(axis: Axes, metric: str) -> None:
    axis.set_ylabel(metric.replace("_", " "), fontsize=8)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
