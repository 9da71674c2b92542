"""The built-in data set of drawn faces: its rows, and its copy in the cache."""

from pathlib import Path

import numpy as np
import pytest

from fer_data import drawn_faces
from fer_data.drawing import draw
from fer_data.drawn_faces import drawn_rows, prepared_drawn_faces
from fer_data.rows import SCHEMA, pixels_of


def test_rows_come_in_chunks_named_by_seed_usage_and_number():
    tables = list(drawn_rows({"training": 1500, "test": 3}, seed=5))
    assert [table.num_rows for table in tables] == [1024, 476, 3]
    assert all(table.schema == SCHEMA for table in tables)
    assert tables[1]["image_id"][0].as_py() == "drawn/5/training/00001024"
    np.testing.assert_array_equal(pixels_of(tables[1])[..., 0], draw(np.arange(1024, 1500), seed=5)[0])


def test_more_training_rows_leave_the_test_rows_as_they_were(tmp_path: Path):
    few, many = (prepared_drawn_faces(n, 0, 20, cache=tmp_path) for n in (30, 60))
    assert few.uri != many.uri
    few_test, many_test = (data.read(data.row_groups("private_test")[0]) for data in (few, many))
    assert few_test.equals(many_test)


def test_the_prepared_set_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = prepared_drawn_faces(30, 20, 10)
    assert Path(first.uri).parent == tmp_path / "fer_data"
    assert [first.manifest.rows(usage) for usage in ("training", "public_test", "private_test")] == [30, 20, 10]
    monkeypatch.setattr(drawn_faces, "write_dataset", lambda *_, **__: pytest.fail("written again"))
    assert prepared_drawn_faces(30, 20, 10) == first


def test_a_damaged_copy_in_the_cache_is_made_anew(tmp_path: Path):
    first = prepared_drawn_faces(30, 20, 10, cache=tmp_path)
    part = Path(first.uri) / first.manifest.parts[0].name
    part.write_bytes(part.read_bytes()[:1000])
    again = prepared_drawn_faces(30, 20, 10, cache=tmp_path)
    assert again == first
    assert again.read(again.row_groups("training")[0]).num_rows == 30
