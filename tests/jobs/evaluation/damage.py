"""Ways to spoil a prepared data set that its manifest does not show."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fer_data.manifest import MANIFEST, ROW_GROUP_ROWS


def rewrite(folder: str, usage: str, change) -> None:
    """Replace the part of `usage` by what `change` makes of its table, with a manifest that agrees."""
    path = Path(folder) / f"part-{usage}-00000.parquet"
    table = change(pq.read_table(path))
    pq.write_table(table, path, row_group_size=ROW_GROUP_ROWS, write_page_checksum=True)
    manifest = json.loads((Path(folder) / MANIFEST).read_text())
    for part in manifest["parts"]:
        if part["name"] == path.name:
            part["bytes"] = path.stat().st_size
    (Path(folder) / MANIFEST).write_text(json.dumps(manifest))


def with_pixels(row: int, pixels: bytes | None):
    """A change that puts `pixels` into `row` and leaves its hash."""

    def change(table: pa.Table) -> pa.Table:
        values = table.column("pixels").to_pylist()
        values[row] = pixels
        column = pa.array(values, table.schema.field("pixels").type)
        return table.set_column(table.schema.get_field_index("pixels"), table.schema.field("pixels"), column)

    return change


def with_label(row: int, label: int | None):
    def change(table: pa.Table) -> pa.Table:
        values = table.column("label").to_pylist()
        values[row] = label
        index = table.schema.get_field_index("label")
        return table.set_column(index, table.schema.field("label"), pa.array(values, pa.int8()))

    return change


def flip_a_byte_of_the_pixels(folder: str, usage: str) -> None:
    """Damage in the middle of the pixels' pages, which their checksums show."""
    path = Path(folder) / f"part-{usage}-00000.parquet"
    footer = pq.read_metadata(path).row_group(0)
    column = next(footer.column(i) for i in range(footer.num_columns) if footer.column(i).path_in_schema == "pixels")
    content = np.fromfile(path, np.uint8)
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 0xFF
    content.tofile(path)
