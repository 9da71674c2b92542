"""`python -m live` against the original project's loop; five faces against one; start, memory, one face on one core.

    python -m tests.benchmarks.bench_live

A minute on 2 cores that do nothing else. Expect the original's loop to take 10 times as long as ours or more for a
frame of 640×480 with one face, and ours about 3 ms at the median and less than 6 ms at 95 %. A camera's frame takes up
to twice as long, and so do five faces. Expect the first result in under 0.6 s after the
start, less than 200 MB of memory, and one or two milliseconds for a face on one core.

The original's loop is OpenCV's Haar cascade at scale 1.1 with 5 neighbours on the whole frame, every frame, then
Keras `predict` for each face, box and name on the frame. It takes its time whatever its weights are: they are random.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from fer_data.faces.detection import create_detector
from live import ExpressionClassifier
from live.overlay import draw
from live.pipeline import Pipeline
from tests.conftest import REPOSITORY
from tests.live.scenes import walk, write_video

FRAMES = 120
_FIRST_RESULT = """
import sys, time
from live import ExpressionClassifier
from fer_data.faces.detection import create_detector
from live.overlay import draw
from live.pipeline import Pipeline
from live.sources import open_source
source = open_source(sys.argv[1], print)
pipeline = Pipeline(ExpressionClassifier(), create_detector())
frame = source.read()
analysis = pipeline.analyze(frame.image, frame.seconds)
draw(analysis)
assert analysis.faces
print(time.time() - float(sys.argv[2]))
while (frame := source.read()) is not None:
    draw(pipeline.analyze(frame.image, frame.seconds))
# Not getrusage: its peak begins with that of the process that started this one.
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024)
"""


def milliseconds(work: Callable[[np.ndarray, float], int], faces: int, rate: float = 0) -> np.ndarray:
    """Time for each frame of a walk of `faces` faces; `work` says how many it has found.

    Frames come at `rate` per second; if 0, one after the other.
    """
    spent, found = [], []
    started = time.perf_counter()
    for number, frame in enumerate(list(walk(FRAMES, faces))):
        if rate:
            time.sleep(max(0.0, started + number / rate - time.perf_counter()))
            frame = frame.copy()  # As a camera's, it has just been written.
        began = time.perf_counter()
        found.append(work(frame, number / 30))
        spent.append((time.perf_counter() - began) * 1e3)
    print(f"  {np.mean(found):.1f} faces a frame")
    return np.array(spent[5:])


def ours(classifier: ExpressionClassifier, live: bool = False) -> Callable[[np.ndarray, float], int]:
    pipeline = Pipeline(classifier, create_detector(), live=live)

    def work(frame: np.ndarray, seconds: float) -> int:
        analysis = pipeline.analyze(frame, seconds)
        draw(analysis)
        pipeline.start_detector()
        return len(analysis.faces)

    return work


def the_original() -> Callable[[np.ndarray, float], int]:
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    from fer_models.factory import create_model

    model = create_model("cnn")
    cascades = cv2.data.haarcascades  # type: ignore[attr-defined]
    cascade = cv2.CascadeClassifier(cascades + "haarcascade_frontalface_default.xml")

    def work(frame: np.ndarray, seconds: float) -> int:
        grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        boxes = cascade.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=5, minSize=(30, 30))
        for x, y, w, h in boxes:
            cv2.rectangle(frame, (x, y), (x + w, y + h), (0, 255, 0), 2)
            face = cv2.resize(grey[y : y + h, x : x + w], (48, 48))[None, :, :, None]
            name = str(model.predict(face, verbose=0).argmax())
            cv2.putText(frame, name, (x, y - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (36, 255, 12), 2)
        return len(boxes)

    return work


def main() -> None:
    classifier = ExpressionClassifier()
    print("ours, one face:")
    one = milliseconds(ours(classifier), 1)
    print("ours, five faces:")
    five = milliseconds(ours(classifier), 5)
    print("ours, one face, 30 frames a second from a camera:")
    camera = milliseconds(ours(classifier, live=True), 1, rate=30)
    print("the original's loop, one face:")
    original = milliseconds(the_original(), 1)
    for name, spent in (
        ("ours, one face", one),
        ("ours, five faces", five),
        ("ours, a camera", camera),
        ("the original's loop", original),
    ):
        half, most = np.percentile(spent, [50, 95])
        print(f"{name:22} {half:6.1f} ms at the median, {most:6.1f} ms at 95 %, {spent.mean():6.1f} ms on average")
    print(f"the original's loop / ours, median: {np.median(original) / np.median(one):.1f}")
    print(f"five faces / one, median: {np.median(five) / np.median(one):.2f}; average: {five.mean() / one.mean():.2f}")

    for precision in ("float32", "int8"):
        alone = ExpressionClassifier(precision=precision, threads=1)
        face = np.zeros((1, 48, 48, 1), np.uint8)
        spent = []
        for _ in range(300):
            began = time.perf_counter()
            alone.predict(face)
            spent.append((time.perf_counter() - began) * 1e3)
        print(f"one face on one core, {precision}: {np.median(spent):.2f} ms")

    with tempfile.TemporaryDirectory() as folder:
        video = write_video(Path(folder) / "walk.mp4", walk(60))
        command = [sys.executable, "-c", _FIRST_RESULT, video, str(time.time())]
        out = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout.split()
    print(f"from the start to the first result: {float(out[0]):.2f} s; memory at its peak: {float(out[1]):.0f} MiB")


if __name__ == "__main__":
    main()
