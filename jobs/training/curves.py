"""The course of a run as a picture: each metric over the epochs, training beside validation."""

import io

import pandas as pd
from matplotlib.figure import Figure

_PANELS = {
    "loss": "loss",
    "accuracy": "accuracy",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "auc": "AUC, one class against the rest",
    "macro_f1": "macro F1",
}
_COLOURS = {"training": "#999999", "validation": "#0b6e99"}


def draw_curves(history: pd.DataFrame, title: str, best_epoch: int, *, taught: bool) -> bytes:
    """A PNG of six panels from `history`, a row per epoch; a dotted line marks the best epoch.

    The training loss of a run that was `taught` by other networks is mostly its distance to them, several times the
    validation loss: it gets a scale of its own.
    """
    figure = Figure(figsize=(12, 7), layout="constrained")
    axes = figure.subplots(2, 3)
    for axis, (metric, label) in zip(axes.flat, _PANELS.items(), strict=True):
        two_scales = taught and metric == "loss"
        scales = {"training": axis.twinx() if two_scales else axis, "validation": axis}
        for split, colour in _COLOURS.items():
            scales[split].plot(history["epoch"], history[f"{split}_{metric}"], color=colour, label=split, marker=".")
        axis.axvline(best_epoch, color=_COLOURS["validation"], linestyle=":", linewidth=1)
        axis.set_title(f"{label} (right: training, the teachers' part included)" if two_scales else label, fontsize=10)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        if two_scales:
            scales["training"].spines[["top", "left"]].set_visible(False)
            # Above the validation loss: two curves that only fall would lie on each other.
            low, high = scales["training"].get_ylim()
            scales["training"].set_ylim(low - (high - low) / 3, high)
            for split, colour in _COLOURS.items():
                scales[split].tick_params(axis="y", labelcolor=colour)
    for axis in axes[1]:
        axis.set_xlabel("epoch")
    axes.flat[1].legend(frameon=False)
    figure.suptitle(f"{title} (best: epoch {best_epoch})")
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110)
    return png.getvalue()
