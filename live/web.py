"""Serve the annotated stream to a browser on this machine: a page, the frames as motion JPEG, the faces as JSON.

Other users of this machine, and pages of other sites in the same browser, see nothing: every request needs the token
of the address that is printed, and no other page may show or frame an answer.
"""

import json
import secrets
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

import cv2
import numpy as np

from fer_data.errors import UserError
from live.pipeline import Analysis

_BOUNDARY = "frame"
_QUALITY = 80
_MOST_CLIENTS, _PATIENCE_SECONDS = 16, 10.0
"""Connections at a time, and for how long one may neither ask nor read."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self._places = threading.BoundedSemaphore(_MOST_CLIENTS)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A viewer that is gone or has stopped reading is no error; anything else is one of this program."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class WebView:
    """Serves the newest frame on 127.0.0.1 until closed. Raises UserError when the port is taken."""

    def __init__(self, port: int) -> None:
        self._new = threading.Condition()
        self._number, self._faces = 0, json.dumps({"status": "starting", "faces": []})
        self._drawn: np.ndarray | None = None
        self._closed = False
        self._token = secrets.token_urlsafe(16)
        try:
            self._server = _Server(("127.0.0.1", port), self._handler())
        except OSError as error:
            raise UserError(f"--web {port}: the port cannot be opened ({error.strerror}): choose another") from error
        self.url = f"http://127.0.0.1:{self._server.server_port}/?token={self._token}"
        threading.Thread(target=self._server.serve_forever, name="web", daemon=True).start()

    def show(self, drawn: np.ndarray, analysis: Analysis | None, status: str) -> None:
        """Send a frame, uint8 [h, w, 3] in BGR, to all viewers."""
        faces = [
            {
                "face": face.id,
                "box": face.box,
                "expression": face.expression,
                "probabilities": [round(float(p), 4) for p in face.probabilities],
            }
            for face in (analysis.faces if analysis else ())
        ]
        with self._new:
            self._number += 1
            self._drawn, self._faces = drawn, json.dumps({"status": status, "faces": faces})
            self._new.notify_all()

    def close(self) -> None:
        with self._new:
            self._closed = True
            self._new.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def _next(self, after: int) -> tuple[int, np.ndarray | None]:
        with self._new:
            self._new.wait_for(lambda: self._number > after or self._closed, 5)
            return self._number, None if self._closed else self._drawn

    def _handler(view) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            timeout = _PATIENCE_SECONDS

            def do_GET(self) -> None:
                # Another site whose name resolves to this machine (DNS rebinding) must not read the stream.
                host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
                if host not in ("127.0.0.1", "localhost"):
                    self.send_error(403, "only for 127.0.0.1")
                    return
                path, _, query = self.path.partition("?")
                if not secrets.compare_digest(query.encode(), f"token={view._token}".encode()):
                    self.send_error(403, "open the whole address that the program printed")
                elif path == "/":
                    self._send("text/html; charset=utf-8", files("live").joinpath("page.html").read_bytes())
                elif path == "/faces.json":
                    self._send("application/json", view._faces.encode())
                elif path == "/stream.mjpg":
                    self._stream()
                else:
                    self.send_error(404)

            def _send(self, kind: str, content: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def _stream(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
                self.end_headers()
                number = 0
                while not view._closed:
                    latest, drawn = view._next(number)
                    if drawn is None or latest == number:
                        continue
                    number = latest
                    jpeg = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
                    head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    self.wfile.write(head.encode() + jpeg + b"\r\n")

            def end_headers(self) -> None:
                for name, value in _HEADERS.items():
                    self.send_header(name, value)
                super().end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler
