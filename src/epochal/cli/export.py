"""`epochal export`."""

from __future__ import annotations

import argparse

from epochal.cli.options import add_dir, add_json, add_run, existing_root
from epochal.cli.terminal import Terminal

EXAMPLES = """
epochal export latest --to weights.gif
epochal export latest --what biases --to biases.mp4 --fps 20
epochal export latest --what weights --steps last --layers 'layers.*' --to weights.png --size 1280x720
epochal export latest --what scalars --to metrics.csv
epochal export latest --what samples --to samples.gif
epochal export latest --what confusion --share rows --to confusion.svg
epochal export latest --what confusion --against 0 --to learned.png
epochal export latest --to report.html
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    add_run(parser)
    parser.add_argument(
        "--to",
        required=True,
        metavar="FILE",
        help="the file; its suffix is gif, mp4, png, svg, html, csv, parquet, or that of a logged value, such as wav",
    )
    parser.add_argument(
        "--what",
        metavar="WHAT",
        help="weights, biases, histogram, scalars, gradients, confusion, all, or the name of a series, such as of "
        "logged images (default: all for .html, scalars for .csv and .parquet, weights otherwise)",
    )
    parser.add_argument("--format", metavar="FORMAT", help="where the suffix does not say it")
    parser.add_argument(
        "--steps",
        metavar="STEPS",
        help="all, first, last, 5, 1,5,9, 0:150 (both ends), 0:150:10 (one each 10 steps), every:5 (each fifth kept)",
    )
    parser.add_argument("--layers", metavar="NAMES", help="layers (or series) by name or pattern, joined by commas")
    parser.add_argument("--fps", type=float, metavar="N", help="frames a second of a film")
    parser.add_argument("--size", metavar="WxH", help="size in pixels, such as 800x600 (default: as large as needed)")
    parser.add_argument("--cmap", metavar="NAME", help="colour map: diverging, blue, viridis, cividis, magma or gray")
    parser.add_argument(
        "--share", choices=("counts", "rows", "columns", "all"), help="what cells of a confusion matrix are shares of"
    )
    parser.add_argument(
        "--against", metavar="RUN|STEP", help="another run, or a step of this one, beside a confusion matrix"
    )
    parser.add_argument("--theme", choices=("light", "dark"), default="light", help="surface (default: light)")
    add_dir(parser)
    add_json(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Write the file and say what is in it."""
    from epochal.export import write
    from epochal.workspace import RunReader
    from epochal.workspace import open as open_workspace

    workspace = open_workspace(existing_root(args.dir))
    reader = workspace.run(args.run)
    against: int | RunReader | None = None
    if args.against is not None:
        step = args.against.removeprefix("@")
        against = int(step) if step.isascii() and step.isdigit() else workspace.run(args.against)
    with terminal.progress("Drawing", unit="frames") as progress:
        written = write(
            reader,
            to=args.to,
            what=args.what,
            format=args.format,
            steps=args.steps,
            layers=args.layers,
            fps=args.fps,
            size=args.size,
            cmap=args.cmap,
            theme=args.theme,
            share=None if args.share == "counts" else args.share,
            against=against,
            progress=progress,
        )
    if args.json:
        terminal.json(
            {
                "path": str(written.path.absolute()),
                "run": reader.id,
                "what": written.what,
                "format": written.format,
                "bytes": written.bytes,
                "frames": written.frames,
                "notices": [{"code": n.code, "message": n.message, "hint": n.hint} for n in written.notices],
            }
        )
    else:
        frames = f", {written.frames:,} frames" if written.frames and written.frames > 1 else ""
        terminal.line(f"{written.path} ({written.what} of {reader.name}{frames}, {_size(written.bytes)})")
    for notice in written.notices:
        terminal.warn(notice.message, hint=notice.hint)
    return 0


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB" if count >= 1000 else f"{count} bytes"
