"""What is planned and read: every row of the splits once, damage marked."""

import shutil

import pytest

from fer_data.dataset import open_dataset
from fer_data.errors import UserError
from jobs.evaluation.scoring.shards import check_labels, plan_shards, read_shard
from tests.jobs.evaluation.damage import flip_a_byte_of_the_pixels, rewrite, with_label, with_pixels


@pytest.fixture
def spoilt(drawn_set, tmp_path) -> str:
    """A copy of the drawn set to be damaged."""
    return shutil.copytree(drawn_set, tmp_path / "set").as_posix()


def shard_of(folder: str):
    dataset = open_dataset(folder)
    (shard,) = plan_shards(dataset, ["public_test"], "challenge")
    return dataset, shard


def test_splits_that_overlap_are_planned_once(drawn_set):
    dataset = open_dataset(drawn_set)
    shards = plan_shards(dataset, ["validation", "public_test", "training"], "challenge")
    assert [shard.rows for shard in shards] == [203, 600]
    assert list(shards[0].members) == ["validation", "public_test"]
    assert all(members.all() for members in shards[0].members.values())


def test_the_notebooks_splits_share_row_groups_without_sharing_rows(drawn_set):
    (shard,) = plan_shards(open_dataset(drawn_set), ["training", "validation"], "notebook")
    assert shard.rows == 600
    assert not (shard.members["training"] & shard.members["validation"]).any()
    assert (shard.members["training"] | shard.members["validation"]).all()


def test_part_of_a_row_group_is_read_in_row_order(drawn_set):
    dataset = open_dataset(drawn_set)
    (shard,) = plan_shards(dataset, ["validation"], "notebook")
    table = read_shard(dataset, shard)
    whole = dataset.read(shard.group, columns=("image_id",)).column("image_id").to_pylist()
    assert table.column("image_id").to_pylist() == [whole[i] for i in shard.positions]
    assert table.column("error").null_count == shard.rows < 600


@pytest.mark.parametrize(("pixels", "says"), [(bytes(2304), "do not match their hash"), (None, "missing")])
def test_a_damaged_row_is_marked_and_the_others_are_not(spoilt, pixels, says):
    rewrite(spoilt, "public_test", with_pixels(17, pixels))
    table = read_shard(*shard_of(spoilt))
    errors = table.column("error").to_pylist()
    assert says in errors[17]
    assert sum(error is not None for error in errors) == 1
    assert table.num_rows == 203


def test_a_flipped_byte_on_disk_costs_no_row_its_place(spoilt):
    flip_a_byte_of_the_pixels(spoilt, "public_test")
    table = read_shard(*shard_of(spoilt))
    errors = [error for error in table.column("error").to_pylist() if error]
    assert table.num_rows == 203
    assert len(errors) >= 1
    assert len(set(table.column("image_id").to_pylist())) == 203


@pytest.mark.parametrize("label", [7, -1, None])
def test_a_label_outside_0_to_6_names_the_row(spoilt, label):
    rewrite(spoilt, "public_test", with_label(5, label))
    with pytest.raises(UserError, match=rf"public_test-000005 has label {label}, not 0 to 6") as raised:
        check_labels(*(lambda dataset, shard: (dataset, [shard]))(*shard_of(spoilt)))
    assert "\n" not in str(raised.value)


def test_pixels_arrive_as_they_were_prepared(drawn_set):
    dataset, shard = shard_of(drawn_set)
    table = read_shard(dataset, shard)
    raw = dataset.read(shard.group, columns=("pixels",)).column("pixels")
    assert table.column("pixels").to_pylist() == raw.to_pylist()
