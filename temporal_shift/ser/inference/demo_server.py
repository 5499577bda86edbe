"""The demo's server. It makes no requests to other hosts.

Uploads are stored in a temporary folder, which is deleted at the end.
"""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import tempfile
import webbrowser
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

from ..._extras import not_installed
from ..config import Channel
from ..utils.errors import RecipeError, reason_of
from .demo import Example, page_of
from .demo_gate import UPLOAD_BYTES, Gate
from .demo_views import CSS
from .recognizer import Recognizer

_QUEUE = 16  # maximum number of recordings that wait for a prediction; more are refused
_CONNECTIONS = 128  # maximum number at a time
_FILE_EVENTS, _EXAMPLE_EVENTS = (0, 1), (2,)  # numbers of the page's Gradio events


@dataclass(frozen=True, slots=True)
class Access:
    """Where the demo listens, and who may use it.

    Attributes:
        host: Address to listen on.
        port: Port to listen on.
        names: Further host names of the page, for example behind a proxy. Default: none.
        auth: ``user:password`` for HTTP Basic authentication of all requests. Default: ``None``, no password.
    """

    host: str
    port: int
    names: Collection[str] = ()
    auth: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the address."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def url(self) -> str:
        host = "localhost" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def hosts(self) -> set[str]:
        """The names and addresses that the ``Host`` header of a request may contain, in lower case.

        Unless :attr:`is_local`, :func:`application` also accepts any other IP address.
        """
        own = {"localhost", "127.0.0.1", "::1", self.host, *self.names}
        return {name.lower() for name in (own if self.is_local else own | {socket.gethostname(), socket.getfqdn()})}


def serve(
    models: list[tuple[str, Recognizer]],
    examples: list[Example],
    access: Access,
    *,
    browser: bool,
    channel: Channel = "mean",
) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        models: The model and, optionally, its baseline, with their names.
        examples: The examples that the page offers.
        access: The address to listen on, and the password.
        browser: Whether to open the page in a browser.
        channel: The channel of uploads and recordings that have several. Default: ``"mean"``, their mean.
    Raises:
        RecipeError: If gradio is not installed, or the server cannot listen on the address.
    """
    with tempfile.TemporaryDirectory(prefix="temporal-shift-") as folder, suppress(KeyboardInterrupt):
        app = application(models, examples, access, Path(folder), channel)
        import uvicorn

        with _listening(access) as listener:
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM must also delete the uploads
            print(f"{access.url}  (press Ctrl-C to stop)", flush=True)
            if not access.is_local:
                password = "with the password" if access.auth else "without a password"
                print(f"--host {access.host}: anyone on the network can open this page {password}", flush=True)
            if browser:
                # a thread, because a text browser blocks until it is closed
                Thread(target=webbrowser.open, args=(access.url,), daemon=True).start()
            uvicorn.Server(
                uvicorn.Config(
                    app,
                    ws="none",
                    log_level="critical",  # the gate reports errors
                    limit_concurrency=_CONNECTIONS,
                    timeout_graceful_shutdown=1,  # an open page keeps its connections
                    server_header=False,
                )
            ).run(sockets=[listener])


def application(
    models: list[tuple[str, Recognizer]],
    examples: list[Example],
    access: Access,
    folder: Path,
    channel: Channel = "mean",
) -> Gate:
    """The page behind its gate, as an ASGI application. Uploads are stored in ``folder``.

    Sets environment variables that Gradio reads. The other arguments are as in :func:`serve`.

    Raises:
        RecipeError: If gradio is not installed.
    """
    # gradio reads them when it is imported
    os.environ |= {
        "GRADIO_TEMP_DIR": str(folder),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_RUN_HISTORY": "False",
    }
    gradio = _gradio()
    from fastapi import FastAPI

    page = page_of(gradio, models, examples, channel)
    page.queue(api_open=False, default_concurrency_limit=1, max_size=_QUEUE)
    mounted = gradio.mount_gradio_app(
        FastAPI(openapi_url=None),
        page,
        path="/",
        server_name=access.host,
        server_port=access.port,
        footer_links=[],
        max_file_size=UPLOAD_BYTES,
        show_error=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        ssr_mode=False,
        theme=gradio.themes.Base(
            primary_hue="blue",
            neutral_hue="gray",
            font=("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"),  # system fonts need no download
            font_mono=("ui-monospace", "Consolas", "monospace"),
        ),
        css=CSS,
    )
    return Gate(
        mounted,
        folder,
        access.hosts(),
        not access.is_local,
        len(examples),
        _FILE_EVENTS,
        _EXAMPLE_EVENTS if examples else (),
        access.auth,
    )


def _listening(access: Access) -> socket.socket:
    family = socket.AF_INET6 if ":" in access.host else socket.AF_INET
    try:
        return socket.create_server((access.host, access.port), family=family)
    except (OSError, TypeError, UnicodeError) as error:  # also for invalid host names, for example with a null byte
        raise RecipeError(
            f"the demo cannot listen on --host {access.host} --port {access.port}: "
            f"{getattr(error, 'strerror', None) or reason_of(error)}"
        ) from None


def _gradio() -> Any:
    try:
        import gradio
    except ModuleNotFoundError:
        raise RecipeError(not_installed("gradio", "demo")) from None
    return gradio
