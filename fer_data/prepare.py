"""From any raw form to a prepared data set: into a folder of the user's, or on first use into a cache."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from fer_data.class_maps import OUR_NAMES, ClassMap
from fer_data.dataset import PreparedDataset, open_dataset
from fer_data.dataset_writer import write_dataset
from fer_data.division import Division, divide
from fer_data.errors import UserError
from fer_data.faces.photographs import LargestFace
from fer_data.manifest import MANIFEST, REJECTED, SCHEMA_VERSION
from fer_data.near_copies.table import Copies, Progress
from fer_data.parallel import Run, run_on_threads
from fer_data.publishing import check_destination
from fer_data.reading import Reading
from fer_data.rows import Decoded
from fer_data.scratch import scratch_folder, try_writing
from fer_data.sources import FORMS, Chunk, open_source
from fer_data.storage import absolute, is_remote, join, redacted, reported, resolve
from fer_data.votes import Votes

MAX_REJECTED = 0.01
NEAR_COPIES_AUTO = 70_000
"""Images up to which near copies are looked for by default: two minutes on two cores."""


def prepare(
    raw_uri: str,
    out: str,
    *,
    resize: bool = False,
    classes: ClassMap = OUR_NAMES,
    division: Division | None = None,
    votes: Votes | None = None,
    faces: LargestFace | None = None,
    max_rejected: float = MAX_REJECTED,
    run: Run = run_on_threads,
    near_copies: Literal["auto", "on", "off"] = "auto",
    progress: Progress | None = None,
    overwrite: bool = False,
) -> PreparedDataset:
    """Prepares the raw data set at `raw_uri` (forms: `sources`) as the folder `out`, and opens it.

    `resize` admits images of any size and colour. `classes` says what the source calls the classes. `division` divides
    images of which the source does not say which train and which test. `votes` label the rows of a CSV. With
    `faces`, images are photographs of which a face is a part. `max_rejected`
    is the largest fraction (0 to 1) of rows that may be unusable. `run` does the work; the result is the same to the
    byte whichever it is. `near_copies` is on, off, or auto: on up to NEAR_COPIES_AUTO images. `progress` hears how much
    of that search is done, 0 to 1. Raises UserError when an argument or the data are at fault, and then leaves nothing
    behind.
    """
    if not 0 <= max_rejected <= 1:
        raise UserError(f"--max-rejected {max_rejected}: give a fraction from 0 to 1")
    raw_uri, out = absolute(raw_uri), absolute(out)
    if is_prepared(raw_uri):
        raise UserError(f"{redacted(raw_uri)} is a prepared data set already: use it as it is")
    check_destination(out, overwrite)
    group_by = division.group_by if division else None
    reading = Reading(resize, classes, division is not None, group_by, votes, faces)
    source = open_source(raw_uri, reading)
    decoded = _Decodings(run(_decoded, None, source.chunks), max_rejected, redacted(raw_uri))
    search = None if near_copies == "off" else partial(_find_copies, progress=progress, run=run)
    few = NEAR_COPIES_AUTO if near_copies == "auto" else None
    write = partial(write_dataset, source_name=source.name, rejected=decoded.no_rows)
    if division is None:
        write(decoded.tables(), out, near_copies=search, near_copies_up_to=few, overwrite=overwrite)
    else:
        with scratch_folder() as folder:
            undivided = join(folder, "undivided")
            write(decoded.tables(), undivided, near_copies=search, near_copies_up_to=few)
            tables, copies = divide(open_dataset(undivided), decoded.groups, division)
            write(tables, out, near_copies=copies, overwrite=overwrite)
    return open_dataset(out)


def _decoded(_: None, chunk: Chunk) -> Decoded:
    return chunk.decode()


def _find_copies(pixels: np.ndarray, hashes: np.ndarray, progress: Progress | None, run: Run) -> Copies:
    from fer_data.near_copies.finder import find_copies  # Here: the index takes a while to import.

    return find_copies(pixels, hashes, progress, run)


def open_or_prepare(
    data_uri: str, *, resize: bool = False, max_rejected: float = MAX_REJECTED, progress: Progress | None = None
) -> PreparedDataset:
    """The data set at `data_uri`: a prepared folder, or a raw form, prepared on first use into a cache.

    The cache is `$XDG_CACHE_HOME/fer_data` (else `~/.cache/fer_data`) on this machine. Its key is the content of a
    local file, and the names, sizes and times of anything else. A damaged copy in the cache is prepared again.
    `progress` is that of `prepare`. Raises UserError as `prepare` and `open_dataset` do.
    """
    data_uri = absolute(data_uri)
    if is_prepared(data_uri):
        return open_dataset(data_uri)
    key = content_key(data_uri, f"{SCHEMA_VERSION} {resize} {max_rejected} near copies, images by content")
    place = str(cache_folder() / key)
    damaged = False
    if is_prepared(place):
        try:
            return replace(open_dataset(place), given=data_uri)
        except UserError:
            damaged = True
    check_cache()
    try:
        prepare(data_uri, place, resize=resize, max_rejected=max_rejected, progress=progress, overwrite=damaged)
    except UserError:
        # Another job may have prepared the same data in the meantime. If not, the error stands.
        if damaged or not is_prepared(place):
            raise
    return replace(open_dataset(place), given=data_uri)


def is_prepared(uri: str) -> bool:
    """Whether the folder at `uri` is, or was before it was damaged, a prepared data set."""
    filesystem, path = resolve(uri)
    with reported(uri):
        if filesystem.get_file_info(path).type != fs.FileType.Directory:
            return False
        if filesystem.get_file_info(f"{path}/{MANIFEST}").type == fs.FileType.File:
            return True
        found = filesystem.get_file_info(fs.FileSelector(path))
    return any(info.base_name.startswith("part-") and info.extension == "parquet" for info in found)


def cache_folder() -> Path:
    """Where raw data sets are prepared on first use."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fer_data"


def check_cache() -> None:
    """Raises UserError unless the cache can be written."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try_writing(folder)
    except OSError as error:
        raise UserError(
            f"cannot write the cache {folder}: {error.strerror}; let XDG_CACHE_HOME name a folder that can be written"
        ) from error


@dataclass
class _Decodings:
    """The pieces of a source, as they are decoded. What is no row, and the groups of the rows, are complete at the end.

    `where` is what messages call the source.
    """

    pieces: Iterable[Decoded]
    max_rejected: float
    where: str
    no_rows: list[tuple[str, str]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def tables(self) -> Iterator[pa.Table]:
        """The tables that have rows. Raises UserError at the end if too many rows were unusable."""
        kept, rejected = 0, list[tuple[str, str]]()
        for piece in self.pieces:
            rejected += piece.rejected
            self.no_rows += [*piece.rejected, *piece.left_out]
            self.groups += piece.groups
            kept += piece.table.num_rows
            if piece.table.num_rows:
                yield piece.table
        if len(rejected) > self.max_rejected * (kept + len(rejected)):
            image_id, reason = rejected[0]
            raise UserError(
                f"{self.where}: {len(rejected):,} of {kept + len(rejected):,} rows are unusable, more than "
                f"{self.max_rejected:.3%}; the first, {image_id}, {reason}: mend them or raise --max-rejected"
            )


def rejected_reasons(dataset: PreparedDataset) -> list[tuple[str, int]]:
    """How often each reason occurs in `rejected.parquet`, most frequent first."""
    filesystem, path = resolve(join(dataset.uri, REJECTED))
    with reported(join(dataset.uri, REJECTED)):
        table = pq.read_table(path, filesystem=filesystem, columns=["reason"])
    return Counter(table.column("reason").to_pylist()).most_common()


def content_key(uri: str, options: str, forms: str = f"a prepared data set, {FORMS}") -> str:
    """A digest of `options` and of the content of a local file, or of the names, sizes and times of anything else.

    Raises UserError, which says to give one of `forms`, when there is nothing.
    """
    filesystem, path = resolve(uri)
    digest = blake2b(options.encode(), digest_size=16)
    with reported(uri):
        info = filesystem.get_file_info(path)
        if info.type == fs.FileType.NotFound:
            raise UserError(f"{redacted(uri)} does not exist: give {forms}")
        if info.type == fs.FileType.Directory:
            listed = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
            for entry in sorted(listed, key=lambda entry: entry.path):
                name = entry.path.removeprefix(path)
                digest.update(f"{name}\0{entry.size}\0{entry.mtime_ns}\n".encode(errors="surrogateescape"))
        elif is_remote(uri):
            digest.update(f"{uri}\0{info.size}\0{info.mtime_ns}".encode())
        else:
            with open(path, "rb") as file:
                while block := file.read(2**22):
                    digest.update(block)
    return digest.hexdigest()
