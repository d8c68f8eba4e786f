"""`epochal demo mnist3d`: a network of three dimensions, trained by the loop of the lab."""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epochal.cli.terminal import Terminal
from epochal.demos.training import Trained
from epochal.demos.volumes import whole
from epochal.errors import MissingExtraError, UsageError
from epochal.picture.numbers import number

if TYPE_CHECKING:
    import epochal
    from epochal.demos.volumes import Volumes

__all__ = ["ELSEWHERE", "VolumesDemo", "need_torch", "refuse"]

FILTERS = (8, 16)
DENSE = (64,)
EPOCHS = 6
BATCH_SIZE = 64
DROPOUT = 0.3
ELSEWHERE = ("target", "engine", "batches", "pace")
"""Options of the other demos."""


def refuse(args: argparse.Namespace, names: tuple[str, ...], defaults: Mapping[str, Any]) -> None:
    """Raise UsageError for an option that this demo has no use for."""
    for name in names:
        if getattr(args, name) != defaults.get(name):
            raise UsageError(
                f"--{name.replace('_', '-')} is not an option of the demo {args.name!r}.",
                hint="epochal demo --help tells which belong to which.",
            )


def need_torch() -> None:
    """Raise MissingExtraError where PyTorch is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError(
            "Networks of three dimensions are trained with PyTorch.",
            hint="Install it with `pip install 'epochal[torch]'`.",
        )


def parameters_of(args: argparse.Namespace) -> dict[str, Any]:
    """The parameters of the one network of `epochal demo mnist3d`."""
    chosen = {
        "filters": list(FILTERS if args.filters is None else args.filters),
        "kernel_sizes": 3,
        "pool_sizes": 2,
        "dense": list(DENSE if args.hidden is None else args.hidden),
        "dropout": DROPOUT,
        "activation": args.activation or "relu",
        "optimiser": args.optimizer,
        "epochs": EPOCHS if args.epochs is None else args.epochs,
        "batch_size": BATCH_SIZE if args.batch_size is None else args.batch_size,
    }
    return chosen if args.lr is None else {**chosen, "learning_rate": args.lr}


class VolumesDemo:
    """The training of `epochal demo mnist3d`, checked before anything is made."""

    def __init__(self, args: argparse.Namespace, terminal: Terminal) -> None:
        refuse(args, ELSEWHERE, {"engine": "auto", "batches": False})
        need_torch()
        from epochal.lab.training import check

        self.parameters, self.seed = parameters_of(args), args.seed
        whole("The seed", args.seed, 0, 2**32 - 1)
        check(self.parameters, model="epochal:convnet3d")
        self.data = _examples(args, terminal)
        check(self.parameters, model="epochal:convnet3d", data=self.data)

    def train(
        self,
        root: Path,
        on_start: Callable[[epochal.Run], None],
        on_epoch: Callable[[int, int, str], None],
    ) -> Trained:
        """Train and record."""
        import epochal
        from epochal.lab.training import sparing_a_core, train

        data, parameters = self.data, self.parameters
        name = "-".join([data.name, *map(str, [*parameters["filters"], *parameters["dense"]])])
        name += f" seed {self.seed}" if self.seed else ""
        config = {**parameters, "seed": self.seed, "data": data.source, "model": "epochal:convnet3d"}
        config["examples"] = {
            "training": len(data.training.labels),
            "validation": len(data.validation.labels),
            "test": 0 if data.test is None else len(data.test.labels),
        }
        started = time.monotonic()
        with (
            sparing_a_core(),
            epochal.init(project="mnist3d", name=name, config=config, dir=root, tags=["demo"]) as run,
        ):
            on_start(run)

            def told(epoch: int, epochs: int, numbers: Mapping[str, float]) -> None:
                names = [name for name in ("val/loss", "val/accuracy") if name in numbers]
                on_epoch(epoch, epochs, "  ".join(f"{name} {number(numbers[name], 3)}" for name in names))

            metrics = train(run, parameters, model="epochal:convnet3d", data=data, seed=self.seed, on_epoch=told)
            path = run.path
        if path is None:
            raise UsageError("Recording is off, so there is no run to show.")
        return Trained(
            project="mnist3d",
            run_id=run.id,
            name=name,
            path=Path(path),
            engine="torch",
            seconds=time.monotonic() - started,
            metrics=metrics,
        )


def _examples(args: argparse.Namespace, terminal: Terminal) -> Volumes:
    """The file of `--data`; else `full_dataset_vectors.h5` where EPOCHAL_DATA says, else the set that is made."""
    from epochal.demos.images import load_npz
    from epochal.demos.mnist3d import mnist3d
    from epochal.demos.volumes import load_volumes

    original = Path(os.environ.get("EPOCHAL_DATA") or ".") / "full_dataset_vectors.h5"
    if args.data and not _is_mnist(Path(args.data)):
        return _checked(load_volumes(Path(args.data)))
    if not args.data and os.environ.get("EPOCHAL_DATA") and original.is_file():
        return _checked(load_volumes(original))
    images = load_npz(Path(args.data)) if args.data else None
    with terminal.progress("Building volumes", unit="examples") as update:
        return mnist3d(images=images, seed=args.seed, say=terminal.note, progress=lambda done, of: update(done, of))


def _is_mnist(path: Path) -> bool:
    """Whether a file holds pictures as Keras' mnist.npz does, of which volumes can be made."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            return "x_train.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def _checked(data: Volumes) -> Volumes:
    if len(data.shape) not in (3, 4):
        raise UsageError(
            f"{data.source}: one example is {list(data.shape)}, not a volume.",
            hint="Give X_train [n, 4096] in an .h5 file, or [n, depth, height, width].",
        )
    if not data.classes:
        raise UsageError(f"{data.source}: labels are numbers to be met, not classes.")
    return data
