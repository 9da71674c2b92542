"""Tables as values of a binary column, so that a row of Ray Data is a shard rather than an image."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa

PACKED = pa.large_binary()


def packed(tables: list[pa.Table]) -> pa.Array:
    """Each of `tables` as an Arrow IPC stream, in an array of type PACKED."""
    streams = [_stream(table) for table in tables]
    if len(streams) != 1:
        return pa.array([stream.to_pybytes() for stream in streams], PACKED)
    offsets = pa.py_buffer(np.array([0, streams[0].size], np.int64))
    return pa.Array.from_buffers(PACKED, 1, [None, offsets, streams[0]])


def unpacked(column: pa.ChunkedArray) -> Iterator[pa.Table]:
    """The table in each value of a column of type PACKED. Reads the buffers: `Array.to_pylist` would copy them."""
    for array in column.chunks:
        _, offsets, content = array.buffers()
        ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
        for start, end in pairwise(ends.tolist()):
            yield pa.ipc.open_stream(content.slice(start, end - start)).read_all()


def _stream(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()
