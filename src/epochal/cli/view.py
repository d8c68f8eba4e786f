"""`epochal view`."""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from epochal.cli.elsewhere import ACTIVATIONS, OUTPUTS, is_network, record_file
from epochal.cli.options import existing_root
from epochal.cli.studio import add_port, announce
from epochal.cli.terminal import Terminal
from epochal.errors import UsageError
from epochal.store.cache import CachedStore, given_place
from epochal.store.layout import resolve_root
from epochal.store.remote import is_remote

if TYPE_CHECKING:
    from epochal.server import Address

EXAMPLES = """
epochal view
epochal view experiments/runs --port 7000
epochal view s3://team/runs
epochal view --no-open
epochal view net.npz --input-shape 28 28 --activation sigmoid
epochal view epochal:efficientnet-lite0
epochal view net.pt2 --dir experiments/runs
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "folder",
        nargs="?",
        metavar="DIR|NETWORK",
        help="folder of runs, s3://bucket/prefix, or a network: a .pt2, .npz, .safetensors, .pt or .onnx file, events "
        "of TensorBoard, a graph of W&B or a model of Keras in JSON, epochal:efficientnet-lite0, torchvision:NAME, "
        "timm:NAME, transformers:NAME, keras:NAME, or package.module:function, which is run",
    )
    parser.add_argument("--dir", metavar="DIR", help="the same (default: $EPOCHAL_DIR, otherwise ./epochal-runs)")
    add_port(parser)
    parser.add_argument("--no-open", action="store_true", help="do not open a browser")
    network = parser.add_argument_group("a network")
    network.add_argument("--weights", metavar="FILE", help="parameters for a named model or for code")
    network.add_argument(
        "--input-shape", nargs="+", type=int, metavar="N", help="shape of one example, such as 28 28 (default: flat)"
    )
    network.add_argument("--activation", choices=ACTIVATIONS, help="between its layers (default: relu)")
    network.add_argument("--output", choices=OUTPUTS, help="of its last layer (default: none)")


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Serve the Studio on this machine until Ctrl-C."""
    if args.folder and not is_remote(args.folder) and is_network(args.folder):
        with ExitStack() as stack:
            kept = args.dir is not None
            folder = args.dir if kept else stack.enter_context(tempfile.TemporaryDirectory(prefix="epochal-view-"))
            root = resolve_root(folder)
            page = record_file(Path(args.folder), root, args, terminal)
            return serve_until_interrupted(args, terminal, browse=not args.no_open, root=root, page=page)
    if args.input_shape or args.activation or args.output or args.weights:
        raise UsageError(
            "--input-shape, --activation, --output and --weights say what a network is.",
            hint="Name the file: epochal view net.npz --input-shape 28 28.",
        )
    return serve_until_interrupted(args, terminal, browse=not args.no_open)


def serve_until_interrupted(
    args: argparse.Namespace,
    terminal: Terminal,
    *,
    browse: bool,
    host: str = "127.0.0.1",
    token: str | None = None,
    root: Path | None = None,
    page: str = "",
) -> int:
    """Serve a folder of runs; Ctrl-C is the way to end it and no failure."""
    place = given_place(args.folder or args.dir)
    cached = CachedStore(str(place)) if root is None and is_remote(place) else None
    if cached is not None:
        terminal.note(f"Store   {cached.address}")
        cached.refresh(heavy=False)
        root = cached.root
        if count := len(cached.refused):
            terminal.warn(f"{count} objects there have names that cannot be files here, and are left out.")
    root = existing_root(args.folder or args.dir) if root is None else root
    from epochal.server import make_app, serve

    def ready(address: Address) -> None:
        announce(address, terminal, browse=browse, page=page)
        terminal.note(f"Runs    {root}")
        terminal.note("Ctrl-C ends it.")
        if cached is not None:
            cached.watch(terminal.warn)

    try:
        serve(make_app(root, token=token), host=host, port=args.port, ready=ready)
    except KeyboardInterrupt:
        terminal.note("")
    finally:
        if cached is not None:
            cached.close()
    return 0
