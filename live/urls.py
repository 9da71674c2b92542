"""Sources by URL: streams, which never end, and files on a server, which do."""

import base64
import urllib.request
from http.client import HTTPResponse
from typing import cast
from urllib.parse import unquote, urlsplit, urlunsplit

import cv2

from fer_data.decoding import read_limited
from fer_data.errors import UserError
from fer_data.text import redacted

_TIMEOUT_SECONDS = 5
MAX_FRAME_PIXELS = 7680 * 4320
"""Pixels of the largest frame of a video, 8K. OpenCV takes ten bytes for each: 330 MB."""
_LISTS = ("mpegurl", "dash+xml")
"""Parts of the types of documents that list the pieces of a video. They have a length even if the stream has none."""


def is_url(source: str) -> bool:
    return "://" in source


def check_url(source: str) -> None:
    """Raises UserError for a URL of which nobody can say what is its user name, password, host and port."""
    try:
        parts = urlsplit(source)
        _ = parts.port  # Raises ValueError where it is no number.
        if parts.hostname and ("@" in parts.netloc or "@" not in parts.path + parts.fragment or parts.port):
            return
    except ValueError:
        pass
    raise UserError(
        f"--source {redacted(source)} is no whole URL: in a user name or password, write / ? # and at signs "
        "as %2F %3F %23 and %40"
    )


def open_capture(source: str) -> cv2.VideoCapture:
    """OpenCV's reader of a path or URL; a server that does not answer is given up after some seconds.

    It is closed where OpenCV cannot read the video, and where a frame has more than MAX_FRAME_PIXELS.
    """
    milliseconds = 1000 * _TIMEOUT_SECONDS
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
    capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits if is_url(source) else [])
    # Nothing is decoded before the first frame is asked for.
    if capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT) > MAX_FRAME_PIXELS:
        capture.release()
    return capture


def ends(url: str) -> bool:
    """Whether a URL is a file, whose server states its length, or lists the pieces of a video that has an end."""
    if not url.startswith(("http://", "https://")):
        return False
    try:
        with _answer(url) as answer:
            kind, length = answer.headers.get_content_type(), answer.headers.get("Content-Length")
    except (OSError, ValueError):
        return False  # Opening it says what is wrong.
    if not any(part in kind for part in _LISTS):
        return length is not None
    capture = open_capture(url)
    frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    capture.release()
    return frames > 0


def read_bytes(source: str) -> bytes:
    """The content of an image at a path or URL. Raises OSError, and BadImage where it is too large."""
    with _answer(source) if is_url(source) else open(source, "rb") as file:
        return read_limited(file)


def _answer(url: str) -> HTTPResponse:
    parts = urlsplit(url)
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", "Basic " + base64.b64encode(secret.encode()).decode())
    return cast(HTTPResponse, urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS))
