"""Read a prepared data set: a folder of Parquet parts, and a manifest that describes them.

    part-training-00000.parquet …   one usage each, row groups of 1,024 rows, at most 64 to a part
    rejected.parquet                image_id and reason of every rejected row
    near_copies.parquet             the images whose photograph occurs again, if they were looked for
    manifest.json                   counts, fingerprint, audit, parts; written last

Opening reads the manifest and the parts' footers. Rows are read one row group at a time, so that memory does not grow
with the data.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from fer_data.errors import UserError
from fer_data.manifest import MANIFEST, ROW_GROUP_ROWS, Manifest, Part, RowGroup
from fer_data.near_copies.table import NEAR_COPIES, NEAR_COPIES_SCHEMA
from fer_data.rows import SCHEMA, SCHEMA_WITH_VOTES
from fer_data.storage import absolute, join, one_line, read_file, redacted, reported, resolve


@dataclass(frozen=True)
class PreparedDataset:
    """A prepared data set at an absolute `uri`. It holds the manifest and no rows, so that it pickles to workers."""

    uri: str
    manifest: Manifest
    given: str | None = None
    """What the user named, where `uri` is a copy in the cache."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return redacted(self.given or self.uri)

    def row_groups(self, usage: str) -> list[RowGroup]:
        """The row groups of `usage`, in row order: none when the data set has no such rows."""
        return [
            RowGroup(part.name, index, min(ROW_GROUP_ROWS, part.rows - start), usage)
            for part in self.manifest.parts
            if part.usage == usage
            for index, start in enumerate(range(0, part.rows, ROW_GROUP_ROWS))
        ]

    def read(self, group: RowGroup, columns: Sequence[str] = ("label", "pixels")) -> pa.Table:
        """The rows of one row group. Safe to call from several threads.

        Raises UserError when the part is missing or damaged (pages have checksums).
        """
        uri = join(self.uri, group.part)
        with _damage_reported(uri):
            filesystem, path = resolve(uri)
            with filesystem.open_input_file(path) as source:
                reader = pq.ParquetFile(
                    source,
                    metadata=_footer(uri, self.manifest.fingerprint),
                    pre_buffer=True,
                    page_checksum_verification=True,
                )
                table = reader.read_row_group(group.index, columns=list(columns), use_threads=False)
        if table.num_rows != group.rows:
            raise UserError(_prepare_again(uri, f"has {table.num_rows} rows in a group of {group.rows}"))
        return table

    @property
    def columns(self) -> list[str]:
        """The names of the columns: those of SCHEMA, and `votes` where annotators have voted."""
        return _read_footer(join(self.uri, self.manifest.parts[0].name)).schema.to_arrow_schema().names

    def near_copies(self) -> pa.Table | None:
        """The images whose photograph occurs again, a table of NEAR_COPIES_SCHEMA; None if they were not looked for.

        Raises UserError when the file is missing or damaged.
        """
        if not self.manifest.near_copies:
            return None
        uri = join(self.uri, NEAR_COPIES)
        with _damage_reported(uri):
            filesystem, path = resolve(uri)
            table = pq.read_table(path, filesystem=filesystem)
        if not table.schema.equals(NEAR_COPIES_SCHEMA):
            raise UserError(_prepare_again(uri, "has other columns than near copies"))
        return table


def open_dataset(uri: str) -> PreparedDataset:
    """The prepared data set in the folder `uri`.

    Checks the size, footer and row count of every part. Raises UserError when the folder or its
    manifest is missing, or a part is missing, truncated or damaged.
    """
    uri = absolute(uri)
    filesystem, path = resolve(uri)
    with reported(uri):
        kind = filesystem.get_file_info(path).type
        if kind == fs.FileType.NotFound:
            raise UserError(f"{redacted(uri)} does not exist: check the path")
        files = {}
        if kind == fs.FileType.Directory:
            files = {info.base_name: info for info in filesystem.get_file_info(fs.FileSelector(path))}
    if MANIFEST not in files:
        raise UserError(f"{redacted(uri)} is not a prepared data set (it has no {MANIFEST}): run jobs/prepare_data.py")
    text = read_file(join(uri, MANIFEST))
    try:
        manifest = Manifest.from_json(text.decode())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(_prepare_again(join(uri, MANIFEST), f"cannot be understood ({error})")) from error
    for part in manifest.parts:
        if part.name not in files:
            raise UserError(_prepare_again(join(uri, part.name), "is missing"))
        if (size := files[part.name].size) != part.bytes:
            raise UserError(_prepare_again(join(uri, part.name), f"has {size} bytes, not {part.bytes}"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda part: _check_footer(uri, part), manifest.parts))
    return PreparedDataset(uri, manifest)


def _check_footer(uri: str, part: Part) -> None:
    part_uri = join(uri, part.name)
    with _damage_reported(part_uri):
        footer = _read_footer(part_uri)
        columns = footer.schema.to_arrow_schema()
    groups = -(-part.rows // ROW_GROUP_ROWS)
    if footer.num_rows != part.rows or footer.num_row_groups != groups:
        raise UserError(_prepare_again(part_uri, f"has {footer.num_rows} rows, not {part.rows}"))
    if not columns.equals(SCHEMA) and not columns.equals(SCHEMA_WITH_VOTES):
        raise UserError(_prepare_again(part_uri, "has other columns than a prepared data set"))


def _read_footer(part_uri: str) -> pq.FileMetaData:
    filesystem, path = resolve(part_uri)
    with filesystem.open_input_file(path) as source:
        return pq.read_metadata(source)


@lru_cache(maxsize=1024)
def _footer(part_uri: str, fingerprint: str) -> pq.FileMetaData:
    """The footer, parsed once per process. `fingerprint` tells apart data sets that were at one path in turn."""
    return _read_footer(part_uri)


@contextmanager
def _damage_reported(part_uri: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(_prepare_again(part_uri, "is missing")) from error
    except (OSError, pa.ArrowException) as error:
        raise UserError(_prepare_again(part_uri, f"is damaged ({one_line(error, 120)})")) from error


def _prepare_again(uri: str, wrong: str) -> str:
    return f"{redacted(uri)} {wrong}: prepare the data set again with jobs/prepare_data.py"
