"""What bench_gpu measures, what it asks of the figures, and how it prints them."""

from dataclasses import dataclass, replace

import pandas as pd

STEADY_AFTER = 2
"""The first epochs compile, and find how many steps a call should take."""


@dataclass(frozen=True)
class Network:
    """What is trained, and in batches of how many."""

    model: str
    batch: int
    width: float = 1.0
    input_size: int = 48

    @property
    def options(self) -> dict[str, float]:
        """What `fer_models.factory.create_model` takes."""
        return {"compact": {"width": self.width}, "resnet50": {"input_size": self.input_size}}.get(self.model, {})

    @property
    def arguments(self) -> list[str]:
        """What the training jobs take."""
        flags = [(f"--{name.replace('_', '-')}", f"{value:g}") for name, value in self.options.items()]
        return ["--model", self.model, "--batch-size", str(self.batch), *(part for flag in flags for part in flag)]

    def tiny(self) -> "Network":
        """As small as it gets, to try the benchmark on processors."""
        return replace(self, batch=max(2, self.batch // 32), width=self.width / 4 if self.model == "compact" else 1.0)


@dataclass(frozen=True)
class Target:
    """What a figure must be: at least or at most `bound`."""

    what: str
    bound: float
    most: bool = False

    def verdict(self, value: float) -> str:
        met = value <= self.bound if self.most else value >= self.bound
        return (
            f"    target: {self.what} {'at most' if self.most else 'at least'} {self.bound:,g}: "
            f"{format(value, ',.0f' if value >= 100 else '.3g')}, {'met' if met else 'MISSED'}"
        )


@dataclass(frozen=True)
class Run:
    """A finished job: its steady epochs, its checkpoint, and when its first epoch was written, in seconds."""

    steady: pd.DataFrame
    checkpoint: str
    first_epoch_at: float

    def median(self, column: str) -> float:
        """NaN where the column has no figure, as `mfu` has none for a card of unknown peak."""
        return float(pd.to_numeric(self.steady[column]).median())

    @property
    def first_step_at(self) -> float:
        """The rest of that epoch, and what came between it and the next, are as long as in other epochs."""
        return self.first_epoch_at - self.median("training_seconds") - self.median("between_seconds")


NETWORKS = {
    "compact-256": Network("compact", 256),
    "compact-64": Network("compact", 64),
    "cnn-256": Network("cnn", 256),
    "resnet50-48": Network("resnet50", 256),
    "compact-1024": Network("compact", 1024),
    "wide": Network("compact", 256, width=4.0),
    "resnet50-96": Network("resnet50", 256, input_size=96),
}
RATES = {
    "compact-256": Target("images/s", 60_000),
    "compact-64": Target("images/s", 20_000),
}
RATIOS = {
    "cnn-256": Target("job / plain fit", 0.95),
    "resnet50-48": Target("job / plain fit", 0.95),
}
BETWEEN = Target("seconds between epochs", 0.3, most=True)
REFERENCE = "compact-256"
"""What the parts that change one thing are compared with."""
PARTS = (
    *("compact-256", "compact-64", "cnn-256", "resnet50-48", "scoring", "compile-off"),
    *("compact-1024", "deterministic", "wide", "resnet50-96"),
)
"""In order: what has a target first, then what takes little time."""
HEADER = f"{'':14} {'images/s':>10} {'TFLOP/s':>8} {'MFU':>6} {'between s':>10}"


def row(part: str, run: Run) -> str:
    """A line of the table."""
    mfu = run.median("mfu")
    return (
        f"{part:14} {run.median('images_per_second'):10,.0f} {run.median('tflops'):8.2f} "
        f"{'-' if mfu != mfu else format(mfu, '.1%'):>6} {run.median('between_seconds'):10.2f}"
    )
