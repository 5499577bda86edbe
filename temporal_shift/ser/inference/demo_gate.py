"""Decide which requests the demo answers: requests that its page can make, within limits.

Gradio serves more than this page uses: a proxy, an API, monitoring, any URL as a file. Only the routes ``_UPLOAD``,
``_JOIN`` and ``_READ`` pass. Requests of other pages, except links to this page, are refused by their headers
``Origin`` and ``Sec-Fetch-Site``. Requests with neither header, for example from curl, pass this check.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import secrets
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..utils.errors import shortened
from .asgi import Answer, App, Limited, Message, Receive, RefusedError, Scope, Send, body_of, headers_of, once

UPLOAD_BYTES = 60 * 2**20  # maximum bytes of an upload
TOTAL_BYTES = 600 * 2**20  # maximum bytes of the files in the temporary folder, for an upload to be accepted
KEPT = 900  # seconds until a file in the temporary folder may be deleted
_JSON_BYTES = 64 * 2**10  # maximum bytes of an event
_MAX_SESSIONS = 1000  # maximum number of remembered sessions

_API = "/gradio_api/"
_UPLOAD, _JOIN, _EVENTS, _FILE = f"{_API}upload", f"{_API}queue/join", f"{_API}queue/data", f"{_API}file="
_READ = re.compile(  # the paths that the page reads
    rf"/|/theme\.css|/favicon\.ico|/(static|assets)/[\w./@+-]{{1,200}}|{_API}(queue/data|upload_progress|file=.+)"
)
_SESSION = re.compile(r"\w{1,64}")


@dataclass(slots=True)
class Gate:
    """An ASGI application that lets Gradio answer the requests that the demo's page can make, and refuses others.

    Args:
        app: Gradio's application.
        folder: The temporary folder of uploads and answers.
        hosts: The names and addresses of this server. Other names in the ``Host`` header (DNS rebinding) are refused.
        any_address: Whether any IP address in the ``Host`` header is accepted (an address cannot be rebound).
        examples: The number of examples.
        file_events: The numbers of the page's events that take a file.
        example_events: The numbers of the page's events that take the number of an example.
        auth: ``user:password`` for HTTP Basic authentication. Default: ``None``, no password.
    """

    app: App
    folder: Path
    hosts: Collection[str]
    any_address: bool
    examples: int
    file_events: Collection[int]
    example_events: Collection[int]
    auth: str | None = None
    _reserved: int = field(default=0, init=False)  # bytes of the uploads in progress
    _sessions: dict[str, None] = field(default_factory=dict, init=False)  # sessions with events, newest last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        if scope["type"] == "http":
            await self._answer(scope, receive, Answer(send))

    async def _answer(self, scope: Scope, receive: Receive, answer: Answer) -> None:
        try:
            self._check(headers_of(scope), scope["method"], scope["path"])
            if scope["path"] == _UPLOAD:
                await self._upload(scope, receive, answer)
            elif scope["path"] == _JOIN:
                body = self._event(await body_of(receive, _JSON_BYTES))
                await self.app(scope, once(body, receive), answer)
            else:
                if scope["path"] == _EVENTS:
                    self._check_session(scope["query_string"].decode("latin-1"))
                await self.app(scope, receive, answer)
        except RefusedError as refused:
            await answer.refuse(refused)
        except Exception as error:  # an error in Gradio: log one line instead of a traceback
            print(f"{scope['method']} {scope['path']!r} failed: {type(error).__name__}", file=sys.stderr, flush=True)
            await answer.refuse(RefusedError(500, "the demo failed to answer this request"))

    def _check(self, headers: dict[str, str], method: str, path: str) -> None:
        host = headers.get("host", "").lower()
        if not self._is_own(host):
            raise RefusedError(421, f"the Host header must name this server, got {shortened(host)}")
        if self.auth is not None and not _authorized(headers.get("authorization", ""), self.auth):
            raise RefusedError(401, "the Authorization header must have the user name and password of this page")
        is_visit = method in ("GET", "HEAD") and path == "/"  # a link or a bookmark may lead to the page
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            raise RefusedError(
                403,
                f"the Origin header must be http://{host} or https://{host}, got {shortened(origin)}",
            )
        if site not in ("same-origin", "none") and not (is_visit and headers.get("sec-fetch-mode") == "navigate"):
            raise RefusedError(
                403,
                f"the Sec-Fetch-Site header must be same-origin or none, except for a link to /, got {shortened(site)}",
            )
        routes = (_UPLOAD, _JOIN) if method == "POST" else ()
        if not (path in routes or (method in ("GET", "HEAD") and _READ.fullmatch(path))):
            raise RefusedError(404, f"the demo does not answer {method} {shortened(path)}")
        if path.startswith(_FILE) and not self._has(path.removeprefix(_FILE)):
            raise RefusedError(404, f"the temporary folder has no file {shortened(path.removeprefix(_FILE))}")

    def _check_session(self, query: str) -> None:
        """Refuse unknown sessions, because Gradio would fail after the answer has begun."""
        if not any(session in self._sessions for session in parse_qs(query).get("session_hash", [])):
            raise RefusedError(404, f"session_hash must be the session of an earlier event, got {shortened(query)}")

    def _is_own(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name = parts.hostname or ""
            if parts.port != 0 and name in self.hosts:  # an invalid port is a ValueError
                return True
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.any_address

    def _has(self, name: str) -> bool:
        """Whether ``name`` is the path of a file in the temporary folder."""
        try:
            path = Path(name).resolve()
            return path.is_relative_to(self.folder.resolve()) and path.is_file()
        except (OSError, ValueError):
            return False

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = headers_of(scope)
        stated = headers.get("content-length", "")
        length = int(stated) if stated.isascii() and stated.isdigit() else UPLOAD_BYTES
        if length > UPLOAD_BYTES:
            raise RefusedError(413, f"an upload must have at most {UPLOAD_BYTES} bytes, got {length}")
        kind = headers.get("content-type", "")
        if not re.match(r"multipart/form-data;.*boundary=\S", kind):
            raise RefusedError(
                400, f"the Content-Type header must be multipart/form-data with a boundary, got {shortened(kind)}"
            )
        if self._used() + self._reserved + length > TOTAL_BYTES:
            raise RefusedError(507, f"the space for uploads is full: try again in {KEPT // 60} minutes")
        self._reserved += length
        limited = Limited(receive, UPLOAD_BYTES)

        failed = False

        async def send_unless_failed(message: Message) -> None:  # after an error, Gradio answers with 500, then raises
            nonlocal failed
            failed = failed or message.get("status", 0) >= 500
            if not failed:
                await send(message)

        try:
            await self.app(scope, limited, send_unless_failed)
        except OSError as error:
            raise RefusedError(507, f"the upload cannot be stored: {error.strerror}") from None
        except Exception as error:
            unread = RefusedError(400, f"Gradio cannot read the upload: {type(error).__name__}")
            raise (limited.refused if limited.left < 0 else unread) from None
        finally:
            self._reserved -= length

    def _used(self) -> int:
        """Delete files over 15 minutes old, including files of failed uploads. Return the bytes of the other files."""
        used = 0
        for path in self.folder.rglob("*"):
            with suppress(OSError):  # Gradio may have deleted the file
                status = path.stat()
                if not path.is_file():
                    continue
                if time.time() - status.st_mtime > KEPT:
                    path.unlink()
                else:
                    used += status.st_size
        return used

    def _event(self, body: bytes) -> bytes:
        """Validate an event of the page; return its body with only the fields that the page needs."""
        try:
            given = json.loads(body)
            session, event, data = given["session_hash"], given["fn_index"], given["data"]
            (value,) = data
            is_event = type(event) is int and self._takes(event, value)
            is_valid = is_event and isinstance(data, list) and bool(_SESSION.fullmatch(session))
        except (ValueError, TypeError, KeyError, RecursionError):
            is_valid = False
        if not is_valid:
            text = shortened(body.decode(errors="replace"))
            raise RefusedError(
                400,
                "the request must be JSON with session_hash, fn_index and one input in data (uploads are deleted after "
                f"{KEPT // 60} minutes), got {text}",
            )
        self._sessions.pop(session, None)
        self._sessions[session] = None
        if len(self._sessions) > _MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        kept = {"session_hash": session, "fn_index": event, "data": [value and self._file(value)]}
        return json.dumps({**kept, "trigger_id": None, "event_data": None}).encode()

    def _takes(self, event: int, value: object) -> bool:
        if event in self.example_events:
            return type(value) is int and 0 <= value < self.examples
        if event not in self.file_events:
            return False
        return value is None or (
            isinstance(value, dict) and isinstance(value["path"], str) and self._has(value["path"])
        )

    @staticmethod
    def _file(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        name = value.get("orig_name")
        meta = {"_type": "gradio.FileData"}
        return {"path": value["path"], "orig_name": name if isinstance(name, str) else None, "meta": meta}


def _authorized(header: str, auth: str) -> bool:
    kind, _, encoded = header.partition(" ")
    try:
        given = base64.b64decode(encoded.strip(), validate=True)
    except ValueError:
        return False
    return kind.lower() == "basic" and secrets.compare_digest(given, auth.encode())
