"""Tiny FER-2013s for the tests, in every published form."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from fer_data.emotions import CLASSES
from fer_data.errors import UserError
from fer_data.reading import Reading
from fer_data.sources import open_source

CSV_USAGE = {"training": "Training", "public_test": "PublicTest", "private_test": "PrivateTest"}
HEADER = "emotion,pixels,Usage"
CHALLENGE_HEADER = "emotion, Usage, pixels"


def faces(count: int, seed: int = 0) -> np.ndarray:
    """Noise for faces: uint8 [count, 48, 48], all different."""
    return np.random.default_rng(seed).integers(0, 256, (count, 48, 48), np.uint8)


def labels_and_usages(count: int) -> tuple[list[int], list[str]]:
    """Every class, and usages in the proportion 3:1:1."""
    usages = ("training", "training", "training", "public_test", "private_test")
    return [i % 7 for i in range(count)], [usages[i % 5] for i in range(count)]


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image)[1].tobytes()


def tree(count: int = 10, seed: int = 0) -> dict[str, bytes]:
    """The class-folder tree as path → content, with FER-2013's file names and lossless images."""
    labels, usages = labels_and_usages(count)
    images = faces(count, seed)
    return {
        f"{'train' if usage == 'training' else 'test'}/{CLASSES[label]}/{CSV_USAGE[usage]}_{i}.png": png(images[i])
        for i, (label, usage) in enumerate(zip(labels, usages, strict=True))
    }


def csv(count: int = 10, seed: int = 0, header: str = HEADER) -> bytes:
    """The same rows as `tree`, as a CSV with the columns of `header`."""
    labels, usages = labels_and_usages(count)
    lines = [header]
    for label, usage, face in zip(labels, usages, faces(count, seed), strict=True):
        fields = {"emotion": str(label), "usage": CSV_USAGE[usage], "pixels": " ".join(map(str, face.ravel()))}
        lines.append(",".join(fields[column.strip().lower()] for column in header.split(",")))
    return "\n".join(lines).encode() + b"\n"


def csv_row(pixels: str | None = None, emotion: str = "3", usage: str = "Training") -> str:
    return f"{emotion},{' '.join(['7'] * 2304) if pixels is None else pixels},{usage}"


def zipped(files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return buffer.getvalue()


def tar_gz(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def write(path: Path, content: bytes | Mapping[str, bytes]) -> str:
    """Writes a file, or a folder of them; its path as a string."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        for name, data in content.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    return str(path)


def read(uri: str, resize: bool = False, **reading) -> tuple[list[dict], list[tuple[str, str]]]:
    """Every row of a source, decoded here and now, and the rejected ones."""
    pieces = [chunk.decode() for chunk in open_source(uri, Reading(resize, **reading)).chunks]
    rows = [row for piece in pieces for row in piece.table.to_pylist()]
    return rows, [row for piece in pieces for row in piece.rejected]


def complaint(uri: str) -> str:
    """What the reader says to its user about a source; nothing when it reads it."""
    try:
        read(uri)
    except UserError as error:
        return str(error)
    return ""


def content(rows: list[dict]) -> set[tuple[str, int, bytes]]:
    """What must be the same in every form: usage, label and pixels."""
    return {(row["usage"], row["label"], row["pixels"]) for row in rows}
