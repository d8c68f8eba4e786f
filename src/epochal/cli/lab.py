"""`epochal lab ...`: the group of its verbs; each of them lies in a file that is read when it is asked for."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import Protocol, cast

from epochal.cli.terminal import Terminal

EXAMPLES = """
epochal lab run lab.toml --jobs 2
epochal lab run lab.toml --resume
epochal lab show
epochal lab best
"""
_FILES = {"run": "lab_run", "rerun": "lab_run", "show": "lab_show", "report": "lab_show", "best": "lab_show"}
_WORDS = {
    "run": "train the trials of a lab.toml",
    "rerun": "train trials of a lab again, the failed ones unless others are named",
    "show": "how the trials of a lab stand",
    "report": "what the lab says of each parameter",
    "best": "the best trial",
}


class _Group(Protocol):
    """What a file of such verbs holds."""

    EXAMPLES: dict[str, str]
    configure: Callable[[str, argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Terminal], int]


def configure(parser: argparse.ArgumentParser) -> None:
    """The verbs of the lab."""
    verbs = parser.add_subparsers(dest="verb", metavar="run|rerun|show|report|best", required=True)
    for name, words in _WORDS.items():
        group = _group(name)
        verb = verbs.add_parser(
            name,
            help=words,
            description=words[:1].upper() + words[1:] + ".",
            epilog="examples:\n" + "\n".join(f"  {line}" for line in group.EXAMPLES[name].strip().splitlines()),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        group.configure(name, verb)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Do what the verb says; `args.verb` is its name."""
    return _group(args.verb).run(args, terminal)


def _group(verb: str) -> _Group:
    return cast(_Group, importlib.import_module(f"epochal.cli.{_FILES[verb]}"))
