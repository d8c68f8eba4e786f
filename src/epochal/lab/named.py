"""Models and data by the names that a lab gives them."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from epochal.demos.volumes import Volumes, load_volumes, split_volumes
from epochal.errors import MissingExtraError, UsageError
from epochal.lab.words import suggestion
from epochal.network.code import CODE, named_object

__all__ = ["DATA", "MODELS", "find_code", "find_data", "find_model"]

MODELS = ("convnet1d", "convnet2d", "convnet3d")
DATA = ("mnist3d", "mnist", "iris", "wine", "breast_cancer", "digits")
"""Written with `epochal:` before them."""
_OWN = "epochal:"

Say = Callable[[str], None]


def find_model(name: str | Callable[..., Any]) -> Callable[..., Any]:
    """The factory that `epochal:convnet3d` or `package.module:factory` means; a callable is one already.

    What the name says is imported, which runs its code. Raises UsageError or NotFoundError where there is none,
    MissingExtraError without PyTorch.
    """
    if callable(name):
        return name
    if name.startswith(_OWN):
        short = name.removeprefix(_OWN)
        if short not in MODELS:
            raise UsageError(f"There is no model {name!r}.", hint=suggestion(name, [_OWN + known for known in MODELS]))
        try:
            found: Callable[..., Any] = getattr(importlib.import_module("epochal.demos.convnet"), short)
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise MissingExtraError(
                "This needs PyTorch.", hint="Install it with `pip install 'epochal[torch]'`."
            ) from error
        return found
    return find_code(name, what="model")


def find_code(name: str, *, what: str) -> Callable[..., Any]:
    """The function that `package.module:function` means, looked for in this folder too."""
    if not CODE.fullmatch(name):
        raise UsageError(
            f"{name!r} is not the name of a {what}.", hint="Write package.module:function, or one of epochal: ..."
        )
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    found = named_object(name)
    if not callable(found):
        raise UsageError(f"{name} is {type(found).__name__}, not a function.")
    function: Callable[..., Any] = found
    return function


def find_data(name: str | Volumes, *, validation: float | None = None, say: Say = lambda _: None) -> Volumes:
    """The examples that `epochal:mnist3d` (or another of `DATA`), or the path of an `.h5` or `.npz` file means.

    Of `epochal:mnist3d` and `epochal:mnist` less can be asked for, or others: `epochal:mnist3d?training=2000&test=500&
    seed=1`. `say` is told what a person should know of where they come from. Raises UsageError for what is not there.
    """
    if isinstance(name, Volumes):
        return name
    if not name.startswith(_OWN):
        return load_volumes(Path(name), validation=validation)
    short, _, asked = name.removeprefix(_OWN).partition("?")
    if short not in DATA:
        raise UsageError(f"There are no data {name!r}.", hint=suggestion(name, [_OWN + known for known in DATA]))
    options = _options(name, asked, ("training", "test", "seed") if short == "mnist3d" else ("training", "test"))
    if short == "mnist3d":
        from epochal.demos.mnist3d import mnist3d

        return mnist3d(
            training=options.get("training", 10_000),
            test=options.get("test", 2_000),
            seed=options.get("seed", 0),
            validation=validation,
            say=say,
        )
    if short == "mnist":
        from epochal.demos.images import find_mnist

        images = find_mnist(say=say)
        (x, y), (x_test, y_test) = images.training, images.test
        most, tested = options.get("training", len(y)), options.get("test", len(y_test))
        return split_volumes(
            name=images.name,
            source=images.source,
            training=(x[:most], y[:most]),
            test=(x_test[:tested], y_test[:tested]),
            classes=images.classes,
            largest=images.largest,
            validation=validation,
        )
    return _table(short, validation)


def _table(name: str, validation: float | None) -> Volumes:
    from epochal.demos.tables import load_table, split
    from epochal.demos.volumes import Block

    table = load_table(name)
    parts = split(table, validation=0.2 if validation is None else validation, test=0.2, seed=0)
    blocks = [
        Block(features=part.features, labels=part.labels) for part in (parts.training, parts.validation, parts.test)
    ]
    return Volumes(
        name=name, source=name, training=blocks[0], validation=blocks[1], test=blocks[2], classes=table.classes
    )


def _options(name: str, asked: str, known: tuple[str, ...]) -> dict[str, int]:
    found = {}
    for key, value in parse_qsl(asked, keep_blank_values=True):
        if key not in known:
            raise UsageError(f"{name}: there is no {key!r} to ask for.", hint=suggestion(key, known))
        if not re.fullmatch(r"\d{1,9}", value):
            raise UsageError(f"{name}: {key} is {value!r}, not a whole number.")
        found[key] = int(value)
    return found
