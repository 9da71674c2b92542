"""Which images are copies of training images, and the table that says so."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_data.audit import Finding
from fer_data.dataset import PreparedDataset, open_dataset
from fer_data.dataset_writer import write_dataset
from fer_data.errors import UserError
from fer_data.near_copies.table import NEAR_COPIES, Copies
from fer_data.rows import rows_table
from fer_data.seen import EXACT, NEAR, UNSEEN, Seen
from fer_data.splits import share, split

TRAINING, PUBLIC = 1500, 40
"""Training rows fill more than one row group."""


def find(pixels: np.ndarray, hashes: np.ndarray) -> Copies:
    """Row 3 equals the public row 0; rows 4 and 1400 show what public row 1 shows; public rows 2 and 3 are alike."""
    assert pixels.shape == (TRAINING + PUBLIC, 48, 48, 1)
    assert hashes[3] == hashes[TRAINING]
    rows = np.array([3, 4, 1400, TRAINING, TRAINING + 1, TRAINING + 2, TRAINING + 3])
    partners = np.array([TRAINING, TRAINING + 1, 4, 3, 1400, TRAINING + 3, TRAINING + 2])
    correlation = np.array([1, 0.98, 0.97, 1, 0.96, 0.95, 0.95], np.float32)
    return Copies(rows, np.array([0, 1, 1, 0, 1, 2, 2]), partners, correlation, np.zeros(7, bool))


def tables() -> list[pa.Table]:
    dice = np.random.default_rng(0)
    pixels = dice.integers(0, 256, (TRAINING + PUBLIC, 48, 48), np.uint8)
    pixels[TRAINING] = pixels[3]
    labels = np.arange(TRAINING + PUBLIC) % 7
    labels[1400] = labels[4]
    return [
        rows_table([f"t{i:04d}" for i in range(TRAINING)], "training", labels[:TRAINING], pixels[:TRAINING]),
        rows_table([f"p{i:04d}" for i in range(PUBLIC)], "public_test", labels[TRAINING:], pixels[TRAINING:]),
    ]


@pytest.fixture
def dataset(tmp_path) -> PreparedDataset:
    write_dataset(tables(), str(tmp_path / "set"), "noise", near_copies=find)
    return open_dataset(str(tmp_path / "set"))


def test_the_audit_counts_photographs(dataset):
    findings = dataset.manifest.audit
    assert Finding("photograph in training", "public_test", 2) in findings
    for usage, count in (("training", 1), ("public_test", 1), ("all", 3)):
        assert Finding("repeated photographs", usage, count) in findings
    # Labels are the row numbers modulo 7: public row 0 is row 1500, whose label is 2 where that of row 3 is 3.
    for usage, count in (("training", 0), ("public_test", 1), ("all", 3)):
        assert Finding("photographs with several labels", usage, count) in findings


def test_the_table_has_a_row_for_each_image_with_a_partner(dataset):
    rows = dataset.near_copies().to_pylist()
    assert [row["image_id"] for row in rows] == ["t0003", "t0004", "t1400", "p0000", "p0001", "p0002", "p0003"]
    assert [row["partner"] for row in rows] == ["p0000", "p0001", "t0004", "t0003", "t1400", "p0003", "p0002"]
    assert rows[4] == {
        "image_id": "p0001",
        "photograph": 1,
        "partner": "t1400",
        "correlation": pytest.approx(0.96),
        "mirrored": False,
    }


def test_images_are_exact_near_or_no_copies_of_training_images(dataset):
    copying = Seen(dataset, split(dataset, "training")).copying_of_split(split(dataset, "validation"))
    assert copying.kind.tolist() == [EXACT, NEAR] + [UNSEEN] * (PUBLIC - 2)
    np.testing.assert_allclose(copying.correlation[:3], [1, 0.96, 0])


def test_only_the_rows_that_train_are_seen(dataset):
    some = share(dataset, split(dataset, "training"), 0.05)
    trained = np.zeros(TRAINING, bool)
    for group, rows in some.groups:
        trained[1024 * group.index + (np.arange(group.rows) if rows is None else rows)] = True
    kinds = Seen(dataset, some).copying_of_split(split(dataset, "validation")).kind
    assert kinds[0] == (EXACT if trained[3] else UNSEEN)
    assert kinds[1] == (NEAR if trained[4] or trained[1400] else UNSEEN)


def test_a_data_set_without_the_search_knows_exact_copies_alone(tmp_path):
    write_dataset(tables(), str(tmp_path / "set"), "noise")
    dataset = open_dataset(str(tmp_path / "set"))
    assert dataset.near_copies() is None
    seen = Seen(dataset, split(dataset, "training"))
    assert not seen.near_copies_known
    assert seen.copying_of_split(split(dataset, "validation")).kind.tolist() == [EXACT] + [UNSEEN] * (PUBLIC - 1)
    assert not Path(dataset.uri, NEAR_COPIES).exists()


def test_more_rows_than_are_searched_by_default_are_not_searched(tmp_path):
    write_dataset(tables(), str(tmp_path / "set"), "noise", near_copies=find, near_copies_up_to=TRAINING)
    assert open_dataset(str(tmp_path / "set")).near_copies() is None


def test_a_missing_or_damaged_table_is_told_in_a_line(dataset):
    place = Path(dataset.uri, NEAR_COPIES)
    content = place.read_bytes()
    for damage, says in (
        (place.unlink, "near_copies.parquet is missing: prepare the data set again"),
        (lambda: place.write_bytes(content[:-9]), "near_copies.parquet is damaged"),
        (lambda: pq.write_table(pa.table({"a": [1]}), place), "near_copies.parquet has other columns"),
    ):
        damage()
        with pytest.raises(UserError, match=says) as told:
            open_dataset(dataset.uri).near_copies()
        assert "\n" not in str(told.value)
