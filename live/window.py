"""The window on the screen, and its keys."""

import os
import socket

import cv2
import numpy as np

from fer_data.errors import UserError

TITLE = "Expressions"
_ESCAPE = 27


class Window:
    """A resizable window. Raises UserError, with the alternatives, if there is no display."""

    def __init__(self) -> None:
        without = "use --web PORT for a browser, or --no-window"
        if "GUI:                           NONE" in cv2.getBuildInformation():
            raise UserError(
                f"this OpenCV opens no windows: install `.[live]` in an environment of its own, or {without}"
            )
        if os.name == "posix" and os.uname().sysname == "Linux" and not _display_answers():
            # OpenCV would abort the process.
            raise UserError(f"no display to open a window on: {without}")
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        self._sized = False

    def show(self, drawn: np.ndarray) -> None:
        """Put a frame, uint8 [h, w, 3] in BGR, on the screen."""
        if not self._sized:
            scale = min(1.0, 1280 / drawn.shape[1], 800 / drawn.shape[0])
            cv2.resizeWindow(TITLE, max(320, round(drawn.shape[1] * scale)), max(240, round(drawn.shape[0] * scale)))
            self._sized = True
        cv2.imshow(TITLE, drawn)

    def key(self, milliseconds: int) -> str:
        """The key pressed within `milliseconds`, '' for none, `other` for one without a character.

        Escape and closing the window count as q.
        """
        code = cv2.waitKeyEx(max(1, milliseconds))
        # The upper bits hold modifiers such as shift. The lowest byte alone would turn arrow keys into letters.
        symbol = code & 0xFFFF
        if symbol == _ESCAPE or (self._sized and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1):
            return "q"
        if code == -1:
            return ""
        return chr(symbol).lower() if symbol < 128 else "other"

    def close(self) -> None:
        cv2.destroyAllWindows()


def _display_answers() -> bool:
    if os.environ.get("WAYLAND_DISPLAY") and not os.environ.get("DISPLAY"):
        return False  # The Qt in OpenCV's wheels supports only X11, which Wayland desktops usually offer too.
    host, colon, number = os.environ.get("DISPLAY", "").rpartition(":")
    screen = number.partition(".")[0]
    if not colon or not screen.isdecimal():
        return False
    try:
        if host in ("", "unix"):
            for address in (f"/tmp/.X11-unix/X{screen}", f"\0/tmp/.X11-unix/X{screen}"):
                with socket.socket(socket.AF_UNIX) as probe:
                    if probe.connect_ex(address) == 0:
                        return True
            return False
        socket.create_connection((host.strip("[]"), 6000 + int(screen)), timeout=2).close()
    except OSError:
        return False
    return True
