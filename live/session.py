"""A run of `python -m live`: from the source through the pipeline to window, browser, video and log."""

import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from fer_data.commands import STOPS, counted, leave_terminal, stops_handled
from fer_data.errors import UserError
from fer_data.faces.detection import STILL_LONG_SIDE, Detector, create_detector
from fer_models.quiet_stderr import without_lines
from live.classifier import ExpressionClassifier
from live.display import Display
from live.frames import Frame
from live.given_boxes import BoxFile, centre_square
from live.latency import Latencies, timed
from live.log import Log
from live.options import LiveOptions
from live.pipeline import Pipeline
from live.recording import Recording
from live.report import Report
from live.sampling import ALL
from live.sources import is_camera, open_source

VIDEO_LONG_SIDE = 320


def run(
    options: LiveOptions,
    say: Callable[[str], None],
    warn: Callable[[str], None],
    progress: Callable[[str], None] = lambda text: None,
) -> None:
    """Watch until the source ends or the user quits, then pass the summary to `say`. Problems go to `warn`.

    `progress` gets how far it is after each frame, if nothing else shows that. Raises UserError for the user's
    mistakes, before anything is written; OSError when a file cannot be written; and one of STOPS after such a
    signal, once all files are closed and the summary is printed.
    """
    # A second Ctrl-C must not stop the files from being closed.
    with ExitStack() as handlers, ExitStack() as files:
        session = _Session(options, files, warn, progress)
        handlers.enter_context(stops_handled(session.stop))
        session.watch()
    for line in session.summary():
        say(line)
    if session.stopped_by:
        raise STOPS[session.stopped_by]


class _Session:
    def __init__(
        self,
        options: LiveOptions,
        stack: ExitStack,
        warn: Callable[[str], None],
        progress: Callable[[str], None],
    ) -> None:
        self._options, self._warn, self._progress = options, warn, progress
        # Silence OpenCV's message about a missing camera; ours says what to do.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        with without_lines("INFO: "):  # LiteRT 2 announces its delegate in such a line, and has no option against it.
            self._classifier = ExpressionClassifier(
                options.checkpoint, precision=options.precision, threads=options.threads, reading=options.reading
            )
        for line in self._classifier.warnings:
            warn(line)
        self._source = open_source(options.source, warn, options.every)
        stack.callback(self._source.close)
        self._boxes: Callable[[Frame], np.ndarray] | None = centre_square if options.faces == "whole" else None
        if options.boxes:
            if self._source.live:
                raise UserError(f"--boxes {options.boxes} fits files, and --source {options.source} is none")
            self._boxes = BoxFile(options.boxes, Path(options.source).expanduser())
        self._detector: Callable[[bool], Detector] = lru_cache(self._new_detector)
        if self._boxes is None:
            self._detector(self._source.still)
        mirror = is_camera(options.source) if options.mirror is None else options.mirror
        self._display = Display(options, mirror, stack, warn)
        # Log and report come last, because closing them leaves a file even without a frame.
        self._log, self._report = None, None
        self._recording = Recording(options.save, self._source, overwrite=options.overwrite) if options.save else None
        stack.callback(self._close_files)
        self._log = Log(options.log, empty=options.log_empty, overwrite=options.overwrite) if options.log else None
        try:
            self._report = Report(options.report, overwrite=options.overwrite) if options.report else None
        except UserError:
            if self._log:
                self._log.discard()
            self._log = None
            raise

        self._pipeline: Pipeline | None = None
        self._origin = ""
        self._latencies = Latencies()
        self._frames = self._faces = self._faces_here = 0
        """Frames so far; faces of the files before this one, and of this one."""
        self._interval = 0.0
        self._waiting = False
        self.stopped_by: signal.Signals | None = None
        self._began = self._last = time.perf_counter()

    def _close_files(self) -> None:
        """Raises OSError, which names every file that could not be completed."""
        failures = []
        for written in (self._report, self._log, self._recording):
            try:
                if written:
                    written.close()
            except OSError as error:
                failures.append(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        if failures:
            raise OSError("; ".join(failures))

    def stop(self, number: int = 0, _: object = None) -> None:
        """Signal handler: end after the current frame."""
        self._display.quit = True
        if number:
            self.stopped_by = signal.Signals(number)
            leave_terminal(number)

    def watch(self) -> None:
        while not self._display.quit:
            if self._display.paused:
                self._display.wait(50)
                continue
            frame = self._source.read()
            if frame is not None:
                self._waiting = False
                self._take(frame)
            elif self._source.over:
                if isinstance(self._boxes, BoxFile) and (line := self._boxes.unused()):
                    self._warn(line)
                return
            elif self._source.status:
                if not self._waiting:
                    self._warn(self._source.status)
                self._waiting = True
                self._display.wait(50, self._source.status)
            else:
                self._display.wait(1)

    def _take(self, frame: Frame) -> None:
        if self._pipeline is None or frame.origin != self._origin:
            self._pipeline = self._new_pipeline(frame)
        boxes = self._boxes(frame) if self._boxes else None
        analysis = self._pipeline.analyze(frame.image, frame.seconds, boxes)
        drawn = None
        if self._display.on or self._recording:
            with timed(analysis.milliseconds, "draw"):
                drawn = self._display.draw(analysis, frame.still)
        now = time.perf_counter()
        latency = (now - frame.arrived) * 1e3
        # Mean of all intervals at first, then a moving average.
        weight = 1 / min(self._frames + 1, 20)
        self._interval += weight * (now - self._last - self._interval)
        self._last = now
        for stage, spent in {**analysis.milliseconds, "total": latency}.items():
            self._latencies.add(stage, spent)
        self._frames += 1
        self._faces_here = max([self._faces_here, *(face.id for face in analysis.faces)])
        if self._log:
            self._log.write(frame, analysis, latency)
        if self._report:
            self._report.write(frame, analysis, latency)
        if self._recording and drawn is not None:
            self._recording.write(drawn, frame)
        camera = f"camera {self._source.rate:.0f} fps   shown " if self._source.rate else ""
        self._display.speed = f"{camera}{1 / max(self._interval, 1e-6):.0f} fps   {latency:.1f} ms   "
        self._display.show()
        self._pipeline.start_detector()
        if not self._display.on and (far := self._source.progress()):
            self._progress(far)
        self._display.stay(None if self._source.live else frame.lasts)

    def _new_pipeline(self, frame: Frame) -> Pipeline:
        """For the first frame of a file, whose people are others than those of the file before."""
        if self._pipeline:
            self._pipeline.close()
        self._origin = frame.origin
        self._faces += self._faces_here
        self._faces_here = 0
        every = self._options.detect_every if self._options.every == ALL else 1
        detector = self._detector(frame.still) if self._boxes is None else None
        smoothing, live = self._options.smoothing, self._source.live
        return Pipeline(self._classifier, detector, detect_every=every, smoothing=smoothing, live=live)

    def _new_detector(self, still: bool) -> Detector:
        size = self._options.detect_size or (STILL_LONG_SIDE if still else VIDEO_LONG_SIDE)
        return create_detector(self._options.detector, size, still=still)

    def summary(self) -> list[str]:
        """The lines printed at the end of the run."""
        seconds = max(self._last - self._began, 1e-9)
        faces = self._faces + self._faces_here
        rate = f"{self._frames / seconds:.1f} frames per second"
        lines = [f"{counted(self._frames, 'frame')}, {counted(faces, 'face')}, {rate}"]
        if self._frames:
            lines += self._latencies.table()
        for name, path in (("saved", self._options.save), ("log", self._options.log), ("report", self._options.report)):
            if path and Path(path).exists():
                lines.append(f"{name:10}{path}")
        return lines
