"""Read arrays and attributes of HDF5 files from strangers as data.

Links, storage outside the file and virtual data sets are never followed, the size of what is read is limited, and
nothing is unpickled.
"""

import io
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fer_data.errors import UserError
from fer_data.storage import one_line

MAX_BYTES = 1 << 30
"""Limit for one file, and for the arrays in it: ResNet-50 with the state of Adam has 284 MB."""

_ALWAYS_ALLOWED = 40 << 20
"""Bytes of arrays in a file of any size."""

_TO_SPARE = 256 << 20
"""Bytes of memory beyond those of the arrays, for the library and for other threads."""
_LIMITING = threading.Lock()

LayerWeights = dict[str, list[tuple[str, np.ndarray]]]
"""For each layer, in the file's order, the full names (`conv1_conv/kernel:0`) and values of its weights."""


def read_text_attribute(content: bytes, where: str, name: str) -> str | None:
    """The file's attribute `name` as text, None without one. Raises UserError for a damaged file."""
    with _opened(content, where) as file:
        value = file.attrs.get(name)
        return value.decode() if isinstance(value, bytes) else value


def read_layer_weights(content: bytes, where: str, group: str = "") -> LayerWeights:
    """Weights in Keras's HDF5 formats: a group for each layer, with its weights listed in `weight_names`.

    `group` holds the layers: the file's root in a weights file, `model_weights` in a whole model. Layers without
    weights are left out. Raises UserError for a damaged file and for any other HDF5 file.
    """
    with _opened(content, where) as file:
        datasets = _float_datasets(file, where, len(content))
        groups = _groups(file)
        if group not in groups:
            raise UserError(f"{where}: an HDF5 file without {group}: not a Keras model")
        names = _names(groups[group], "layer_names")
        if not names:
            raise UserError(f"{where}: an HDF5 file without layer_names: not Keras weights")
        layers: LayerWeights = {}
        for layer in names:
            path = f"{group}/{layer}".strip("/")
            listed = _names(groups[path], "weight_names") if path in groups else []
            # A Normalization counts the images that it was adapted to, in an integer.
            weights = [name for name in listed if name.rpartition("/")[2].partition(":")[0] != "count"]
            for name in weights:
                if f"{path}/{name}" not in datasets:
                    raise UserError(f"{where}: the weight {name} of the layer {layer} is missing")
            if layer in layers or len(weights) != len(set(weights)):  # Each would be read once more.
                raise UserError(f"{where}: the weights of the layer {layer} are named twice: refused")
            if weights:
                layers[layer] = [(name, datasets[f"{path}/{name}"][()]) for name in weights]
        return layers


def read_archive_weights(content: bytes, where: str) -> dict[str, list[np.ndarray]]:
    """The weights in `model.weights.h5` of a `.keras` file, in order, by the path of their layer.

    Paths are Keras's, such as `layers/conv2d_1`. The state of optimizer and metrics is left out. Raises UserError for a
    damaged file.
    """
    with _opened(content, where) as file:
        layers: dict[str, dict[int, h5py.Dataset]] = {}
        for path, dataset in _float_datasets(file, where, len(content)).items():
            layer, _, number = path.rpartition("/vars/")
            if layer.startswith("layers/") and number.isdecimal():
                layers.setdefault(layer, {})[int(number)] = dataset
        return {layer: [found[i][()] for i in sorted(found)] for layer, found in layers.items()}


def check_arrays(content: bytes, where: str) -> None:
    """Raises UserError for an HDF5 file that is damaged, or whose arrays are outside of it or too large."""
    with _opened(content, where) as file:
        _float_datasets(file, where, len(content))


@contextmanager
def _opened(content: bytes, where: str) -> Iterator[h5py.File]:
    try:
        with _memory_limited(_most(len(content))), h5py.File(io.BytesIO(content), "r") as file:
            yield file
    except (OSError, KeyError, MemoryError, OverflowError, RuntimeError, ValueError, TypeError) as error:
        # These come from h5py: the code of this module raises only UserError.
        raise UserError(f"{where}: a truncated or damaged HDF5 file: {one_line(error, 120)}") from error


def _most(file_bytes: int) -> int:
    """How many bytes the arrays of a file may have. Weights hardly shrink: compressed or never written, a small file
    could name any amount.
    """
    return min(MAX_BYTES, max(_ALWAYS_ALLOWED, 4 * file_bytes))


@contextmanager
def _memory_limited(more: int) -> Iterator[None]:
    """Inside, this process gets `more` bytes of memory and some to spare, then MemoryError or HDF5's own error.

    The library reserves what a damaged text claims to need, which may be gigabytes, before it finds that the file ends.
    """
    if sys.platform != "linux":  # Others do not limit it.
        yield
        return
    with _LIMITING:
        pages = int(Path("/proc/self/statm").read_text().split()[5])  # Data and stack.
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = pages * resource.getpagesize() + more + _TO_SPARE
        try:
            if soft == resource.RLIM_INFINITY or limit < soft:
                resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _groups(file: h5py.File) -> dict[str, h5py.Group]:
    found: dict[str, h5py.Group] = {"": file}
    file.visititems(lambda path, item: found.update({path: item}) if isinstance(item, h5py.Group) else None)
    return found


def _float_datasets(file: h5py.File, where: str, file_bytes: int) -> dict[str, h5py.Dataset]:
    """Every array of floats by its path, within bounds; h5py visits only the file itself and follows no links."""
    found: dict[str, h5py.Dataset] = {}

    def visit(path: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            if item.external or item.is_virtual:
                raise UserError(f"{where}: the values of {path} are outside the file: refused")
            found[path] = item

    file.visititems(visit)
    size = sum(dataset.nbytes for dataset in found.values())
    if size > _most(file_bytes):
        raise UserError(f"{where}: {size / 1e6:,.0f} MB of weights in a file of {file_bytes:,} bytes: refused")
    return found


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """A list of names, which Keras splits into `attribute0`, `attribute1`, … when it is long."""
    chunks = [group.attrs[attribute]] if attribute in group.attrs else []
    while f"{attribute}{len(chunks)}" in group.attrs and attribute not in group.attrs:
        chunks.append(group.attrs[f"{attribute}{len(chunks)}"])
    return [name.decode() if isinstance(name, bytes) else str(name) for chunk in chunks for name in chunk]
