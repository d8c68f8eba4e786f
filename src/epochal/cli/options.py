"""Options that several verbs share, and readers of their values."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from epochal.errors import NotFoundError
from epochal.store.cache import given_place, open_place
from epochal.store.layout import resolve_root
from epochal.store.remote import is_remote

Number = TypeVar("Number", int, float)


def add_dir(parser: argparse.ArgumentParser) -> None:
    """`--dir DIR`."""
    parser.add_argument("--dir", metavar="DIR", help="folder of runs (default: $EPOCHAL_DIR, otherwise ./epochal-runs)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON on stdout, everything else on stderr")


def add_run(parser: argparse.ArgumentParser) -> None:
    """The run a verb is about."""
    parser.add_argument("run", metavar="RUN", help="latest, a run's id or the start of one, or project/name")


def existing_root(given: str | None, *, heavy: bool = True, elsewhere: bool = True) -> Path:
    """The folder of runs; a folder that is not there is an error that says how to make one.

    Of an s3:// address, a copy as it is now; without `heavy`, it may lack snapshots and values. Without `elsewhere`, an
    address is an error: something is to be changed in the folder.
    """
    place = given_place(given)
    if elsewhere and is_remote(place):
        return open_place(place, heavy=heavy)
    root = resolve_root(given)
    if root.is_dir():
        return root
    named = "" if given or os.environ.get("EPOCHAL_DIR") else " (the default folder of runs)"
    kind = "is a file, not a folder" if root.exists() else "does not exist"
    raise NotFoundError(
        f"{str(root)!r}{named} {kind}.", hint="Record a run first (epochal demo), or name the folder with --dir."
    )


def within(kind: Callable[[str], Number], lo: Number, hi: Number) -> Callable[[str], Number]:
    """A reader of numbers from lo to hi, for argparse."""

    def read(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {'a whole' if kind is int else 'a'} number") from None
        if not lo <= value <= hi:
            raise argparse.ArgumentTypeError(f"{text} must lie between {lo:g} and {hi:g}")
        return value

    return read
