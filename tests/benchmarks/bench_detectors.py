"""The face detectors of `python -m live` against one another: faces found, false boxes, milliseconds.

    python -m tests.benchmarks.bench_detectors fer2013.zip

Ten minutes on 2 cores. Faces of FER-2013's public test, from the class folders of the zip, are pasted into 640×480
frames: 400 of 80 to 220 pixels, 200 of 48 to 80 and 200 of 24 to 48. In a video a detector may look four times at a
frame, as often as faces are kept that it misses. Some pictures are no faces, and many are profiles or half hidden.

False boxes are counted in those frames and in 200 without a face: blurred noise, shapes and writing. The time of a look
is the processor's, which does not depend on what else the machine does.
"""

import sys
import time
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from fer_data.faces.detection import STILL_LONG_SIDE, Detector, create_detector
from tests.live.scenes import paste

SIZES = {"80 to 220 px": (400, 80, 220), "48 to 80 px": (200, 48, 80), "24 to 48 px": (200, 24, 48)}
EMPTY = 200
_LOOKS = 4


class Score(NamedTuple):
    found: int
    false: int
    milliseconds: float


def faces(path: str, count: int) -> list[np.ndarray]:
    """Random faces of the public test: uint8 [48, 48]."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if "test/" in name and name.endswith((".jpg", ".png")))
        chosen = np.random.default_rng(0).choice(names, count, replace=False)
        return [cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_GRAYSCALE) for name in chosen]


def backgrounds(count: int) -> Iterator[np.ndarray]:
    """Frames without a face: blurred noise, with shapes and writing on every second one: uint8 [480, 640, 3]."""
    random = np.random.default_rng(1)
    for number in range(count):
        frame = random.integers(0, 256, (480, 640, 3), np.uint8)
        frame = cv2.GaussianBlur(frame, (0, 0), float(random.uniform(2, 20)))
        frame = cv2.normalize(frame, frame, 0, 255, cv2.NORM_MINMAX)
        for _ in range(15 if number % 2 else 0):
            at, color = random.integers(0, (640, 480), 2).tolist(), random.integers(0, 256, 3).tolist()
            size = int(random.integers(5, 80))
            cv2.circle(frame, at, size, color, -1 if size % 2 else 3)
            cv2.rectangle(frame, at, (at[0] + 2 * size, at[1] + size), color[::-1], 2)
            cv2.putText(frame, "live", at, cv2.FONT_HERSHEY_SIMPLEX, size / 30, color, 2)
        yield frame


def score(detector: Detector, frames: Iterator[tuple[np.ndarray, tuple[int, int, int] | None]], looks: int) -> Score:
    """`frames` with the centre and side of their face. A face counts once, a false box at each look."""
    found = false = count = 0
    spent = 0.0
    for frame, place in frames:
        for _ in range(looks):
            began = time.process_time()
            boxes = detector(frame)
            spent, count = spent + time.process_time() - began, count + 1
            off = np.abs(boxes[:, :2] + boxes[:, 2:] / 2 - place[:2]).max(axis=1) if place else np.full(len(boxes), 1e9)
            hits = off < (0.3 * place[2] if place else 0)
            false += int((~hits).sum())
            if hits.any():
                found += 1
                break
    return Score(found, false, 1e3 * spent / max(count, 1))


def pasted(images: list[np.ndarray], least: int, most: int) -> Iterator[tuple[np.ndarray, tuple[int, int, int] | None]]:
    """Each face in a frame, with its place."""
    random = np.random.default_rng(2)
    for face, frame in zip(images, backgrounds(len(images)), strict=True):
        side = int(random.integers(least, most))
        x, y = (int(random.integers(side // 2, length - side // 2)) for length in (640, 480))
        paste(frame, face, x, y, side)
        yield frame, (x, y, side)


def main() -> None:
    if len(sys.argv) < 2:
        raise SystemExit(f"{__doc__}")
    images = faces(sys.argv[1], max(count for count, _, _ in SIZES.values()))
    for name in sys.argv[2:] or ("auto", "haar"):
        for still in (False, True):
            print(f"{name}, {'images' if still else 'videos'}", flush=True)
            looks = 1 if still else _LOOKS
            for size, (count, least, most) in SIZES.items():
                detector = create_detector(name, STILL_LONG_SIDE if still else 320, still=still)
                got = score(detector, pasted(images[:count], least, most), looks)
                print(
                    f"  {size:14}{100 * got.found / count:6.1f} % found, {got.false:4} false boxes, "
                    f"{got.milliseconds:6.1f} ms a look",
                    flush=True,
                )
            detector = create_detector(name, STILL_LONG_SIDE if still else 320, still=still)
            got = score(detector, ((frame, None) for frame in backgrounds(EMPTY)), looks)
            print(
                f"  {'without a face':14}{'':15} {got.false:4} false boxes, {got.milliseconds:6.1f} ms a look",
                flush=True,
            )


if __name__ == "__main__":
    main()
