"""Any FER-2013 CSV round-trips; a bad row is rejected with its reason; garbage is told in a line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_data import csv_rows
from fer_data.errors import UserError
from tests.fer_data.raw_forms import (
    HEADER,
    complaint,
    csv,
    csv_row,
    faces,
    labels_and_usages,
    read,
    tar_gz,
    write,
    zipped,
)

BAD_ROWS = [
    (csv_row(" ".join(["1"] * 2303)), "has 2,303 pixels"),
    (csv_row(" ".join(["1"] * 2305)), "has 2,305 pixels"),
    (csv_row(" ".join(["1"] * 2303 + ["x"])), "not numbers"),
    (csv_row(" ".join(["1"] * 2303 + ["1.5"])), "not numbers"),
    (csv_row(" ".join(["1"] * 2303 + ["256"])), "outside 0 to 255"),
    (csv_row(" ".join(["1"] * 2303 + ["-1"])), "outside 0 to 255"),
    (csv_row(" ".join(["1"] * 2303 + ["9" * 30])), "outside 0 to 255"),
    (csv_row(""), "has 0 pixels"),
    (csv_row(emotion="7"), "emotion is '7'"),
    (csv_row(emotion=""), "emotion is ''"),
    (csv_row(emotion="happy"), "emotion is 'happy'"),
    ("3,1 2 3", "has 2 fields"),
    ("3,1 2,3,Training", "has 4 fields"),
    ('3,"1 2', "fields"),
    (",,", "is empty"),
    (csv_row(usage=""), "has no Usage"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_ROWS)
def test_a_bad_row_is_rejected_with_its_number_and_reason(line, reason, tmp_path):
    text = "\n".join([HEADER, csv_row(), line, csv_row()])
    rows, rejected = read(write(tmp_path / "x.csv", text.encode()))
    assert [row["image_id"] for row in rows] == ["training-00000001", "training-00000003"]
    assert len(rejected) == 1
    assert rejected[0][0].endswith("-00000002")
    assert reason in rejected[0][1]


def test_an_unknown_usage_stops_the_reader_and_names_the_row(tmp_path):
    text = "\n".join([HEADER, csv_row(), csv_row(usage="Holdout")])
    with pytest.raises(UserError, match=r"row 2: Usage is 'Holdout'"):
        read(write(tmp_path / "x.csv", text.encode()))


@pytest.mark.parametrize("header", ["label,pixels,Usage", "0,1 2 3,Training", "emotion;pixels;Usage"])
@pytest.mark.parametrize("form", ["csv", "zip", "tar.gz"])
def test_a_wrong_header_is_shown_beside_the_right_one(header, form, tmp_path):
    text = f"{header}\n{csv_row()}\n".encode()
    pack = {"csv": lambda c: c, "zip": lambda c: zipped({"a.csv": c}), "tar.gz": lambda c: tar_gz({"a.csv": c})}
    with pytest.raises(UserError, match="emotion,pixels,Usage") as error:
        read(write(tmp_path / f"x.{form}", pack[form](text)))
    assert header in str(error.value)


def test_an_endless_line_is_refused_before_it_fills_the_memory(tmp_path):
    text = HEADER.encode() + b"\n" + b"1 " * 6_000_000
    with pytest.raises(UserError, match="line is longer"):
        read(write(tmp_path / "x.csv", text))


@given(
    count=st.integers(1, 6),
    seed=st.integers(0, 1000),
    order=st.permutations(["emotion", "pixels", "Usage"]),
    space=st.sampled_from(["", " "]),
    newline=st.sampled_from(["\n", "\r\n"]),
    quoted=st.booleans(),
    bom=st.booleans(),
    ends=st.sampled_from(["", "\n", "\n\n"]),
    block=st.integers(10, 30_000),
)
@settings(max_examples=40, deadline=None)
def test_any_csv_round_trips(tmp_path_factory, count, seed, order, space, newline, quoted, bom, ends, block):
    quote = '"' if quoted else ""
    lines = csv(count, seed, header=",".join(order)).decode().splitlines()
    lines[1:] = [f",{space}".join(f"{quote}{f}{quote}" for f in x.split(",")) for x in lines[1:]]
    if space and quoted:
        lines = [line.replace(', "', ',"') for line in lines]
    text = ("\ufeff" if bom else "") + newline.join(lines) + ends
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_rows, "BLOCK_BYTES", block)
        rows, rejected = read(write(path, text.encode()))
    labels, usages = labels_and_usages(count)
    assert rejected == []
    assert sorted((row["usage"], row["label"], row["pixels"]) for row in rows) == sorted(
        (u, x, f.tobytes()) for u, x, f in zip(usages, labels, faces(count, seed), strict=True)
    )
    assert sorted(int(row["image_id"][-8:]) for row in rows) == list(range(1, count + 1))


@given(
    st.lists(st.one_of(st.binary(max_size=80), st.sampled_from([b"3", b",", b"Training", b'"', b"\n"])), max_size=30)
)
@settings(deadline=None)
def test_any_garbage_in_a_csv_is_a_rejected_row_or_one_line_of_complaint(tmp_path_factory, garbage):
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    said = complaint(write(path, HEADER.encode() + b"\n" + b"".join(garbage)))
    assert "\n" not in said
