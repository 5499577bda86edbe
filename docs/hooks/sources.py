"""A hook for the site: adds a page for each linked file or folder of the repository that is not part of the site.

Links to files that do not exist stay, and MkDocs reports them.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
SHOWN = {
    "contributing.md": ROOT / "CONTRIBUTING.md",
    "changelog.md": ROOT / "CHANGELOG.md",
}  # pages from files in the root of the repository
LARGEST = 200_000  # bytes; larger files are not shown

_LINK = re.compile(r"(?<=\]\()[^)\s#]+(?=[)#\s])")
_PICTURE = re.compile(r'(?:(?<=src=")|(?<=srcset="))[^"]+')  # in HTML
_LANGUAGES = {".py": "python", ".toml": "toml", ".yaml": "yaml"}
_HEAD = "---\nsearch:\n  exclude: true\n---\n"


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add a page for each file and folder that a page links to, and for those that the added pages link to."""
    waiting = list(files.documentation_pages())
    while waiting:
        file = waiting.pop()
        text, folder = _text(file.src_uri, file.content_string, config)
        for target in filter(None, (_target(folder, link) for link in _links(text))):
            uri = _uri_of(target, files, config)
            if uri not in files.src_uris:
                made = File.generated(config, uri, content=_listing(target) if target.is_dir() else _source(target))
                files.append(made)
                waiting.append(made)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links and pictures to the pages and pictures of the site."""
    text, folder = _text(page.file.src_uri, markdown, config)
    start = posixpath.dirname(page.file.src_uri) or "."

    def link(found: re.Match[str]) -> str:
        target = _target(folder, found[0])
        return found[0] if target is None else posixpath.relpath(_uri_of(target, files, config), start)

    def picture(found: re.Match[str]) -> str:
        target = _target(folder, found[0])
        file = None if target is None else files.get_file_from_path(_uri_of(target, files, config))
        return found[0] if file is None else file.url_relative_to(page.file)

    return _outside_code(lambda prose: _PICTURE.sub(picture, _LINK.sub(link, prose)), text)


def _text(uri: str, markdown: str, config: MkDocsConfig) -> tuple[str, Path]:
    """The Markdown of a page, and the folder to which its links are relative."""
    if uri in SHOWN:
        return SHOWN[uri].read_text(encoding="utf-8"), ROOT
    if uri.startswith("source/"):
        path = ROOT / uri.removeprefix("source/").removesuffix(".md")
        return markdown, path.parent
    return markdown, (Path(config.docs_dir) / uri).parent


def _links(markdown: str) -> list[str]:
    found: list[str] = []
    _outside_code(lambda prose: found.extend(_LINK.findall(prose)) or "", markdown)
    return found


def _outside_code(change: Callable[[str], str], markdown: str) -> str:
    parts = re.split(r"(^ *```.*?^ *```+ *$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if i % 2 else change(part) for i, part in enumerate(parts))


def _target(folder: Path, link: str) -> Path | None:
    """The target of a link, if it exists and is in the repository."""
    target = (folder / link).resolve()
    return target if target.exists() and target.is_relative_to(ROOT) else None


def _uri_of(target: Path, files: Files, config: MkDocsConfig) -> str:
    """The URI of the page or picture for a file or folder."""
    for uri, shown in SHOWN.items():
        if target == shown:
            return uri
    docs = Path(config.docs_dir).resolve()
    if target.is_relative_to(docs):
        file = files.get_file_from_path(target.relative_to(docs).as_posix())
        if file is not None and not file.inclusion.is_excluded():
            return file.src_uri
    path = target.relative_to(ROOT).as_posix()
    return f"source/{path}/index.md" if target.is_dir() else f"source/{path}.md"


def _source(path: Path) -> str:
    """A file as a page: Markdown is rendered, and other text is shown as code.

    A binary or large file is replaced by its size.
    """
    title = f"{_HEAD}\n# `{path.relative_to(ROOT).as_posix()}`\n\n"
    if not _is_text(path):
        return f"{title}{path.stat().st_size:,} bytes, not shown.\n"
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return _HEAD + re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    return f"{title}````{_LANGUAGES.get(path.suffix, 'text')}\n{text.rstrip()}\n````\n"


def _listing(folder: Path) -> str:
    entries = [path for path in sorted(folder.iterdir()) if not path.name.startswith((".", "__pycache__"))]
    shown = [path for path in entries if path.is_dir() or _is_text(path)]
    lines = [f"- [`{path.name}{'/' * path.is_dir()}`]({path.name})" for path in shown]
    if len(shown) < len(entries):
        lines.append(f"- {len(entries) - len(shown)} other files, not shown")
    return "\n".join([_HEAD, f"# `{folder.relative_to(ROOT).as_posix()}/`", "", *lines, ""])


def _is_text(path: Path) -> bool:
    return path.stat().st_size <= LARGEST and b"\0" not in path.read_bytes()
