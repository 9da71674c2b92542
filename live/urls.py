"""Sources by URL: streams, which never end, and files on a server, which do."""

import base64
import urllib.request
from http.client import HTTPResponse
from typing import cast
from urllib.parse import unquote, urlsplit, urlunsplit

import cv2
import numpy as np

_TIMEOUT_SECONDS = 5
_LISTS = ("mpegurl", "dash+xml")
"""Parts of the types of documents that list the pieces of a video. They have a length even if the stream has none."""
_LARGEST_IMAGE = 100_000_000
"""Bytes of an image that are read from a server."""


def is_url(source: str) -> bool:
    return "://" in source


def without_secrets(source: str) -> str:
    """A URL without user name, password and query; a path as it is."""
    if not is_url(source):
        return source
    parts = urlsplit(source)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def open_capture(source: str) -> cv2.VideoCapture:
    """OpenCV's reader of a path or URL; a server that does not answer is given up after some seconds."""
    if not is_url(source):
        return cv2.VideoCapture(source)
    milliseconds = 1000 * _TIMEOUT_SECONDS
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
    return cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)


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


def read_bytes(source: str) -> np.ndarray:
    """The content of a path, or of a URL's image: uint8 [n]. Raises OSError."""
    if not is_url(source):
        return np.fromfile(source, np.uint8)
    with _answer(source) as answer:
        return np.frombuffer(answer.read(_LARGEST_IMAGE), np.uint8)


def _answer(url: str) -> HTTPResponse:
    parts = urlsplit(url)
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", "Basic " + base64.b64encode(secret.encode()).decode())
    return cast(HTTPResponse, urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS))
