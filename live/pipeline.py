"""From a frame to its faces: detect or follow, classify, smooth. Measures the time of each stage."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from fer_data.emotions import CLASSES
from fer_data.faces.crops import face_crops, reduced_grey
from fer_data.faces.detection import Detector
from live.classifier import ExpressionClassifier, as_integers
from live.latency import timed
from live.tracking import FLOW_LONG_SIDE, Track, Tracker

_FAR_SECONDS = 0.1
"""Between frames further apart than this, a face may have moved too far to be followed over several of them."""


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
    """The result for one frame: the frame (BGR), its time in seconds, its faces, and milliseconds by stage.

    `detect` is the time that the detector took, whether or not the frame waited for it.
    """

    frame: np.ndarray
    seconds: float
    faces: tuple[TrackedFace, ...]
    milliseconds: dict[str, float]


class Pipeline:
    """Analyses the frames of one file or camera in order, and keeps the identity and history of each face.

    The detector runs every `detect_every` frames, in a thread of its own, and meanwhile faces are followed. What it
    finds counts from the next such frame on, at the place that it has moved to. A frame waits for the detector if it
    has no face, if one was lost, or if `detect_every` is 1 or frames are far apart. But if the source is `live`, no
    frame ever waits, and what is found counts as soon as it is there. `detector` may be None if every frame comes with
    its boxes.

    A face's expression is at most `refresh` seconds old: if frames come faster, several faces take turns. `smoothing`
    is the time in seconds after which a past expression has lost 63 % of its weight; 0 for none.
    """

    def __init__(
        self,
        classifier: ExpressionClassifier,
        detector: Detector | None,
        *,
        detect_every: int = 5,
        refresh: float = 0.1,
        smoothing: float = 0.25,
        live: bool = False,
    ) -> None:
        self._classifier, self._detector = classifier, detector
        self._live = live
        self._thread: ThreadPoolExecutor | None = None
        self._due_next: tuple[np.ndarray, np.ndarray] | None = None
        """The frame in which the detector is to look next, and the same in grey."""
        self._pending: tuple[Future[tuple[np.ndarray, float]], np.ndarray] | None = None
        """What the detector is doing, and the grey frame in which it looks."""
        self._detect_every, self._refresh, self._smoothing = detect_every, refresh, smoothing
        self._seconds: float | None = None
        self._tracker = Tracker()
        self._since_detection = detect_every
        self._histories: dict[int, tuple[float, np.ndarray]] = {}

    def analyze(self, frame: np.ndarray, seconds: float, boxes: np.ndarray | None = None) -> Analysis:
        """The faces of `frame`, uint8 [h, w, 3] in BGR, taken at `seconds`, which must not decrease.

        If `boxes`, float32 [n, 4], are given, they are the faces, and nothing is detected.
        """
        self.start_detector()
        spent: dict[str, float] = {}
        with timed(spent, "track"):
            grey, scale = reduced_grey(frame, FLOW_LONG_SIDE)
            sure = self._tracker.follow(grey, scale, seconds)
            if boxes is not None:
                self._tracker.detected(boxes, exact=True)
        starts = False
        if boxes is None:
            passed = np.inf if self._seconds is None else seconds - self._seconds
            starts = self._detect(frame, sure and bool(self._tracker.visible), passed, spent)
        tracks = self._tracker.visible
        with timed(spent, "classify"):
            due = self._due(tracks, seconds)
            crops = face_crops(frame, np.array([track.box for track in due]).reshape(-1, 4))
            for track, probabilities in zip(due, self._classifier.predict(crops), strict=True):
                self._remember(track, probabilities, seconds)
        if starts:
            self._due_next = frame, grey
            self._since_detection = 0
        faces = [TrackedFace(track.id, as_integers(track.box), self._histories[track.id][1]) for track in tracks]
        self._seconds = seconds
        known = self._tracker.ids
        self._histories = {number: history for number, history in self._histories.items() if number in known}
        return Analysis(frame, seconds, tuple(faces), spent)

    def start_detector(self) -> None:
        """Start the detector, if it is due, beside whatever follows.

        Call it when the last frame has been drawn and shown, so that nobody waits for a core. If it is not called, the
        next `analyze` does so.
        """
        if self._due_next:
            frame, grey = self._due_next
            self._thread = self._thread or ThreadPoolExecutor(1, "detector")
            self._pending = self._thread.submit(self._looked, frame), grey
            self._due_next = None

    def close(self) -> None:
        """Wait for the detector, so that another pipeline can use it: it does one thing at a time."""
        if self._thread:
            self._thread.shutdown()

    def _detect(self, frame: np.ndarray, settled: bool, passed: float, spent: dict[str, float]) -> bool:
        """Look for faces in this frame, or take what was found beside the last ones. Returns whether to look beside
        the next ones.

        `settled`: there are faces, and none was lost. `passed`: seconds since the frame before.
        """
        self._since_detection += 1
        due = not settled or self._since_detection >= self._detect_every
        if not self._live and due and (not settled or self._detect_every == 1 or passed > _FAR_SECONDS):
            if self._pending:
                self._pending[0].result()  # It is out of date, but the detector is busy with it.
                self._pending = None
            found, spent["detect"] = self._looked(frame)
            self._tracker.detected(found)
            self._since_detection = 0
            return False
        if self._pending and (self._pending[0].done() if self._live else due):
            found, spent["detect"] = self._pending[0].result()
            self._tracker.detected(found, seen=self._pending[1])
            self._pending = None
        return due and not self._pending

    def _looked(self, frame: np.ndarray) -> tuple[np.ndarray, float]:
        """The faces in a frame from left to right, float32 [n, 4], and the milliseconds that it took to find them."""
        assert self._detector is not None
        began = time.perf_counter()
        found = self._detector(frame)
        return found[np.argsort(found[:, 0], kind="stable")], (time.perf_counter() - began) * 1e3

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
