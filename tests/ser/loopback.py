"""A local HTTP server that sends one file and simulates faults of servers and connections."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Loopback:
    """The file and the faults of the next answers. ``requests`` has the headers of all requests so far."""

    content: bytes
    url: str = ""
    etag: str | None = '"first"'
    modified: str | None = None
    ranges: bool = True  # whether it supports Range
    wrong_parts: int = 0  # number of next answers to a Range that start one byte too late
    cuts: list[int] = field(default_factory=list)  # the next answers end after this many bytes
    statuses: list[int] = field(default_factory=list)  # the next answers are errors with these statuses
    location: str | None = None  # all answers redirect to it
    content_type: str | None = None
    afterwards: list[Callable[[], None]] = field(default_factory=list)  # called after the next answers
    states_length: bool = True  # whether it sends Content-Length
    requests: list[dict[str, str]] = field(default_factory=list)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.requests.append(dict(handler.headers))
        self._send(handler)
        if self.afterwards:
            self.afterwards.pop(0)()

    def _send(self, handler: BaseHTTPRequestHandler) -> None:
        if self.statuses:
            handler.send_error(self.statuses.pop(0))
            return
        if self.location is not None:
            handler.send_response(302)
            handler.send_header("Location", self.location)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        same = handler.headers.get("If-Range") in (None, self.etag, self.modified)
        start = int(asked[1]) if asked and same and self.ranges else 0
        if asked and start >= len(self.content) > 0:
            handler.send_error(416)
            return
        handler.send_response(206 if start else 200)
        if start and self.wrong_parts:
            self.wrong_parts, start = self.wrong_parts - 1, start + 1
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if self.states_length:
            handler.send_header("Content-Length", str(len(self.content) - start))
        headers = {"ETag": self.etag, "Last-Modified": self.modified, "Content-Type": self.content_type}
        for name, value in headers.items():
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(self.content[start:][: self.cuts.pop(0) if self.cuts else None])


@contextmanager
def serving(content: bytes) -> Iterator[Loopback]:
    """Serve a file while the block runs."""
    loopback = Loopback(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            loopback.answer(self)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    loopback.url = f"http://127.0.0.1:{server.server_port}/corpus.zip"
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True)
    thread.start()
    try:
        yield loopback
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
