"""Make the pictures of the README again: python -m tests.pictures. For the report's it needs Chromium.

They show what the released checkpoint says of drawn faces, so they change with it.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from PIL import Image

from fer_data.drawing import draw as draw_faces
from live.classifier import ExpressionClassifier
from live.overlay import draw
from live.pipeline import Analysis, TrackedFace
from tests.chromium import NOT_INSTALLED, chromium
from tests.conftest import REPOSITORY
from tests.live.scenes import paste

LIVE = REPOSITORY / "live" / "screen.png"
REPORT = REPOSITORY / "jobs" / "evaluation" / "report" / "screen.png"
_PLACES = {69: (110, 165, 170), 61: (437, 167, 175), 44: (785, 145, 170)}
"""By number of a drawn face, of seed 0: its centre x, y and its side in the picture."""


def live_picture() -> np.ndarray:
    """Three drawn faces with what `live` draws: uint8 [330, 900, 3], BGR."""
    frame = np.full((330, 900, 3), 110, np.uint8)
    people = draw_faces(np.array(list(_PLACES)), seed=0)[0].reshape(-1, 48, 48)
    for person, (x, y, side) in zip(people, _PLACES.values(), strict=True):
        paste(frame, person, x, y, side)
    found = ExpressionClassifier().analyze(frame)
    faces = tuple(
        TrackedFace(number, face.box, np.fromiter(face.probabilities.values(), np.float32))
        for number, face in enumerate(found)
    )
    return draw(Analysis(frame, 0.0, faces, {}), status=f"{len(faces)} faces", legend="")


def _report_picture(browser: list[str], folder: Path) -> np.ndarray:
    """The first screen of a report on the released checkpoint and its file in 8 bits: uint8 [690, 820, 3], BGR."""
    released = REPOSITORY / "fer_models" / "released"
    checkpoints = (f"released={released}", f"int8={released / 'model.int8.tflite'}")
    evaluate = (sys.executable, "jobs/evaluate.py", "--checkpoint", *checkpoints, "--out", str(folder / "report"))
    subprocess.run(evaluate, cwd=REPOSITORY, check=True)
    page, screen = (folder / "report" / "report.html").as_uri(), folder / "screen.png"
    subprocess.run([*browser, "--window-size=820,690", f"--screenshot={screen}", page], check=True)
    return cv2.imread(str(screen))


def main() -> None:
    _write(live_picture(), LIVE)
    with TemporaryDirectory() as folder:
        browser = chromium(Path(folder, "profile"))
        if browser is None:
            sys.exit(f"{NOT_INSTALLED}: {REPORT} stays as it is")
        _write(_report_picture(browser, Path(folder)), REPORT)


def _write(picture: np.ndarray, path: Path) -> None:
    # With 256 colours the files are half the size, and look the same.
    Image.fromarray(picture[..., ::-1]).quantize(256).save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    main()
