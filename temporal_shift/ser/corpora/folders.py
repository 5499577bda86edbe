"""List the recordings below a folder, and raise if one could be missed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..utils.errors import RecipeError, raise_problems

READ = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64")
_NOT_READ = (".aac", ".amr", ".avi", ".m4a", ".mp4", ".webm", ".wma")  # listed, so that reading them is an error


def corpus_folder(path: Path) -> Path:
    """The absolute path of a folder; raises :class:`RecipeError` if there is no such folder."""
    root = path.resolve()
    if not root.is_dir():
        raise RecipeError(f"there is no corpus folder {root}")
    return root


def sorted_entries(folder: Path) -> list[Path]:
    """The sorted entries of a folder; unlike ``glob``, raises :class:`RecipeError` if it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise RecipeError(f"the folder {folder} cannot be read: {error.strerror}") from None


def audio_files(root: Path) -> list[Path]:
    """The recordings below a folder, sorted: the files with an extension of audio or video.

    Hidden files and folders, such as macOS's ``._x.wav``, and ``__MACOSX`` are skipped. Links to folders are followed.

    Raises:
        RecipeError: If a recording could be missed or found twice: a folder cannot be read or is reached in two ways, a
            link is broken, a recording is a device or a pipe, or a name is not UTF-8.
    """
    problems: list[str] = []
    found = sorted(_recordings(root, problems))
    raise_problems(problems)
    return found


def _recordings(root: Path, problems: list[str]) -> Iterator[Path]:
    first: dict[tuple[int, int], Path] = {}  # the first path of each folder
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            status = folder.stat()
            entries = sorted_entries(folder)
        except OSError as error:
            problems.append(f"the folder {folder} cannot be read: {error.strerror}")
            continue
        except RecipeError as error:
            problems.append(str(error))
            continue
        other = first.setdefault((status.st_dev, status.st_ino), folder)
        if other is not folder:
            problems.append(f"the folders {other} and {folder} are the same folder: remove the link")
            continue
        for path in entries:
            if path.name.startswith((".", "__MACOSX")):
                continue
            if problem := _problem(path):
                problems.append(problem)
            elif path.is_dir():
                folders.append(path)
            elif path.suffix.lower() in READ + _NOT_READ:
                yield path


def _problem(path: Path) -> str | None:
    if not path.exists():
        return f"{path} must be a file or a folder, got a broken link"
    if path.suffix.lower() in READ + _NOT_READ and not (path.is_file() or path.is_dir()):
        return f"{path} must be a file, got a device or a pipe"
    try:
        path.name.encode()
    except UnicodeEncodeError:
        return f"the name must be UTF-8 text, got {str(path)!r}"
    return None
