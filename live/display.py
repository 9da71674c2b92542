"""What the user sees and does: the annotated picture in a window or browser, keys, snapshots, the pace of files."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime

import cv2
import numpy as np

from fer_data.commands import counted
from fer_data.errors import UserError
from live.options import LiveOptions
from live.overlay import LEGEND, draw, notice, recorded
from live.pipeline import Analysis
from live.unfinished import Unfinished
from live.web import WebView
from live.window import Window

_MESSAGE_SECONDS = 2.0


class Display:
    """A window, the page of `--web`, or neither. `speed` is shown in the picture; `warn` gets messages.

    Raises UserError where no window or port can be opened; `stack` closes them.
    """

    def __init__(self, options: LiveOptions, mirror: bool, stack: ExitStack, warn: Callable[[str], None]) -> None:
        self._snapshots, self._warn = options.snapshots, warn
        self._window = Window() if options.window and options.web is None else None
        if self._window:
            stack.callback(self._window.close)
        self._web = WebView(options.web) if options.web is not None else None
        if self._web:
            stack.callback(self._web.close)
            print(f"watch at {self._web.url}", flush=True)
        written = {"video": options.save, "log": options.log, "report": options.report}
        self._recorded = ", ".join(name for name, path in written.items() if path)
        self.on = self._window is not None or self._web is not None
        self.paused = self.quit = False
        self.speed = ""
        self._bars, self._mirror = options.bars, mirror
        self._analysis: Analysis | None = None
        self._drawn: np.ndarray | None = None
        self._still = False
        self._message, self._message_until = "", 0.0
        self._due = time.perf_counter()

    def draw(self, analysis: Analysis, still: bool) -> np.ndarray:
        """The annotated picture; `still` if it stays until a key is pressed."""
        self._analysis, self._still = analysis, still
        legend = LEGEND.replace("space pause", "any other key next") if still else LEGEND
        self._drawn = draw(
            analysis,
            bars=self._bars,
            mirror=self._mirror,
            status=self._status(),
            legend=legend if self._window else "",
        )
        return self._drawn

    def show(self) -> None:
        """Put what was drawn last on the screen."""
        if self._drawn is not None and self.on:
            # Not in the recording itself.
            shown = recorded(self._drawn, self._recorded) if self._recorded else self._drawn
            if self._window:
                self._window.show(shown)
            if self._web:
                self._web.show(shown, self._analysis, self._status())

    def stay(self, seconds: float | None) -> None:
        """Handle keys while the picture is shown: for `seconds`, or only for those pressed already if None.

        In a window an image stays until a key is pressed.
        """
        if self._still and self._window:
            while not self.quit and self.keys(50) in ("", "s", "b", "m"):
                pass
            return
        early = 0.0
        if seconds is not None and self.on:
            self._due += seconds
            early = self._due - time.perf_counter()
            if early < -1:  # Never hurry to make up for a pause.
                self._due -= early
        if self._window:
            self.keys(max(1, int(early * 1e3)))
        elif early > 0:
            time.sleep(early)

    def wait(self, milliseconds: int, reason: str = "") -> None:
        """Handle keys while there is no new frame. With a `reason`, show it over the last one."""
        if reason and self._drawn is not None:
            darkened = notice(self._drawn, reason)
            if self._window:
                self._window.show(darkened)
            if self._web:
                self._web.show(darkened, None, reason)
        if self._window:
            self.keys(milliseconds)
        elif reason:
            time.sleep(milliseconds / 1e3)
        self._due = time.perf_counter()

    def keys(self, milliseconds: int) -> str:
        """Act on the key pressed within this time, and return it."""
        if not self._window:
            return ""
        key = self._window.key(milliseconds)
        if key == "q":
            self.quit = True
        elif key == " " and not self._still:
            self.paused = not self.paused
        elif key == "s" and self._drawn is not None:
            self._snapshot()
        elif key == "b":
            self._bars = not self._bars
        elif key == "m":
            self._mirror = not self._mirror
        if key in (" ", "s", "b", "m") and self._analysis:
            self.draw(self._analysis, self._still)
            self.show()
        return key

    def _status(self) -> str:
        if time.monotonic() < self._message_until:
            return self._message
        if self.paused:
            return "paused"
        faces = len(self._analysis.faces) if self._analysis else 0
        return f"{self.speed}{counted(faces, 'face')}"

    def _snapshot(self) -> None:
        path = self._snapshots / f"snapshot-{datetime.now():%Y%m%d-%H%M%S-%f}.png"
        assert self._drawn is not None
        try:
            Unfinished(path, "--snapshots", overwrite=False).write(cv2.imencode(".png", self._drawn)[1].tobytes())
            self._message = f"saved {path}"
        except (OSError, UserError) as error:
            self._message = f"not saved: {error}"
        self._message_until = time.monotonic() + _MESSAGE_SECONDS
        self._warn(self._message)
