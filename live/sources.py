"""Open what `--source` names: a camera, a stream, a file, or a folder of files."""

import re
from collections.abc import Callable
from pathlib import Path

import cv2

from fer_data.errors import UserError
from fer_data.text import without_secrets
from live.camera import LatestFrames
from live.files import Files, files_in
from live.frames import Source
from live.sampling import ALL, Every
from live.urls import check_url, ends, is_url, open_capture

_SCHEMES = ("http", "https", "rtsp", "rtsps", "rtmp", "udp", "tcp")


def open_source(source: str, warn: Callable[[str], None], every: Every = ALL) -> Source:
    """Open a camera by its index or device, a file, a folder or a URL; lesser problems go to `warn`.

    Raises UserError when there are no frames, and for a sample (`every`) of a camera or stream.
    """
    shown = without_secrets(source)
    if is_url(source):
        if source.partition("://")[0].lower() not in _SCHEMES:
            raise UserError(f"--source {shown}: streams are {', '.join(_SCHEMES[:3])} … URLs")
        check_url(source)
    if is_url(source) and ends(source):
        return Files([source], warn, every)
    if is_url(source) or is_camera(source):
        if every != ALL:
            raise UserError(f"--every takes a sample of files, and --source {shown} is a camera or stream")
        if is_url(source):
            return LatestFrames(lambda: open_capture(source), shown, "check that it is served")
        device = int(source) if source.isdecimal() else source
        mend = "check that it is plugged in, not in use and allowed, or name another with --source"
        return LatestFrames(lambda: cv2.VideoCapture(device), f"camera {source}", mend)
    path = Path(source).expanduser()
    if not path.exists():
        raise UserError(f"--source {path} does not exist: give a camera's index, a file, a folder or a URL")
    return Files(files_in(path, warn) if path.is_dir() else [str(path)], warn, every)


def is_camera(source: str) -> bool:
    """Whether `source` is a camera of this machine: an index, or a device such as /dev/video0."""
    return source.isdecimal() or re.match(r"/dev/video\d+$", source) is not None or Path(source).is_char_device()
