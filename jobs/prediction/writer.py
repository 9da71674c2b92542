"""Write the page and run.json from finished predictions."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from fer_data.commands import counted
from fer_data.emotions import CLASSES
from fer_data.storage import printable
from jobs.evaluation.report.plots import face
from jobs.evaluation.report_folder import RUN_FILE, ReportFolder
from jobs.memory import peak_mib
from jobs.page import environment, picture
from jobs.prediction.findings import Findings, FoundFace, findings
from jobs.prediction.request import PredictionRequest
from jobs.prediction.units import PICTURED, PictureUnit

FACES = 8
"""Faces of each class that are shown, of the surest and of the least sure."""
REASONS = 20


def write_page(
    request: PredictionRequest,
    units: Sequence[PictureUnit],
    about: dict[str, Any],
    folder: ReportFolder,
    console: Console,
) -> None:
    """Write the page on the predictions in `folder`, and print the main counts. `about` goes into run.json."""
    tables = ((unit.index, pq.read_table(folder.path("predictions", unit))) for unit in units)
    found = findings(tables, len(request.contenders), FACES)
    labels = [contender.label for contender in request.contenders]
    left_out = request.pictures.left_out
    run = (
        request.description
        | about
        | {"left_out": left_out, "counts": dict(zip(labels, map(_counts, found), strict=True))}
    )
    shown = [face for one in found for faces in (*one.surest, *one.least_sure) for face in faces]
    page = (
        environment(Path(__file__).parent)
        .get_template("predictions.html.j2")
        .render(
            title=f"{counted(request.pictures.images, 'picture')} without labels",
            found=list(zip(labels, found, strict=True)),
            classes=CLASSES,
            left_out=left_out,
            reasons=REASONS,
            detect=request.options.faces == "detect",
            pictures=_pictures(shown, units),
            printable=printable,
            columns=[
                {"name": f.name, "type": str(f.type), "meaning": f.metadata[b"meaning"].decode()} for f in PICTURED
            ],
            run=json.dumps({key: value for key, value in run.items() if key != "scoring"}, indent=1),
        )
    )
    folder.write("report.html", page.encode())
    run["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    run["driver_peak_mib"] = round(peak_mib(), 1)
    folder.write(RUN_FILE, (json.dumps(run, indent=1) + "\n").encode())
    _print(labels, found, console)


def _counts(found: Findings) -> dict[str, Any]:
    return {
        "pictures": found.pictures,
        "faces": found.faces,
        "pictures_without_face": found.without_face,
        "errors": found.errors.total(),
        "classes": dict(zip(CLASSES, found.by_class.tolist(), strict=True)),
    }


def _pictures(faces: Iterable[FoundFace], units: Sequence[PictureUnit]) -> dict[tuple[int, str, int], str]:
    """The faces for the page, by unit, source and number. Reads each unit once."""
    by_unit: dict[int, dict[tuple[str, int], FoundFace]] = {}
    for one in faces:
        by_unit.setdefault(one.unit, {})[one.source, one.face] = one
    shown = {}
    for index, wanted in by_unit.items():
        images: list[np.ndarray] = units[index].piece.shown([(one.source, one.box) for one in wanted.values()])
        for (source, number), image in zip(wanted, images, strict=True):
            shown[index, source, number] = picture(face(image))
    return shown


def _print(labels: Sequence[str], found: Sequence[Findings], console: Console) -> None:
    table = Table("class", title="Faces by predicted class", title_justify="left")
    for label in labels:
        table.add_column(label, justify="right")
    for c, name in enumerate(CLASSES):
        table.add_row(name, *(f"{one.by_class[c]:,}" for one in found))
    table.add_section()
    table.add_row("all", *(f"{one.faces:,}" for one in found))
    console.print(table)
    first = found[0]
    without, failed = f"{first.without_face:,} without a face", f"{first.errors.total():,} with errors"
    console.out(f"{counted(first.pictures, 'picture')}: {without}, {failed}")
    for reason, count in first.errors.most_common(5):
        console.out(f"  {count:,}: {reason}")
