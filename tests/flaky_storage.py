"""A proxy in front of an S3 server that fails, or keeps waiting, some of the requests that it passes on."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive"}


class FlakyStorage:
    """Listens on 127.0.0.1. `fails` and `delay` decide, by the number of a request, what happens to it.

    A request that fails is answered with status 503 and does not reach the server. `written` has the paths of the
    objects that were written, in order.
    """

    def __init__(
        self,
        server: str,
        *,
        fails: Callable[[int], bool] = lambda number: False,
        delay: Callable[[int], float] = lambda number: 0.0,
    ) -> None:
        upstream = urlsplit(server)
        self.requests = self.failures = 0
        self.written: list[str] = []
        count = threading.Lock()
        flaky = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass_on(self) -> None:
                with count:
                    flaky.requests += 1
                    number = flaky.requests
                body = self._body()
                time.sleep(delay(number))
                if fails(number):
                    with count:
                        flaky.failures += 1
                    self._answer(503, [], b"<Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>")
                    return
                connection = http.client.HTTPConnection(upstream.hostname, upstream.port, timeout=60)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                if self.command == "PUT":
                    flaky.written.append(urlsplit(self.path).path)
                self._answer(answer.status, answer.getheaders(), answer.read())
                connection.close()

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                parts = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
                self.send_response(status)
                length = str(len(content))
                for name, value in headers:
                    if name.lower() == "content-length":
                        length = value  # Of a HEAD request, whose answer has no content.
                    elif name.lower() not in _HOP_BY_HOP | {"date", "server"}:
                        self.send_header(name, value)
                self.send_header("Content-Length", length)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def behind(server: str, monkeypatch: pytest.MonkeyPatch, **faults: Callable) -> Iterator[FlakyStorage]:
    """Inside the block, `server` is reached by way of a proxy with these faults."""
    flaky = FlakyStorage(server, **faults)
    monkeypatch.setenv("AWS_ENDPOINT_URL", flaky.address)
    try:
        yield flaky
    finally:
        flaky.close()
        monkeypatch.setenv("AWS_ENDPOINT_URL", server)
