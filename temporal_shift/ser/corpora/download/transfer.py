"""Download one file over HTTP, and resume interrupted downloads."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from pydantic import ConfigDict, NonNegativeInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ...utils.atomic_files import write_json
from ...utils.errors import RecipeError, reason_of, shortened
from ...utils.wording import counted

_ATTEMPTS = 5  # consecutive attempts without a new byte
_PIECE = 1 << 14  # bytes; a piece that arrives in part is requested again
_TIMEOUT = 30.0  # seconds without an answer or a byte
_RETRIED_CODES = (408, 425, 429)  # and 5xx
_ZIP = (b"PK\3\4", b"PK\5\6")  # first bytes of an archive and of an empty archive

OnProgress = Callable[[int, int | None], None]  # downloaded bytes, total if known


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class _State:
    """The server's description of the file that is partially downloaded."""

    validator: str | None  # strong ETag, or date of the last change
    total: NonNegativeInt | None  # bytes


class ResumingDownloader:
    """A downloader of zip archives for :func:`pooch.retrieve`. Unlike pooch's own downloaders, it resumes.

    The bytes go to ``partial``, which is kept if the connection is lost, the disk is full or the process is killed. The
    next attempt requests the rest with ``Range``. If the server gave an ETag or a date, ``If-Range`` requests the whole
    file if it has changed. Servers without ``Range`` send the whole file.

    Args:
        partial: The file for the downloaded bytes; the server's description of it is in a file beside it.
        on_progress: Called with the downloaded bytes and the total, ``None`` if it is unknown, before the first piece
            of an attempt and after every piece.
        is_verified: Whether a checksum is verified afterwards. Without one, and without an ETag or a date from the
            server, a change of the file cannot be detected, so the download starts again.
        page: Where the publishers describe the file, for messages.
        size: The file's published size in bytes. Default: ``None``, unknown.
        wait: Seconds to wait after a failed attempt; doubled if further attempts bring no new byte. Default: 1.
    """

    def __init__(
        self,
        partial: Path,
        on_progress: OnProgress,
        *,
        is_verified: bool,
        page: str,
        size: int | None = None,
        wait: float = 1.0,
    ) -> None:
        self.partial, self.on_progress = partial, on_progress
        self.is_verified, self.size, self.wait = is_verified, size, wait
        self._location: str | None = None  # target of the last redirect
        self._hint = f"the address may have moved, see {page}"
        self._state_file = partial.with_name(f"{partial.name}.json")

    def __call__(self, url: str, output_file: Any, pooch: Any, *, check_only: bool | None = None) -> None:
        """Download ``url`` to ``output_file``. The other arguments belong to pooch's interface and are ignored.

        Raises:
            RecipeError: If the address or a redirect cannot be used, the server sends an error, a web page, a file of
                another size or a file that is not a zip archive, five attempts in a row bring no new byte, or the disk
                has too little space.
        """
        largest = failures = 0
        while True:
            try:
                self._attempt(url)
                break
            except RecipeError:
                raise
            except (requests.TooManyRedirects, ValueError) as error:  # do not retry: another attempt fails, too
                raise RecipeError(self._unusable(url, error)) from None
            except requests.RequestException as error:
                answer = error.response
                if answer is not None and not (answer.status_code >= 500 or answer.status_code in _RETRIED_CODES):
                    raise RecipeError(
                        f"{url} must be a zip archive, got the status {answer.status_code} {answer.reason}: "
                        f"{self._hint}"
                    ) from None
                size = self.partial.stat().st_size if self.partial.exists() else 0
                failures = 0 if size > largest else failures + 1
                largest = max(largest, size)
                if failures >= _ATTEMPTS:
                    reason = reason_of(error) if answer is None else f"{answer.status_code} {answer.reason}"
                    raise RecipeError(
                        f"the download of {url} failed after {counted(size, 'byte')} ({reason}); the same command "
                        "continues it if possible"
                    ) from None
                time.sleep(self.wait * 2 ** max(0, failures - 1))
        with self.partial.open("rb") as file:
            is_zip = file.read(4) in _ZIP
        if is_zip:
            os.replace(self.partial, output_file)
        else:
            self.partial.unlink()
        self._state_file.unlink(missing_ok=True)
        if not is_zip:
            raise RecipeError(f"{url} must be a zip archive, got another file, which was deleted: {self._hint}")

    def _unusable(self, url: str, error: Exception) -> str:
        if self._location is None:
            return f"{url} cannot be downloaded ({reason_of(error)}): {self._hint}"
        location = shortened(self._location)
        return f"{url} redirects to {location}, which cannot be used ({reason_of(error)}): {self._hint}"

    def _attempt(self, url: str) -> None:
        """Request the missing bytes and append them, or request the whole file if it cannot be resumed."""
        state = self._state()
        done = self.partial.stat().st_size if state is not None else 0
        if state is not None and done == state.total:
            return
        headers = {"Accept-Encoding": "identity"}  # no compression on top of the archive's
        if state is not None and done:
            headers["Range"] = f"bytes={done}-"
            if state.validator is not None:
                headers["If-Range"] = state.validator
        self._location = None
        hooks = {"response": self._note_redirect}
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT, hooks=hooks) as answer:
            if answer.status_code == 416 or (answer.status_code == 206 and not _continues(answer, done, state)):
                self.partial.unlink(missing_ok=True)
                raise requests.ConnectionError("the server did not send the requested part of the file")
            answer.raise_for_status()
            if answer.status_code == 206 and state is not None:
                total, mode = state.total, "ab"
            else:
                done, total, mode = 0, _length_of(answer), "wb"
                self._check_kind(url, answer, total)
                self.partial.unlink(missing_ok=True)
                write_json(self._state_file, {"validator": _validator_of(answer), "total": total})
            self._check_space(url, total, done)
            self.on_progress(done, total)
            with self.partial.open(mode) as file:
                for piece in answer.iter_content(_PIECE):
                    file.write(piece)
                    done += len(piece)
                    self.on_progress(done, total)
        if total is not None and done != total:
            raise requests.ConnectionError("the connection was closed early")

    def _note_redirect(self, answer: requests.Response, **_: Any) -> None:
        if answer.is_redirect:
            self._location = answer.headers["Location"]

    def _check_kind(self, url: str, answer: requests.Response, total: int | None) -> None:
        """Raise :class:`RecipeError` if the answer is a web page, or states another size than published."""
        if answer.headers.get("Content-Type", "").lower().startswith("text/html"):
            raise RecipeError(f"{url} must be a zip archive, got a web page: {self._hint}")
        if self.size is not None and total not in (None, self.size):
            raise RecipeError(f"{url} must have the published size, {self.size} bytes, got {total}: {self._hint}")

    def _state(self) -> _State | None:
        """The state of the partial file; ``None`` if it cannot be resumed."""
        try:
            state = TypeAdapter(_State).validate_json(self._state_file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        can_continue = self.partial.is_file() and (self.is_verified or state.validator is not None)
        too_long = can_continue and state.total is not None and self.partial.stat().st_size > state.total
        return state if can_continue and not too_long else None

    def _check_space(self, url: str, total: int | None, done: int) -> None:
        if total is not None:
            check_free_space(self.partial.parent, total - done, f"the download of {url}")


def check_free_space(folder: Path, needed: int, what: str) -> None:
    """Raise :class:`RecipeError` if the disk of a folder has less than ``needed`` free bytes.

    Args:
        folder: The folder.
        needed: Number of bytes.
        what: What needs the space, for the message.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RecipeError(f"{what} needs {in_megabytes(needed)} of free space in {folder}, got {in_megabytes(free)}")


def in_megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _validator_of(answer: requests.Response) -> str | None:
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified")  # If-Range does not allow weak ETags


def _length_of(answer: requests.Response) -> int | None:
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() and "Content-Encoding" not in answer.headers else None


def _continues(answer: requests.Response, done: int, state: _State | None) -> bool:
    """Whether ``Content-Range: bytes 100-199/200`` begins where the partial file ends, with the same total if known."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if found is None or state is None or int(found[1]) != done:
        return False
    return found[2] == "*" or state.total in (None, int(found[2]))
