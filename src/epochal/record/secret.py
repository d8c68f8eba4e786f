"""What must never be written down: values of environment variables that look secret, and passwords in addresses."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import quote

HIDDEN = "***"

_SECRET = re.compile(
    r"token|secret|passw|passphrase|credential|api_?key|private|webhook|(^|[_-])(key|auth|pass|pwd|pat|cookie|dsn)($|[_-])",
    re.IGNORECASE,
)
_NOT_SECRET = {"PWD", "OLDPWD", "SSH_AUTH_SOCK", "XAUTHORITY"}
_SHORTEST = 6
"""Shorter values (`1`, `true`, `prod`) would be masked all over an innocent text."""
_LINE_SHORTEST = 16
_WITH_PASSWORD = re.compile(r"(\b[a-z][\w+.-]{0,30}://[^\s/:@\"']*:)[^\s/@\"']+(?=@)", re.IGNORECASE)

Mask = Callable[[str], str]


def looks_secret(name: str) -> bool:
    """Whether a name such as `WANDB_API_KEY` or `--hf-token` is that of a secret."""
    return name not in _NOT_SECRET and _SECRET.search(name) is not None


def secrets_of(environment: Mapping[str, str]) -> set[str]:
    """The values that must not be written down. A path that exists says where a secret is, not what it is."""
    found: set[str] = set()
    for name, value in environment.items():
        if len(value) < _SHORTEST or not looks_secret(name) or (value[0] in "/~." and _is_path(value)):
            continue
        found.add(value)
        # A key of many lines is printed line by line, and a token may stand in an address.
        found.update(line for line in value.splitlines() if len(line) >= _LINE_SHORTEST)
        found.add(quote(value, safe=""))
    return found


def _is_path(value: str) -> bool:
    try:
        return os.path.exists(os.path.expanduser(value))  # noqa: PTH110, PTH111 - a value need not be a path at all
    except (OSError, ValueError):
        return False


class Masker:
    """Masks secrets in text. It looks at the environment again whenever it is asked to `refresh`."""

    def __init__(self, also: Iterable[str] = ()) -> None:
        self._also = frozenset(value for value in also if value)
        self._known: frozenset[str] | None = None
        self._pattern: re.Pattern[str] | None = None
        self.refresh()

    def refresh(self) -> None:
        """Take in what has come to the environment: many scripts load their keys from a file after the start."""
        values = frozenset(secrets_of(os.environ)) | self._also | (self._known or frozenset())
        if values != self._known:
            self._known = values
            longest_first = sorted(values, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first))) if values else None

    def __call__(self, text: str) -> str:
        """`text` with each secret replaced by `***`."""
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        return _WITH_PASSWORD.sub(rf"\g<1>{HIDDEN}", text) if "://" in text else text
