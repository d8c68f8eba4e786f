"""`epochal view`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from epochal.cli.options import existing_root
from epochal.cli.studio import add_port, announce
from epochal.cli.terminal import Terminal

if TYPE_CHECKING:
    from epochal.server import Address

EXAMPLES = """
epochal view
epochal view experiments/runs --port 7000
epochal view --no-open
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("folder", nargs="?", metavar="DIR", help="folder of runs")
    parser.add_argument("--dir", metavar="DIR", help="the same (default: $EPOCHAL_DIR, otherwise ./epochal-runs)")
    add_port(parser)
    parser.add_argument("--no-open", action="store_true", help="do not open a browser")


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Serve the Studio on this machine until Ctrl-C."""
    return serve_until_interrupted(args, terminal, browse=not args.no_open)


def serve_until_interrupted(
    args: argparse.Namespace, terminal: Terminal, *, browse: bool, host: str = "127.0.0.1", token: str | None = None
) -> int:
    """Serve a folder of runs; Ctrl-C is the way to end it and no failure."""
    root = existing_root(args.folder or args.dir)
    from epochal.server import make_app, serve

    def ready(address: Address) -> None:
        announce(address, terminal, browse=browse)
        terminal.note(f"Runs    {root}")
        terminal.note("Ctrl-C ends it.")

    try:
        serve(make_app(root, token=token), host=host, port=args.port, ready=ready)
    except KeyboardInterrupt:
        terminal.note("")
    return 0
