"""The options of an evaluation, validated where they are built."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from fer_data.errors import UserError
from fer_data.splits import PROTOCOLS, SPLITS

Precision = Literal["saved", "float32", "mixed_bfloat16", "mixed_float16"]
TestTimeAugmentation = Literal["none", "flip", "ten_crop"]
_Count = Annotated[int | None, tyro.conf.arg(metavar="INT")]


@dataclass(frozen=True)
class EvaluateOptions:
    """What to score, on which images, and where the report goes."""

    checkpoint: tuple[str, ...] = ()
    """Checkpoint folders, or .keras, .h5, .tflite and .onnx files; NAME=PATH gives one a name in the report."""
    data: str | None = None
    """A prepared data set, or FER-2013 in any published form; a path or an s3:// or gs:// URI. Without it, the
    built-in drawn faces."""
    split: tuple[str, ...] = ("test",)
    """One or more of training, validation, test, public_test, private_test."""
    protocol: Literal["challenge", "notebook"] = "challenge"
    """Which rows the splits hold."""
    out: str | None = None
    """Folder of the report; with --compare, of the ranking."""
    overwrite: bool = False
    """Replace the report that is in the folder."""
    ensemble: bool = False
    """Also score the average of all checkpoints' probabilities."""
    tta: TestTimeAugmentation = "none"
    """Average over views of each image: flip, its mirror image; ten_crop, five shifts of both."""
    corruptions: bool = False
    """Also score the images under 14 corruptions at 3 strengths each: 42 times the work."""
    compare: tuple[str, ...] = ()
    """Rank these finished reports; scores nothing."""
    workers: int = 1
    """Processes that score, each with all checkpoints in memory."""
    batch_size: _Count = None
    """Images per forward pass; by default 256 on processors and 4096, or as many as fit, on GPUs."""
    precision: Precision = "float32"
    """Arithmetic of Keras models; saved: as each was trained."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto: GPUs when the cluster has any and a checkpoint can compute on them, as Keras models can."""
    cpus_per_worker: _Count = None
    """Threads of each worker; by default an equal share of the machine's."""
    gpus_per_worker: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Share of a GPU for each worker, such as 0.25; by default the largest of 1, 1/2, 1/3 … that is there for all."""
    wait: float = 0.0
    """Minutes to wait for the cluster to have room for the workers, as one that starts its machines on demand needs."""
    stall_timeout: float = 600.0
    """Seconds without a sign of life, or for a batch, before a worker is taken for stuck and started anew."""
    classes: Literal["folder", "csv"] | None = None
    """Class order of files that do not name it themselves: folder, alphabetical; csv, that of the FER-2013 CSV."""

    def __post_init__(self) -> None:
        if bool(self.checkpoint) == bool(self.compare):
            raise UserError("give --checkpoint A [B ...] to score, or --compare REPORT [...] to rank, one of the two")
        if self.checkpoint and not self.out:
            raise UserError("--out is missing: give the folder of the report")
        if self.protocol not in PROTOCOLS:
            raise UserError(f"unknown --protocol {self.protocol}: choose one of {', '.join(PROTOCOLS)}")
        for name in self.split:
            if name not in SPLITS:
                raise UserError(f"unknown --split {name}: choose among {', '.join(SPLITS)}")
        if not self.split or len(set(self.split)) != len(self.split):
            raise UserError("--split must name one or more splits, each once")
        if any(count is not None and count < 1 for count in (self.workers, self.batch_size, self.cpus_per_worker)):
            raise UserError("--workers, --batch-size and --cpus-per-worker must be 1 or more")
        if self.wait < 0:
            raise UserError(f"--wait must be 0 or more (it is {self.wait})")
        if self.stall_timeout <= 0:
            raise UserError(f"--stall-timeout must be above 0 (it is {self.stall_timeout})")
        if self.gpus_per_worker is not None and not _shareable(self.gpus_per_worker):
            raise UserError(f"--gpus-per-worker {self.gpus_per_worker}: give a share of a GPU, or a whole number")


def _shareable(gpus: float) -> bool:
    """Whether Ray can reserve so many: a part of one GPU, or whole ones."""
    return 0 < gpus < 1 or (gpus >= 1 and gpus == int(gpus))
