"""A face that is stored on its side, upside down or mirrored is analysed upright, as its file says it is meant."""

import csv
import io
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from live import ExpressionClassifier
from live.options import LiveOptions
from live.session import run
from tests.live.scenes import BACKGROUND, paste, photograph
from tests.live.videos import turned, write

ORIENTATIONS = range(1, 9)
"""EXIF: four turns, each with and without a mirror."""
STORED = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image),
    7: lambda image: np.rot90(image, 2).transpose(1, 0, 2),
    8: lambda image: np.rot90(image, -1),
}
"""How an upright image is stored under each of them."""


def save_image(path: Path, upright: np.ndarray, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)[:, :, ::-1]))
    stored.save(path, exif=exif, **({"quality": 95} if path.suffix == ".jpg" else {}))


def expressions(folder: Path) -> dict[str, str]:
    """The expression logged for each file of a folder; '' where no face was found."""
    log = folder.with_suffix(".csv")
    run(LiveOptions(source=str(folder), window=False, log=log, overwrite=True), print, print)
    with log.open() as file:
        return {Path(row["source"]).name: row["expression"] for row in csv.DictReader(file)}


def test_the_table_of_this_test_is_exif_s():
    upright = cv2.resize(photograph(), (160, 120))
    for orientation in ORIENTATIONS:
        file = io.BytesIO()
        save = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
        exif = Image.Exif()
        exif[0x0112] = orientation
        save.save(file, "PNG", exif=exif)
        np.testing.assert_array_equal(np.array(ImageOps.exif_transpose(Image.open(file))), upright)


def test_twelve_orientations_of_a_face_give_one_expression(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    upright = photograph()
    for orientation in ORIENTATIONS:
        save_image(folder / f"{orientation}.jpg", upright, orientation)
    for turns, degrees in enumerate((0, 90, 180, 270)):
        stored = np.ascontiguousarray(np.rot90(upright, turns))
        plain = write(tmp_path / f"{degrees}.mov", [stored] * 3, [0, 40, 80], crf="4")
        turned(plain, degrees).rename(folder / f"{degrees}.mov")
    found = expressions(folder)
    assert len(found) == 12
    (expected,) = (face.expression for face in ExpressionClassifier().analyze(upright))
    assert set(found.values()) == {expected}


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_other_formats_turn_too(tmp_path, suffix):
    folder = tmp_path / "files"
    folder.mkdir()
    for orientation in ORIENTATIONS:
        save_image(folder / f"{orientation}{suffix}", photograph(), orientation)
    found = expressions(folder)
    assert len(found) == 8
    assert len(set(found.values())) == 1


@pytest.mark.real_data
def test_real_faces_are_as_right_on_their_side_as_upright(fer2013_zip, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    with zipfile.ZipFile(fer2013_zip) as archive:
        names = sorted(name for name in archive.namelist() if "test/" in name and name.endswith((".jpg", ".png")))
        chosen = np.random.default_rng(0).choice(names, 6, replace=False)
        faces = [cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_GRAYSCALE) for name in chosen]
    for number, face in enumerate(faces):
        frame = BACKGROUND.copy()
        paste(frame, face, 300, 220, 180)
        for orientation in ORIENTATIONS:
            save_image(folder / f"{number:02}-{orientation}.png", frame, orientation)
    found = expressions(folder)
    for number in range(len(faces)):
        assert len({found[f"{number:02}-{orientation}.png"] for orientation in ORIENTATIONS}) == 1
