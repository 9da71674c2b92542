"""Class-folder trees: usage, class and id of each image, and what is passed over, rejected or refused."""

import os

import cv2
import numpy as np
import pytest

from fer_data.errors import UserError
from fer_data.faces.crops import face_crops
from fer_data.faces.photographs import LargestFace
from fer_data.sources import open_source
from live import ExpressionClassifier
from tests.fer_data.raw_forms import (
    complaint,
    csv,
    faces,
    jpeg,
    png,
    read,
    tar_gz,
    write,
    zipped,
)
from tests.live.scenes import photograph


def test_a_row_of_a_tree_is_named_by_its_files_stem(tmp_path):
    rows, _ = read(write(tmp_path / "t", {"train/sad/Training_12.png": png(faces(1)[0])}))
    assert [row["image_id"] for row in rows] == ["Training_12"]


def test_files_of_equal_stems_get_ids_that_still_differ_and_sort_as_names(tmp_path):
    a, b, c = faces(3)
    files = {"train/sad/x1.png": png(a), "train/fear/x1.png": png(b), "train/sad/x10.png": png(c)}
    rows, _ = read(write(tmp_path / "t", files))
    ids = sorted(row["image_id"] for row in rows)
    assert ids == ["x1.png@train/fear", "x1.png@train/sad", "x10"]


def test_usage_is_what_the_name_says_else_what_the_folder_says(tmp_path):
    a, b, c = faces(3)
    files = {"test/sad/PrivateTest_1.png": png(a), "test/sad/other.png": png(b), "train/sad/im0.png": png(c)}
    rows, _ = read(write(tmp_path / "t", files))
    usages = {row["image_id"]: row["usage"] for row in rows}
    assert usages == {"PrivateTest_1": "private_test", "other": "test", "im0": "training"}


def test_with_a_validation_folder_it_and_the_test_folder_stand_for_the_two_tests(tmp_path):
    a, b, c = faces(3)
    files = {"train/sad/a.png": png(a), "val/sad/b.png": png(b), "test/sad/c.png": png(c)}
    rows, _ = read(write(tmp_path / "t", files))
    assert {row["image_id"]: row["usage"] for row in rows} == {
        "a": "training",
        "b": "public_test",
        "c": "private_test",
    }


def test_the_train_folder_itself_may_be_given(tmp_path):
    write(tmp_path / "t", {"train/sad/a.png": png(faces(1)[0])})
    rows, _ = read(str(tmp_path / "t" / "train"))
    assert [row["usage"] for row in rows] == ["training"]


def test_class_folders_are_known_by_name_in_any_case_and_by_synonym(tmp_path):
    names = ["Anger", "disgusted", "FEAR", "happiness", "sadness", "surprised", "neutral"]
    files = {f"train/{name}/{name}.png": png(face) for name, face in zip(names, faces(7), strict=True)}
    rows, _ = read(write(tmp_path / "t", files), resize=True)
    assert {row["image_id"]: row["label"] for row in rows} == {name: i for i, name in enumerate(names)}


@pytest.mark.parametrize("form", ["t", "t.zip"])
def test_litter_of_operating_systems_is_passed_over(form, tmp_path):
    litter = {
        "train/sad/Thumbs.db": b"\0",
        "train/sad/.DS_Store": b"\0",
        "train/sad/._a.png": b"\0",
        "__MACOSX/train/sad/._a.png": b"\0",
        "README.md": b"hello",
    }
    files = {"train/sad/a.png": png(faces(1)[0]), **litter}
    rows, rejected = read(write(tmp_path / form, files if form == "t" else zipped(files)))
    assert [row["image_id"] for row in rows] == ["a"]
    assert rejected == []


def test_an_unknown_class_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="unknown class folder 'contempt'"):
        read(write(tmp_path / "t", {"train/contempt/a.png": png(faces(1)[0])}))


def test_a_name_that_would_break_the_line_is_escaped(tmp_path):
    said = complaint(write(tmp_path / "t.zip", zipped({"train/con\ntempt/a.png": png(faces(1)[0])})))
    assert "con\\ntempt" in said
    assert "\n" not in said


def test_class_folders_in_neither_train_nor_test_are_refused(tmp_path):
    with pytest.raises(UserError, match="no train, val or test folder"):
        read(write(tmp_path / "t", {"sad/a.png": png(faces(1)[0])}))


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", "is empty"),
        (b"not an image", "neither a JPEG nor a PNG"),
        (jpeg(faces(1)[0])[:-200], "truncated JPEG"),
        (png(faces(1)[0])[:1000], "cannot be decoded"),
        (png(np.zeros((50, 48), np.uint8)), "is 48x50, not 48x48"),
        (png(np.full((48, 48, 3), (0, 0, 255), np.uint8)), "in colour"),
        (png(np.zeros((48, 48), np.uint16)), "8 bits"),
    ],
)
def test_an_image_that_is_no_grey_face_of_48_by_48_is_rejected_with_the_reason(image, reason, tmp_path):
    files = {"train/sad/bad.png": image, "train/sad/good.png": png(faces(1)[0])}
    rows, rejected = read(write(tmp_path / "t", files))
    assert [row["image_id"] for row in rows] == ["good"]
    assert [row[0] for row in rejected] == ["bad"]
    assert reason in rejected[0][1]


def test_an_image_of_a_format_that_is_not_read_is_rejected_not_passed_over(tmp_path):
    files = {"train/sad/a.webp": b"RIFF", "train/sad/b.png": png(faces(1)[0])}
    assert [row[0] for row in read(write(tmp_path / "t", files))[1]] == ["a"]


def test_a_file_name_that_is_not_utf8_is_told_not_a_traceback(tmp_path):
    write(tmp_path / "t", {"train/sad/a.png": png(faces(1)[0])})
    (tmp_path / "t" / "train" / os.fsdecode(b"\xff.png")).write_bytes(b"")
    assert "not UTF-8" in complaint(str(tmp_path / "t"))


@pytest.mark.parametrize("form", ["t", "t.zip", "t.tar.gz"])
def test_images_are_known_by_their_content_whatever_their_names_end_in(form, tmp_path):
    a, b, c, d = faces(4)
    files = {"happy/a.jfif": png(a), "happy/b.jpe": png(b), "happy/c": png(c), "happy/S001_001": png(d)}
    pack = {"t": lambda files: files, "t.zip": zipped, "t.tar.gz": tar_gz}[form]
    rows, rejected = read(write(tmp_path / form, pack({f"train/{path}": data for path, data in files.items()})))
    assert {row["image_id"] for row in rows} == {"a", "b", "c", "S001_001"}
    assert rejected == []


@pytest.mark.parametrize("form", ["t", "t.zip", "t.tar.gz"])
def test_every_file_is_a_row_or_named_with_the_reason_why_not(form, tmp_path):
    files = {
        "train/sad/a.png": png(faces(1)[0]),
        "train/sad/a.txt": b"a caption",  # It does not change the id of a.png.
        "train/sad/film.mp4": b"\0" * 5000,
        "train/sad/torn.jpg": b"torn",
        "labels.csv": b"image,label\n",
        "notes/README": b"hello",
    }
    pack = {"t": lambda files: files, "t.zip": zipped, "t.tar.gz": tar_gz}[form]
    pieces = [chunk.decode() for chunk in open_source(write(tmp_path / form, pack(files))).chunks]
    assert [row["image_id"] for piece in pieces for row in piece.table.to_pylist()] == ["a"]
    assert [row for piece in pieces for row in piece.rejected] == [("torn", "is neither a JPEG nor a PNG image")]
    left_out = {image_id: reason for piece in pieces for image_id, reason in piece.left_out}
    assert left_out == dict.fromkeys(["a.txt@train/sad", "film", "labels", "README"], "is no image")


def test_an_image_without_a_suffix_in_an_unknown_class_folder_is_not_lost(tmp_path):
    files = {"train/sad/a.png": png(faces(1)[0]), "train/contempt/S001_001": png(faces(1)[0])}
    assert "unknown class folder 'contempt'" in complaint(write(tmp_path / "t", files))


def test_links_are_followed_inside_the_folder_and_rejected_where_they_lead_out_or_nowhere(tmp_path):
    write(tmp_path / "t", {"train/sad/a.png": png(faces(1)[0]), "train/fear/b.png": png(faces(2)[1])})
    write(tmp_path / "secret.png", png(faces(1)[0]))
    folder = tmp_path / "t" / "train" / "sad"
    (folder / "inside.png").symlink_to("../fear/b.png")
    (folder / "outside.png").symlink_to(tmp_path / "secret.png")
    (folder / "nowhere.png").symlink_to("gone.png")
    (folder / "device.png").symlink_to("/dev/zero")
    (tmp_path / "link").symlink_to("t")
    for root in ("t", "link"):
        rows, rejected = read(str(tmp_path / root))
        assert {row["image_id"] for row in rows} == {"a", "b", "inside"}
        assert dict(rejected) == {
            "outside": "is a link to a file outside of the folder: copy the file",
            "nowhere": "is a link to a file that does not exist",
            "device": "is a link to a file outside of the folder: copy the file",
        }


def test_a_link_to_a_csv_outside_of_the_folder_is_not_followed(tmp_path):
    write(tmp_path / "secret.csv", csv())
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "fer2013.csv").symlink_to(tmp_path / "secret.csv")
    assert "(fer2013.csv is a link to a file outside of the folder: copy the file)" in complaint(str(tmp_path / "t"))


def test_what_is_no_image_may_lie_anywhere(tmp_path):
    files = {"train/sad/a.png": png(faces(1)[0]), "happy/notes.txt": b"no image", "docs/x/y": b"no image"}
    rows, rejected = read(write(tmp_path / "t", files))
    assert [row["image_id"] for row in rows] == ["a"]
    assert rejected == []


def test_a_link_to_a_folder_is_refused(tmp_path):
    write(tmp_path / "t", {"train/sad/a.png": png(faces(1)[0])})
    (tmp_path / "t" / "train" / "happy").symlink_to("..")
    assert "t: train/happy is a link to a folder, which is not followed" in complaint(str(tmp_path / "t"))


def test_a_file_that_is_no_plain_one_is_rejected(tmp_path):
    write(tmp_path / "t", {"train/sad/a.png": png(faces(1)[0])})
    os.mkfifo(tmp_path / "t" / "train" / "sad" / "b.png")
    assert read(str(tmp_path / "t"))[1] == [("b", "is no plain file")]


def test_the_largest_face_of_a_photograph_is_cropped_as_live_crops_it(tmp_path):
    person = photograph()
    both = np.hstack([cv2.resize(person, None, fx=0.5, fy=0.5), person[: len(person) // 2]])
    both = np.vstack([both, np.hstack([both[:, :256] * 0, person[len(person) // 2 :]])])
    files = {
        "train/happy/one.png": png(person),
        "train/happy/two.png": png(both),
        "train/sad/none.png": png(np.full((200, 300), 127, np.uint8)),
    }
    raw = write(tmp_path / "t", files)
    rows, rejected = read(raw, faces=LargestFace())
    assert rejected == [("none", "shows no face that the detector finds (--if-no-face whole admits it)")]
    classifier = ExpressionClassifier()
    for name, picture in (("one", person), ("two", both)):
        seen = max(classifier.analyze(picture), key=lambda face: face.box[2])
        want = face_crops(picture, np.array([seen.box]))
        assert next(row["pixels"] for row in rows if row["image_id"] == name) == want.tobytes()
    rows, rejected = read(raw, faces=LargestFace("whole", "reject"))
    assert [row["image_id"] for row in rows if row["label"] == 4] == ["none"]
    assert rejected == [("two", "shows several faces (--if-several-faces largest admits it)")]
    with pytest.raises(UserError, match="a CSV holds faces: leave it out"):
        read(write_csv(tmp_path / "a.csv"), faces=LargestFace())


def write_csv(path):
    path.write_bytes(csv(1))
    return str(path)
