"""The class-folder tree, in a folder or an archive: `train/<class>/<image>`, `test/<class>/<image>`, `<class>/<image>`.

An image's usage is what its name says (`Training_…`, `PublicTest_…`, `PrivateTest_…`), else what its folder says:
train, test, or val. Where a tree has a val folder, that takes the place of FER-2013's public test and the test folder
that of its private test, so that both protocols work. Where it has neither, its images are to be divided.

Every file becomes a row, is rejected, or is left out with a reason, except for the litter of operating systems.

Rows are in the order of a hash of their ids: folders sort by class, and a row
group should be a fair sample of the classes.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np

from fer_data.containers import Container, Reader
from fer_data.decoding import BadImage, is_image
from fer_data.emotions import CLASSES
from fer_data.errors import UserError
from fer_data.image_files import NO_IMAGE, is_litter, is_named_image, no_image
from fer_data.reading import Reading
from fer_data.rows import PIXELS, USAGES, Decoded, rows_table
from fer_data.storage import printable

CHUNK_IMAGES = 512
_PREFIX = re.compile(r"^(Training|PublicTest|PrivateTest)_")
_PREFIX_USAGE = {"Training": "training", "PublicTest": "public_test", "PrivateTest": "private_test"}
_FOLDER_USAGE = {
    "train": "training",
    "training": "training",
    "train_set": "training",
    "publictest": "public_test",
    "public_test": "public_test",
    "privatetest": "private_test",
    "private_test": "private_test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "val_set": "validation",
    "test": "test",
    "testing": "test",
    "test_set": "test",
}


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One file of a tree: its path within the source, and its row's id, usage, label and group (see `Reading`).

    `left_out` says why it is not to be read, if it is not.
    """

    path: str
    image_id: str
    usage: str = "training"
    label: int = 0
    group: str = ""
    left_out: str = ""


@dataclass(frozen=True)
class ImageChunk:
    """A piece of a tree, to be decoded apart from the others."""

    reader: Reader
    files: tuple[ImageFile, ...]
    face: Callable[[bytes], np.ndarray]

    def decode(self) -> Decoded:
        """The chunk's rows, in the order of its files."""
        kept, faces, rejected, left_out = [], [], [], []
        for file, face in zip(self.files, self._faces(), strict=True):
            if isinstance(face, _LeftOut):
                left_out.append((file.image_id, str(face)))
            elif isinstance(face, BadImage):
                rejected.append((file.image_id, str(face)))
            else:
                kept.append(file)
                faces.append(face)
        pixels = np.stack(faces) if faces else np.empty((0, PIXELS), np.uint8)
        labels = np.array([file.label for file in kept], np.int8)
        ids, usages = [file.image_id for file in kept], [file.usage for file in kept]
        groups = [file.group for file in kept]
        return Decoded(rows_table(ids, usages, labels, pixels), rejected, left_out, groups)

    def _faces(self) -> list[np.ndarray | BadImage]:
        if self.reader.concurrency == 1:
            return [self._face(file) for file in self.files]
        with ThreadPoolExecutor(self.reader.concurrency) as pool:
            return list(pool.map(self._face, self.files))

    def _face(self, file: ImageFile) -> np.ndarray | BadImage:
        """The face in `file`, or the reason why there is none."""
        if file.left_out:
            return _LeftOut(file.left_out)
        try:
            if not is_named_image(file.path) and not is_image(self.reader.head(file.path)):
                return _LeftOut(NO_IMAGE)
            return self.face(self.reader.read(file.path))
        except BadImage as reason:
            return reason


class _LeftOut(BadImage):
    """Why a file is no row, where that is no fault of the data."""


def image_chunks(
    files: Sequence[ImageFile], container: Container, face: Callable[[bytes], np.ndarray]
) -> Iterator[ImageChunk]:
    """The images in row order, in pieces of one usage of up to CHUNK_IMAGES. `face` is that of `Reading`."""
    size = min(CHUNK_IMAGES, container.most_at_once)
    for usage in USAGES:
        chosen = [file for file in files if file.usage == usage]
        chosen.sort(key=lambda file: blake2b(file.image_id.encode(), digest_size=8).digest())
        for start in range(0, len(chosen), size):
            chunk = tuple(chosen[start : start + size])
            yield ImageChunk(container.reader([file.path for file in chunk]), chunk, face)


def image_of_class(paths: Sequence[str], reading: Reading) -> str:
    """One of `paths` that is an image in a class folder, by their names: "" if there is none."""
    for path in filter(is_named_image, paths):
        with suppress(KeyError, IndexError):
            reading.classes.label(path.split("/")[-2])
            return path
    return ""


def image_files(paths: Sequence[str], container: Container, reading: Reading, root_name: str = "") -> list[ImageFile]:
    """The images at `paths`, those of `container`, whose root is called `root_name`, with unique ids.

    Hidden files, `__MACOSX` and the like are passed over. The id is the file's stem, or, for files of equal stems,
    `name@folder`. Raises UserError for an image in an unknown class folder, and for one of no known usage, or of a
    known one where `reading` is to divide the images.
    """
    kept = [path for path in paths if not is_litter(path)]
    found = [_image_file(path, container, reading, root_name) for path in kept]
    if any(file.usage == "validation" for file in found):
        stands_for = {"validation": "public_test", "test": "private_test"}
        found = [replace(file, usage=stands_for.get(file.usage, file.usage)) for file in found]
    # What is not named like an image, such as a caption beside it, changes no image's id.
    named = Counter(file.image_id for file in found if is_named_image(file.path))
    every = Counter(file.image_id for file in found)
    uses = {file.path: (named if is_named_image(file.path) else every)[file.image_id] for file in found}
    return [replace(file, image_id=_long_id(file)) if uses[file.path] > 1 else file for file in found]


def _image_file(path: str, container: Container, reading: Reading, root_name: str) -> ImageFile:
    try:
        return _placed(path, container.where, reading, root_name)
    except UserError:
        # What is no image may lie anywhere.
        if reason := no_image(path, container):
            return ImageFile(path, _stem(path), left_out=reason)
        raise


def _placed(path: str, where: str, reading: Reading, root_name: str) -> ImageFile:
    """The image at `path`, by its place in the tree and its name. Raises UserError where they say too little."""
    inside, shown = path.replace("\\", "/"), printable(path)
    folders, name = [part for part in (root_name, *inside.split("/")) if part][:-1], inside.rpartition("/")[2]
    called = reading.classes.name_of(folders[-1] if folders else "", name)
    try:
        label = reading.classes.label(called)
    except KeyError:
        raise UserError(
            f"{where}: {shown} is in the unknown class folder {called!r}: classes are {', '.join(CLASSES)}; "
            "prepare_data.py takes other names and numbers with --class-map, and leaves a class out with --ignore-class"
        ) from None
    if label is None:
        return ImageFile(path, _stem(path), left_out=f"is of the class {called}, which is ignored")
    # The train folder by itself may be divided.
    usage = _usage(name, folders[1 if root_name and reading.divide else 0 : -1])
    if reading.divide and usage:
        raise UserError(f"{where}: {shown} is {usage} already by its name or folder: leave --split-shares out")
    if not reading.divide and not usage:
        raise UserError(
            f"{where}: {shown} lies in no train, val or test folder: put the class folders into one, "
            "or divide the images with prepare_data.py --split-shares 0.8 0.1 0.1"
        )
    group = reading.group(inside)
    if group is None:
        raise UserError(
            f"{where}: {shown} does not match --group-by '{reading.group_by}': correct it, or end it with "
            "'|.+', so that such an image is a group by itself"
        )
    return ImageFile(path, _stem(path), usage or "training", label, group)


def _stem(path: str) -> str:
    name = path.replace("\\", "/").rpartition("/")[2]
    return name.rpartition(".")[0] or name


def _usage(name: str, folders: Sequence[str]) -> str:
    """What an image is for, by its file's name or the folders around that of its class: "" where neither says."""
    if prefix := _PREFIX.match(name):
        return _PREFIX_USAGE[prefix[1]]
    return next((_FOLDER_USAGE[folder.lower()] for folder in reversed(folders) if folder.lower() in _FOLDER_USAGE), "")


def _long_id(file: ImageFile) -> str:
    # The file name comes first, so that ids sort as file names do (the notebook protocol's order).
    folder, _, name = file.path.replace("\\", "/").rpartition("/")
    return f"{name}@{folder}"
