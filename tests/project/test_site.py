"""The site builds without warnings, its links resolve, it loads nothing from other hosts, and it fits a phone."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urljoin, urlsplit

import pytest

import temporal_shift

ROOT = Path(__file__).parents[2]
HOST = "http://site"
API = {path: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "api").glob("*.md")}
FETCHED = {"script": "src", "img": "src", "source": "srcset", "iframe": "src"}  # what a browser loads with a page


def mkdocs(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run ``mkdocs build --strict`` without the announcement of its theme."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder), *more]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, env=quiet, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    built = mkdocs(folder)
    assert built.returncode == 0, built.stdout
    assert "WARNING" not in built.stdout
    return folder


class Page(HTMLParser):
    """The ids of a page, the addresses that it links to, and the addresses that it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag == "a":
            self.links += [attributes["href"]] if "href" in attributes else []
        elif tag == "link":
            self.fetched.append(attributes["href"])
        elif FETCHED.get(tag) in attributes:
            self.fetched += [entry.split()[0] for entry in attributes[FETCHED[tag]].split(",")]


@pytest.fixture(scope="module")
def pages(site):
    """The parsed pages by address."""
    return {
        f"{HOST}/{path.relative_to(site).as_posix()}".removesuffix("index.html"): Page(path.read_text(encoding="utf-8"))
        for path in site.rglob("*.html")
        if path.name != "404.html"  # its links are relative to the server's root
    }


def test_every_page_of_docs_is_in_the_navigation_and_built(site):
    nav = re.findall(r"^ +- .*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), flags=re.MULTILINE)
    docs = ROOT / "docs"
    assert sorted(nav) == sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))
    folders = [site / page.removesuffix("index.md").removesuffix(".md") for page in nav]
    assert [folder for folder in folders if not (folder / "index.html").exists()] == []


def test_every_link_anchor_and_image_resolves(site, pages):
    astray = []
    for address, page in pages.items():
        for link in [*page.links, *page.fetched]:
            place, _, anchor = urljoin(address, link).partition("#")
            if not place.startswith(f"{HOST}/"):
                continue
            file = site / unquote(urlsplit(place).path).lstrip("/")
            there = (file / "index.html" if place.endswith("/") else file).is_file()
            if not there or (anchor and place in pages and unquote(anchor) not in pages[place].ids):
                astray.append((address, link))
    assert astray == []


def test_no_id_occurs_twice_in_a_page(pages):
    assert {address: twice for address, page in pages.items() if (twice := repeated(page.ids))} == {}


def repeated(names: list[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def test_pages_and_styles_load_nothing_from_other_hosts(site, pages):
    asked = {urljoin(address, link) for address, page in pages.items() for link in page.fetched}
    assert {link for link in asked if not link.startswith((f"{HOST}/", "data:"))} == set()
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^)]*", styles) == []


def test_linked_files_and_folders_of_the_repository_become_pages(site):
    assert "def test_" in plain(
        (site / "source/tests/ser/experiments/test_kill.py/index.html").read_text(encoding="utf-8")
    )
    listing = Page((site / "source/temporal_shift/ser/experiments/configs/index.html").read_text(encoding="utf-8"))
    configs = {
        path.name for path in (ROOT / "temporal_shift/ser/experiments/configs").iterdir() if path.suffix == ".yaml"
    }
    assert configs <= {link.rstrip("/").rpartition("/")[2] for link in listing.links}
    for name in ("contributing", "changelog"):
        lines = (ROOT / f"{name.upper()}.md").read_text(encoding="utf-8").splitlines()
        first = next(line for line in lines if line and not line.startswith("#"))
        assert plain(first)[:40] in plain((site / name / "index.html").read_text(encoding="utf-8"))


def plain(text: str) -> str:
    return re.sub(r"<[^>]*>|[\[\]`]|\(http[^)]*\)", "", text)


def test_a_broken_link_fails_the_build(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# P\n\n[a](../tests/nothing.py) [b](nowhere.md) [c](#none)\n")
    own = {"INHERIT": str(ROOT / "mkdocs.yml"), "nav": ["index.md"], "plugins": [], "watch": [], "extra_css": []}
    own["hooks"] = [str(ROOT / "docs/hooks/sources.py")]
    (tmp_path / "mkdocs.yml").write_text(json.dumps(own))  # JSON is YAML
    built = mkdocs(tmp_path / "site", "--config-file", str(tmp_path / "mkdocs.yml"))
    assert built.returncode == 1
    for link, wrong in (("../tests/nothing.py", "target"), ("nowhere.md", "target"), ("#none", "no such anchor")):
        assert re.search(rf"WARNING .*'{re.escape(link)}'.*{wrong}", built.stdout), built.stdout


def test_columns_of_long_texts_are_wide_and_intervals_do_not_wrap(site):
    settings = (site / "settings" / "index.html").read_text(encoding="utf-8")
    assert re.search(r'<th style="--characters: 22; ">meaning</th>', settings)
    experiments = (site / "real-speech" / "index.html").read_text(encoding="utf-8")
    assert re.search(r'<span class="numbers">\[[−+][\d.]+, [−+][\d.]+\]</span>', experiments)


@pytest.fixture
def shoot_site(monkeypatch):
    """The module docs/figures/shoot_site.py, which opens the site in Chromium."""
    pytest.importorskip("playwright")
    monkeypatch.syspath_prepend(ROOT / "docs" / "figures")
    return importlib.import_module("shoot_site")


def test_every_page_fits_a_phone_without_errors_or_requests_to_other_hosts(site, shoot_site):
    try:
        with shoot_site.chromium() as browser, shoot_site.served(site) as address:
            assert shoot_site.faults(browser, address, shoot_site.pages_of(site)) == []
    except FileNotFoundError as missing:
        pytest.skip(str(missing))


def modules() -> set[ModuleType]:
    """All modules outside ``core`` and ``ser`` except ``__main__``, and the modules of the names on docs/api/ser.md."""
    core = [module.name for module in pkgutil.walk_packages(temporal_shift.__path__, "temporal_shift.")]
    others = ("temporal_shift.ser", "temporal_shift.core", "temporal_shift.__main__")
    shown = re.findall(r"^::: (\S+)", API[ROOT / "docs/api/ser.md"], flags=re.MULTILINE)
    return {importlib.import_module(name) for name in core if not name.startswith(others)} | {
        inspect.getmodule(pkgutil.resolve_name(name)) for name in shown
    }


def undocumented(module: ModuleType) -> Iterator[str]:
    """The public names of a module that have no docstring.

    A method may inherit its docstring from a base class, and the class may describe a property in ``Attributes``.
    """
    public = {name: value for name, value in vars(module).items() if name[0] != "_" and is_defined_in(value, module)}
    yield from (f"{module.__name__}.{name}" for name, value in {"": module, **public}.items() if not value.__doc__)
    for name, kind in public.items():
        for member, value in vars(kind).items() if inspect.isclass(kind) else ():
            documented = inspect.getdoc(getattr(kind, member)) or f"\n        {member}: " in (kind.__doc__ or "")
            if member[0] != "_" and (inspect.isroutine(value) or isinstance(value, property)) and not documented:
                yield f"{module.__name__}.{name}.{member}"


def is_defined_in(value: object, module: ModuleType) -> bool:
    return (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == module.__name__


def test_everything_public_has_a_docstring():
    found = modules()
    assert {"temporal_shift.streaming.nets", "temporal_shift.ser.inference.recognizer"} <= {
        module.__name__ for module in found
    }
    assert [name for module in found for name in undocumented(module)] == []


def test_every_export_is_on_one_page_of_the_reference():
    shown = "".join(f"{page}\n" for page in API.values())
    times = {name: shown.count(f"::: temporal_shift.{name}\n") for name in temporal_shift.__all__}
    assert times == dict.fromkeys(temporal_shift.__all__, 1)
