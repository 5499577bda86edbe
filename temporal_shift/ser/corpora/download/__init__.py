"""Download a corpus, verify its published checksum, if there is one, and unpack it into a folder.

:data:`~temporal_shift.ser.corpora.download.sources.SOURCES` lists the corpora.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import pooch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ...utils.atomic_files import file_sha256, write_json
from ...utils.errors import RecipeError
from ...utils.folder_lock import only_command_in
from .. import read_corpus
from .sources import DownloadableCorpus
from .transfer import OnProgress, ResumingDownloader
from .unpack import ArchiveError, unpack

RECORD = "download.json"  # in the folder of a corpus

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, config=ConfigDict(extra="ignore", strict=True))
class Downloaded:
    """The content of ``download.json``: the origin of the files in the folder of a corpus."""

    corpus: str
    url: str
    licence: str
    bytes: int  # of the archive
    sha256: str  # of the archive
    published_checksum: str | None
    files: int  # number of unpacked files


def downloaded(corpus: DownloadableCorpus, folder: Path) -> Downloaded | None:
    """The record of a corpus that was downloaded to a folder; ``None`` if the folder is empty or does not exist.

    Raises:
        RecipeError: If the folder is a file, or contains another corpus or other files.
    """
    if not folder.exists():
        return None
    if not folder.is_dir():
        raise RecipeError(f"the folder must be new or empty, got the file {folder}")
    first = next(iter(sorted(folder.iterdir())), None)
    if first is None:
        return None
    try:
        found = TypeAdapter(Downloaded).validate_json((folder / RECORD).read_bytes())
    except (FileNotFoundError, ValidationError):
        raise RecipeError(f"the folder must be new or empty, got {folder}, which contains {first.name}") from None
    if found.corpus != corpus.name:
        raise RecipeError(f"the folder must be new or empty, got {folder}, which contains the corpus {found.corpus}")
    return found


def download(corpus: DownloadableCorpus, folder: Path, on_progress: OnProgress, *, wait: float = 1.0) -> Downloaded:
    """Download a corpus to a folder, which then contains its files and ``download.json``.

    The folder stays missing or empty until it is complete. Until then, the download is in a hidden folder beside it,
    and the next call continues it if possible (see :class:`.ResumingDownloader`). A complete folder is not changed.

    Args:
        corpus: One of :data:`~.sources.SOURCES`.
        folder: A new or empty folder, or a folder that contains the same corpus.
        on_progress: Called with the downloaded bytes and the total number of bytes, ``None`` if it is unknown.
        wait: Seconds to wait after a failed attempt; doubled if further attempts bring no new byte. Default: 1.
    Returns:
        The content of ``download.json``.
    Raises:
        OSError: If a file cannot be read or written for another reason than a full disk.
        RecipeError: If the folder contains anything else, another process downloads to it, the server does not send the
            file, the archive does not have the published checksum or cannot be unpacked safely, the reader cannot read
            an archive without a published checksum, or the disk is full.
    """
    folder = folder.resolve()
    if (found := downloaded(corpus, folder)) is not None:
        return found
    work = folder.with_name(f".{folder.name}.download")
    try:
        with _report_full_disk(folder), only_command_in(work, "choose another folder"):
            archive = _archive(corpus, work, on_progress, wait)
            found = _unpacked(corpus, archive, work / "unpacked")
            with suppress(FileNotFoundError):
                folder.rmdir()  # if empty: on Windows, a rename needs a new name
            os.replace(work / "unpacked", folder)
            shutil.rmtree(work, ignore_errors=True)
    finally:
        with suppress(OSError):
            work.rmdir()  # if nothing was downloaded
    return found


def _archive(corpus: DownloadableCorpus, work: Path, on_progress: OnProgress, wait: float) -> Path:
    """Download the archive to ``work`` and verify the published checksum."""
    name = f"{hashlib.sha256(corpus.url.encode()).hexdigest()[:16]}.zip"  # one file per address
    fetch = ResumingDownloader(
        work / f"{name}.part",
        on_progress,
        is_verified=corpus.checksum is not None,
        page=corpus.page,
        size=corpus.size,
        wait=wait,
    )
    pooch.get_logger().setLevel(logging.ERROR)
    try:
        return Path(pooch.retrieve(corpus.url, corpus.checksum, name, work, downloader=fetch))
    except ValueError as error:
        if isinstance(error, RecipeError):
            raise
        raise RecipeError(
            f"{corpus.url} must have the published checksum {corpus.checksum}, got another file, which was deleted"
        ) from None


def _unpacked(corpus: DownloadableCorpus, archive: Path, folder: Path) -> Downloaded:
    """Unpack the archive to a folder and write ``download.json`` there. If this fails, delete the folder.

    If the archive is the reason, it is deleted, too.
    """
    shutil.rmtree(folder, ignore_errors=True)  # left by a killed process
    try:
        folder.mkdir()
        files = unpack(archive, folder)
        if (folder / RECORD).exists():
            raise ArchiveError(f"the archive must not contain {RECORD}")
        if corpus.checksum is None:
            _check_content(corpus, folder)
        record = Downloaded(
            corpus=corpus.name,
            url=corpus.url,
            licence=corpus.licence,
            bytes=archive.stat().st_size,
            sha256=file_sha256(archive),
            published_checksum=corpus.checksum,
            files=files,
        )
        write_json(folder / RECORD, asdict(record))
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, ArchiveError):
            archive.unlink()  # so that the next command downloads it again
            raise RecipeError(f"{corpus.url}: {error}; the download was deleted") from None
        raise
    return record


def _check_content(corpus: DownloadableCorpus, folder: Path) -> None:
    """Raise :class:`ArchiveError` if the reader cannot read the folder: the archive on the server may have changed."""
    try:
        read_corpus(corpus.settings(folder))
    except RecipeError as error:
        reason = str(error).replace(str(folder), corpus.name)
        raise ArchiveError(
            f"the archive must contain the recordings of {corpus.name}, which {corpus.page} describes: {reason}"
        ) from None


@contextmanager
def _report_full_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise RecipeError(
            f"{folder}: {os.strerror(error.errno or errno.ENOSPC)}; the download is kept, and the same command "
            "continues it when there is space"
        ) from None
