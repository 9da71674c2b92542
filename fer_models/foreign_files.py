"""Parse model files from strangers in memory, up to a limit of size and without unpacking them to disk."""

import io
import json
from typing import Any, NamedTuple
from zipfile import ZipFile

from pyarrow import fs

from fer_data.errors import DAMAGED_ZIP, UserError
from fer_data.storage import one_line, printable, reported, resolve
from fer_models.hdf5 import MAX_BYTES, read_text_attribute

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
ZIP_MAGIC = b"PK"
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.weights.h5"
_LIMITS = {CONFIG_FILE: 2 << 20, WEIGHTS_FILE: MAX_BYTES, "metadata.json": 1 << 20}
"""The parts of a `.keras` archive of ordinary layers, and the maximum bytes of each."""


_ALWAYS_ALLOWED = 40 << 20
"""Bytes of a part, however small it is in the archive."""


class ModelFile(NamedTuple):
    """A model's configuration, parsed from JSON, and the content of the HDF5 file with its weights."""

    config: Any
    weights: bytes


def is_folder(uri: str) -> bool:
    """Whether `uri` is a folder and not a file. Raises UserError when there is neither."""
    with reported(uri):
        filesystem, path = resolve(uri)
        info = filesystem.get_file_info(path)
        if info.type == fs.FileType.NotFound:
            raise FileNotFoundError(uri)
        return info.type == fs.FileType.Directory


def parse_archive(content: bytes, where: str) -> ModelFile:
    """The parts of a `.keras` archive. Raises UserError for any other zip."""
    try:
        with ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            if CONFIG_FILE not in names or WEIGHTS_FILE not in names:
                raise UserError(f"{where}: a zip without {CONFIG_FILE} and {WEIGHTS_FILE}: no Keras archive")
            if strange := [name for name in names if name not in _LIMITS]:
                raise UserError(
                    f"{where}: the archive holds {printable(strange[0])}, which is not part of a plain model: refused"
                )
            if len(set(names)) != len(names):
                raise UserError(f"{where}: the archive holds a part twice: refused")
            for info in archive.infolist():
                # Weights hardly shrink.
                most = max(_ALWAYS_ALLOWED, 4 * info.compress_size)
                if info.file_size > min(_LIMITS[info.filename], most):
                    raise UserError(f"{where}: {info.filename} has {info.file_size / 1e6:,.0f} MB: refused")
            # ZipFile reads each part only up to its stated size.
            config, weights = archive.read(CONFIG_FILE), archive.read(WEIGHTS_FILE)
    except DAMAGED_ZIP as error:
        raise UserError(f"{where}: a truncated or damaged Keras archive: {one_line(error, 120)}") from error
    return ModelFile(_parse_json(config, f"{where}: {CONFIG_FILE}"), weights)


def parse_whole_model(content: bytes, where: str) -> ModelFile:
    """The parts of a whole model in HDF5 (`.h5`). Raises UserError for any other HDF5 file."""
    config = read_text_attribute(content, where, "model_config")
    if config is None:
        raise UserError(f"{where}: an HDF5 file without a model (model_config): it may hold weights alone")
    return ModelFile(_parse_json(config, f"{where}: model_config"), content)


def _parse_json(text: str | bytes, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON: {one_line(error, 120)}") from error
