"""The command line of `python -m live`."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_data.commands import Parser, check
from fer_models.reading import ORDERS, RANGES, Reading
from live.sampling import ALL, Every

_DETECTOR = "haar, or a .tflite file like BlazeFace's or YuNet's .onnx file (default: BlazeFace)"


@dataclass(frozen=True)
class LiveOptions:
    """The source, the models, and where the results go."""

    source: str = "0"
    every: Every = ALL
    checkpoint: str | None = None
    precision: str = "float32"
    classes: str | None = None
    class_names: tuple[str, ...] = ()
    input_range: str | None = None
    faces: str = "detect"
    boxes: Path | None = None
    detector: str = "auto"
    detect_every: int = 5
    detect_size: int | None = None
    smoothing: float = 0.25
    threads: int = 2
    window: bool = True
    web: int | None = None
    save: Path | None = None
    log: Path | None = None
    log_empty: bool = False
    report: Path | None = None
    snapshots: Path = Path()
    overwrite: bool = False
    mirror: bool | None = None
    bars: bool = True

    def __post_init__(self) -> None:
        check(self.log is not None or not self.log_empty, "--log-empty needs --log", self.log_empty)
        check(self.boxes is None or self.faces == "detect", "--boxes and --faces whole exclude each other", self.boxes)
        assert self.reading
        check(self.detect_every >= 1, "--detect-every must be 1 or more", self.detect_every)
        check(self.threads >= 1, "--threads must be 1 or more", self.threads)
        size = self.detect_size
        check(size is None or 64 <= size <= 4096, "--detect-size must be 64 to 4096 pixels", size)
        check(0 <= self.smoothing <= 60, "--smoothing must be 0 to 60 seconds", self.smoothing)
        check(self.web is None or 0 <= self.web <= 65535, "--web must be a port, 0 to 65535", self.web)

    @property
    def reading(self) -> Reading:
        """How to read a model that others made. Raises ValueError for names that cannot be."""
        return Reading(self.classes, tuple(self.class_names), self.input_range)  # type: ignore[arg-type]


def parse(argv: Sequence[str] | None, description: str | None) -> LiveOptions:
    """The options in `argv`. Raises UserError, in one line, for those that are unknown or out of range."""
    default = LiveOptions()
    parser = Parser("python -m live", description=description)
    add = parser.add_argument
    add("--source", default=default.source, help="camera, video, image, folder of both, or URL (default 0)")
    add(
        "--every",
        type=_every,
        default=default.every,
        metavar="N|Ns",
        help="of a file, every Nth frame, or one in N seconds",
    )
    add(
        "--checkpoint",
        metavar="PATH",
        help="a checkpoint's folder, or a .tflite or .onnx file (default: the released one)",
    )
    add("--precision", choices=("float32", "int8"), default=default.precision, help="which of its exports to run")
    add(
        "--classes",
        choices=tuple(ORDERS),
        help="class order of a file that does not state it: alphabetical, or FER-2013's",
    )
    add("--class-names", nargs="+", default=(), metavar="NAME", help="name of each output of such a file")
    add("--input-range", choices=RANGES, help="what such a file expects of pixels: 0 to 1, 0 to 255, -1 to 1, …")
    add("--faces", choices=("detect", "whole"), default=default.faces, help="whole: every image is a face")
    add("--boxes", type=Path, metavar="FILE", help="where the faces are: a table like a log (.csv, .jsonl, .parquet)")
    add("--detector", default=default.detector, metavar="auto|haar|FILE", help=_DETECTOR)
    add("--detect-every", type=int, default=default.detect_every, metavar="N", help="frames between detections")
    add(
        "--detect-size",
        type=int,
        metavar="PIXELS",
        help="longer side of the frame that the detector sees: 320, and 960 for images",
    )
    add(
        "--smoothing", type=float, default=default.smoothing, metavar="SECONDS", help="average faces over this; 0: none"
    )
    add("--threads", type=int, default=default.threads, metavar="N", help="threads of the classifier")
    add("--no-window", dest="window", action="store_false", help="open no window")
    add("--web", type=int, metavar="PORT", help="serve the picture on 127.0.0.1:PORT instead of a window; 0: any port")
    add("--save", type=Path, metavar="FILE", help="annotated video (.mp4, .avi), or image of an image (.png)")
    add("--log", type=Path, metavar="FILE", help="a row per face and frame: .parquet, .csv or .jsonl")
    add("--log-empty", action="store_true", help="log frames without a face, too; images always have a row")
    add("--report", type=Path, metavar="FILE", help="a page about each person's expressions over time (.html)")
    add(
        "--snapshots",
        type=Path,
        default=default.snapshots,
        metavar="FOLDER",
        help="where the key s saves snapshots (default: here)",
    )
    add("--overwrite", action="store_true", help="replace what --save, --log and --report name")
    add("--mirror", action=argparse.BooleanOptionalAction, help="as in a mirror (default: for cameras)")
    add("--bars", action=argparse.BooleanOptionalAction, default=default.bars, help="probability bars")
    return parser.build(LiveOptions, argv)


def _every(text: str) -> Every:
    try:
        return Every.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
