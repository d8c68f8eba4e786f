"""Code of the user's by its name, `package.module:function`: what a person typed, never what a browser sent."""

from __future__ import annotations

import difflib
import importlib
import re
from typing import Any

from epochal.errors import NotFoundError, UsageError

__all__ = ["CODE", "named_object"]

CODE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
"""What the name of code looks like."""


def named_object(name: str) -> Any:
    """What `package.module:name` means, or `package.module:name.of.it`; the module is imported, which runs its code.

    Raises NotFoundError where there is no such thing, UsageError where the module itself cannot be imported.
    """
    where, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is None or not (where == error.name or where.startswith(f"{error.name}.")):
            raise UsageError(f"{where} cannot be imported: {error}.") from error
        raise NotFoundError(
            f"There is no module {where!r}.", hint="It is looked for in this folder and among what is installed."
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, [name for name in dir(found) if not name.startswith("_")], n=1)
            raise NotFoundError(f"{where} has no {path!r}.", hint=f"Did you mean {near[0]!r}?" if near else "")
        found = getattr(found, part)
    return found
