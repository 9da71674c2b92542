"""The prepared data set: what is written is read back, is the same anywhere, and damage is found."""

import copy
import json
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_data import dataset_writer
from fer_data.dataset import PreparedDataset, open_dataset
from fer_data.dataset_writer import write_dataset
from fer_data.errors import UserError
from fer_data.manifest import ROW_GROUP_ROWS
from fer_data.near_copies.table import NO_COPIES
from fer_data.rows import SCHEMA, hashes_of, pixels_of, rows_table
from tests.conftest import REPOSITORY


def rows(count: int, start: int = 0, usage: str = "training") -> pa.Table:
    """Rows number `start` onwards of an endless data set."""
    numbers = np.arange(start, start + count)
    pixels = np.zeros((count, 48, 48), np.uint8)
    pixels.reshape(count, -1)[:, :4] = numbers.astype("<u4").view(np.uint8).reshape(count, 4)
    return rows_table([f"{usage}-{n:07d}" for n in numbers], usage, numbers % 7, pixels)


def in_pieces(size: int) -> Iterator[pa.Table]:
    """3,000 training and 3,000 test rows, so many of one and then of the other at a time."""
    for start in range(0, 3000, size):
        for usage in ("training", "test"):
            yield rows(min(size, 3000 - start), start, usage)


def write(out: Path, *tables: pa.Table, **options) -> PreparedDataset:
    write_dataset(tables or (rows(3000), rows(10, usage="public_test")), str(out), "tiny", **options)
    return open_dataset(str(out))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_rows_come_back_as_they_went_in_group_by_group(tmp_path):
    dataset = write(tmp_path / "d", rows(2500))
    groups = dataset.row_groups("training")
    assert [group.rows for group in groups] == [1024, 1024, 452]
    back = pa.concat_tables(dataset.read(group, columns=SCHEMA.names) for group in groups)
    assert back.equals(rows(2500))


def test_usages_go_to_parts_of_their_own_whatever_order_they_come_in(tmp_path):
    mixed = pa.concat_tables([rows(3, 0, "test"), rows(2), rows(4, 3, "test")])
    dataset = write(tmp_path / "d", mixed, rows(2, 2))
    assert {part.name: part.rows for part in dataset.manifest.parts} == {
        "part-training-00000.parquet": 4,
        "part-test-00000.parquet": 7,
    }
    assert dataset.row_groups("private_test") == []


def test_the_files_are_as_the_contract_says(tmp_path):
    write(tmp_path / "d", rejected=[("row-1", "is torn")])
    assert sorted(files(tmp_path / "d")) == [
        "manifest.json",
        "part-public_test-00000.parquet",
        "part-training-00000.parquet",
        "rejected.parquet",
    ]
    table = pq.read_table(tmp_path / "d" / "part-training-00000.parquet")
    assert table.schema.equals(SCHEMA)
    assert [str(field.type) for field in SCHEMA] == ["string", "string", "int8", "fixed_size_binary[2304]", "uint64"]
    assert table.column("pixels_hash").to_pylist() == hashes_of(pixels_of(table)).tolist()
    assert pq.read_table(tmp_path / "d" / "rejected.parquet").to_pylist() == [
        {"image_id": "row-1", "reason": "is torn"}
    ]
    manifest = json.loads((tmp_path / "d" / "manifest.json").read_text())
    assert manifest["schema_version"] == 1
    assert manifest["source"] == "tiny"
    assert manifest["rejected"] == 1
    assert manifest["counts"]["public_test"] == {
        "angry": 2, "disgust": 2, "fear": 2, "happy": 1, "sad": 1, "surprise": 1, "neutral": 1,
    }  # fmt: skip


@pytest.mark.parametrize("size", [700, 1024, 2999])
def test_how_the_rows_were_cut_into_tables_leaves_no_trace(size, tmp_path):
    write(tmp_path / "whole", *in_pieces(3000))
    write_dataset(in_pieces(size), str(tmp_path / "pieces"), "tiny")
    assert files(tmp_path / "whole") == files(tmp_path / "pieces")


def test_equal_content_gives_equal_bytes(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b")
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_the_fingerprint_does_not_depend_on_where_parts_begin(tmp_path, monkeypatch):
    whole = write(tmp_path / "a").manifest
    monkeypatch.setattr(dataset_writer, "PART_ROWS", ROW_GROUP_ROWS)
    parts = write(tmp_path / "b").manifest
    assert len(parts.parts) == 4
    assert parts.fingerprint == whole.fingerprint
    assert len(open_dataset(str(tmp_path / "b")).row_groups("training")) == 3


@pytest.mark.parametrize("column", ["image_id", "usage", "label", "pixels"])
def test_the_fingerprint_changes_with_the_content(column, tmp_path):
    changed = {
        "image_id": lambda: rows_table(["other"], "training", np.array([0]), np.zeros((1, 48, 48), np.uint8)),
        "usage": lambda: rows(1, usage="test"),
        "label": lambda: rows_table(["training-0000000"], "training", np.array([1]), np.zeros((1, 48, 48), np.uint8)),
        "pixels": lambda: rows_table(["training-0000000"], "training", np.array([0]), np.ones((1, 48, 48), np.uint8)),
    }
    one = write(tmp_path / "a", rows(1)).manifest.fingerprint
    assert write(tmp_path / "b", changed[column]()).manifest.fingerprint != one


def test_pixels_are_seen_without_a_copy(tmp_path):
    dataset = write(tmp_path / "d")
    table = dataset.read(dataset.row_groups("training")[1])
    pixels = pixels_of(table)
    assert pixels.shape == (1024, 48, 48, 1)
    assert pixels.dtype == np.uint8
    assert not pixels.flags.writeable
    buffer = np.frombuffer(table.column("pixels").chunk(0).buffers()[1], np.uint8)
    assert np.shares_memory(pixels, buffer)
    assert np.array_equal(pixels_of(table.slice(100, 7)), pixels[100:107])
    assert pixels_of(table.slice(0, 0)).shape == (0, 48, 48, 1)


def test_an_open_data_set_pickles_small(tmp_path):
    dataset = write(tmp_path / "d")
    assert copy.deepcopy(dataset) == dataset  # By the same protocol as pickling.
    assert len(pickle.dumps(dataset)) < 10_000


@pytest.fixture
def pool() -> Iterator[pa.MemoryPool]:
    """What Arrow takes its memory from in the test."""
    usual = pa.default_memory_pool()
    pa.set_memory_pool(counting := pa.proxy_memory_pool(usual))
    yield counting
    pa.set_memory_pool(usual)


@pytest.mark.parametrize("near_copies", [None, NO_COPIES, lambda pixels, hashes: NO_COPIES])
def test_writing_holds_few_rows_in_memory(near_copies, tmp_path, pool):
    write(tmp_path / "first")  # What this imports is not counted.
    tables = (rows(500, start) for start in range(0, 20_000, 500))
    tracemalloc.start()
    try:
        write_dataset(tables, str(tmp_path / "d"), "tiny", near_copies=near_copies)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 2 * 2**20 < pool.max_memory() < 10 * 2**20  # of the 46 MB that go by
    # NumPy's: what finds copies gets all pixels, once.
    assert most < (60 if callable(near_copies) else 10) * 2**20


# ---- where it may be written


def test_an_existing_data_set_is_not_replaced_unless_asked(tmp_path):
    write(tmp_path / "d", rows(3))
    with pytest.raises(UserError, match="exists already"):
        write(tmp_path / "d", rows(4))
    assert write(tmp_path / "d", rows(4), overwrite=True).manifest.rows("training") == 4
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_folder_that_holds_anything_else_is_never_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match=r"thesis\.tex"):
        write(tmp_path, rows(3), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_place_for_a_data_set(tmp_path):
    (tmp_path / "d").write_text("")
    with pytest.raises(UserError, match="is a file"):
        write(tmp_path / "d", rows(3), overwrite=True)


@pytest.mark.parametrize("failure", [UserError("bad row"), KeyboardInterrupt()])
def test_a_failed_write_leaves_what_was_there(failure, tmp_path):
    def failing() -> Iterator[pa.Table]:
        yield rows(2000)
        raise failure

    with pytest.raises(type(failure)):
        write_dataset(failing(), str(tmp_path / "d"), "tiny")
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "d", rows(3))
    with pytest.raises(type(failure)):
        write_dataset(failing(), str(tmp_path / "d"), "tiny", overwrite=True)
    assert open_dataset(str(tmp_path / "d")).manifest.rows("training") == 3


def test_what_a_killed_program_left_is_removed_by_the_next_that_writes_there(tmp_path):
    program = "; ".join(
        (
            "import os, sys",
            "from fer_data.dataset_writer import write_dataset",
            "write_dataset((os.kill(os.getpid(), 9) for _ in [0]), sys.argv[1], 'tiny')",
        )
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "d")], cwd=REPOSITORY, check=False)
    (left,) = tmp_path.iterdir()
    assert left != tmp_path / "d"
    write(tmp_path / "d")
    assert list(tmp_path.iterdir()) == [tmp_path / "d"]


def test_no_rows_make_no_data_set(tmp_path):
    with pytest.raises(UserError, match="no usable image"):
        write_dataset([], str(tmp_path / "d"), "tiny")
    assert list(tmp_path.iterdir()) == []


# ---- damage


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _spoil_footer(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-6] ^= 0xFF
    path.write_bytes(bytes(data))


def _swap(path: Path) -> None:
    other = path.parent / "part-public_test-00000.parquet"
    path.write_bytes(other.read_bytes().ljust(path.stat().st_size, b"\0"))


@pytest.mark.parametrize("damage", [Path.unlink, _cut, _spoil_footer, _swap])
def test_a_damaged_part_is_found_on_opening_and_named(damage, tmp_path):
    write(tmp_path / "d")
    damage(tmp_path / "d" / "part-training-00000.parquet")
    with pytest.raises(UserError, match=r"part-training-00000\.parquet .*: prepare the data set again"):
        open_dataset(str(tmp_path / "d"))


def test_a_changed_byte_in_a_part_is_found_on_reading(tmp_path):
    dataset = write(tmp_path / "d")
    path = tmp_path / "d" / "part-training-00000.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    dataset = open_dataset(str(tmp_path / "d"))
    damaged = dataset.row_groups("training")[1]
    with pytest.raises(UserError, match=r"part-training-00000\.parquet is damaged"):
        dataset.read(damaged)


def test_a_part_that_vanishes_after_opening_is_named(tmp_path):
    dataset = write(tmp_path / "d")
    (tmp_path / "d" / "part-training-00000.parquet").unlink()
    with pytest.raises(UserError, match="is missing"):
        dataset.read(dataset.row_groups("training")[0])


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema_version": 99}', "\xff"])
def test_a_manifest_that_cannot_be_understood_is_named(text, tmp_path):
    write(tmp_path / "d")
    (tmp_path / "d" / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"manifest\.json cannot be understood"):
        open_dataset(str(tmp_path / "d"))


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "path is empty"),
        ("missing", "does not exist"),
        (".", "not a prepared data set"),
        ("ftp://host/data", "not ftp://"),
        ("s3:///data", "names no bucket"),
        ("s3://key:secret@bucket/data", "environment"),
    ],
)
def test_a_place_that_is_no_data_set_is_told_in_one_line(uri, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message) as error:
        open_dataset(uri)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)
