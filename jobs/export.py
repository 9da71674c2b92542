"""Export a checkpoint as LiteRT and ONNX files, each checked against Keras on validation faces before it is written.

    python jobs/export.py ~/fer_runs/first/best
    python jobs/export.py ~/fer_runs/first/best --formats litert litert_int8 onnx --data fer2013.zip
    python jobs/export.py CNNMODELfinal.keras --out models/original --formats litert

It adds model.tflite, model.int8.tflite or model.onnx to the checkpoint's folder, and the measurements to its card, in
half a minute on 2 cores. A model without a card becomes a checkpoint in --out first. `python -m live --checkpoint
FOLDER` runs it on a webcam.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from fer_data.commands import exit_with_code, refusal
from fer_data.storage import absolute, join, redacted
from jobs.command_line import parse
from jobs.console import PlainConsole
from jobs.run_options import ForeignOptions
from jobs.tensorflow_environment import load_keras, quiet, tensorflow_environment

_CONVERTERS_NOTES = ("INFO: Created TensorFlow Lite", "fully_quantize: ")


@dataclass(frozen=True, kw_only=True)
class ExportOptions(ForeignOptions):
    """What to export, and how."""

    checkpoint: Annotated[str, tyro.conf.Positional]
    """Folder of a checkpoint, such as best/ of a run, or a .keras or .h5 file: a path, s3:// or gs:// URI."""
    out: str | None = None
    """Folder for the checkpoint that a .keras or .h5 file becomes."""
    overwrite: bool = False
    """Replace what is in --out."""
    formats: tuple[Literal["litert", "litert_int8", "onnx"], ...] = ("litert", "litert_int8")
    """litert: float32. litert_int8: 8 bits, calibrated on training images. onnx: float32, needs the extra [onnx]."""
    data: str | None = None
    """The data set for checks and calibration; by default the one named in the card."""
    resize: bool = False
    """Admit raw images of any size, colour and usual kind; by default as in training."""

    def __post_init__(self) -> None:
        self.check_names()
        if not self.formats or len(set(self.formats)) < len(self.formats):
            raise ValueError("--formats must name one or more formats, each once")


def main(argv: Sequence[str] | None = None) -> None:
    """Export, and print what was measured."""
    options = parse(ExportOptions, argv, description=__doc__)
    os.environ |= tensorflow_environment() | {"CUDA_VISIBLE_DEVICES": "-1"}
    # TensorFlow takes seconds to import, so the options are checked first.
    with quiet():
        load_keras()
        from fer_models.export import FORMATS, export
        from fer_models.imported import import_model, target_of
    from fer_models.checkpoint_files import read_card
    from fer_models.foreign_files import is_folder
    from jobs.data import open_data

    console = PlainConsole()
    uri = absolute(options.checkpoint)
    card = read_card(uri) if is_folder(uri) else None
    if card is None:
        target = target_of(options.out, overwrite=options.overwrite)
        with quiet():
            imported = import_model(uri, options.classes, options.class_names, options.input_range)
        for line in imported.warnings:
            console.out(f"warning: {line}")
        dataset = open_data(options.data, console, resize=options.resize)
        with quiet(*_CONVERTERS_NOTES):
            card = imported.export(target, options.formats, dataset)
        uri = target
    else:
        if options.out is not None:
            raise refusal("--out is for a model without a card: a checkpoint's files are added to its own folder")
        trained = card.configuration
        resize = options.resize or (options.data is None and trained.get("resize", False))
        dataset = open_data(options.data or trained.get("data"), console, resize=resize)
        if card.protocol and dataset.manifest.fingerprint != card.data_fingerprint:
            console.out(f"warning: {redacted(uri)} was trained on other data than {dataset.name}")
        with quiet(*_CONVERTERS_NOTES):
            card = export(uri, options.formats, dataset)
    for name in options.formats:
        measured = card.exports[FORMATS[name]]
        if name == "litert_int8":
            result = (
                f"accuracy {measured['accuracy']:.4f} on {measured['validation_rows']:,} validation faces, "
                f"{measured['float32_accuracy']:.4f} in float32"
            )
        else:
            faces, difference = measured["faces"], measured["largest_difference"]
            result = f"equals Keras on {faces} validation faces, within {difference:.0e}"
        console.out(f"{join(redacted(uri), FORMATS[name])}  {result}")


if __name__ == "__main__":
    exit_with_code(main)
