"""The package's extras: the packages that they require, and the command that installs an extra."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

NAME = "temporal-shift"


def not_installed(package: str, extra: str) -> str:
    """The error message for a missing package, with the command that installs the extra."""
    return f"{package} is not installed: {install_command(extra)}"


def install_command(extra: str, package: Path = Path(__file__).parent) -> str:
    """The ``pip install`` command for an extra, from the clone, URL or package index that this package came from.

    Args:
        extra: The extra, such as ``"ser"``.
        package: The folder of the imported package.
    """
    clone = package.parent
    with suppress(OSError):  # there is no such file, or the current folder was deleted
        if f'name = "{NAME}"' in (clone / "pyproject.toml").read_text(encoding="utf-8"):
            return f'pip install -e "{"." if clone == Path.cwd() else clone}[{extra}]"'
    url = _installed_from()
    return f'pip install "{NAME}[{extra}]{f" @ {url}" if url else ""}"'


def packages_of_extras() -> dict[str, list[str]]:
    """The packages that each extra requires, without other extras; empty if this package is not installed."""
    found: dict[str, list[str]] = {}
    with suppress(PackageNotFoundError):
        for requirement in distribution(NAME).requires or ():
            match = re.match(r"([\w.-]+).*;.*\bextra == ['\"]([\w-]+)['\"]", requirement)
            if match and match[1] != NAME:
                found.setdefault(match[2], []).append(match[1])
    return found


def _installed_from() -> str | None:
    """The URL that pip installed this package from (PEP 610), or ``None`` if it is a package index or unknown."""
    try:
        origin = json.loads(distribution(NAME).read_text("direct_url.json") or "null")
    except PackageNotFoundError:
        return None
    if origin is None:
        return None
    vcs = origin.get("vcs_info")
    return f"{vcs['vcs']}+{origin['url']}@{vcs['commit_id']}" if vcs else str(origin["url"])
