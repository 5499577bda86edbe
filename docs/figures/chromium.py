"""The browser of the scripts that take pictures: Debian's, the one that ``CHROMIUM`` names, or Playwright's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium without a window; it asks the network for nothing by itself.

    Raises:
        FileNotFoundError: If there is none.
    """
    with sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM") or shutil.which("chromium") or playwright.chromium.executable_path
        if not Path(path).exists():
            raise FileNotFoundError("there is no Chromium: apt install chromium, or playwright install chromium")
        args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=path, args=args)
        yield browser
        browser.close()
