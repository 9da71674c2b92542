"""The exported model of a checkpoint, checked against its card. Needs neither Keras nor pydantic."""

import hashlib
import json
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from fer_data.emotions import CLASSES
from fer_data.errors import UserError
from fer_models.litert import FLOAT32_FILE, INT8_FILE, LiteRTModel
from fer_models.reading import NOTHING_KNOWN, Reading

if TYPE_CHECKING:
    from fer_models.onnx_model import OnnxModel

RELEASED = Path(__file__).parent.parent / "fer_models" / "released"
"""The checkpoint that ships with the package."""
KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
FILES = {"float32": FLOAT32_FILE, "int8": INT8_FILE}


def open_model(
    checkpoint: str | Path | None = None,
    precision: str = "float32",
    threads: int = 2,
    reading: Reading = NOTHING_KNOWN,
) -> "LiteRTModel | OnnxModel":
    """The model at `checkpoint`: the folder of one, a .tflite or .onnx file, or None for the released one.

    `reading` is for files that others made. Raises UserError when the model is missing, does not match its card or
    cannot be run, and OSError when it cannot be read.
    """
    path = Path(checkpoint).expanduser() if checkpoint else RELEASED
    if path.is_dir():
        return _from_folder(path, precision, threads)
    if not path.exists():
        raise UserError(f"{path} does not exist: give --checkpoint a checkpoint's folder, a .tflite or an .onnx file")
    if path.suffix.lower() in KERAS_SUFFIXES:
        raise UserError(
            f"{path} needs TensorFlow, which live does without: make a checkpoint of it with "
            f"`python jobs/export.py {quote(str(path))} --out {quote(str(path.with_suffix('')))}`, and give that folder"
        )
    if path.suffix.lower() == ".onnx":
        from fer_models.onnx_model import OnnxModel  # Here: it needs pyarrow, which takes a while to import.

        return OnnxModel(path.read_bytes(), str(path), threads, reading)
    if path.suffix.lower() != ".tflite":
        raise UserError(f"{path} is not a .tflite or .onnx file, nor a checkpoint's folder")
    return LiteRTModel(path.read_bytes(), str(path), threads, reading)


def _from_folder(folder: Path, precision: str, threads: int) -> LiteRTModel:
    file, card_file = folder / FILES[precision], folder / "card.json"
    export = f"python jobs/export.py {quote(str(folder))}"
    try:
        card = json.loads(card_file.read_bytes())
        digests, classes = dict(card["sha256"]), tuple(card["classes"])
    except FileNotFoundError:
        mend = f": give {folder / 'best'}" if (folder / "best" / card_file.name).exists() else ""
        raise UserError(f"{folder} is not a checkpoint: it has no card.json{mend}") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{card_file} is not the card of a checkpoint: it is damaged or was changed") from None
    if file.name not in digests:
        formats = " --formats litert_int8" if precision == "int8" else ""
        raise UserError(f"{folder} has no {file.name}: write it with `{export}{formats}`")
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{file} is missing: write it again with `{export}`") from None
    if hashlib.sha256(content).hexdigest() != digests[file.name]:
        raise UserError(f"{file} does not match its card: it is damaged or was changed; export it again")
    model = LiteRTModel(content, str(file), threads, ours=folder == RELEASED)
    if classes != CLASSES or model.classes != classes:
        raise UserError(f"{card_file} and {file.name} do not name the same classes: export the checkpoint again")
    return model
