"""`epochal demo lab`: a small family of three-dimensional networks, trained beside each other in under a minute."""

from __future__ import annotations

import argparse
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from epochal.cli.demo_volumes import ELSEWHERE, need_torch, refuse
from epochal.cli.lab_run import say_result, watched
from epochal.cli.studio import announce
from epochal.cli.terminal import Terminal

__all__ = ["run"]

MODEL = "epochal:convnet3d"
DATA = "epochal:mnist3d?training=1200&test=400"
SPACE: dict[str, Any] = {"filters": [[8], [8, 16]], "dropout": [0.0, 0.4]}
PARAMETERS: dict[str, Any] = {
    "kernel_sizes": 3, "pool_sizes": 2, "dense": [32], "epochs": 5, "batch_size": 32, "learning_rate": 0.003,
}  # fmt: skip
REPEATS = 2
_OPTIONS = ("filters", "hidden", "activation", "lr", "batch_size", "data")


def run(args: argparse.Namespace, terminal: Terminal, root: Path) -> int:
    """Train the lab; show it in the Studio while it trains, unless that is not wanted."""
    refuse(args, (*ELSEWHERE, *_OPTIONS, "optimizer"), {"engine": "auto", "batches": False, "optimizer": "adam"})
    need_torch()
    from epochal.lab import Lab
    from epochal.lab.training import check

    parameters = PARAMETERS if args.epochs is None else {**PARAMETERS, "epochs": args.epochs}
    check(parameters, model=MODEL)
    lab = Lab(
        "demo-lab",
        model=MODEL,
        data=_data(terminal),
        space=SPACE,
        parameters=parameters,
        repeats=REPEATS,
        seed=args.seed,
    )
    jobs = max(1, min(4, os.cpu_count() or 1))
    root.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with ExitStack() as stack:
        if not args.no_view:
            from epochal.server import make_app, start_in_background

            server = stack.enter_context(start_in_background(make_app(root), port=args.port))
            announce(server.address, terminal, browse=not args.no_open, page="#/lab")
        with watched(terminal, "val_accuracy") as progress:
            result = lab.run(dir=root, jobs=jobs, on_progress=progress, say=terminal.note)
        if args.json:
            terminal.json(result.document())
        else:
            say_result(result, args, terminal, time.monotonic() - began)
        if not args.no_view:
            terminal.note("\nThe Studio stays open. Ctrl-C ends it.")
            try:
                server.wait()
            except KeyboardInterrupt:
                terminal.note("")
    return 0 if any(state.status == "finished" for state in result.trials) else 1


def _data(terminal: Terminal) -> str:
    """Build the examples once, before several processes want them; where MNIST is not to be had, keep what there is."""
    from epochal.demos.images import cache_folder
    from epochal.demos.volumes import save_volumes
    from epochal.lab.named import find_data

    with terminal.progress("Building volumes", unit="examples"):
        found = find_data(DATA, say=terminal.note)
    return DATA if found.name == "mnist3d" else str(save_volumes(found, cache_folder() / f"{found.name}.npz"))
