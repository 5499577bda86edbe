"""The browser for the screenshot scripts: ``$CHROMIUM``, the system's Chromium, or Playwright's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright


@contextmanager
def chromium() -> Iterator[Browser]:
    """Headless Chromium without background network requests.

    Raises:
        FileNotFoundError: If the browser does not exist.
    """
    with sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM") or shutil.which("chromium") or playwright.chromium.executable_path
        if not Path(path).exists():
            raise FileNotFoundError(
                f"no Chromium at {path}; set CHROMIUM to its path, or run playwright install chromium"
            )
        args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=path, args=args)
        yield browser
        browser.close()
