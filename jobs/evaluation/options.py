"""The options of an evaluation, validated where they are built."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fer_data.commands import check
from fer_data.splits import SPLITS
from jobs.run_options import ForeignOptions, WorkerOptions

Precision = Literal["saved", "float32", "mixed_bfloat16", "mixed_float16"]
TestTimeAugmentation = Literal["none", "flip", "ten_crop"]


@dataclass(frozen=True)
class NetworkOptions(WorkerOptions, ForeignOptions):
    """How networks are run on images, wherever that is done."""

    tta: TestTimeAugmentation = "none"
    """Average over views of each image: flip, also its mirror image; ten_crop, five shifts of both."""
    workers: int = 1
    """Processes that score, each with all checkpoints in memory."""
    batch_size: int | None = None
    """Images per forward pass; by default 256 on processors and 4096, or as many as fit, on GPUs."""
    precision: Precision = "float32"
    """Arithmetic of Keras models; saved: as each was trained."""
    gpus_per_worker: float | None = None
    """Share of a GPU for each worker, such as 0.25; by default the largest of 1, 1/2, 1/3 … that all can have."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_names()
        check(self.workers >= 1, "--workers must be 1 or more", self.workers)
        check(self.batch_size is None or self.batch_size >= 1, "--batch-size must be 1 or more", self.batch_size)
        gpus = self.gpus_per_worker
        # Ray reserves a part of one GPU, or whole ones.
        shareable = gpus is None or 0 < gpus < 1 or (gpus >= 1 and gpus == int(gpus))
        check(shareable, "--gpus-per-worker must be a share of a GPU or a whole number", gpus)


@dataclass(frozen=True)
class ScoringOptions:
    """What is scored, on which images, and where the report goes."""

    checkpoint: tuple[str, ...] = ()
    """Checkpoint folders, or .keras, .h5, .tflite and .onnx files; NAME=PATH gives one a name in the report."""
    data: str | None = None
    """A prepared data set, or FER-2013 in any published form (path, s3:// or gs://); by default the drawn faces."""
    resize: bool = False
    """Admit raw images of any size, colour and usual kind, as jobs/prepare_data.py does."""
    split: tuple[str, ...] = ("test",)
    """One or more of training, validation, test, public_test, private_test."""
    protocol: Literal["challenge", "notebook"] = "challenge"
    """Which rows belong to which split."""
    out: str | None = None
    """Folder for the report, or with --compare for the ranking."""
    overwrite: bool = False
    """Replace the report that is in the folder."""
    ensemble: bool = False
    """Also score the average of all checkpoints' probabilities."""
    corruptions: bool = False
    """Also score the images under 14 corruptions at 3 strengths each: 42 times the work."""
    compare: tuple[str, ...] = ()
    """Rank these finished reports; scores nothing."""


@dataclass(frozen=True)
class EvaluateOptions(NetworkOptions, ScoringOptions):
    """The options of an evaluation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.checkpoint) == bool(self.compare):
            raise ValueError("give --checkpoint A [B ...] to score, or --compare REPORT [...] to rank, one of the two")
        if self.checkpoint and not self.out:
            raise ValueError("--out is missing: give the folder for the report")
        _check_splits(self.split)


def _check_splits(names: Sequence[str]) -> None:
    for name in names:
        check(name in SPLITS, f"--split must be among {', '.join(SPLITS)}", name)
    once = bool(names) and len(set(names)) == len(names)
    check(once, "--split must name one or more splits, each once", " ".join(names))
