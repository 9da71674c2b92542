"""Tables that travel as values of a column come out as they went in, where they lie."""

import pyarrow as pa
import pytest

from fer_data.dataset import open_dataset
from fer_data.rows import pixels_of
from jobs.evaluation.scoring.packing import packed, unpacked
from jobs.evaluation.scoring.shards import plan_shards, read_shard


@pytest.fixture
def tables(drawn_set) -> list[pa.Table]:
    dataset = open_dataset(drawn_set)
    return [read_shard(dataset, shard) for shard in plan_shards(dataset, ["training", "public_test"], "challenge")]


def test_tables_come_out_in_their_order_from_any_part_of_a_column(tables):
    column = pa.chunked_array([packed(tables), packed(tables[:1])])
    assert list(unpacked(column)) == [*tables, tables[0]]
    assert list(unpacked(column.slice(1))) == [tables[1], tables[0]]
    (nothing,) = unpacked(pa.chunked_array([packed([tables[0].slice(0, 0)])]))
    assert nothing.num_rows == 0


def test_pixels_are_not_copied_out(tables):
    array = packed(tables[:1])
    start, size = array.buffers()[2].address, array.buffers()[2].size
    (table,) = unpacked(pa.chunked_array([array]))
    assert start < pixels_of(table).__array_interface__["data"][0] < start + size
