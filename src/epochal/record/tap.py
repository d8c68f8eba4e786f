"""Hear what is written to `sys.stdout` and `sys.stderr` without standing in its way.

The stream itself stays where it is: only its `write` is looked up in the instance before the class, so that `isatty`,
`fileno`, `encoding`, `buffer` and the stream's identity are what they were, and a logging handler that took hold of the
stream before the run began is heard too. A stream that cannot be given a `write` of its own is replaced by a proxy.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any, Literal

Name = Literal["stdout", "stderr"]
Listener = Callable[[Name, str], None]

_NAMES: tuple[Name, ...] = ("stdout", "stderr")


class _Proxy:
    """A stream with a `write` that is heard; all else is the stream's."""

    def __init__(self, stream: Any, write: Callable[..., Any]) -> None:
        self.__dict__.update(_stream=stream, write=write)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._stream, name, value)

    def __iter__(self) -> Any:
        return iter(self._stream)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *details: object) -> Any:
        return self._stream.__exit__(*details)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)


class _Tap:
    """What is put on one stream; all listeners share it."""

    def __init__(self, name: Name, stream: Any) -> None:
        self.stream = stream
        self.proxy: _Proxy | None = None
        self._name = name
        self._listeners: tuple[Listener, ...] = ()
        self._original = stream.write
        self._had_own = "write" in getattr(stream, "__dict__", {})

        def write(*arguments: Any, **named: Any) -> Any:
            result = self._original(*arguments, **named)
            for listener in self._listeners:
                # Whatever happens in there, the user's print is none of its business.
                with contextlib.suppress(Exception):
                    listener(name, arguments[0])
            return result

        self._write = write
        try:
            stream.write = write
        except (AttributeError, TypeError):
            self.proxy = _Proxy(stream, write)
            setattr(sys, name, self.proxy)

    def add(self, listener: Listener) -> None:
        self._listeners = (*self._listeners, listener)

    def remove(self, listener: Listener) -> bool:
        """Take a listener away; say whether none is left."""
        # Compared by `!=`: a bound method is made anew each time that it is named.
        self._listeners = tuple(each for each in self._listeners if each != listener)
        return not self._listeners

    def silence(self) -> None:
        """Call nobody any more."""
        self._listeners = ()

    @property
    def there(self) -> bool:
        """Whether what is written still goes through here first."""
        if self.proxy is not None:
            return getattr(sys, self._name) is self.proxy
        return self.stream.write is self._write

    def take_off(self) -> None:
        """Give the stream back as it was, unless somebody else has put something over it meanwhile."""
        if not self.there:
            return
        if self.proxy is not None:
            setattr(sys, self._name, self.stream)
        elif self._had_own:
            self.stream.write = self._original
        else:
            del self.stream.write


_taps: list[_Tap] = []
_hooked = False


def listen(listener: Listener) -> None:
    """Call `listener(name, text)` after each write to the streams that are in `sys` now."""
    global _hooked
    if not _hooked:
        _hooked = True
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_take_all_off)
    seen: list[Any] = []
    for name in _NAMES:
        stream = getattr(sys, name, None)
        # Two names of one stream are heard once; a process without a console has None.
        if stream is None or any(stream is each for each in seen) or not callable(getattr(stream, "write", None)):
            continue
        seen.append(stream)
        tap = next((each for each in _taps if (each.proxy or each.stream) is stream and each.there), None)
        if tap is None:
            tap = _Tap(name, stream)
            _taps.append(tap)
        tap.add(listener)


def leave(listener: Listener) -> None:
    """Do not call `listener` any more; the last one to leave a stream gives it back."""
    for tap in list(_taps):
        if tap.remove(listener):
            tap.take_off()
            _taps.remove(tap)


def _take_all_off() -> None:
    """In a forked child: what it prints is not part of the run."""
    for tap in _taps:
        with contextlib.suppress(Exception):
            tap.take_off()
        tap.silence()
    _taps.clear()
