"""Serving the Studio: what view, serve and demo share."""

from __future__ import annotations

import argparse
import os
import sys
import webbrowser
from typing import TYPE_CHECKING

from epochal.cli.options import within
from epochal.cli.terminal import Terminal

if TYPE_CHECKING:
    from epochal.server import Address

PORT = 6070
_TERMINAL_BROWSERS = ("lynx", "w3m", "links", "elinks", "www-browser")


def add_port(parser: argparse._ActionsContainer) -> None:
    """`--port`."""
    parser.add_argument(
        "--port",
        type=within(int, 0, 65535),
        default=PORT,
        metavar="P",
        help=f"port (default: {PORT}, the next free one where it is in use; 0: any free one)",
    )


def has_browser() -> bool:
    """Whether a browser window could be opened for someone who sits at this machine."""
    if os.environ.get("SSH_CONNECTION") and not os.environ.get("DISPLAY"):
        return False
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    # A browser in the terminal would take it over.
    return getattr(browser, "name", "") not in _TERMINAL_BROWSERS


def announce(address: Address, terminal: Terminal, *, browse: bool, page: str = "") -> None:
    """Say where the Studio is and open it where that is wanted and possible."""
    if address.moved:
        terminal.warn(f"Port {address.wanted_port} is in use, so this is port {address.port}.")
    url = address.url + page
    terminal.note(f"Studio  {terminal.style(url, 'bold', stream=terminal.err)}")
    if browse and has_browser():
        webbrowser.open(url)
