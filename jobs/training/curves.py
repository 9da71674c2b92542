"""Plot the history of a run: each metric over the epochs, for training and validation."""

import pandas as pd
from matplotlib.figure import Figure

from fer_models.metrics import HISTORY, METRICS
from jobs.png import png
from jobs.training.config import UNSEEN_SUFFIX

_COLOURS = {"training": "#999999", "validation": "#0b6e99"}
_UNSEEN_COLOUR = "#d55e00"


def draw_curves(history: pd.DataFrame, title: str, best_epoch: int, *, taught: bool) -> bytes:
    """A PNG with a panel for each metric of `history`, which has a row per epoch; a dotted line marks the best epoch.

    Where it is known which validation images are unseen, they have a curve of their own. A run `taught` by other
    networks has a training loss of several times the validation loss, because it includes the distance from the
    teachers. It gets its own scale.
    """
    figure = Figure(figsize=(12, 7), layout="constrained")
    axes = figure.subplots(-(-len(HISTORY) // 3), 3)
    for axis, metric in zip(axes.flat, HISTORY, strict=False):
        label = "loss" if metric == "loss" else METRICS[metric].title
        two_scales = taught and metric == "loss"
        scales = {"training": axis.twinx() if two_scales else axis, "validation": axis}
        for split, colour in _COLOURS.items():
            scales[split].plot(history["epoch"], history[f"{split}_{metric}"], color=colour, label=split, marker=".")
        unseen = f"validation_{metric}{UNSEEN_SUFFIX}"
        if unseen in history and history[unseen].notna().any():  # No column in the history of an older run.
            axis.plot(history["epoch"], history[unseen], color=_UNSEEN_COLOUR, label="unseen validation", marker=".")
        axis.axvline(best_epoch, color=_COLOURS["validation"], linestyle=":", linewidth=1)
        axis.set_title(f"{label} (right: training, with the teachers' part)" if two_scales else label, fontsize=10)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        if two_scales:
            scales["training"].spines[["top", "left"]].set_visible(False)
            # Shifted up, so that two falling curves do not cover each other.
            low, high = scales["training"].get_ylim()
            scales["training"].set_ylim(low - (high - low) / 3, high)
            for split, colour in _COLOURS.items():
                scales[split].tick_params(axis="y", labelcolor=colour)
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    axes.flat[1].legend(facecolor="white", edgecolor="none", framealpha=0.8)
    figure.suptitle(f"{title} (best: epoch {best_epoch})")
    return png(figure)
