"""The class-folder tree, in a folder or a zip: `train/<class>/<image>`, `test/<class>/<image>`.

An image's usage is what its name says (`Training_…`, `PublicTest_…`, `PrivateTest_…`), else what its folder says:
train, test, or val. Where a tree has a val folder, that takes the place of FER-2013's public test and the test folder
that of its private test, so that both protocols work.

Rows are in the order of a hash of their ids: folders sort by class, and a row
group should be a fair sample of the classes.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Protocol

import numpy as np

from fer_data.archives import Zip
from fer_data.emotions import CLASSES, class_index
from fer_data.errors import UserError
from fer_data.images import MAX_IMAGE_BYTES, BadImage, grey_face
from fer_data.rows import PIXELS, USAGES, Decoded, rows_table
from fer_data.storage import is_remote, join, printable, reported, resolve

CHUNK_IMAGES = 512
REMOTE_READS = 16
_READ = (".jpg", ".jpeg", ".png")
_NOT_READ = (".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".avif", ".heic", ".jp2")
_PREFIX = re.compile(r"^(Training|PublicTest|PrivateTest)_")
_PREFIX_USAGE = {"Training": "training", "PublicTest": "public_test", "PrivateTest": "private_test"}
_FOLDER_USAGE = {
    "train": "training",
    "training": "training",
    "publictest": "public_test",
    "public_test": "public_test",
    "privatetest": "private_test",
    "private_test": "private_test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image of a tree: its path within the source, and its row's id, usage and label."""

    path: str
    image_id: str
    usage: str
    label: int


class Reader(Protocol):
    """Fetches one image file's bytes. Raises BadImage when the row is to be rejected."""

    def read(self, path: str) -> bytes: ...

    @property
    def concurrency(self) -> int: ...


@dataclass(frozen=True)
class FolderReader:
    """Reads from the folder `uri`; from an object store, many files at a time."""

    uri: str

    @property
    def concurrency(self) -> int:
        return REMOTE_READS if is_remote(self.uri) else 1

    def read(self, path: str) -> bytes:
        filesystem, full_path = resolve(join(self.uri, path))
        try:
            with filesystem.open_input_file(full_path) as file:
                if file.size() > MAX_IMAGE_BYTES:
                    raise BadImage(f"has {file.size():,} bytes: too large an image")
                return file.read()
        except OSError as error:
            if not is_remote(self.uri):
                raise BadImage("cannot be read from the disk") from error
            with reported(join(self.uri, path)):
                raise


@dataclass(frozen=True)
class ZipReader:
    """Reads from a zip."""

    archive: Zip
    concurrency: int = 1

    def read(self, path: str) -> bytes:
        return self.archive.read_image(path)


@dataclass(frozen=True)
class ImageChunk:
    """A piece of a tree, to be decoded apart from the others."""

    reader: Reader
    files: tuple[ImageFile, ...]
    resize: bool

    def decode(self) -> Decoded:
        """The chunk's rows, in the order of its files."""
        kept, faces, rejected = [], [], []
        for file, face in zip(self.files, self._faces(), strict=True):
            if isinstance(face, str):
                rejected.append((file.image_id, face))
            else:
                kept.append(file)
                faces.append(face)
        pixels = np.stack(faces) if faces else np.empty((0, PIXELS), np.uint8)
        labels = np.array([file.label for file in kept], np.int8)
        ids, usages = [file.image_id for file in kept], [file.usage for file in kept]
        return Decoded(rows_table(ids, usages, labels, pixels), rejected)

    def _faces(self) -> list[np.ndarray | str]:
        if self.reader.concurrency == 1:
            return [self._face(file) for file in self.files]
        with ThreadPoolExecutor(self.reader.concurrency) as pool:
            return list(pool.map(self._face, self.files))

    def _face(self, file: ImageFile) -> np.ndarray | str:
        """The face in `file`, or the reason why there is none."""
        if file.path.lower().endswith(_NOT_READ):
            return "is neither a JPEG nor a PNG image"
        try:
            return grey_face(self.reader.read(file.path), self.resize)
        except BadImage as reason:
            return str(reason)


def image_chunks(files: Sequence[ImageFile], reader: Reader, resize: bool) -> Iterator[ImageChunk]:
    """The images in row order, in pieces of one usage of up to CHUNK_IMAGES."""
    for usage in USAGES:
        chosen = [file for file in files if file.usage == usage]
        chosen.sort(key=lambda file: blake2b(file.image_id.encode(), digest_size=8).digest())
        for start in range(0, len(chosen), CHUNK_IMAGES):
            yield ImageChunk(reader, tuple(chosen[start : start + CHUNK_IMAGES]), resize)


def image_files(paths: Iterable[str], where: str, root_name: str = "") -> list[ImageFile]:
    """The images among `paths` (relative to a root called `root_name`), with unique ids.

    Hidden files, `__MACOSX` and files that are no images are passed over. The id is the file's stem, or, for files of
    equal stems, `name@folder`. Raises UserError for an unknown class folder and for images of no known usage.
    """
    found = [_image_file(path, where, root_name) for path in sorted(paths) if _is_image(path)]
    if any(file.usage == "validation" for file in found):
        stands_for = {"validation": "public_test", "test": "private_test"}
        found = [replace(file, usage=stands_for.get(file.usage, file.usage)) for file in found]
    uses = Counter(file.image_id for file in found)
    return [replace(file, image_id=_long_id(file)) if uses[file.image_id] > 1 else file for file in found]


def _is_image(path: str) -> bool:
    parts = path.replace("\\", "/").split("/")
    ignored = any(part.startswith((".", "__MACOSX")) for part in parts)
    return not ignored and path.lower().endswith(_READ + _NOT_READ)


def _image_file(path: str, where: str, root_name: str) -> ImageFile:
    shown = printable(path)
    parts = [part for part in (root_name, *path.replace("\\", "/").split("/")) if part]
    folders, name = parts[:-1], parts[-1]
    folder = folders[-1] if folders else ""
    try:
        label = class_index(folder)
    except KeyError:
        known = ", ".join(CLASSES)
        raise UserError(f"{where}: {shown} is in the unknown class folder {folder!r}: classes are {known}") from None
    prefix = _PREFIX.match(name)
    known_folders = [_FOLDER_USAGE[f.lower()] for f in reversed(folders[:-1]) if f.lower() in _FOLDER_USAGE]
    if not prefix and not known_folders:
        raise UserError(f"{where}: {shown} lies in no train, val or test folder: put the class folders into one")
    usage = _PREFIX_USAGE[prefix[1]] if prefix else known_folders[0]
    return ImageFile(path, name.rpartition(".")[0], usage, label)


def _long_id(file: ImageFile) -> str:
    # The file name comes first, so that ids sort as file names do (the notebook protocol's order).
    folder, _, name = file.path.replace("\\", "/").rpartition("/")
    return f"{name}@{folder}"
