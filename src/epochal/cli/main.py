"""`epochal VERB ...`: finds the verb, runs it, and turns errors into words and exit codes.

Exit codes: 0 done, 1 failed, 2 asked for in a wrong way, 130 interrupted. A verb's file is read only when it is asked
for, so that `epochal --help` answers at once.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol, cast

from epochal._version import __version__
from epochal.cli.terminal import Terminal
from epochal.errors import EpochalError, UsageError

VERBS = {
    "demo": "train a real network on real data and watch it learn",
    "view": "open the Studio on a folder of runs",
    "serve": "serve the Studio without opening a browser",
    "ls": "list runs",
    "show": "what came out of a run",
    "lens": "look inside a network: what it sees in a picture, and what it has learnt",
    "lab": "train families of networks and learn which choice mattered",
    "export": "write films, pictures, data or a whole report of a run",
    "push": "put runs into an object store, such as S3",
    "repair": "mend runs whose writer died",
    "gc": "compact finished runs and empty the trash",
    "doctor": "check that everything Epochal needs is here",
}
DEBUG = "EPOCHAL_DEBUG"


class Verb(Protocol):
    """What a verb's file holds."""

    EXAMPLES: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Terminal], int]


class _Parser(argparse.ArgumentParser):
    """Raises UsageError instead of ending the process, so that all errors look alike."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message[:1].upper() + message[1:] + ".", hint=f"See {self.prog} --help.")


def verb(name: str) -> Verb:
    """The file of a verb."""
    return cast(Verb, importlib.import_module(f"epochal.cli.{name}"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    terminal = Terminal()
    try:
        return _dispatch(arguments, terminal)
    except UsageError as error:
        return _failed(error, terminal, code=2)
    except EpochalError as error:
        return _failed(error, terminal, code=1)
    except KeyboardInterrupt:
        terminal.note("\nInterrupted.")
        return 130
    except BrokenPipeError:
        # The reader (head, less) has gone. Python flushes stdout at exit and would complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if os.environ.get(DEBUG):
            raise
        place = f" ({error.filename})" if error.filename else ""
        terminal.error(f"{error.strerror or error}{place}")
        return 1


def _dispatch(arguments: list[str], terminal: Terminal) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        terminal.line(overview())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        terminal.line(f"epochal {__version__}")
        return 0
    name = arguments[0]
    if name not in VERBS:
        near = difflib.get_close_matches(name, VERBS, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Use one of: {', '.join(VERBS)}."
        raise UsageError(f"There is no verb {name!r}.", hint=hint)
    chosen = verb(name)
    parser = _Parser(
        prog=f"epochal {name}",
        description=VERBS[name][:1].upper() + VERBS[name][1:] + ".",
        epilog="examples:\n" + "\n".join(f"  {line}" for line in chosen.EXAMPLES.strip().splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    chosen.configure(parser)
    try:
        parsed = parser.parse_args(arguments[1:])
    except SystemExit as done:  # --help prints and ends
        return int(done.code or 0)
    return chosen.run(parsed, terminal)


def overview() -> str:
    """What `epochal --help` says."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {words}" for name, words in VERBS.items())
    return (
        "usage: epochal VERB [options]\n\n"
        "Record a training once, play it back as a film.\n\n"
        f"verbs:\n{verbs}\n\n"
        "Every verb explains itself: epochal VERB --help\n"
        "Runs lie in ./epochal-runs, in $EPOCHAL_DIR, or in the folder given with --dir.\n\n"
        "start here:\n  epochal demo"
    )


def _failed(error: EpochalError, terminal: Terminal, *, code: int) -> int:
    if os.environ.get(DEBUG):
        raise error
    terminal.error(error.message, hint=error.hint)
    return code


if __name__ == "__main__":
    sys.exit(main())
