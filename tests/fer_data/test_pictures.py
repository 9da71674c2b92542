"""Collections of pictures without labels: every form, every image a row, and nothing hostile gets far."""

import os
import struct
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_data.errors import UserError
from fer_data.pictures import PIECE_IMAGES, open_pictures
from fer_data.rows import pixels_of
from tests.conftest import write_drawn_set
from tests.fer_data.raw_forms import faces, png
from tests.live.scenes import photograph

FACE = faces(1)[0]


def read(uri: Path | str, *, detect: bool = False) -> pa.Table:
    """The rows of all pieces, each of which counts its images."""
    pictures = open_pictures(str(uri))
    tables = [piece.read(detect=detect) for piece in pictures.pieces]
    for piece, table in zip(pictures.pieces, tables, strict=True):
        assert piece.images == sum(face in (None, 0) for face in table.column("face").to_pylist())
    return pa.concat_tables(tables)


def errors(table: pa.Table) -> dict[str, str]:
    return {row["source"]: row["error"] for row in table.to_pylist() if row["error"]}


def huge_png(side: int) -> bytes:
    """A PNG that says it has side x side pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def test_a_folder_has_a_row_for_each_image_by_its_content_and_counts_the_rest(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "1.png").write_bytes(png(FACE))
    (tmp_path / "a" / "no-suffix").write_bytes(png(np.dstack([FACE.repeat(3, 0).repeat(3, 1)] * 3)))
    (tmp_path / "a" / "notes.txt").write_text("notes")
    (tmp_path / ".hidden.png").write_bytes(b"")
    table = read(tmp_path)
    assert table.column("source").to_pylist() == ["a/b/1.png", "a/no-suffix"]
    assert table.column("x").null_count == 2
    assert (pixels_of(table)[:, :, :, 0] == FACE).all()
    assert open_pictures(str(tmp_path)).left_out == {"no image by its content (txt)": 1}


def test_hostile_and_damaged_images_are_rows_with_an_error(tmp_path):
    (tmp_path / "sound.png").write_bytes(png(FACE))
    (tmp_path / "bomb.png").write_bytes(huge_png(50_000))
    (tmp_path / "cut.jpg").write_bytes(cv2.imencode(".jpg", FACE)[1].tobytes()[:300])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "outside.jpg").symlink_to("/etc/passwd")
    (tmp_path / "dangling.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    for detect in (False, True):
        table = read(tmp_path, detect=detect)
        assert errors(table) == {
            "bomb.png": "is 50000x50000: over 50 million pixels",
            "cut.jpg": "is a truncated JPEG image",
            "empty.jpg": "is empty",
            "outside.jpg": "is a link to a file outside of the folder: copy the file",
            "dangling.jpg": "is a link to a file that does not exist",
            "pipe.jpg": "is no plain file",
        }
        assert table.num_rows == 7


def test_every_face_of_a_photograph_is_a_row_the_largest_first(tmp_path):
    picture = photograph()
    both = np.hstack([cv2.resize(np.vstack([picture, picture]), picture.shape[1::-1]), picture])
    cv2.imwrite(str(tmp_path / "some.png"), both)
    cv2.imwrite(str(tmp_path / "none.png"), np.full((300, 300, 3), 127, np.uint8))
    cv2.imwrite(str(tmp_path / "thin.png"), np.zeros((1, 40_000), np.uint8))
    rows = read(tmp_path, detect=True).to_pylist()
    assert [row["source"] for row in rows if row["face"] is None] == ["none.png", "thin.png"]
    found = [row for row in rows if row["source"] == "some.png"]
    assert [row["face"] for row in found] == list(range(len(found)))
    assert found[0]["x"] > picture.shape[1] > found[0]["width"]
    assert sorted((row["width"] * row["height"] for row in found), reverse=True) == [
        row["width"] * row["height"] for row in found
    ]
    (piece,) = open_pictures(str(tmp_path)).pieces
    (shown,) = piece.shown([("some.png", [found[0][name] for name in ("x", "y", "width", "height")])])
    assert shown.tobytes() == found[0]["pixels"]


def test_a_zip_is_read_as_a_folder_is_and_a_member_that_is_too_large_is_a_row(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/1.png", png(FACE))
        archive.writestr("x/large.png", png(FACE) + bytes(33 * 2**20))
    table = read(tmp_path / "a.zip")
    assert errors(table) == {"x/large.png": "is too large an image"}
    assert pixels_of(table)[0].tobytes() == FACE.tobytes()


@pytest.mark.parametrize("header", ["pixels", "emotion,pixels,Usage"])
def test_a_csv_needs_no_labels_and_comes_in_pieces(tmp_path, header):
    some = faces(PIECE_IMAGES + 3)
    before, after = ("", "") if header == "pixels" else ("3,", ",Training")
    lines = [f"{before}{' '.join(map(str, face.ravel()))}{after}" for face in some]
    lines[5], lines[7] = f"{before}1 2 3{after}", ""
    path = tmp_path / "test.csv"
    path.write_text("\n".join([header, *lines]))
    table = read(path)
    assert len(open_pictures(str(path)).pieces) == 2
    assert errors(table) == {"row-00000006": "has 3 pixels, not 2,304"}
    assert table.column("source")[-1].as_py() == f"row-{len(some):08d}"
    kept = [i for i in range(len(some)) if i not in (5, 7)]
    sound = table.filter(pa.compute.is_null(table.column("error")))
    assert (pixels_of(sound)[:, :, :, 0] == some[kept]).all()


def test_parquet_files_and_prepared_data_sets_are_read_by_row_group(tmp_path):
    folder = write_drawn_set(tmp_path / "set", training=30, validation=3)
    table = read(folder)
    assert set(table.column("source").to_pylist()) == {
        *(f"training-{i:06d}" for i in range(30)),
        *(f"public_test-{i:06d}" for i in range(3)),
    }
    lists = pa.array([FACE.ravel().tolist(), None, [1, 2], [300] * 2304], pa.list_(pa.int64()))
    pq.write_table(pa.table({"pixels": lists}), tmp_path / "own.parquet")
    own = read(tmp_path / "own.parquet")
    assert errors(own) == {
        "row-00000002": "the pixels are missing",
        "row-00000003": "has 2 pixels, not 2,304",
        "row-00000004": "has a pixel outside 0 to 255",
    }


def test_a_list_names_files_by_paths_and_uris(tmp_path, bucket):
    from fer_data.storage import join, write_file

    (tmp_path / "near.png").write_bytes(png(FACE))
    far, gone = join(bucket, "far.png"), join(bucket, "gone.png")
    write_file(far, png(FACE))
    lines = ["# mine", "near.png", str(tmp_path / "near.png"), far, gone, "gone"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    table = read(tmp_path / "list.txt")
    assert table.column("source").to_pylist() == lines[1:]
    assert errors(table) == {gone: "does not exist", "gone": "does not exist"}
    write_file(join(bucket, "pictures/a/1.png"), png(FACE))
    assert read(join(bucket, "pictures")).column("source").to_pylist() == ["a/1.png"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "is empty"),
        ("a.tar.gz", b"\x1f\x8b\x08" + bytes(30), "unpack other archives first"),
        ("list.txt", b"http://x/a.png\n", "line 1: http://x/a.png: paths are local, s3:// or gs://"),
        ("list.txt", b"# nothing\n", "lists no image"),
        ("k.csv", b"emotion,pixel,Usage\n" + b"3,1 2 3,Training\n" * 30, "line 1, emotion,pixel,Usage, does not exist"),
        ("test.csv", b"pixels\n", "no rows with a column pixels"),
    ],
)
def test_what_cannot_be_a_collection_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        open_pictures(str(tmp_path / name))


def test_folders_without_images_and_links_to_folders_are_refused(tmp_path):
    (tmp_path / "test.csv").write_text("pixels\n")
    with pytest.raises(UserError, match=r"holds no image: give test\.csv in it"):
        open_pictures(str(tmp_path))
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(UserError, match="link is a link to a folder"):
        open_pictures(str(tmp_path))
