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


def draw_curves(history: pd.DataFrame, title: str, best_epoch: int) -> bytes:
    """A PNG of six panels from `history`, a row per epoch; a dotted line marks the best epoch."""
    figure = Figure(figsize=(12, 7), layout="constrained")
    axes = figure.subplots(2, 3)
    for axis, (metric, label) in zip(axes.flat, _PANELS.items(), strict=True):
        for split, colour in _COLOURS.items():
            axis.plot(history["epoch"], history[f"{split}_{metric}"], color=colour, label=split, marker=".")
        axis.axvline(best_epoch, color=_COLOURS["validation"], linestyle=":", linewidth=1)
        axis.set_title(label, fontsize=10)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.get_major_locator().set_params(integer=True)
    for axis in axes[1]:
        axis.set_xlabel("epoch")
    axes.flat[0].legend(frameon=False)
    figure.suptitle(f"{title} (best: epoch {best_epoch})")
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110)
    return png.getvalue()
