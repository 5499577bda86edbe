"""Take screenshots of the demo: ``python docs/figures/shoot_demo.py [FOLDER]``, in a clone of the repository.

Requires the extra ``demo``, Playwright and Chromium.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from chromium import chromium
from PIL import Image
from playwright.sync_api import Browser

ROOT = Path(__file__).parents[2]
EXAMPLE = "angry, man"  # the first example
WIDTHS = {"demo.png": 1280, "demo-phone.png": 390}


def main(folder: Path) -> None:
    with demo() as address, chromium() as browser:
        for name, width in WIDTHS.items():
            shoot(browser, address, width, folder / name)


@contextmanager
def demo() -> Iterator[str]:
    """Start the demo with the repository's models, and yield its address."""
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [sys.executable, "-m", "temporal_shift", "ser", "demo", "--no-browser", "--port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().split()[0]
    finally:
        server.terminate()
        server.wait()


def shoot(browser: Browser, address: str, width: int, path: Path) -> None:
    """Take a screenshot of the whole page after two predictions for an example."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme="light")
    page.goto(address)
    for _ in range(2):  # the first prediction is slower
        page.get_by_role("button", name=EXAMPLE).click()
        page.wait_for_selector(".card img")
        page.wait_for_timeout(1000)  # until the page shows its progress
        page.get_by_text("processing |").wait_for(state="hidden")
        page.wait_for_timeout(2000)  # until animations end
    page.screenshot(path=path, full_page=True, animations="disabled")
    page.close()
    Image.open(path).convert("RGB").save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
