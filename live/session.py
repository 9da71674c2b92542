"""A run of `python -m live`: from the source through the pipeline to window, browser, video and log."""

import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import FrameType

import cv2
import numpy as np

from fer_models.quiet_stderr import without_lines
from live.classifier import STILL_LONG_SIDE, ExpressionClassifier
from live.detection import create_detector
from live.latency import Latencies, timed
from live.log import Log
from live.options import LiveOptions
from live.overlay import LEGEND, draw, notice
from live.pipeline import Analysis, Pipeline
from live.recording import Recording
from live.sources import Frame, open_source
from live.web import WebView
from live.window import Window

VIDEO_LONG_SIDE = 320
_MESSAGE_SECONDS = 2.0


def run(options: LiveOptions, say: Callable[[str], None], warn: Callable[[str], None]) -> None:
    """Watch until the source ends or the user quits, then pass the summary to `say`. Problems go to `warn`.

    Raises UserError for the user's mistakes, before anything is written; OSError when a file cannot be written; and
    KeyboardInterrupt after Ctrl-C, once all files are closed and the summary is printed.
    """
    # A second Ctrl-C must not stop the files from being closed.
    with ExitStack() as handlers, ExitStack() as files:
        session = _Session(options, files, warn)
        for number in (signal.SIGINT, signal.SIGTERM):
            handlers.callback(signal.signal, number, signal.signal(number, session.stop))
        session.watch()
    for line in session.summary():
        say(line)
    if session.interrupted:
        raise KeyboardInterrupt


class _Session:
    def __init__(self, options: LiveOptions, stack: ExitStack, warn: Callable[[str], None]) -> None:
        self._options, self._warn = options, warn
        # Silence OpenCV's message about a missing camera; ours says what to do.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._window = Window() if options.window and options.web is None else None
        if self._window:
            stack.callback(self._window.close)
        with without_lines("INFO: "):  # LiteRT 2 announces its delegate in such a line, and has no option against it.
            classifier = ExpressionClassifier(options.checkpoint, precision=options.precision, threads=options.threads)
        self._source = open_source(options.source, warn)
        stack.callback(self._source.close)
        stills = self._source.stills
        detect_size = options.detect_size or (STILL_LONG_SIDE if stills else VIDEO_LONG_SIDE)
        self._pipeline = Pipeline(
            classifier,
            create_detector(options.detector, detect_size, still=stills),
            detect_every=options.detect_every,
            smoothing=options.smoothing,
            stills=stills,
        )
        self._web = WebView(options.web) if options.web is not None else None
        if self._web:
            stack.callback(self._web.close)
            print(f"watch at {self._web.url}", flush=True)
        # The log comes last, because closing it leaves a file even without rows.
        self._recording = Recording(options.save, self._source, overwrite=options.overwrite) if options.save else None
        if self._recording:
            stack.callback(self._recording.close)
        self._log = Log(options.log, overwrite=options.overwrite) if options.log else None
        if self._log:
            stack.callback(self._log.close)

        self._latencies = Latencies()
        self._frames, self._highest_face, self._still_faces = 0, 0, 0
        self._interval = 0.0
        self._stopping = self._paused = self.interrupted = False
        self._bars = options.bars
        self._mirror = options.source.isdecimal() if options.mirror is None else options.mirror
        self._analysis: Analysis | None = None
        self._drawn: np.ndarray | None = None
        self._message, self._message_until = "", 0.0
        self._waiting = False
        self._latency = 0.0
        self._began = self._last = time.perf_counter()
        self._behind = 0.0

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Signal handler: end after the current frame."""
        self._stopping = True
        self.interrupted |= number == signal.SIGINT

    def watch(self) -> None:
        while not self._stopping:
            if self._paused:
                self._keys(50)
                self._behind += 0.05
                continue
            frame = self._source.read()
            if frame is not None:
                self._take(frame)
            elif self._source.over:
                return
            elif self._source.status:
                self._wait_for_source()
            else:
                self._keys(1)

    def _take(self, frame: Frame) -> None:
        self._waiting = False
        analysis = self._pipeline.analyze(frame.image, frame.seconds)
        self._analysis = analysis
        if self._window or self._web or self._recording:
            with timed(analysis.milliseconds, "draw"):
                self._drawn = self._draw(analysis)
        now = time.perf_counter()
        self._latency = (now - frame.arrived) * 1e3
        # Mean of all intervals at first, then a moving average.
        weight = 1 / min(self._frames + 1, 20)
        self._interval += weight * (now - self._last - self._interval)
        self._last = now
        for stage, spent in {**analysis.milliseconds, "total": self._latency}.items():
            self._latencies.add(stage, spent)
        self._frames += 1
        self._highest_face = max([self._highest_face, *(face.id for face in analysis.faces)])
        self._still_faces += len(analysis.faces)
        if self._log:
            self._log.write(frame, analysis, self._latency)
        if self._recording and self._drawn is not None:
            self._recording.write(self._drawn, frame.seconds)
        self._show(self._status())
        self._pace(frame)

    def _pace(self, frame: Frame) -> None:
        """Handle keys until the next frame is due. A still image stays until a key is pressed."""
        if self._source.stills and self._window:
            while not self._stopping and self._keys(50) in ("", "s", "b", "m"):
                pass
            return
        early = 0.0
        if not self._source.live and (self._window or self._web):
            due = self._began + self._behind + frame.seconds + 1 / self._source.frames_per_second
            early = due - time.perf_counter()
            if early < -1:  # Never hurry to make up for a pause.
                self._behind -= early
        if self._window:
            self._keys(max(1, int(early * 1e3)))
        elif early > 0:
            time.sleep(early)

    def _wait_for_source(self) -> None:
        if self._drawn is not None:
            darkened = notice(self._drawn, self._source.status)
            if self._window:
                self._window.show(darkened)
            if self._web:
                self._web.show(darkened, None, self._source.status)
        if not self._waiting:
            self._warn(self._source.status)
            self._waiting = True
        self._keys(50)

    def _keys(self, milliseconds: int) -> str:
        if not self._window:
            time.sleep(milliseconds / 1e3 if self._paused else 0)
            return ""
        key = self._window.key(milliseconds)
        if key == "q":
            self._stopping = True
        elif key == " " and not self._source.stills:
            self._paused = not self._paused
            self._redraw()
        elif key == "s" and self._drawn is not None:
            self._snapshot()
        elif key == "b":
            self._bars = not self._bars
            self._redraw()
        elif key == "m":
            self._mirror = not self._mirror
            self._redraw()
        return key

    def _draw(self, analysis: Analysis) -> np.ndarray:
        legend = LEGEND.replace("space pause", "any other key next") if self._source.stills else LEGEND
        return draw(
            analysis,
            bars=self._bars,
            mirror=self._mirror,
            status=self._status(),
            legend=legend if self._window else "",
        )

    def _redraw(self) -> None:
        if self._analysis:
            self._drawn = self._draw(self._analysis)
            self._show(self._status())

    def _show(self, status: str) -> None:
        if self._drawn is not None:
            if self._window:
                self._window.show(self._drawn)
            if self._web:
                self._web.show(self._drawn, self._analysis, status)

    def _status(self) -> str:
        if time.monotonic() < self._message_until:
            return self._message
        if self._paused:
            return "paused"
        faces = len(self._analysis.faces) if self._analysis else 0
        # Measured on earlier frames, so not shown for the first.
        speed = f"{1 / max(self._interval, 1e-6):.0f} fps   {self._latency:.1f} ms   " if self._frames else ""
        return f"{speed}{faces} face{'s' * (faces != 1)}"

    def _snapshot(self) -> None:
        path = self._options.snapshots / f"snapshot-{datetime.now():%Y%m%d-%H%M%S-%f}.png"
        temporary = path.with_name(f".unfinished-{path.name}")
        assert self._drawn is not None
        try:
            temporary.write_bytes(cv2.imencode(".png", self._drawn)[1].tobytes())
            temporary.replace(path)
            self._message = f"saved {path}"
        except OSError as error:
            self._message = f"not saved: {path}: {error.strerror}"
        self._message_until = time.monotonic() + _MESSAGE_SECONDS
        self._warn(self._message)
        self._redraw()

    def summary(self) -> list[str]:
        """The lines printed at the end of the run."""
        seconds = max(self._last - self._began, 1e-9)
        faces = self._still_faces if self._source.stills else self._highest_face
        lines = [f"{self._frames} frames, {faces} faces, {self._frames / seconds:.1f} frames per second"]
        if self._frames:
            lines += self._latencies.table()
        for name, path in (("saved", self._options.save), ("log", self._options.log)):
            if path and Path(path).exists():
                lines.append(f"{name:10}{path}")
        return lines
