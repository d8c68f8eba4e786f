"""Networks by name: a recorded run at a step, a file, a named library, and on the command line a user's own code."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epochal.errors import MissingExtraError, UsageError
from epochal.network.code import CODE, named_object
from epochal.network.elsewhere import SUFFIXES, open_file, read_arrays
from epochal.network.recorded import open_recorded
from epochal.store import Library

if TYPE_CHECKING:
    from epochal.network.module import ModuleNetwork
    from epochal.network.network import Network
    from epochal.store import StoredRun

__all__ = ["LIBRARIES", "named_run", "open_code", "open_source"]

LIBRARIES = ("epochal", "torchvision", "timm", "transformers", "keras")
"""What stands before the colon of a name that a library knows."""


def open_source(
    source: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int] | None = None,
    activation: str = "relu",
    output: str = "none",
    weights: str | os.PathLike[str] | None = None,
    trust: bool = False,
) -> Network:
    """The network that a word names: a file, `run@step` below `root`, or `library:name`.

    `weights` are parameters for a model of a library, which then downloads none. No code is loaded that the word names:
    see `open_code` for that. `trust` lifts the gate before a recorded program, as `open_recorded` says.
    """
    text = os.fspath(source)
    library, colon, name = text.partition(":")
    if colon and library in LIBRARIES and not Path(text).exists():
        opened: Network = _with(library, name).open_named(library, name, weights=weights)
        return opened
    if weights is not None:
        raise UsageError("Only models of a library or of code are given weights.", hint="Name the file itself.")
    if Path(text).suffix.lower() in SUFFIXES or Path(text).is_file():
        return open_file(text, input_shape=input_shape, activation=activation, output=output)
    if CODE.fullmatch(text):
        raise UsageError(
            f"{text!r} names code, which is run from the command line only.",
            hint=f"Make it and hand it over: epochal.Network.from_torch({text.partition(':')[2]}()).",
        )
    run, step = named_run(text, root=root)
    return open_recorded(run, step, trust=trust)


def open_code(
    source: str, *, weights: str | os.PathLike[str] | None = None, input_shape: Sequence[int] | None = None
) -> ModuleNetwork:
    """The module that a function of the user's makes: `package.module:factory`, given the arrays of `weights`.

    This runs the code that the word names. It is for words that the user typed, and for nothing else.
    """
    if not CODE.fullmatch(source):
        raise UsageError(f"{source!r} is not of the form package.module:factory.")
    found = named_object(source)
    torch: Any = _torch()
    made = found() if not isinstance(found, torch.nn.Module) and callable(found) else found
    if not isinstance(made, torch.nn.Module):
        raise UsageError(f"{source} gave {type(made).__name__}, not a torch.nn.Module.")
    if weights is not None:
        give_weights(made, Path(weights))
    network: ModuleNetwork = importlib.import_module("epochal.network.module").ModuleNetwork(
        made, input_shape=input_shape
    )
    return network


def named_run(text: str, *, root: str | os.PathLike[str] | None = None) -> tuple[StoredRun, int | None]:
    """The run and the step that `run@step` means; without a step, or with `@last`, None for its last snapshot."""
    name, at, moment = text.rpartition("@")
    if not at:
        name, moment = text, ""
    run = Library(root).run(name)
    steps = run.snapshot_steps()
    if moment in ("", "last"):
        return run, None
    if moment == "first" and steps:
        return run, steps[0]
    if not re.fullmatch(r"\d+", moment):
        raise UsageError(f"{moment!r} is no step.", hint="Write run@120, run@first or run@last.")
    return run, int(moment)


def give_weights(module: Any, path: Path) -> None:
    """Put the arrays of a file into a module: each name must be there, and none may be left over."""
    torch = _torch()
    arrays = read_arrays(path)
    own = module.state_dict()
    unknown = [name for name in arrays if name not in own]
    missing = [name for name in own if name not in arrays and not name.endswith("num_batches_tracked")]
    wrong = [
        f"{name} is {list(arrays[name].shape)} in the file, {list(value.shape)} in the network"
        for name, value in own.items()
        if name in arrays and tuple(arrays[name].shape) != tuple(value.shape)
    ]
    if unknown or missing or wrong:
        says = [f"it lacks {', '.join(missing[:5])}"] if missing else []
        says += [f"the network has no {', '.join(unknown[:5])}"] if unknown else []
        raise UsageError(f"{path.name} does not fit the network: {'; '.join([*says, *wrong[:5]])}.")
    module.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in arrays.items()}, strict=False)


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError(
            "This needs PyTorch.", hint="Install it with `pip install 'epochal[torch]'`."
        ) from error


def _with(library: str, name: str) -> Any:
    if not re.fullmatch(r"[\w.\-/]+", name):
        raise UsageError(f"{name!r} is no name of a model of {library}.")
    _torch()
    return importlib.import_module("epochal.network.libraries")
