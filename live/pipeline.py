"""From a frame to its faces: detect or follow, classify, smooth. Measures the time of each stage."""

from dataclasses import dataclass

import numpy as np

from fer_data.emotions import CLASSES
from live.classifier import ExpressionClassifier, as_integers
from live.detection import Detector
from live.images import face_crops, reduced_grey
from live.latency import timed
from live.tracking import FLOW_LONG_SIDE, Track, Tracker


@dataclass(frozen=True)
class TrackedFace:
    """A face in one frame: the person's number, box (x, y, width, height in pixels) and smoothed probabilities [7]."""

    id: int
    box: tuple[int, int, int, int]
    probabilities: np.ndarray

    @property
    def expression(self) -> str:
        return CLASSES[int(self.probabilities.argmax())]


@dataclass(frozen=True)
class Analysis:
    """The result for one frame: the frame (BGR), its time in seconds, its faces, and milliseconds by stage."""

    frame: np.ndarray
    seconds: float
    faces: tuple[TrackedFace, ...]
    milliseconds: dict[str, float]


class Pipeline:
    """Analyses the frames of one file or camera in order, and keeps the identity and history of each face.

    The detector runs every `detect_every` frames, and in between faces are followed. It may be None if every frame
    comes with its boxes. A face's expression is at most `refresh` seconds old: if frames come faster, several faces
    take turns. `smoothing` is the time in seconds after which a past expression has lost 63 % of its weight; 0 for
    none.
    """

    def __init__(
        self,
        classifier: ExpressionClassifier,
        detector: Detector | None,
        *,
        detect_every: int = 5,
        refresh: float = 0.1,
        smoothing: float = 0.25,
    ) -> None:
        self._classifier, self._detector = classifier, detector
        self._detect_every, self._refresh, self._smoothing = detect_every, refresh, smoothing
        self._seconds: float | None = None
        self._tracker = Tracker()
        self._since_detection = detect_every
        self._histories: dict[int, tuple[float, np.ndarray]] = {}

    def analyze(self, frame: np.ndarray, seconds: float, boxes: np.ndarray | None = None) -> Analysis:
        """The faces of `frame`, uint8 [h, w, 3] in BGR, taken at `seconds`, which must not decrease.

        If `boxes`, float32 [n, 4], are given, they are the faces, and nothing is detected.
        """
        spent: dict[str, float] = {}
        with timed(spent, "track"):
            sure = self._tracker.follow(*reduced_grey(frame, FLOW_LONG_SIDE), seconds)
        self._since_detection += 1
        if boxes is not None:
            self._tracker.detected(boxes, exact=True)
        elif not sure or not self._tracker.visible or self._since_detection >= self._detect_every:
            assert self._detector is not None
            with timed(spent, "detect"):
                found = self._detector(frame)
                self._tracker.detected(found[np.argsort(found[:, 0], kind="stable")])
            self._since_detection = 0
        tracks = self._tracker.visible
        with timed(spent, "classify"):
            due = self._due(tracks, seconds)
            crops = face_crops(frame, np.array([track.box for track in due]).reshape(-1, 4))
            for track, probabilities in zip(due, self._classifier.predict(crops), strict=True):
                self._remember(track, probabilities, seconds)
        faces = [TrackedFace(track.id, as_integers(track.box), self._histories[track.id][1]) for track in tracks]
        self._seconds = seconds
        known = self._tracker.ids
        self._histories = {number: history for number, history in self._histories.items() if number in known}
        return Analysis(frame, seconds, tuple(faces), spent)

    def _due(self, tracks: list[Track], seconds: float) -> list[Track]:
        """The faces to classify in this frame: all new ones, and enough of the others that none gets too old."""
        new = [track for track in tracks if track.id not in self._histories]
        known = sorted((track for track in tracks if track.id in self._histories), key=self._classified_at)
        passed = np.inf if self._seconds is None else seconds - self._seconds
        share = 1.0 if self._refresh <= passed else passed / self._refresh
        return new + known[: int(np.ceil(len(known) * share))]

    def _classified_at(self, track: Track) -> float:
        return self._histories[track.id][0]

    def _remember(self, track: Track, probabilities: np.ndarray, seconds: float) -> None:
        before = self._histories.get(track.id)
        if before is not None and self._smoothing > 0:
            kept = np.exp(-(seconds - before[0]) / self._smoothing)
            probabilities = kept * before[1] + (1 - kept) * probabilities
        self._histories[track.id] = seconds, probabilities
