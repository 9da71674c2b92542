"""Reads files that mean harm, one after the other, and says of each what came of it.

python -m tests.hostile.reading LIST: the list is JSON, of pairs of a reader's name and a path or URI. A line of JSON
for each goes to stdout: the outcome, the megabytes above those before it, and the seconds of computing.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fer_data.decoding import BadImage
from fer_data.errors import UserError


def _image(path: str) -> None:
    from fer_data.decoding import colours, read_limited
    from fer_data.images import grey_face

    with open(path, "rb") as file:
        data = read_limited(file)
    for read in (lambda: colours(data), lambda: grey_face(data, resize=True), lambda: grey_face(data)):
        try:
            read()
        except BadImage as reason:
            _one_line(str(reason))


def _prepare(path: str) -> None:
    from jobs.prepare_data import main

    main([path, "--out", f"{path}.out", "--near-copies", "off", "--resize", "--max-rejected", "0.9"])


def _network(path: str) -> None:
    from fer_models.foreign import load_any

    load_any(path)


def _litert(path: str) -> None:
    from live.checkpoint import open_model

    open_model(path)(np.zeros((2, 48, 48, 1), np.uint8))


def _onnx(path: str) -> None:
    from fer_models.onnx_model import OnnxModel

    OnnxModel(Path(path).read_bytes(), path)(np.zeros((2, 48, 48, 1), np.uint8))


def _card(path: str) -> None:
    from fer_models.card import Card

    Card.from_json(Path(path).read_bytes(), path)


def _recipe(path: str) -> None:
    from jobs.training.recipe import read_recipe

    read_recipe(path)


def _config(path: str) -> None:
    from jobs.training.config import TrainConfig

    TrainConfig.read(path)


def _class_map(path: str) -> None:
    from fer_data.class_maps import class_map

    class_map(path, ())


def _place(uri: str) -> None:
    from fer_data.storage import resolve

    resolve(uri)


def _source(uri: str) -> None:
    from live.sources import open_source

    open_source(uri, lambda line: None).close()


def _one_line(text: str) -> None:
    assert text.isprintable(), f"{text!r} is not one line of text"


READERS: dict[str, Callable[[str], None]] = {
    name.removeprefix("_"): reader
    for name, reader in list(globals().items())
    if name in ("_image", "_prepare", "_network", "_litert", "_onnx", "_card", "_recipe", "_config")
    or name in ("_class_map", "_place", "_source")
}


def _kilobytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def outcome(name: str, path: str) -> dict[str, object]:
    """Whether the file at `path` was read or refused, or what else was raised; its peak of memory and its time."""
    Path("/proc/self/clear_refs").write_text("5")  # The peak begins here.
    before, began = _kilobytes("VmRSS"), time.process_time()
    said = "read"
    try:
        READERS[name](path)
    except (UserError, BadImage) as refusal:
        _one_line(str(refusal))
        said = f"refused: {refusal}"
    except Exception as bug:
        said = f"bug: {type(bug).__name__}: {bug}"
    return {
        "said": said,
        "megabytes": (_kilobytes("VmHWM") - before) / 1024,
        "seconds": time.process_time() - began,
    }


if __name__ == "__main__":
    stdout, sys.stdout = sys.stdout, sys.stderr
    asked = json.loads(Path(sys.argv[1]).read_text())
    for kind in dict.fromkeys(kind for kind, _ in asked):  # What a reader imports is not the fault of a file.
        outcome(kind, "/nonexistent")
    for kind, place in asked:
        print(json.dumps([kind, place, outcome(kind, place)]), file=stdout, flush=True)
