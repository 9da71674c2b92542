"""Both split protocols give the rows that they promise, and say what a source lacks."""

import numpy as np
import pyarrow as pa
import pytest

from fer_data.dataset import PreparedDataset, open_dataset
from fer_data.dataset_writer import write_dataset
from fer_data.errors import UserError
from fer_data.rows import rows_table
from fer_data.splits import Split, share, split


def prepared(folder, **counts: int) -> PreparedDataset:
    """So many rows of each usage; ids count in an order that is not that of the rows."""
    tables = []
    for usage, count in counts.items():
        numbers = np.random.default_rng(0).permutation(count)
        pixels = np.random.default_rng(1).integers(0, 256, (count, 48, 48), np.uint8)
        tables.append(rows_table([f"{usage}_{n}" for n in numbers], usage, numbers % 7, pixels))
    write_dataset(tables, str(folder), "tiny")
    return open_dataset(str(folder))


def rows_of(dataset: PreparedDataset, chosen: Split) -> list[tuple[str, int]]:
    found = []
    for group, rows in chosen.groups:
        table = dataset.read(group, columns=("image_id", "label"))
        if rows is not None:
            assert np.all(np.diff(rows) > 0)
            table = table.take(pa.array(rows))
        found += list(zip(table.column("image_id").to_pylist(), table.column("label").to_pylist(), strict=True))
    return found


def test_the_challenge_protocol_takes_whole_usages(tmp_path):
    dataset = prepared(tmp_path / "d", training=1500, public_test=40, private_test=30)
    for name, usage, count in (
        ("training", "training", 1500),
        ("validation", "public_test", 40),
        ("test", "private_test", 30),
        ("public_test", "public_test", 40),
        ("private_test", "private_test", 30),
    ):
        chosen = split(dataset, name, "challenge")
        assert chosen.num_rows == count
        assert all(group.usage == usage and rows is None for group, rows in chosen.groups)
        labels = [label for _, label in rows_of(dataset, chosen)]
        assert chosen.class_counts.tolist() == np.bincount(labels, minlength=7).tolist()
        assert chosen.class_counts.dtype == np.int64


def test_the_notebook_protocol_validates_on_the_first_three_tenths_of_each_class_by_id(tmp_path):
    dataset = prepared(tmp_path / "d", training=2500, public_test=40, private_test=30)
    everything = rows_of(dataset, split(dataset, "training", "challenge"))
    expected = set()
    for label in range(7):
        ids = sorted(image_id for image_id, its_label in everything if its_label == label)
        expected |= set(ids[: int(0.3 * len(ids))])
    validation, training = split(dataset, "validation", "notebook"), split(dataset, "training", "notebook")
    held_out, kept = rows_of(dataset, validation), rows_of(dataset, training)
    assert {image_id for image_id, _ in held_out} == expected
    assert sorted(held_out + kept) == sorted(everything)
    assert validation.num_rows == len(held_out)
    assert validation.class_counts.tolist() == np.bincount([x for _, x in held_out], minlength=7).tolist()
    assert split(dataset, "test", "notebook").num_rows == 70


def test_a_challenge_split_costs_one_entry_per_row_group(tmp_path):
    assert len(split(prepared(tmp_path / "d", training=3000), "training").groups) == 3


def test_a_plain_tree_has_no_validation_rows_for_the_challenge_and_the_message_says_what_does(tmp_path):
    dataset = prepared(tmp_path / "d", training=100, test=20)
    with pytest.raises(UserError, match=r"100 training, 20 test rows.*--protocol notebook"):
        split(dataset, "validation", "challenge")
    assert split(dataset, "test", "notebook").num_rows == 20
    assert split(dataset, "validation", "notebook").num_rows == 28  # int(0.3 · 14 or 15) = 4 of each class


def test_a_source_without_training_rows_cannot_train(tmp_path):
    dataset = prepared(tmp_path / "d", private_test=20)
    for protocol in ("challenge", "notebook"):
        with pytest.raises(UserError, match="add training images"):
            split(dataset, "training", protocol)
    assert split(dataset, "test").num_rows == 20


def test_an_unknown_split_or_protocol_is_answered_with_the_known_ones(tmp_path):
    dataset = prepared(tmp_path / "d", training=10)
    with pytest.raises(UserError, match="training, validation, test"):
        split(dataset, "holdout")
    with pytest.raises(UserError, match="challenge, notebook"):
        split(dataset, "training", "kfold")


@pytest.mark.parametrize("protocol", ["challenge", "notebook"])
def test_a_share_is_the_same_part_of_every_class_and_of_nothing_else(tmp_path, protocol):
    dataset = prepared(tmp_path / "d", training=1500, public_test=40)
    whole = split(dataset, "training", protocol)
    part = share(dataset, whole, 0.25)
    rows = rows_of(dataset, part)
    assert set(rows) <= set(rows_of(dataset, whole))
    assert len(set(rows)) == len(rows) == part.num_rows
    assert part.class_counts.tolist() == [-(-count // 4) for count in whole.class_counts]
    assert part.class_counts.tolist() == np.bincount([label for _, label in rows], minlength=7).tolist()
    assert rows_of(dataset, share(dataset, whole, 0.25)) == rows
    assert share(dataset, whole, 1) is whole
