"""Faces that are cut out already, and boxes that somebody else has found."""

import csv
import json

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_data.emotions import CLASSES
from fer_data.errors import UserError
from fer_data.faces.crops import face_crops
from fer_data.images import grey_face
from live import ExpressionClassifier
from live.options import LiveOptions
from tests.live.scenes import PEOPLE, photograph, scene, walk
from tests.live.test_files_command import analyse
from tests.live.videos import write

BOX = ("x", "y", "width", "height")


def probabilities(row: dict) -> list[float]:
    return [float(row[f"p_{name}"]) for name in CLASSES]


def test_a_whole_image_is_classified_as_the_training_data_would_have_it(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    images = [PEOPLE[2], cv2.resize(PEOPLE[3], (200, 200)), cv2.resize(PEOPLE[4], (300, 200))]
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / f"{number}.png"), image)
    rows, said = analyse(folder, tmp_path / "log.csv", faces="whole")
    assert said[0].startswith("3 frames, 3 faces")
    boxes = [[int(row[name]) for name in BOX] for row in rows]
    assert boxes == [[0, 0, 48, 48], [0, 0, 200, 200], [50, 0, 200, 200]]
    expected = [grey_face((folder / f"{number}.png").read_bytes(), resize=True) for number in range(3)]
    given = ExpressionClassifier().predict(np.stack(expected))
    np.testing.assert_allclose([probabilities(row) for row in rows], given, atol=0.02)
    np.testing.assert_allclose(probabilities(rows[0]), given[0], atol=1e-5)


def put(path, rows: list[dict]):
    """Write a table in the format of the path's suffix."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
    return path


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_given_boxes_are_the_faces_of_a_video_and_keep_their_numbers(tmp_path, ending):
    frames = [scene({0: (150 + 5 * i, 200, 100), 5: (450, 200 + 3 * i, 90)}) for i in range(12)]
    video = write(tmp_path / "a.mp4", frames, np.arange(12) * 40)
    left = [{"frame": i, "x": 100 + 5 * i, "y": 150, "width": 100, "height": 100} for i in range(12) if i != 7]
    right = [{"frame": i, "x": 405, "y": 155 + 3 * i, "width": 90, "height": 90} for i in range(12)]
    table = put(tmp_path / f"boxes.{ending}", [*left, *right])
    rows, _ = analyse(video, tmp_path / "log.csv", boxes=table)
    logged = {(int(row["face"]), int(row["frame"])): [int(row[name]) for name in BOX] for row in rows}
    number = {"left": int(rows[0]["face"]), "right": int(rows[1]["face"])}
    expected = {(number["left"], row["frame"]): [row[name] for name in BOX] for row in left}
    expected |= {(number["right"], row["frame"]): [row[name] for name in BOX] for row in right}
    assert logged == expected


def test_a_log_can_be_read_again_as_boxes(tmp_path):
    folder = tmp_path / "files"
    (folder / "deeper").mkdir(parents=True)
    cv2.imwrite(str(folder / "a.png"), photograph())
    cv2.imwrite(str(folder / "b.png"), np.zeros((90, 90, 3), np.uint8))
    write(folder / "deeper" / "c.mp4", walk(6), np.arange(6) * 40)
    rows, _ = analyse(folder, tmp_path / "log.csv")
    again, _ = analyse(folder, tmp_path / "again.csv", boxes=tmp_path / "log.csv")
    assert [[row[name] for name in ("source", "frame", "face", *BOX)] for row in again] == [
        [row[name] for name in ("source", "frame", "face", *BOX)] for row in rows
    ]


def test_images_need_no_frame_and_sources_may_be_relative(tmp_path):
    folder = tmp_path / "files"
    (folder / "deeper").mkdir(parents=True)
    cv2.imwrite(str(folder / "deeper" / "a.png"), photograph())
    box = {"source": "deeper/a.png", "x": 140, "y": 95, "width": 240, "height": 240}
    other = {**box, "source": "deeper/elsewhere.png"}
    rows, said = analyse(folder, tmp_path / "log.csv", boxes=put(tmp_path / "boxes.csv", [box, other]))
    crop = face_crops(photograph(), np.array([[140, 95, 240, 240]]))
    np.testing.assert_allclose(probabilities(rows[0]), ExpressionClassifier().predict(crop)[0], atol=1e-5)
    assert any("no file was read for its source deeper/elsewhere.png" in line for line in said)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.txt", "x", r"ends in \.csv"),
        ("nowhere.csv", None, "cannot be read: No such file"),
        ("a.csv", "x,y\n1,2\n", "has no column width: its columns are source, frame, x, y, width, height"),
        ("a.csv", "x,y,width,height\n1,2,,\n", "row 1: x, y, width, height and frame must be numbers"),
        ("a.csv", "frame,x,y,width,height\n0,1,2,3,4\n0,1,2,three,4\n", "row 2: x, y"),
        ("a.csv", "frame,x,y,width,height\n0,1,2,-3,4\n", "row 1: .* is no box"),
        ("a.csv", "frame,x,y,width,height\n0,1,nan,3,4\n", "row 1: .* is no box"),
        ("a.csv", "frame,x,y,width,height\n", "has no boxes"),
        ("a.csv", "x,y,width,height\n1,2,30,40\n", "needs a column frame"),
        ("a.jsonl", "{", "cannot be read"),
        ("a.jsonl", "[1]\n", "cannot be read"),
        ("a.parquet", "text", "cannot be read"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused_in_a_line(tmp_path, name, content, says):
    video = write(tmp_path / "a.mp4", walk(2), [0, 40])
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=says) as raised:
        analyse(video, tmp_path / "log.csv", boxes=tmp_path / name)
    assert "\n" not in str(raised.value)


def test_boxes_and_whole_images_exclude_each_other_and_cameras_have_no_boxes(tmp_path):
    with pytest.raises(ValueError, match="exclude each other"):
        LiveOptions(faces="whole", boxes=tmp_path / "a.csv")
