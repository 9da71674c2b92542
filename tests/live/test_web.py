"""The page of `--web` is for whoever has its address, and for nobody else."""

import json
import socket
import struct
import threading
import time
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np
import pytest

from live.web import WebView


@pytest.fixture
def view():
    served = WebView(0)
    yield served
    served.close()


def get(url, **headers):
    return urlopen(Request(url, headers=headers), timeout=10)


def test_the_page_and_the_faces_need_the_token_of_the_address(view):
    page = get(view.url)
    assert b"stream.mjpg" in page.read()
    assert page.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert page.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    faces = view.url.replace("/?", "/faces.json?")
    assert json.loads(get(faces).read())["faces"] == []
    for wrong in (faces.partition("?")[0], faces[:-1], view.url.partition("?")[0], faces + "&x=1"):
        with pytest.raises(HTTPError, match="403"):
            get(wrong)
    with pytest.raises(HTTPError, match="403"):  # DNS rebinding: another name for this machine.
        get(faces, Host="evil.example")


def test_viewers_that_stop_reading_or_reset_are_dropped_without_a_word(view, capfd):
    parts = urlsplit(view.url)
    ask = f"GET /stream.mjpg?{parts.query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    before = threading.active_count()
    idle = [socket.create_connection(("127.0.0.1", parts.port)) for _ in range(60)]
    for each in idle[:30]:
        each.send(ask)
    time.sleep(0.5)
    assert threading.active_count() - before <= 16
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    view.show(noise, None, "")
    for each in idle:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # A reset.
        each.close()
    for _ in range(20):
        view.show(noise, None, "")
        time.sleep(0.05)
    deadline = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < deadline:
        view.show(noise, None, "")
        time.sleep(0.1)
    assert threading.active_count() <= before
    assert get(view.url).status == 200
    assert capfd.readouterr().err == ""
