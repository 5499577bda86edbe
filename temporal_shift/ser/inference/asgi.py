"""Parts of an ASGI application that checks requests: refusals, security headers, size limits."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_HEADERS = {
    # Gradio's page has inline scripts and styles, compiles templates, and plays sound from blobs
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
}


class RefusedError(Exception):
    """Refuses a request with an HTTP status (4xx or 5xx) and a reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers by name in lower case. Values of a repeated header are joined by commas."""
    headers: dict[str, str] = {}
    for key, value in scope["headers"]:
        name, text = key.decode("latin-1").lower(), value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


class Answer:
    """Sends an application's answer with security headers, or a refusal if no answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._has_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._has_begun = True
            kept = [(key, value) for key, value in message.get("headers", []) if key.decode().lower() not in _HEADERS]
            added = [(key.encode(), value.encode()) for key, value in _HEADERS.items()]
            message = {**message, "headers": [*kept, *added]}
        await self._send(message)

    async def refuse(self, refused: RefusedError) -> None:
        """Answer with the reason as JSON, unless an answer has begun."""
        if self._has_begun:
            return
        body = json.dumps({"detail": str(refused), "error": str(refused)}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if refused.status == 401:
            headers.append((b"www-authenticate", b'Basic realm="temporal-shift", charset="UTF-8"'))
        await self({"type": "http.response.start", "status": refused.status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


async def body_of(receive: Receive, max_bytes: int) -> bytes:
    """The body of a request.

    Raises:
        RefusedError: If the body has more than ``max_bytes`` (413), or the client disconnects before its end (400).
    """
    limited, body, more = Limited(receive, max_bytes), b"", True
    while more:
        message = await limited()
        if message["type"] == "http.disconnect":
            raise RefusedError(400, "the client disconnected before the end of the request")
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


class Limited:
    """A ``receive`` that raises :class:`RefusedError` (413) when a body exceeds ``max_bytes`` bytes.

    It counts the bytes, because the stated length can be wrong or missing.
    """

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self.left = max_bytes
        self.refused = RefusedError(413, f"the request must have at most {max_bytes} bytes, got more")
        self._receive = receive

    async def __call__(self) -> Message:
        message = await self._receive()
        self.left -= len(message.get("body", b""))
        if self.left < 0:
            raise self.refused
        return message


def once(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the body, which was already read, and then calls the original one."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
