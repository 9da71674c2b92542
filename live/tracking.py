"""Identify faces from frame to frame: by optical flow between detections, and by appearance and place at a detection.

A track follows the points of its face by pyramidal Lucas-Kanade flow, checked forward and backward (Kalal et al. 2010,
"Forward-backward error"), and keeps the appearance of the face, its `look`. A detection goes to the track that it fits
best in look and place, so that people who cross, swap seats or are hidden for a moment keep their numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import cv2
import numpy as np

from fer_data.faces.crops import square_patch

FLOW_LONG_SIDE = 320
"""Longer side, in pixels, of the frames on which flow is computed."""
_GRID = np.stack(np.meshgrid(np.linspace(0.2, 0.8, 5), np.linspace(0.2, 0.8, 5)), axis=-1).reshape(-1, 2)
_LOOK_SIDE, _LOOK_SLACK = 20, 3
_LOOK_MARGIN = 0.8 * (1 + 2 * _LOOK_SLACK / _LOOK_SIDE) - 1
_COARSEST = 2
"""Flow begins in frames that have been halved so often. There, a window is 26 pixels of the frame to each side."""
_REACH = 40
"""Flow looks at the faces' points and this many pixels around them. The rest of the frame would only take time."""
_LEAST_POINTS = 8
_SAME = 0.6
"""Below this likeness a followed face is no longer the same."""
_RECOGNISED = 0.75
"""From this likeness on a face is recognised anywhere in the frame."""
_MEMORY_SECONDS = 5.0
"""A face that is hidden for so long keeps its number."""
_DRIFT_SECONDS = 0.5
"""How far ahead the place of a hidden face is extrapolated from one frame to the next."""
_MISSES = 5
"""A face that this many detections in a row have missed is gone, even if its points still move together. The detector
finds a slanted face only every fourth time."""


@dataclass
class Track:
    """A face over time: `box` is float [4], x, y, width, height in pixels of the frame."""

    id: int
    box: np.ndarray
    look: np.ndarray
    seen: float
    visible: bool = True
    misses: int = 0
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))


class Tracker:
    """Follows faces. Call `follow` for every frame, then `detected` for those on which a detector ran."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._tracks: list[Track] = []
        self._grey, self._scale, self._seconds = np.empty((0, 0), np.uint8), 1.0, 0.0

    @property
    def visible(self) -> list[Track]:
        """The faces in the last frame, by number."""
        return [track for track in self._tracks if track.visible]

    @property
    def ids(self) -> set[int]:
        """The numbers of all faces in the last frame, and of those that may come back."""
        return {track.id for track in self._tracks}

    def follow(self, grey: np.ndarray, scale: float, seconds: float) -> bool:
        """Move the faces to a frame taken at `seconds`; `grey`, uint8 [h, w], is the frame at `scale`.

        Returns whether all are certainly the same faces. If not, a detector should run.
        """
        tracks, lost = self.visible, False
        passed = max(seconds - self._seconds, 1e-3)
        if tracks and self._grey.shape == grey.shape:
            boxes = _flow(self._grey, grey, np.stack([track.box for track in tracks]) * scale)
            for track, box in zip(tracks, boxes, strict=True):
                if box is None:
                    track.visible = False
                else:
                    moved = box / scale
                    track.velocity = 0.7 * track.velocity + 0.3 * (_centre(moved) - _centre(track.box)) / passed
                    track.box, track.seen = moved, seconds
        elif tracks:  # The size of the frames has changed.
            for track in tracks:
                track.visible = False
        self._grey, self._scale, self._seconds = grey, scale, seconds
        for track in tracks:
            if track.visible and _likeness(track.look, self._look(track.box)) < _SAME:
                track.visible = False
            lost |= not track.visible
        lost |= self._settle_overlaps()
        for track in self._tracks:
            if not track.visible:  # Extrapolate its place.
                track.box[:2] += track.velocity * min(passed, _DRIFT_SECONDS)
                track.velocity = track.velocity * 0.9
        # In a sample of a video frames may be further apart than that: then the last one is remembered.
        memory = max(_MEMORY_SECONDS, passed + 1e-6)
        self._tracks = [track for track in self._tracks if seconds - track.seen <= memory]
        return not lost

    def detected(self, boxes: np.ndarray, *, seen: np.ndarray | None = None, exact: bool = False) -> None:
        """Add the boxes found in the last followed frame: float [n, 4], in pixels of the original frame.

        If they were found in an earlier frame, `seen`, which was followed as uint8 [h, w], they are moved from there to
        the last one. If they are `exact`, every one of them is a face and there are no others.
        """
        if seen is not None:
            boxes = self._moved(boxes, seen)
        seconds, looks = self._seconds, [self._look(box) for box in boxes]
        free, missed = set(range(len(boxes))), {track.id for track in self.visible}
        for track, found in self._matches(boxes, looks):
            free.discard(found)
            missed.discard(track.id)
            box, before = boxes[found].astype(np.float64), track.box
            # The detector's boxes jitter by some pixels; flow does not.
            steady = track.visible and not exact and _iou(before, box) > 0.6
            track.box = 0.5 * before + 0.5 * box if steady else box
            track.look = looks[found]
            track.visible, track.misses, track.seen = True, 0, seconds
        for track in self.visible:
            if track.id in missed:
                track.misses += 1
                track.visible = track.misses < _MISSES and not exact
        for found in sorted(free):
            box = boxes[found].astype(np.float64)
            if exact or not any(_iou(track.box, box) > 0.5 for track in self.visible):
                self._tracks.append(Track(next(self._numbers), box, looks[found], seconds))

    def _moved(self, boxes: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Boxes in an earlier frame, at their places in the last one: float [n, 4], without those that are lost."""
        if seen.shape != self._grey.shape or not len(boxes):
            return np.empty((0, 4))
        moved = []
        for before, now in zip(boxes, _flow(seen, self._grey, boxes * self._scale), strict=True):
            if now is not None:
                box = now / self._scale
                if _likeness(self._look(before, seen), self._look(box)) >= _SAME:
                    moved.append(box)
        return np.array(moved).reshape(-1, 4)

    def _matches(self, boxes: np.ndarray, looks: Sequence[np.ndarray]) -> list[tuple[Track, int]]:
        """Tracks and their detections, best fits first."""
        fits = []
        for track in self._tracks:
            # If flow leads to one detection and no other track is near, looks need not be compared.
            led_to = [i for i, box in enumerate(boxes) if _iou(track.box, box) > 0.5]
            alone = track.visible and len(led_to) == 1
            if alone and all(_iou(t.box, boxes[led_to[0]]) < 0.1 for t in self._tracks if t is not track):
                fits.append((2.0, track.id, track, led_to[0]))
                continue
            for i, box in enumerate(boxes):
                likeness, overlap = _likeness(track.look, looks[i]), _iou(track.box, box)
                near = np.linalg.norm(_centre(track.box) - _centre(box)) < 1.5 * max(*track.box[2:], *box[2:])
                followed = track.visible and overlap > 0.3 and likeness > 0
                if followed or (near and likeness > _SAME) or likeness > _RECOGNISED:
                    fits.append((likeness + 0.4 * overlap + 0.1 * near, track.id, track, i))
        fits.sort(key=lambda fit: (-fit[0], fit[1]))
        taken: list[tuple[Track, int]] = []
        for _, _, track, i in fits:
            if all(track is not other and i != j for other, j in taken):
                taken.append((track, i))
        return taken

    def _settle_overlaps(self) -> bool:
        """Of two tracks on one face, hide the one that looks less like it. Returns whether there were any."""
        found = False
        tracks = self.visible
        for i, one in enumerate(tracks):
            for other in tracks[i + 1 :]:
                if one.visible and other.visible and _iou(one.box, other.box) > 0.4:
                    likeness = [_likeness(track.look, self._look(track.box)) for track in (one, other)]
                    (one if likeness[0] < likeness[1] else other).visible = False
                    found = True
        return found

    def _look(self, box: np.ndarray, grey: np.ndarray | None = None) -> np.ndarray:
        """The appearance of the face in `box`, with a small margin, in the last frame or in `grey`: uint8 [26, 26]."""
        side = _LOOK_SIDE + 2 * _LOOK_SLACK
        patch = square_patch(self._grey if grey is None else grey, box * self._scale, _LOOK_MARGIN)
        return cv2.resize(patch, (side, side), interpolation=cv2.INTER_AREA)


def _flow(before: np.ndarray, now: np.ndarray, boxes: np.ndarray) -> list[np.ndarray | None]:
    """The place of each of `boxes`, [n, 4], in the second of two grey frames; None where its points do not agree."""
    height, width = now.shape
    points = (boxes[:, None, :2] + _GRID * boxes[:, None, 2:]).astype(np.float32)
    corner, part = _surroundings(points, now.shape)
    before, now = before[part], now[part]
    flat = (points - corner).reshape(-1, 1, 2)
    options: Any = {
        "winSize": (13, 13),
        "maxLevel": _COARSEST,
        "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.03),
    }
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, now, flat, flat.copy(), **options)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(now, before, there, flat.copy(), **options)
    error = np.linalg.norm(back - flat, axis=2)
    good = ((found == 1) & (found_back == 1) & (error < 1.0)).reshape(len(boxes), -1)
    moved = there.reshape(points.shape) + corner
    result: list[np.ndarray | None] = []
    for box, old, new, kept in zip(boxes, points, moved, good, strict=True):
        if kept.sum() < _LEAST_POINTS:
            result.append(None)
            continue
        old, new = old[kept], new[kept]
        shift = np.median(new - old, axis=0)
        # Points that do not move with the rest belong to something else. The spread is the median deviation.
        strays = np.sort(np.abs(new - old - shift).max(axis=1))
        spread = strays[len(strays) // 2]
        spans = [float(np.abs(points - points.mean(axis=0)).sum()) for points in (old, new)]
        grown = min(max(spans[1] / max(spans[0], 1e-3), 0.9), 1.1)
        size = box[2:] * grown
        centre = box[:2] + box[2:] / 2 + shift
        inside = (centre >= 0).all() and (centre < (width, height)).all()
        result.append(np.concatenate([centre - size / 2, size]) if inside and spread < 0.1 * max(box[2:]) else None)
    return result


def _surroundings(points: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, tuple[slice, slice]]:
    """The part of a frame of `shape` in which flow looks for `points`, [..., 2], and its corner, float32 [2].

    The corner is a pixel of the coarsest level too, so that the levels are those of the whole frame.
    """
    step, size = 2**_COARSEST, np.array(shape[1::-1])
    flat = points.reshape(-1, 2)
    low = np.clip(flat.min(axis=0) - _REACH, 0, size - 1).astype(int) // step * step
    high = np.clip(flat.max(axis=0) + _REACH, low + 1, size).astype(int)
    return low.astype(np.float32), (slice(low[1], high[1]), slice(low[0], high[0]))


def _likeness(one: np.ndarray, other: np.ndarray) -> float:
    """The correlation of two looks at their best alignment, -1 to 1, independent of the light.

    On FER-2013, with boxes shifted by up to 4 %, the same face gets 0.85 or more in 99 % of cases, another 0.68 or
    less.
    """
    found = []
    for inner, outer in ((one, other), (other, one)):
        face = inner[_LOOK_SLACK:-_LOOK_SLACK, _LOOK_SLACK:-_LOOK_SLACK]
        found.append(float(cv2.matchTemplate(outer, face, cv2.TM_CCOEFF_NORMED).max()))
    return sum(found) / 2 if np.isfinite(found).all() else 0.0


def _centre(box: np.ndarray) -> np.ndarray:
    return box[:2] + box[2:] / 2


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection of two boxes over their union."""
    x, y, w, h = one.tolist()
    left, top, width, height = other.tolist()
    shared = max(min(x + w, left + width) - max(x, left), 0) * max(min(y + h, top + height) - max(y, top), 0)
    return shared / max(w * h + width * height - shared, 1e-9)
