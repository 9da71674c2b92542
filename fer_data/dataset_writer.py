"""Write a prepared data set: streamed, in a fixed order, and visible only when complete."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from fer_data.audit import Auditor, Finding, photograph_findings
from fer_data.emotions import CLASSES
from fer_data.errors import UserError
from fer_data.manifest import MANIFEST, REJECTED, ROW_GROUP_ROWS, SCHEMA_VERSION, Manifest, Part
from fer_data.near_copies.table import NEAR_COPIES, Copies, Find, near_copies_table
from fer_data.publishing import published
from fer_data.rows import SIDE, USAGES, pixels_of
from fer_data.storage import absolute, reported, resolve

PART_ROWS = 64 * ROW_GROUP_ROWS
REJECTED_SCHEMA: pa.Schema = pa.schema([("image_id", pa.string()), ("reason", pa.string())])


def write_dataset(
    tables: Iterable[pa.Table],
    out: str,
    source_name: str,
    *,
    rejected: Sequence[tuple[str, str]] = (),
    near_copies: Copies | Find | None = None,
    near_copies_up_to: int | None = None,
    overwrite: bool = False,
) -> Manifest:
    """Writes tables of one schema (see `rows.rows_table`) as the data set `out`, with few rows in memory at a time.

    Rows of one usage keep their order. `rejected`, pairs of image id and reason, is read after the last table.
    `near_copies` are the images that show the same photograph, where they are known, or what finds them, unless there
    are more rows than `near_copies_up_to`: it gets all images at once. If `tables` or `near_copies` raises, nothing is
    left behind. Raises UserError when there are no rows, when `out` exists and `overwrite` is not set, when `out`
    contains anything but a data set, and when it cannot be written.
    """
    with published(absolute(out), overwrite) as place, reported(out, "write"):
        filesystem, path = resolve(place)
        auditor = Auditor(USAGES)
        writers = {usage: _UsageWriter(filesystem, path, usage, auditor) for usage in USAGES}
        try:
            for table in tables:
                for usage, rows in _by_usage(table):
                    writers[usage].add(rows)
            for writer in writers.values():
                writer.finish()
        finally:
            for writer in writers.values():
                writer.abandon()
        present = [writer for writer in writers.values() if writer.parts]
        if not present:
            raise UserError(f"{source_name} holds no usable image: nothing to prepare")
        reasons = [{"image_id": image_id, "reason": reason} for image_id, reason in rejected]
        left_out = pa.Table.from_pylist(reasons, schema=REJECTED_SCHEMA)
        pq.write_table(left_out, f"{path}/{REJECTED}", filesystem=filesystem)
        parts = tuple(part for writer in present for part in writer.parts)
        audit = auditor.findings()
        few = near_copies_up_to is None or sum(part.rows for part in parts) <= near_copies_up_to
        if near_copies is not None and few:
            audit += _write_near_copies(filesystem, path, parts, near_copies)
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            source=source_name,
            fingerprint=_fingerprint(present),
            counts={w.usage: dict(zip(CLASSES, w.class_counts.tolist(), strict=True)) for w in present},
            rejected=len(rejected),
            audit=audit,
            parts=parts,
        )
        with filesystem.open_output_stream(f"{path}/{MANIFEST}") as stream:
            stream.write(manifest.to_json().encode())
    return manifest


class _UsageWriter:
    """The parts of one usage: full row groups as rows come, a new file every PART_ROWS rows."""

    def __init__(self, filesystem: fs.FileSystem, folder: str, usage: str, auditor: Auditor) -> None:
        self.usage = usage
        self.parts: list[Part] = []
        self.class_counts = np.zeros(len(CLASSES), np.int64)
        self.digests = {column: blake2b(digest_size=16) for column in ("image_id", "label", "pixels")}
        self._filesystem, self._folder, self._auditor = filesystem, folder, auditor
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._file: pq.ParquetWriter | None = None
        self._file_rows = 0

    def add(self, rows: pa.Table) -> None:
        self._pending.append(rows)
        self._pending_rows += rows.num_rows
        if self._pending_rows >= ROW_GROUP_ROWS:
            self._write_groups(pa.concat_tables(self._pending))

    def finish(self) -> None:
        if self._pending_rows:
            self._write_groups(pa.concat_tables(self._pending), last=True)
        self._close_file()

    def abandon(self) -> None:
        """Ends an upload that a failure interrupted, so that it cannot finish after the folder is cleared."""
        if self._file is not None:
            with suppress(OSError, pa.ArrowException):
                self._file.close()
            self._file = None

    def _write_groups(self, rows: pa.Table, last: bool = False) -> None:
        end = rows.num_rows if last else rows.num_rows // ROW_GROUP_ROWS * ROW_GROUP_ROWS
        for start in range(0, end, ROW_GROUP_ROWS):
            self._write_group(rows.slice(start, min(ROW_GROUP_ROWS, end - start)).combine_chunks())
        rest = rows.slice(end)
        self._pending, self._pending_rows = [rest], rest.num_rows

    def _write_group(self, group: pa.Table) -> None:
        labels = group.column("label").to_numpy()
        pixels = pixels_of(group)
        self.class_counts += np.bincount(labels, minlength=len(CLASSES))
        self._auditor.add(self.usage, labels, group.column("pixels_hash").to_numpy(), pixels)
        if "votes" in group.column_names:
            self.digests.setdefault("votes", blake2b(digest_size=16))
            self.digests["votes"].update(group.column("votes").combine_chunks().flatten().to_numpy().tobytes())
        # Each column has its own digest, so that the fingerprint does not depend on where groups and parts begin.
        for image_id in group.column("image_id").to_pylist():
            self.digests["image_id"].update(image_id.encode() + b"\0")
        self.digests["label"].update(labels.tobytes())
        self.digests["pixels"].update(pixels.data)
        if self._file is None:
            self._file = self._open_file(group.schema)
        self._file.write_table(group, row_group_size=ROW_GROUP_ROWS)
        self._file_rows += group.num_rows
        if self._file_rows >= PART_ROWS:
            self._close_file()

    def _part_name(self) -> str:
        return f"part-{self.usage}-{len(self.parts):05d}.parquet"

    def _open_file(self, schema: pa.Schema) -> pq.ParquetWriter:
        # Uncompressed: neither lz4 nor zstd shrinks grey faces by even 1 %.
        return pq.ParquetWriter(
            f"{self._folder}/{self._part_name()}",
            schema,
            filesystem=self._filesystem,
            compression="none",
            use_dictionary=["usage", "label"],
            write_statistics=["usage", "label"],
            write_page_checksum=True,
        )

    def _close_file(self) -> None:
        if self._file is None:
            return
        self._file.close()
        name = self._part_name()
        size = self._filesystem.get_file_info(f"{self._folder}/{name}").size
        self.parts.append(Part(name, self.usage, self._file_rows, size))
        self._file, self._file_rows = None, 0


def _write_near_copies(
    filesystem: fs.FileSystem, folder: str, parts: Sequence[Part], near_copies: Copies | Find
) -> tuple[Finding, ...]:
    """Writes near_copies.parquet beside `parts`; what the audit says about it."""
    columns = ["image_id", "label", "pixels_hash"]
    rows = pa.concat_tables(
        pq.read_table(f"{folder}/{part.name}", filesystem=filesystem, columns=columns) for part in parts
    )
    if isinstance(near_copies, Copies):
        copies = near_copies
    else:
        copies = near_copies(_all_pixels(filesystem, folder, parts), rows.column("pixels_hash").to_numpy())
    table = near_copies_table(rows.column("image_id").combine_chunks(), copies)
    pq.write_table(table, f"{folder}/{NEAR_COPIES}", filesystem=filesystem)
    photographs = np.full(rows.num_rows, -1)
    photographs[copies.row] = copies.photograph
    usage = np.repeat([USAGES.index(part.usage) for part in parts], [part.rows for part in parts])
    return photograph_findings(USAGES, usage, rows.column("label").to_numpy(), photographs)


def _all_pixels(filesystem: fs.FileSystem, folder: str, parts: Sequence[Part]) -> np.ndarray:
    """The images of `parts`, uint8 [n, 48, 48, 1], a row group at a time: they are in memory once."""
    pixels, start = np.empty((sum(part.rows for part in parts), SIDE, SIDE, 1), np.uint8), 0
    for part in parts:
        with filesystem.open_input_file(f"{folder}/{part.name}") as stream, pq.ParquetFile(stream) as file:
            for group in range(file.num_row_groups):
                images = pixels_of(file.read_row_group(group, columns=["pixels"]))
                pixels[start : start + len(images)] = images
                start += len(images)
    return pixels


def _by_usage(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    for usage in table.column("usage").unique().to_pylist():
        yield usage, table.filter(pc.equal(table.column("usage"), usage))


def _fingerprint(writers: Sequence[_UsageWriter]) -> str:
    whole = blake2b(digest_size=16)
    for writer in writers:
        whole.update(writer.usage.encode() + b"\0")
        for digest in writer.digests.values():
            whole.update(digest.digest())
    return whole.hexdigest()
