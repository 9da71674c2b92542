"""How fast `jobs/predict.py` scores a folder of pictures beside a plain loop, and whether its memory grows with them.

    python -m tests.benchmarks.bench_predict [--pictures 20000 100000]

The pictures are drawn faces, JPEG files of 96x96 pixels, and the released checkpoint scores them. The plain loop is one
process with as many threads: it reads, decodes and scores a batch after the other. It runs before and after each
prediction: where the two differ much, other work disturbed them, and the ratio means nothing. At the end the
largest prediction runs again, is killed halfway and resumed. Expect a ratio of 0.9 or more, memory within some 5 %, and
the same bytes. Takes a quarter of an hour on two quiet cores, and 1 GB of disk.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fer_data.drawing import draw
from fer_data.pictures import PIECE_IMAGES
from tests.benchmarks.bench_scoring import python
from tests.conftest import REPOSITORY
from tests.processes import until

RELEASED = "fer_models/released"
PLAIN_PICTURES = 5_000
_IN_A_FOLDER = 1000
_PLAIN_LOOP = """
import sys, time
from pathlib import Path
import cv2
import numpy as np
from fer_models.checkpoint import load_model
model, _ = load_model(sys.argv[1])
paths, seconds = sorted(Path(sys.argv[2]).rglob("*.jpg"))[: int(sys.argv[3])], []
for start in range(0, len(paths), 256):
    started = time.perf_counter()
    grey = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths[start : start + 256]]
    faces = np.stack([cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA) for image in grey])
    model.predict_on_batch(faces[..., None])
    seconds.append((time.perf_counter() - started) / len(grey))
print(1 / np.mean(seconds[1:]))  # In the first, TensorFlow traces the network.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs="+", default=[20_000, 100_000])
    sizes = sorted(parser.parse_args().pictures)
    with tempfile.TemporaryDirectory(prefix="bench-predict-") as folder:
        print("pictures  plain loop/s before, after  predict/s  ratio  driver MiB  worker MiB", flush=True)
        for size in sizes:
            pictures = write_pictures(Path(folder, f"pictures{size}"), size)
            before = plain(pictures)
            run = predict(pictures, Path(folder, f"out{size}"))
            after = plain(pictures)
            scoring = run["scoring"]
            rate, peaks = scoring["images_per_second"], (run["driver_peak_mib"], scoring["actor_peak_mib"])
            ratio = 2 * rate / (before + after)
            speeds = f"{before:19.0f}  {after:5.0f}  {rate:9.0f}  {ratio:5.2f}"
            row = f"{size:8,}  {speeds}  {peaks[0]:10.0f}  {peaks[1]:10.0f}"
            print(row, flush=True)
        again = Path(folder, "again")
        scored = killed_halfway(pictures, again)
        predict(pictures, again)
        same = contents(again) == contents(Path(folder, f"out{sizes[-1]}"))
        print(f"killed after {scored:,} pictures and resumed: {'the same bytes' if same else 'OTHER BYTES'}")


def write_pictures(folder: Path, count: int) -> Path:
    """Writes `count` drawn faces as JPEG files, in subfolders."""
    for start in range(0, count, _IN_A_FOLDER):
        inner = folder / f"{start // _IN_A_FOLDER:04d}"
        inner.mkdir(parents=True)
        faces, _ = draw(np.arange(start, min(start + _IN_A_FOLDER, count)), seed=0)
        for number, face in enumerate(faces, start):
            cv2.imwrite(str(inner / f"{number:06d}.jpg"), cv2.resize(face, (96, 96)))
    return folder


def plain(pictures: Path) -> float:
    """Pictures per second of the plain loop."""
    return float(python(_PLAIN_LOOP, RELEASED, str(pictures), str(PLAIN_PICTURES)))


def command(pictures: Path, out: Path) -> list[str]:
    return [sys.executable, "jobs/predict.py", str(pictures), "--checkpoint", RELEASED, "--out", str(out)]


def predict(pictures: Path, out: Path) -> dict[str, Any]:
    """Runs the job in a process of its own; its run.json."""
    subprocess.run(command(pictures, out), cwd=REPOSITORY, check=True, capture_output=True)
    return json.loads((out / "run.json").read_text())


def killed_halfway(pictures: Path, out: Path) -> int:
    """Runs the job until half of the pictures are scored, and kills it; how many were."""
    pieces = len(os.listdir(out.parent / f"out{pictures.name.removeprefix('pictures')}" / "predictions"))

    def done() -> int:
        return len(list(out.parent.glob(f".{out.name}.unfinished-*/predictions/part-*.parquet")))

    process = subprocess.Popen(
        command(pictures, out), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    until(lambda: done() >= pieces // 2, process)
    process.kill()
    process.wait()
    return done() * PIECE_IMAGES


def contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "predictions").iterdir()}


if __name__ == "__main__":
    main()
