"""`epochal serve`."""

from __future__ import annotations

import argparse

from epochal.cli.studio import add_port
from epochal.cli.terminal import Terminal
from epochal.cli.view import serve_until_interrupted

EXAMPLES = """
epochal serve --dir /data/runs
epochal serve --host 0.0.0.0 --port 8000
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("folder", nargs="?", metavar="DIR", help="folder of runs")
    parser.add_argument("--dir", metavar="DIR", help="the same (default: $EPOCHAL_DIR, otherwise ./epochal-runs)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="H",
        help="address to listen on (default: this machine only); any other address demands a token",
    )
    parser.add_argument("--token", metavar="T", help="the token to demand (default: a new one where one is needed)")
    add_port(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Serve the Studio without opening a browser."""
    return serve_until_interrupted(args, terminal, browse=False, host=args.host, token=args.token)
