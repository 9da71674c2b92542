"""The built-in data set: drawn faces, used when no data are given."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa

from fer_data.dataset import PreparedDataset, open_dataset
from fer_data.dataset_writer import write_dataset
from fer_data.drawing import VERSION, draw
from fer_data.errors import UserError
from fer_data.manifest import ROW_GROUP_ROWS
from fer_data.near_copies.table import NO_COPIES
from fer_data.prepare import cache_folder, check_cache, is_prepared
from fer_data.rows import USAGES, rows_table

USAGE_STRIDE = 2**40  # rows of index space for each usage: how many are trained on does not change the tests


def drawn_rows(counts: Mapping[str, int], seed: int) -> Iterator[pa.Table]:
    """Tables of `rows.SCHEMA`, at most 1,024 rows each, with `counts` rows of each usage, drawn as they are read."""
    for usage, count in counts.items():
        for start in range(0, count, ROW_GROUP_ROWS):
            indices = np.arange(start, min(start + ROW_GROUP_ROWS, count))
            pixels, labels = draw(USAGES.index(usage) * USAGE_STRIDE + indices, seed)
            yield rows_table([f"drawn/{seed}/{usage}/{i:08d}" for i in indices], usage, labels, pixels)


def prepared_drawn_faces(
    training: int = 1500, public_test: int = 500, private_test: int = 500, seed: int = 0, cache: Path | None = None
) -> PreparedDataset:
    """So many drawings of each usage, prepared in the folder `cache` on first use. Raises UserError if it cannot be."""
    counts = {"training": training, "public_test": public_test, "private_test": private_test}
    place = str((cache or cache_folder()) / f"drawn-v{VERSION}-seed{seed}-{training}-{public_test}-{private_test}")
    with suppress(UserError):  # not there, or damaged
        return open_dataset(place)
    if cache is None:
        check_cache()
    try:
        # No two drawings are of the same face: each has its own numbers.
        name, overwrite = f"drawn faces, seed {seed}", is_prepared(place)
        write_dataset(drawn_rows(counts, seed), place, name, near_copies=NO_COPIES, overwrite=overwrite)
    except UserError:
        if not is_prepared(place):  # else another job wrote the same in the meantime
            raise
    return open_dataset(place)
