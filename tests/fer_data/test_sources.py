"""Every published form of FER-2013 is read alike, and what is none of them is refused."""

import gzip
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_data.errors import UserError
from fer_data.rows import pixels_hash
from tests.fer_data.raw_forms import (
    CHALLENGE_HEADER,
    content,
    csv,
    faces,
    jpeg,
    labels_and_usages,
    read,
    tar_gz,
    tree,
    write,
    zipped,
)

FORMS = {
    "tree": tree(),
    "tree.zip": zipped(tree()),
    "wrapped-stored.zip": zipped({f"archive/{path}": data for path, data in tree().items()}, zipfile.ZIP_STORED),
    "fer2013.csv": csv(),
    "icml_face_data.csv": csv(header=CHALLENGE_HEADER),
    "csv.zip": zipped({"fer2013/fer2013.csv": csv(), "fer2013/README": b"see the paper"}),
    "challenge.zip": zipped(
        {
            "icml_face_data.csv": csv(header=CHALLENGE_HEADER),
            "test.csv": b"pixels\n1 2\n",
            "train.csv": b"emotion,pixels\n0,1 2\n",
        }
    ),
    "csv.tar.gz": tar_gz({"fer2013/README": b"see the paper", "fer2013/fer2013.csv": csv()}),
    "tree.tar.gz": tar_gz(tree()),
    "tree.tar": gzip.decompress(tar_gz(tree())),
    "fer2013.csv.gz": gzip.compress(csv()),
    "unpacked": {"fer2013/fer2013.csv": csv(), "fer2013/README": b"see the paper", "fer2013/fer2013.bib": b"@article"},
    "unpacked challenge": {"icml_face_data.csv": csv(header=CHALLENGE_HEADER), "train.csv": b"emotion,pixels\n0,1 2\n"},
    "challenge.tar.gz": tar_gz({"icml_face_data.csv": csv(header=CHALLENGE_HEADER)}),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_faces_labels_and_usages(name, tmp_path):
    labels, usages = labels_and_usages(10)
    expected = {(u, x, f.tobytes()) for u, x, f in zip(usages, labels, faces(10), strict=True)}
    rows, rejected = read(write(tmp_path / name, FORMS[name]))
    assert content(rows) == expected
    assert rejected == []
    assert len({row["image_id"] for row in rows}) == 10
    assert all(row["pixels_hash"] == pixels_hash(row["pixels"]) for row in rows)


@given(st.binary(max_size=300), st.sampled_from(["x.zip", "x.tar.gz", "x.csv", "x"]))
@settings(deadline=None)
def test_any_file_that_is_no_data_set_is_refused(tmp_path_factory, data, name):
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(data)
    with pytest.raises(UserError):
        read(str(path))


@pytest.mark.parametrize(
    ("name", "content_", "message"),
    [
        ("missing", None, "does not exist"),
        ("empty.csv", b"", "is empty"),
        ("empty-folder", {}, "no JPEG or PNG"),
        ("cut.csv.gz", gzip.compress(csv())[:-20], "truncated or damaged"),
        ("text.csv.gz", gzip.compress(b"hello, world"), "the header is 'hello, world'"),
        ("test.csv", b"pixels\n1 2 3\n", "has pixels and no column emotion"),
        ("test.zip", zipped({"test.csv": b"pixels\n1 2 3\n"}), "has pixels and no column emotion"),
        ("text.zip", b"hello, world\n", "is not an archive"),
        ("empty.zip", zipped({}), "no JPEG or PNG"),
        ("empty.tar.gz", tar_gz({}), "no CSV"),
        ("photo.jpg", jpeg(faces(1)[0]), "neither a zip"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # Archives hold the time at which they were made.
)
def test_what_is_no_data_set_is_told_in_one_line_that_names_it(name, content_, message, tmp_path):
    path = tmp_path / name
    if content_ == {}:
        path.mkdir()
    elif content_ is not None:
        write(path, content_)
    with pytest.raises(UserError, match=message) as error:
        read(str(path))
    assert name in str(error.value)


def test_a_folder_of_images_and_of_a_csv_must_say_which_is_meant(tmp_path):
    with pytest.raises(
        UserError, match=r"a FER-2013 CSV and images in class folders \(fer2013\.csv and test/.*: give one"
    ):
        read(write(tmp_path / "both", {"fer2013.csv": csv(), **tree()}))


def test_a_csv_without_the_column_usage_has_training_rows(tmp_path):
    faces_ = faces(3)
    rows = [f"{i},{' '.join(map(str, face.ravel()))}" for i, face in enumerate(faces_)]
    rows_, rejected = read(write(tmp_path / "train.csv", "\n".join(["emotion,pixels", *rows]).encode()))
    assert content(rows_) == {("training", i, face.tobytes()) for i, face in enumerate(faces_)}
    assert [row["image_id"] for row in rows_] == ["row-00000001", "row-00000002", "row-00000003"]
    assert rejected == []
