"""FER+: the majority labels, the votes are kept, and rows without a label are named with the reason."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_data import csv_rows
from fer_data.class_maps import class_map
from fer_data.dataset import open_dataset
from fer_data.emotions import CLASSES
from fer_data.errors import UserError
from fer_data.prepare import prepare
from fer_data.rows import VOTED
from fer_data.votes import majority, read_votes
from tests.fer_data.raw_forms import CSV_USAGE, csv, labels_and_usages, read, tree, write, zipped

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
CLEAR = "0,9,0,0,0,0,0,0,1,0"


def plus(*votes: str, usages: list[str] | None = None) -> bytes:
    """fer2013new.csv for the rows of `raw_forms.csv`."""
    usages = usages or [CSV_USAGE[usage] for usage in labels_and_usages(len(votes))[1]]
    rows = [f"{usage},fer{i:07d}.png,{row}" for i, (usage, row) in enumerate(zip(usages, votes, strict=True))]
    return "\n".join([HEADER, *rows]).encode() + b"\n"


@pytest.mark.parametrize(
    ("votes", "chosen"),
    [
        ("6,0,1,1,0,0,0,0,2,0", "neutral"),
        ("0,10,0,0,0,0,0,0,0,0", "happiness"),
        ("4,0,0,6,0,0,0,0,0,0", "sadness"),
        ("5,0,0,1,1,0,1,0,2,0", "neutral"),  # Half of all votes, but more than half of those that are no slips.
        ("0,0,0,0,0,0,0,0,0,10", "nf"),
        ("1,0,0,0,1,0,0,6,2,0", "contempt"),
        ("4,0,0,1,3,2,0,0,0,0", None),
        ("5,0,0,5,0,0,0,0,0,0", None),
        ("1,1,1,1,1,1,1,1,1,1", None),
    ],
)
def test_the_majority_is_that_of_the_publications_code(votes, chosen):
    counts = np.array(votes.split(","), np.int8)
    if chosen:
        assert majority(counts) == chosen
    else:
        with pytest.raises(ValueError, match="no class has the votes of most annotators"):
            majority(counts)


def test_rows_get_the_label_of_the_majority_and_keep_their_votes(tmp_path):
    chosen = ["0,9,0,0,0,0,0,0,1,0", "0,0,9,0,0,1,0,0,0,0", "0,0,0,0,7,3,0,0,0,0", "0,0,0,0,0,8,2,0,0,0"]
    chosen += ["5,0,0,5,0,0,0,0,0,0", "0,0,0,0,0,0,0,8,2,0", "0,0,0,0,0,0,0,0,0,10", "0,0,0,0,0,0,9,0,1,0"]
    raw = write(tmp_path / "fer2013.csv", csv(8))
    votes = read_votes(write(tmp_path / "fer2013new.csv", plus(*chosen)))
    dataset = prepare(raw, str(tmp_path / "out"), votes=votes)
    groups = [group for usage in dataset.manifest.counts for group in dataset.row_groups(usage)]
    table = pa.concat_tables(dataset.read(group, ("image_id", "label", "votes", "pixels")) for group in groups)
    assert table.schema.field("votes").type == pa.list_(pa.int8(), 10)
    rows = {int(row["image_id"][-8:]): row for row in table.to_pylist()}
    assert {number: CLASSES[row["label"]] for number, row in rows.items()} == {
        1: "happy",
        2: "surprise",
        3: "angry",
        4: "disgust",
        8: "fear",
    }
    assert all(row["votes"] == [int(n) for n in chosen[number - 1].split(",")] for number, row in rows.items())
    plain, _ = read(raw)
    assert {row["image_id"]: row["pixels"] for row in plain}.items() >= {
        r["image_id"]: r["pixels"] for r in rows.values()
    }.items()
    reasons = dataset.manifest.rejected, [row["reason"] for row in rejected(dataset)]
    assert reasons == (
        3,
        [
            "has no label: no class has the votes of most annotators",
            "has no label: most annotators chose contempt, which is none of the seven classes",
            "has no label: most annotators chose nf, which is none of the seven classes",
        ],
    )


def rejected(dataset) -> list[dict]:
    return pq.read_table(f"{dataset.uri}/rejected.parquet").to_pylist()


def test_the_votes_count_in_the_fingerprint_and_without_them_nothing_changes(tmp_path):
    raw = write(tmp_path / "raw.csv", csv(5))
    files = [plus(*[row] * 5) for row in (CLEAR, "0,10,0,0,0,0,0,0,0,0")]
    votes = [read_votes(write(tmp_path / f"{i}.csv", file)) for i, file in enumerate(files)]
    prints = [
        prepare(raw, str(tmp_path / f"out {i}"), votes=each).manifest.fingerprint
        for i, each in enumerate([*votes, None])
    ]
    assert len(set(prints)) == 3
    assert open_dataset(str(tmp_path / "out 2")).columns == ["image_id", "usage", "label", "pixels", "pixels_hash"]


@pytest.mark.parametrize("form", ["raw.csv", "raw.zip"])
@pytest.mark.parametrize("block", [100, 30_000, 4_000_000])
def test_rows_and_votes_stay_in_step_wherever_blocks_end(form, block, tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows, "BLOCK_BYTES", block)
    text = csv(9).replace(b"\n", b"\r\n")
    raw = write(tmp_path / form, text if form == "raw.csv" else zipped({"fer2013.csv": text}))
    chosen = [",".join("9" if column == i % 7 else "0" for column in range(10)) for i in range(9)]
    rows, left = read(raw, votes=read_votes(write(tmp_path / "plus.csv", plus(*chosen))))
    assert left == []
    ours = ["neutral", "happy", "surprise", "sad", "angry", "disgust", "fear"]
    assert {int(row["image_id"][-8:]): CLASSES[row["label"]] for row in rows} == {i + 1: ours[i % 7] for i in range(9)}


def test_an_ignored_class_is_left_out_by_the_majority(tmp_path):
    votes = read_votes(write(tmp_path / "plus.csv", plus(*[CLEAR] * 3)))
    rows, left = read(write(tmp_path / "raw.csv", csv(3)), votes=votes, classes=class_map(None, ["happy"]))
    assert (rows, left) == ([], [])


@pytest.mark.parametrize(("count", "rows"), [(4, "more"), (6, "5")])
def test_labels_of_another_number_of_rows_are_refused(count, rows, tmp_path):
    votes = read_votes(write(tmp_path / "plus.csv", plus(*[CLEAR] * count)))
    with pytest.raises(
        UserError, match=f"plus.csv has {count} rows, but .*raw.csv has {rows}: the rows of labels must"
    ):
        read(write(tmp_path / "raw.csv", csv(5)), votes=votes)


def test_labels_in_another_order_are_refused(tmp_path):
    votes = read_votes(write(tmp_path / "plus.csv", plus(CLEAR, CLEAR, usages=["Training", "PublicTest"])))
    with pytest.raises(UserError, match=r"plus.csv, row 2: Usage is 'publictest', but 'Training' in .*raw\.csv"):
        read(write(tmp_path / "raw.csv", csv(2)), votes=votes)


def test_labels_are_for_a_csv(tmp_path):
    votes = read_votes(write(tmp_path / "plus.csv", plus(CLEAR)))
    with pytest.raises(UserError, match=r"holds no FER-2013 CSV, whose rows --labels .*plus\.csv could label"):
        read(write(tmp_path / "tree", tree()), votes=votes)
    with pytest.raises(UserError, match="has no column Usage: --labels needs the whole of FER-2013's CSV"):
        read(write(tmp_path / "train.csv", b"emotion,pixels\n1,2\n"), votes=votes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "without the columns usage,neutral,happiness"),
        (b"emotion,pixels\n", "the header is 'emotion,pixels', without"),
        (f"{HEADER}\nTraining,x,1,2\n".encode(), "row 1: 'Training,x,1,2' is not a Usage and 10 numbers"),
        (f"{HEADER}\nTraining,x,{CLEAR.replace('9', 'nine')}\n".encode(), "row 1"),
        (f"{HEADER}\nTraining,x,{CLEAR.replace('9', '-9')}\n".encode(), "row 1"),
        (f"{HEADER}\nTraining,x,{CLEAR.replace('9', '999')}\n".encode(), "row 1"),
        (f"{HEADER}\nTraining,x,0,0,0,0,0,0,0,0,0,0\n".encode(), "row 1"),
        (b'\x00\xff"', "header"),
    ],
)
def test_a_mistake_in_the_labels_is_one_line_that_names_the_row(text, message, tmp_path):
    with pytest.raises(UserError, match=message) as error:
        read_votes(write(tmp_path / "plus.csv", text))
    assert "plus.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_order_of_votes_is_that_of_the_publications_columns():
    assert list(VOTED) == HEADER.lower().split(",")[2:]
