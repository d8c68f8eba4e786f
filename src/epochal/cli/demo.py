"""`epochal demo`."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from epochal.cli import summary
from epochal.cli.options import add_dir, add_json, within
from epochal.cli.studio import add_port, announce
from epochal.cli.terminal import Terminal
from epochal.errors import StorageFullError, UsageError
from epochal.picture.numbers import number
from epochal.store.layout import resolve_root
from epochal.workspace import open as open_workspace

if TYPE_CHECKING:
    import epochal
    from epochal.demos import Material, Progress, TableDemo, Trained

EXAMPLES = """
epochal demo
epochal demo digits --hidden 64 32 --epochs 60
epochal demo mnist --hidden 30
epochal demo mnist3d --filters 8 16 --hidden 64
epochal demo mnist3d --data full_dataset_vectors.h5 --no-view --json
epochal demo lab
epochal demo wine --no-view --json
epochal demo --data flowers.csv --target species
"""
_WATCHED_SECONDS = 9.0
_SLOWEST_EPOCH = 0.5


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar="TABLE",
        help="iris, wine, breast_cancer, digits, mnist, mnist3d, or lab (default: iris)",
    )
    parser.add_argument(
        "--data",
        metavar="FILE",
        help="a CSV file with a header instead; for mnist an .npz file, for mnist3d an .h5 or .npz file",
    )
    parser.add_argument("--target", metavar="COLUMN", help="the column of --data that holds the classes")
    network = parser.add_argument_group("network and training")
    network.add_argument(
        "--hidden",
        nargs="*",
        type=_layer_size,
        metavar="N",
        help="hidden layers (default: 12 12; mnist: 30; mnist3d: 64)",
    )
    network.add_argument(
        "--filters", nargs="+", type=_layer_size, metavar="N", help="mnist3d: of each stage (default: 8 16)"
    )
    network.add_argument("--activation", metavar="NAME", help="relu, tanh or sigmoid (default: relu; mnist: sigmoid)")
    network.add_argument("--epochs", type=int, metavar="N", help="default: 150 (mnist: 10, mnist3d: 6)")
    network.add_argument("--seed", type=int, default=0, metavar="N", help="same seed, same training (default: 0)")
    network.add_argument("--lr", type=float, metavar="X", help="learning rate (default: the optimizer's own)")
    network.add_argument("--optimizer", default="adam", metavar="NAME", help="adam, rmsprop or sgd (default: adam)")
    network.add_argument("--batch-size", type=int, metavar="N", help="default: 16 (mnist: 32, mnist3d: 64)")
    network.add_argument("--engine", default="auto", metavar="NAME", help="torch, numpy or auto (default: auto)")
    network.add_argument("--batches", action="store_true", help="record the loss of every batch too")
    watching = parser.add_argument_group("watching")
    watching.add_argument("--no-view", action="store_true", help="train as fast as possible, print the summary, exit")
    watching.add_argument("--no-open", action="store_true", help="do not open a browser")
    watching.add_argument(
        "--pace",
        type=within(float, 0.0, 3600.0),
        metavar="SECONDS",
        help="the least time an epoch takes (default: so that the training can be watched; 0: as fast as possible)",
    )
    add_port(watching)
    add_dir(parser)
    add_json(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Train and record; show it in the Studio while it trains, unless that is not wanted."""
    if args.name == "lab":
        from epochal.cli.demo_lab import run as run_lab

        return run_lab(args, terminal, _made(resolve_root(args.dir)))
    if args.name == "mnist3d":
        return _run_volumes(args, terminal)
    if args.filters is not None:
        raise UsageError("--filters is of the demo 'mnist3d'.", hint="epochal demo mnist3d --filters 8 16")
    if args.name and args.data and args.name != "mnist":
        raise UsageError(f"Both the table {args.name!r} and --data were given.", hint="Name one of them.")
    from epochal.demos import DEFAULTS, TableDemo

    usual = DEFAULTS.get(args.name, DEFAULTS[""])
    demo = TableDemo(
        name=args.name or "iris",
        path=args.data,
        target=args.target,
        hidden=usual.hidden if args.hidden is None else tuple(args.hidden),
        epochs=usual.epochs if args.epochs is None else args.epochs,
        seed=args.seed,
        lr=args.lr,
        optimizer=args.optimizer,
        batch_size=usual.batch_size if args.batch_size is None else args.batch_size,
        activation=args.activation or usual.activation,
        batches=args.batches,
    )
    # Before a server starts or a folder is made: what cannot be trained is said at once.
    demo.check()
    material = demo.material(say=terminal.note)
    root = _made(resolve_root(args.dir))
    with ExitStack() as stack:
        if args.no_view:
            trained = _train(demo, material, args, terminal, root, pace=args.pace or 0.0, on_start=None)
            _tell(trained, args, terminal, root)
            return 0
        from epochal.server import make_app, start_in_background

        server = stack.enter_context(start_in_background(make_app(root), port=args.port))
        pace = min(_SLOWEST_EPOCH, _WATCHED_SECONDS / (demo.epochs + 1)) if args.pace is None else args.pace

        def begun(started: epochal.Run) -> None:
            page = f"#/weights?run={started.project}/{started.id}"
            announce(server.address, terminal, browse=not args.no_open, page=page)
            if args.pace is None:
                seconds = pace * (demo.epochs + 1)
                terminal.note(f"The training is slowed to about {seconds:.0f} s to be watched (--pace 0: full speed).")

        trained = _train(demo, material, args, terminal, root, pace=pace, on_start=begun)
        _tell(trained, args, terminal, root)
        terminal.note("\nThe Studio stays open. Ctrl-C ends it.")
        try:
            server.wait()
        except KeyboardInterrupt:
            terminal.note("")
    return 0


def _run_volumes(args: argparse.Namespace, terminal: Terminal) -> int:
    """The same for a network of three dimensions."""
    from epochal.cli.demo_volumes import VolumesDemo

    demo = VolumesDemo(args, terminal)
    root = _made(resolve_root(args.dir))
    with ExitStack() as stack:
        if not args.no_view:
            from epochal.server import make_app, start_in_background

            server = stack.enter_context(start_in_background(make_app(root), port=args.port))

        def begun(started: epochal.Run) -> None:
            kept.append(started)
            if not args.no_view:
                page = f"#/metrics?run={started.project}/{started.id}"
                announce(server.address, terminal, browse=not args.no_open, page=page)

        kept: list[epochal.Run] = []
        try:
            with terminal.progress("Training", unit="epochs") as update:
                trained = demo.train(root, on_start=begun, on_epoch=update)
        except KeyboardInterrupt:
            if kept:
                terminal.note(f"\nStopped. What was recorded until then is kept in {kept[0].path}")
            raise
        _tell(trained, args, terminal, root)
        if not args.no_view:
            terminal.note("\nThe Studio stays open. Ctrl-C ends it.")
            try:
                server.wait()
            except KeyboardInterrupt:
                terminal.note("")
    return 0


def _train(
    demo: TableDemo,
    material: Material,
    args: argparse.Namespace,
    terminal: Terminal,
    root: Path,
    *,
    pace: float,
    on_start: Callable[[epochal.Run], None] | None,
) -> Trained:
    from epochal.demos import train

    with terminal.progress("Training", unit="epochs") as update:

        def progress(at: Progress) -> None:
            names = [name for name in ("val_loss", "val_accuracy") if name in at.metrics]
            shown = [f"{name} {number(at.metrics[name], 3)}" for name in names]
            update(at.epoch, at.epochs, "  ".join(shown))

        started: list[epochal.Run] = []

        def begun(run: epochal.Run) -> None:
            started.append(run)
            if on_start is not None:
                on_start(run)

        try:
            return train(
                demo,
                dir=root,
                pace=pace,
                engine=args.engine,
                on_progress=progress,
                on_start=begun,
                material=material,
            )
        except KeyboardInterrupt:
            if started:
                terminal.note(f"\nStopped. What was recorded until then is kept in {started[0].path}")
            raise


def _tell(trained: Trained, args: argparse.Namespace, terminal: Terminal, root: Path) -> None:
    reader = open_workspace(root).run(f"{trained.project}/{trained.run_id}")
    if args.json:
        # Numbers that were logged under other names, such as val/accuracy, have their flat ones too.
        terminal.json({**trained.metrics, **summary.document(reader)})
        return
    terminal.line()
    summary.show(reader, terminal)
    if args.no_view:
        folder = f" {shlex.quote(args.dir)}" if args.dir else ""
        terminal.line(f"view   epochal view{folder}")


def _made(root: Path) -> Path:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFullError(
            f"The folder of runs {str(root)!r} cannot be made: {error.strerror}.", hint="Name another with --dir."
        ) from error
    return root


def _layer_size(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        hint = f"{text!r} is not a size; name the table first: epochal demo {text} --hidden 12 12"
        raise argparse.ArgumentTypeError(hint) from None
