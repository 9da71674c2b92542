"""The weights from which training starts: a trained network's, or ImageNet's for a ResNet-50."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np

from fer_data.errors import UserError
from fer_data.storage import one_line, read_file, redacted
from fer_models.catalogue import NETWORKS
from fer_models.checkpoint import load_model
from fer_models.foreign_files import HDF5_MAGIC, is_folder
from fer_models.hdf5 import MAX_BYTES, read_layer_weights
from fer_models.resnet50 import preprocessing_of
from fer_models.stages import stages
from fer_models.start_weights import load_start_weights

IMAGENET_FILE = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
IMAGENET_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{IMAGENET_FILE}"
_IMAGENET_MD5 = "4d473c1dd8becc155b73f8504c6f6626"  # From keras.applications.resnet.


class _Weight(NamedTuple):
    name: str
    values: np.ndarray


def load_base_weights(model: keras.Model, source: str) -> None:
    """Set the weights of `model`, one of our networks, from `source`: `none`, or a path, s3:// or gs:// URI.

    All networks but `resnet50` take all weights from a checkpoint, or a foreign file, of the same network. `resnet50`
    takes those of its stages and keeps its own head. Its `source` is `imagenet` (Keras's own download, kept in its
    cache), a `.h5` of ResNet-50 weights without top in the format that Keras publishes, or a checkpoint folder of a
    ResNet-50 with the same preprocessing.

    Either all parameters are set or none. Raises UserError when the source cannot be read or fetched, and when a layer,
    weight, shape or the preprocessing differs.
    """
    if source == "none":
        return
    if model.name != "resnet50":
        load_start_weights(model, source)
        return
    layers = _backbone(model, "the model to train")
    path = fetch_imagenet() if source == "imagenet" else source
    where = redacted(path)
    found = _from_checkpoint(path, model) if is_folder(path) else _from_file(path)
    for layer in layers:
        if layer.name not in found:
            raise UserError(f"{where}: it has no layer {layer.name}: give the weights of a Keras ResNet-50")
        _require_same(layer, found[layer.name], where)
    names = {layer.name for layer in layers}
    if extra := [name for name in found if name not in names]:
        raise UserError(
            f"{where}: it has a layer {extra[0]} that ResNet-50 lacks: give the file without top (…_notop.h5)"
        )
    for layer in layers:
        layer.set_weights([weight.values for weight in found[layer.name]])


def fetch_imagenet() -> str:
    """Path of the published ImageNet weights without top, fetched into Keras's cache on first use.

    Raises UserError, with instructions to fetch the file by hand, when the download fails.
    """
    try:
        return keras.utils.get_file(IMAGENET_FILE, IMAGENET_URL, cache_subdir="models", file_hash=_IMAGENET_MD5)
    except Exception as error:  # get_file turns network failures into bare Exceptions.
        raise UserError(
            f"cannot fetch the ImageNet weights ({one_line(error, 120)}): fetch {IMAGENET_URL} by hand "
            f"and give --weights the path of the file"
        ) from error


def _from_file(uri: str) -> dict[str, list[_Weight]]:
    content = read_file(uri, MAX_BYTES)
    if not content.startswith(HDF5_MAGIC):
        raise UserError(f"{redacted(uri)} is no HDF5 file: base weights are an .h5 file or a checkpoint folder")
    layers = read_layer_weights(content, redacted(uri))
    return {
        layer: [_Weight(name.rpartition("/")[2].partition(":")[0], values) for name, values in weights]
        for layer, weights in layers.items()
    }


def _from_checkpoint(uri: str, model: keras.Model) -> dict[str, list[_Weight]]:
    saved, _ = load_model(uri)
    layers = _backbone(saved, redacted(uri))
    if (theirs := preprocessing_of(saved)) != (ours := preprocessing_of(model)):
        raise UserError(f"{redacted(uri)} was trained with the preprocessing {theirs}, not {ours}: choose {theirs}")
    return {
        layer.name: [_Weight(v.name, a) for v, a in zip(layer.weights, layer.get_weights(), strict=True)]
        for layer in layers
    }


def _backbone(model: keras.Model, where: str) -> list[keras.layers.Layer]:
    """The layers that have weights, stem to conv5."""
    try:
        found = stages(model) if model.name == "resnet50" else None
    except ValueError:
        found = None
    if found is None:
        raise UserError(f"{where} is no ResNet-50: give the weights of one")
    return [layer for stage in NETWORKS["resnet50"].stages for layer in found[stage] if layer.weights]


def _require_same(layer: keras.layers.Layer, found: Sequence[_Weight], where: str) -> None:
    expected = [(variable.name, tuple(variable.shape)) for variable in layer.weights]
    actual = [(weight.name, weight.values.shape) for weight in found]
    if expected != actual:
        raise UserError(f"{where}: the layer {layer.name} has {_listed(actual)}, not {_listed(expected)}")


def _listed(weights: list[tuple[str, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {'×'.join(map(str, shape)) or 'scalar'}" for name, shape in weights)
