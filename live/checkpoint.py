"""The exported model of a checkpoint, checked against its card. Needs neither Keras nor pydantic."""

import hashlib
import json
from pathlib import Path

from fer_data.emotions import CLASSES
from fer_data.errors import UserError
from fer_models.litert import FLOAT32_FILE, INT8_FILE, LiteRTModel

RELEASED = Path(__file__).parent.parent / "fer_models" / "released"
"""The checkpoint that ships with the package."""
FILES = {"float32": FLOAT32_FILE, "int8": INT8_FILE}


def open_model(checkpoint: str | Path | None = None, precision: str = "float32", threads: int = 2) -> LiteRTModel:
    """The LiteRT model at `checkpoint`: the folder of one, a .tflite file, or None for the released one.

    Raises UserError when it is missing, does not match its card or names no classes, and OSError when it cannot be
    read.
    """
    path = Path(checkpoint).expanduser() if checkpoint else RELEASED
    if path.is_dir():
        return _from_folder(path, precision, threads)
    if not path.exists():
        raise UserError(f"{path} does not exist: give --checkpoint a checkpoint's folder or a .tflite file")
    if path.suffix != ".tflite":
        raise UserError(f"{path} is not a .tflite file: export its checkpoint with `python jobs/export.py FOLDER`")
    model = LiteRTModel(path.read_bytes(), str(path), threads)
    if model.classes is None:
        raise UserError(f"{path} does not name its classes: write it with `python jobs/export.py FOLDER`")
    return model


def _from_folder(folder: Path, precision: str, threads: int) -> LiteRTModel:
    file, card_file = folder / FILES[precision], folder / "card.json"
    try:
        card = json.loads(card_file.read_bytes())
        digests, classes = dict(card["sha256"]), tuple(card["classes"])
    except FileNotFoundError:
        raise UserError(f"{folder} is not a checkpoint: it has no card.json") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{card_file} is not the card of a checkpoint: it is damaged or was changed") from None
    if file.name not in digests:
        formats = " --formats litert_int8" if precision == "int8" else ""
        raise UserError(f"{folder} has no {file.name}: write it with `python jobs/export.py {folder}{formats}`")
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{file} is missing: write it again with `python jobs/export.py {folder}`") from None
    if hashlib.sha256(content).hexdigest() != digests[file.name]:
        raise UserError(f"{file} does not match its card: it is damaged or was changed; export it again")
    model = LiteRTModel(content, str(file), threads)
    if classes != CLASSES or model.classes != classes:
        raise UserError(f"{card_file} and {file.name} do not name the same classes: export the checkpoint again")
    return model
