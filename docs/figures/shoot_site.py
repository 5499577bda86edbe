"""Check the site in Chromium: ``python docs/figures/shoot_site.py PICTURES [SITE]``, in a clone of the repository.

It takes screenshots of a few pages, in both colour schemes and in the widths of a desktop and a phone. It reports each
page that is wider than a phone, logs an error to the console, or requests something from another host. Pages below
``source/`` are not checked. ``SITE`` is the output folder of ``mkdocs build``. Default: build the site.
Requires the extra ``docs``, Playwright and Chromium.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from chromium import chromium
from playwright.sync_api import Browser

ROOT = Path(__file__).parents[2]
SHOT = {"home": "", "layer": "layers/shift-lstm/", "benchmarks": "benchmarks/"}
DESKTOP, PHONE = 1280, 390  # pixels
NO_INDEX = '{"config": {"lang": ["en"], "separator": " ", "pipeline": [], "fields": {}}, "docs": []}'


def main(pictures: Path, site: Path | None = None) -> int:
    pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        site = site or build(Path(folder))
        with served(site) as address:
            shoot(browser, address, pictures)
            found = faults(browser, address, pages_of(site))
    print("\n".join(found) or "the checked pages fit a phone, log no error and request nothing from another host")
    return len(found)


def build(folder: Path) -> Path:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True)
    return folder


@contextmanager
def served(site: Path) -> Iterator[str]:
    """Serve a built site, and yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def pages_of(site: Path) -> list[str]:
    """The addresses of all pages, except pages below ``source/``, relative to the address of the site."""
    folders = sorted(page.parent.relative_to(site).as_posix() for page in site.rglob("index.html"))
    return ["" if folder == "." else f"{folder}/" for folder in folders if not folder.startswith("source")]


def shoot(browser: Browser, address: str, pictures: Path) -> None:
    for scheme in ("light", "dark"):
        for width in (DESKTOP, PHONE):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            for name, place in SHOT.items():
                page.goto(address + place)
                page.wait_for_timeout(500)  # until animations end
                page.screenshot(path=pictures / f"{name}-{scheme}-{width}.png", animations="disabled")
            page.close()


def faults(browser: Browser, address: str, places: list[str], width: int = PHONE) -> list[str]:
    """A line for each fault of each page."""
    found: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.on("console", lambda message: found.append(f"{page.url}: {message.text}") if message.type == "error" else None)
    page.on("pageerror", lambda error: found.append(f"{page.url}: {error}"))
    page.on("request", lambda asked: None if _is_own(asked.url, address) else found.append(f"{page.url}: {asked.url}"))
    page.goto(address)
    page.route(
        "**/search_index.json", lambda route: route.fulfill(body=NO_INDEX)
    )  # otherwise each page builds the search index again
    for place in places:
        page.goto(address + place)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            found.append(f"{page.url}: {wide} pixels wider than {width}")
    page.close()
    return found


def _is_own(url: str, address: str) -> bool:
    return url.startswith((address, "data:", "blob:"))


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:3])))
