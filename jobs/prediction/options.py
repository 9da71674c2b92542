"""The options of a prediction, validated where they are built."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from fer_data.commands import check
from jobs.evaluation.options import NetworkOptions


@dataclass(frozen=True)
class PictureOptions:
    """Which pictures, which networks, and where the predictions go."""

    input: Annotated[str, tyro.conf.Positional]
    """A folder of pictures with its subfolders, a zip, one picture, a CSV or Parquet files with a column pixels, or a
    text file with a path or URI on each line. A path, s3:// or gs://."""
    checkpoint: tuple[str, ...]
    """Checkpoint folders, or .keras, .h5, .tflite and .onnx files; NAME=PATH gives one a name in the tables."""
    out: str
    """Folder for the predictions."""
    faces: Literal["whole", "detect"] = "whole"
    """whole: each picture is a face, its centre square; detect: look for faces in each picture, as `live` does."""
    overwrite: bool = False
    """Replace the predictions that are in the folder."""


@dataclass(frozen=True)
class PredictOptions(NetworkOptions, PictureOptions):
    """The options of a prediction."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(bool(self.checkpoint), "--checkpoint needs one or more checkpoints", "empty")
