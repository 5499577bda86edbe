"""Unpack an untrusted zip archive."""

from __future__ import annotations

import os
import shutil
import stat
import unicodedata
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from ...utils.errors import RecipeError, reason_of, shortened
from ...utils.names import check_path_name
from ...utils.wording import counted
from .transfer import check_free_space, in_megabytes

_MAX_RATIO = 20  # maximum size of the files / size of the archive; recordings compress far less
_SLACK = 1 << 20  # bytes added to the limit, for small archives
_MAX_FILES = 100_000


class ArchiveError(RecipeError):
    """The archive is damaged or unsafe, or does not contain the expected files."""


def unpack(archive: Path, folder: Path) -> int:
    """Write the files of an archive to an empty folder, and return their number.

    Hidden files and ``__MACOSX`` are skipped. If all files are in one top folder, its name is dropped from the paths.

    Raises:
        ArchiveError: If the archive is damaged or empty; if it contains encrypted files, links, devices, or names that
            are absolute, have ``.``, ``..`` or empty parts, occur twice, differ only in case or Unicode form, are both
            a file and a folder, or fail :func:`.check_path_name`; or if it unpacks to more than 100 000 files, or to
            more than 20 times its size plus 1 MiB.
        RecipeError: If the disk has too little space.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _members(opened, archive.stat().st_size)
            check_free_space(folder.parent, sum(info.file_size for info in members.values()), "unpacking")
            for path, info in members.items():
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(info) as source, target.open("xb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OverflowError) as error:
        raise ArchiveError(f"the archive cannot be unpacked: {reason_of(error)}") from None
    return len(members)


def _members(opened: zipfile.ZipFile, size: int) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The files to write, by path; raises :class:`ArchiveError` before anything is written."""
    found = {}
    for info in opened.infolist():
        path = _checked(info)
        if path is not None and not info.is_dir():
            if path in found:
                raise ArchiveError(f"the archive must contain each file once, got {shortened(info.filename)} twice")
            found[path] = info
    total, limit = sum(info.file_size for info in found.values()), _MAX_RATIO * size + _SLACK
    if not found:
        raise ArchiveError("the archive must contain files, got none")
    if len(found) > _MAX_FILES or total > limit:
        raise ArchiveError(
            f"the archive of {in_megabytes(size)} must contain at most {_MAX_FILES} files and {in_megabytes(limit)} "
            f"unpacked, got {counted(len(found), 'file')} and {in_megabytes(total)}"
        )
    _check_distinct(found)
    first = {path.parts[0] for path in found}
    if len(first) == 1 and all(len(path.parts) > 1 for path in found):
        return {PurePosixPath(*path.parts[1:]): info for path, info in found.items()}
    return found


def _checked(info: zipfile.ZipInfo) -> PurePosixPath | None:
    """The path of an entry; ``None`` if it is skipped."""
    name = info.filename
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 in archives from Windows
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveError(f"the archive must contain only files and folders, got the link or device {shortened(name)}")
    if info.flag_bits & 1:
        raise ArchiveError(f"the archive must not contain encrypted files, got {shortened(name)}")
    parts = name.removesuffix("/").split("/")
    if {"", ".", ".."} & {*parts} or os.path.isabs(name):
        raise ArchiveError(f"the archive must contain relative names within its folder, got {shortened(name)}")
    if any(part.startswith(".") or part == "__MACOSX" for part in parts):
        return None
    for part in parts:
        try:
            check_path_name(part, f"a part of the name {shortened(name)} in the archive")
        except RecipeError as error:
            raise ArchiveError(str(error)) from None
    return PurePosixPath(name)


def _check_distinct(found: dict[PurePosixPath, zipfile.ZipInfo]) -> None:
    """Raise :class:`ArchiveError` if two names differ only in case or Unicode form, or a file is also a folder."""
    seen: dict[str, PurePosixPath] = {}
    for path in found:
        other = seen.setdefault(_folded(path), path)
        if other is not path:
            raise ArchiveError(
                f"names in the archive must differ by more than case and Unicode form, got {other} and {path}"
            )
    for path in found:
        for parent in path.parents:
            if _folded(parent) in seen:
                raise ArchiveError(f"a name in the archive must be a file or a folder, got {parent} as both")


def _folded(path: PurePosixPath) -> str:
    return unicodedata.normalize("NFC", str(path)).casefold()
