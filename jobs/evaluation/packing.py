"""A table as one value of a column: Ray Data then counts shards, not images."""

import numpy as np
import pyarrow as pa

PACKED = pa.large_binary()


def packed(tables: list[pa.Table]) -> pa.Array:
    """Each of `tables` as an Arrow IPC stream: an array of PACKED."""
    streams = [_stream(table) for table in tables]
    if len(streams) != 1:
        return pa.array([stream.to_pybytes() for stream in streams], PACKED)
    offsets = pa.py_buffer(np.array([0, streams[0].size], np.int64))
    return pa.Array.from_buffers(PACKED, 1, [None, offsets, streams[0]])


def unpacked(value: pa.LargeBinaryScalar) -> pa.Table:
    """The table in a value of such an array, without a copy."""
    return pa.ipc.open_stream(value.as_buffer()).read_all()


def _stream(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()
