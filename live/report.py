"""`--report`: one page, which needs nothing else, with each person's faces and expressions over time.

Memory and page stay small however long the source: when there are too many rows or thumbnails, every second one is
given up, and from then on they are taken half as often. Times by expression and jumps count every frame.
"""

import base64
import json
from collections import deque
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fer_data.emotions import CLASSES
from fer_data.errors import UserError
from fer_data.faces.crops import square_patch
from live.frames import Frame
from live.overlay import COLORS
from live.pipeline import Analysis, TrackedFace
from live.unfinished import Unfinished

_MOST_ROWS, _MOST_IMAGES = 30_000, 5_000
_MOST_BYTES = 3_500_000
"""Of all thumbnails; a third of it of images. A page with as much as is admitted has about 8 MB."""
_MOST_PEOPLE, _MOST_FILES, _MOST_JUMPS = 200, 2000, 200
_THUMBNAIL_SIDE, _THUMBNAIL_MARGIN, _QUALITY = 88, 0.2, 75
_PLACE = 'id="data">{}<'
"""Where the page has its data."""
_JUMP, _JUMP_SECONDS = 0.5, 1.0
"""An expression jumps where half of the probability moves to other classes within this time."""


@dataclass
class _Person:
    """A person in a video: rows of the log, those that follow a gap, thumbnails with their times, and sums."""

    id: int
    first: float
    last: float
    frame: int = -1
    rows: list[list[Any]] = field(default_factory=list)
    gaps: set[float] = field(default_factory=set)
    thumbnails: list[tuple[float, bytes]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=lambda: [0.0] * len(CLASSES))
    jumps: list[float] = field(default_factory=list)
    before: deque[tuple[float, np.ndarray]] = field(default_factory=deque)

    @property
    def shown(self) -> float:
        return sum(self.seconds)


@dataclass
class _File:
    name: str
    frames: int = 0
    end: float = 0.0
    people: dict[int, _Person] = field(default_factory=dict)


class Report:
    """Collects what was found, and writes the page when it is closed."""

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        if path.suffix.lower() not in (".html", ".htm"):
            raise UserError(f"--report {path}: give a name that ends in .html")
        self._file = Unfinished(path, "--report", overwrite=overwrite)
        self._files: dict[str, _File] = {}
        self._images: list[list[Any]] = []
        self._row_step = self._thumbnail_step = 0.0
        self._rows = self._bytes = 0
        self._more_images = self._more_people = self._more_files = 0

    def write(self, frame: Frame, analysis: Analysis, latency: float) -> None:
        """Add the faces of one frame; `latency` in milliseconds."""
        if frame.still:
            self._write_image(frame, analysis, latency)
            return
        if frame.origin not in self._files and len(self._files) == _MOST_FILES:
            self._more_files += frame.number == 0
            return
        file = self._files.setdefault(frame.origin, _File(frame.origin))
        for face in analysis.faces:
            self._write_face(file, frame, face, latency)
        file.frames += 1
        file.end = frame.seconds + frame.lasts
        if self._rows > _MOST_ROWS:
            self._give_up_rows()
        if self._bytes > _MOST_BYTES:
            self._give_up_thumbnails()
        if sum(len(one.people) for one in self._files.values()) > 2 * _MOST_PEOPLE:
            self._give_up_people(file.frames)

    def close(self) -> None:
        self._give_up_people()
        text = json.dumps(self._content(), separators=(",", ":")).replace("<", "\\u003c")
        page = (
            files("live")
            .joinpath("report.html")
            .read_text(encoding="utf-8")
            .replace(_PLACE, _PLACE.replace("{}", text))
        )
        self._file.write(page.encode())

    def _write_face(self, file: _File, frame: Frame, face: TrackedFace, latency: float) -> None:
        person = file.people.get(face.id)
        if person is None:
            person = file.people[face.id] = _Person(face.id, frame.seconds, frame.seconds, file.frames - 1)
        back = person.frame != file.frames - 1
        person.frame, person.last = file.frames, frame.seconds + frame.lasts
        person.seconds[CLASSES.index(face.expression)] += frame.lasts
        if back:
            person.before.clear()
        person.before.append((frame.seconds, face.probabilities))
        while frame.seconds - person.before[0][0] > _JUMP_SECONDS:
            person.before.popleft()
        if np.abs(face.probabilities - person.before[0][1]).sum() / 2 >= _JUMP:
            person.jumps.append(round(frame.seconds, 3))
            person.before.clear()
        if back or not person.rows or frame.seconds - person.rows[-1][1] >= self._row_step - 1e-6:
            person.rows.append(_row(frame, face, latency))
            self._rows += 1
            if back:
                person.gaps.add(person.rows[-1][1])
        taken = person.thumbnails[-1][0] if person.thumbnails else -np.inf
        if frame.seconds - taken >= self._thumbnail_step - 1e-6:
            person.thumbnails.append((round(frame.seconds, 3), _thumbnail(frame, face)))
            self._bytes += len(person.thumbnails[-1][1])

    def _write_image(self, frame: Frame, analysis: Analysis, latency: float) -> None:
        if len(self._images) >= _MOST_IMAGES:
            self._more_images += 1
            return
        for face in analysis.faces:
            jpeg = _thumbnail(frame, face) if self._bytes < _MOST_BYTES / 3 else b""
            self._bytes += len(jpeg)
            self._images.append([frame.origin, face.id, _row(frame, face, latency), _text(jpeg)])
        if not analysis.faces:
            self._images.append([frame.origin, None, [0, 0.0], ""])

    def _give_up_rows(self) -> None:
        people = self._people()
        self._row_step = max(2 * self._row_step, 0.1)
        for person in people:
            kept: list[list[Any]] = []
            for row in person.rows:
                if not kept or row[1] - kept[-1][1] >= self._row_step - 1e-6 or row[1] in person.gaps:
                    kept.append(row)
            person.rows = kept if len(kept) < 4 or len(kept) < 0.9 * len(person.rows) else kept[::2]
        self._rows = sum(len(person.rows) for person in people)

    def _give_up_thumbnails(self) -> None:
        self._thumbnail_step = max(2 * self._thumbnail_step, 0.1)
        for person in self._people():
            kept: list[tuple[float, bytes]] = []
            for time, jpeg in person.thumbnails:
                if not kept or time - kept[-1][0] >= self._thumbnail_step - 1e-6:
                    kept.append((time, jpeg))
            person.thumbnails = kept
        images = sum(len(image[3]) * 3 // 4 for image in self._images)
        self._bytes = images + sum(len(jpeg) for person in self._people() for _, jpeg in person.thumbnails)

    def _give_up_people(self, now: int = -1) -> None:
        """Keep those who were seen longest, and those in frame `now`."""
        people = [(file, person) for file in self._files.values() for person in file.people.values()]
        people.sort(key=lambda one: (one[1].frame == now - 1, one[1].shown), reverse=True)
        for file, person in people[_MOST_PEOPLE:]:
            del file.people[person.id]
            self._more_people += 1
            self._rows -= len(person.rows)
            self._bytes -= sum(len(jpeg) for _, jpeg in person.thumbnails)

    def _people(self) -> list[_Person]:
        return [person for file in self._files.values() for person in file.people.values()]

    def _content(self) -> dict[str, Any]:
        """What the page shows."""
        videos = [
            {
                "name": file.name,
                "frames": file.frames,
                "end": round(file.end, 3),
                "people": [
                    {
                        "id": person.id,
                        "first": round(person.first, 3),
                        "last": round(person.last, 3),
                        "seconds": [round(seconds, 3) for seconds in person.seconds],
                        "jumps": person.jumps[:_MOST_JUMPS],
                        "rows": person.rows,
                        "gaps": sorted(person.gaps & {row[1] for row in person.rows}),
                        "thumbnails": [[time, _text(jpeg)] for time, jpeg in person.thumbnails],
                    }
                    for person in sorted(file.people.values(), key=lambda person: -person.shown)
                ],
            }
            for file in self._files.values()
        ]
        colors = {name: f"rgb({red},{green},{blue})" for name, (blue, green, red) in COLORS.items()}
        return {
            "classes": CLASSES,
            "colors": [colors[name] for name in CLASSES],
            "videos": videos,
            "images": self._images,
            "step": self._row_step,
            "more": {"images": self._more_images, "people": self._more_people, "files": self._more_files},
        }


def _row(frame: Frame, face: TrackedFace, latency: float) -> list[Any]:
    """Frame, time, box, latency, and the probabilities in thousandths."""
    thousandths = [round(1000 * float(p)) for p in face.probabilities]
    return [frame.number, round(frame.seconds, 3), *face.box, round(latency, 1), *thousandths]


def _thumbnail(frame: Frame, face: TrackedFace) -> bytes:
    patch = square_patch(frame.image, np.array(face.box), _THUMBNAIL_MARGIN)
    how = cv2.INTER_AREA if patch.shape[0] > _THUMBNAIL_SIDE else cv2.INTER_LINEAR
    small = cv2.resize(patch, (_THUMBNAIL_SIDE, _THUMBNAIL_SIDE), interpolation=how)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def _text(jpeg: bytes) -> str:
    return base64.b64encode(jpeg).decode()
