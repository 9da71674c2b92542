"""Export a checkpoint to LiteRT and ONNX files, each checked on real faces before it joins the checkpoint.

    model.tflite        float32: the same class as Keras on every face checked, probabilities within 1e-4
    model.int8.tflite   weights and activations in 8 bits, calibrated on training images; the card records
                        the loss of accuracy on the whole validation split
    model.onnx          float32, checked as model.tflite is

Every file maps raw grey pixels, uint8 [n, 48, 48, 1], to probabilities, float32 [n, 7], and names its classes.
"""

import contextlib
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fer_data.batches import ordered_batches
from fer_data.dataset import PreparedDataset
from fer_data.errors import UserError
from fer_data.scratch import scratch_folder
from fer_data.splits import Split, split
from fer_data.storage import redacted
from fer_models.card import Card
from fer_models.checkpoint import load_model
from fer_models.checkpoint_files import add_files
from fer_models.litert import FLOAT32_FILE, INT8_FILE, LiteRTModel, with_classes
from fer_models.onnx_model import OnnxModel

FORMATS = {"litert": FLOAT32_FILE, "litert_int8": INT8_FILE, "onnx": "model.onnx"}
PROOF_FACES = 512
CALIBRATION_FACES = 512
TOLERANCE = 1e-4
_BATCH = 256

Predict = Callable[[np.ndarray], np.ndarray]


class ExportDiffersError(Exception):
    """An exported file gives other results than Keras. Nothing has been written."""


def export(uri: str, formats: Sequence[str], dataset: PreparedDataset) -> Card:
    """Add the checkpoint's model in `formats`, names in FORMATS, to its folder at `uri`; returns its new card.

    The validation faces of `dataset`, by the checkpoint's own protocol, serve for the checks, its training faces for
    calibration. Raises UserError for bad input and ExportDiffersError when a file fails its check; the checkpoint then
    stays unchanged.
    """
    model, card = load_model(uri)
    if "onnx" in formats:
        _need_onnx()
    validation, training = (split(dataset, name, card.protocol or "challenge") for name in ("validation", "training"))
    if not validation.num_rows or ("litert_int8" in formats and not training.num_rows):
        raise UserError(f"{dataset.name} has no faces to check the export: give the data it was trained on")
    faces = spread(dataset, validation, PROOF_FACES)
    expected = model.predict(faces, batch_size=_BATCH, verbose=0)
    files: dict[str, bytes] = {}
    measured: dict[str, dict[str, Any]] = {}
    for name in formats:
        file, where = FORMATS[name], f"{redacted(uri)}/{FORMATS[name]}"
        predict: Predict
        if name == "onnx":
            files[file] = to_onnx(model, card.classes)
            predict = OnnxModel(files[file], where, ours=True)
        else:
            calibration = spread(dataset, training, CALIBRATION_FACES) if name == "litert_int8" else None
            files[file] = with_classes(to_litert(model, calibration), card.classes)
            predict = LiteRTModel(files[file], where, ours=True)
        about = {"data_fingerprint": dataset.manifest.fingerprint}
        if name == "litert_int8":
            measured[file] = about | _accuracy_lost(model, predict, dataset, validation)
        else:
            measured[file] = about | _compare(where, predict(faces), expected)
    return add_files(uri, files, replace(card, exports=card.exports | measured))


def to_litert(model: keras.Model, calibration: np.ndarray | None = None) -> bytes:
    """`model` as a LiteRT file; in 8 bits with faces for `calibration`, uint8 [n, 48, 48, 1]."""
    options: dict[str, Any] = {}
    if calibration is not None:
        import tensorflow as tf

        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
        options["representative_dataset"] = lambda: ([face[None]] for face in calibration)
    return _exported(model, "a.tflite", "litert", **options)


def to_onnx(model: keras.Model, classes: Sequence[str]) -> bytes:
    """`model` as an ONNX file; its metadata `classes` lists the class names, separated by commas."""
    onnx = _need_onnx()
    described = onnx.load_from_string(_exported(model, "a.onnx", "onnx"))
    onnx.helper.set_model_props(described, {"classes": ",".join(classes)})
    return described.SerializeToString(deterministic=True)


def spread(dataset: PreparedDataset, rows: Split, count: int) -> np.ndarray:
    """`count` evenly spaced faces of a split, or all when there are fewer: uint8 [n, 48, 48, 1]."""
    wanted = np.unique(np.linspace(0, rows.num_rows - 1, min(count, rows.num_rows)).astype(np.int64))
    found, start = [], 0
    for pixels, _ in ordered_batches(dataset, rows, batch_size=1024):
        here = wanted[(wanted >= start) & (wanted < start + len(pixels))] - start
        found.append(pixels[here])
        start += len(pixels)
    return np.concatenate(found)


def _exported(model: keras.Model, name: str, format: str, **options: Any) -> bytes:
    with scratch_folder() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The converters warn about their own code.
        path = Path(folder) / name
        with contextlib.redirect_stdout(io.StringIO()):
            model.export(path, format=format, verbose=False, **options)
        return path.read_bytes()


def _compare(where: str, given: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    difference = float(np.abs(given - expected).max())
    other = int((given.argmax(axis=1) != expected.argmax(axis=1)).sum())
    if other or not difference <= TOLERANCE:
        raise ExportDiffersError(
            f"{where}: {other} of {len(expected)} validation faces get another class than in Keras, and probabilities "
            f"differ by up to {difference:.1e} ({TOLERANCE:.0e} is allowed): nothing was written"
        )
    return {"faces": len(expected), "largest_difference": difference}


def _accuracy_lost(model: keras.Model, predict: Predict, dataset: PreparedDataset, rows: Split) -> dict[str, Any]:
    hits = np.zeros(2, np.int64)
    for pixels, labels in ordered_batches(dataset, rows, batch_size=_BATCH):
        for i, probabilities in enumerate((model.predict_on_batch(pixels), predict(pixels))):
            hits[i] += int((np.asarray(probabilities).argmax(axis=1) == labels).sum())
    float32, int8 = (hits / rows.num_rows).tolist()
    return {"validation_rows": rows.num_rows, "float32_accuracy": float32, "accuracy": int8, "lost": float32 - int8}


def _need_onnx() -> Any:
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise UserError(f"onnx needs the package {error.name}: pip install -c constraints.txt '.[onnx]'") from None
    return onnx
