"""A store elsewhere as a folder here: what all that reads runs opens, and what keeps it fresh."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from epochal.errors import EpochalError, NotFoundError
from epochal.store.layout import resolve_root
from epochal.store.mirror import Mirror, Pulled, folder_of, is_heavy
from epochal.store.remote import Entry, Remote, endpoint, is_remote

__all__ = ["CachedStore", "given_place", "open_place", "own_folder", "user_cache"]

REFRESH_SECS = 2.0
REST = 4.0
"""A look that took long is followed by a rest of so many times as long."""


def user_cache() -> Path:
    """Where this user's programs keep what can be had again."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "epochal"


def own_folder(kind: str, address: str) -> Path:
    """The folder in this user's cache for what belongs to an address."""
    name = re.sub(r"[^\w.-]+", "-", address.removeprefix("s3://"))[:60]
    digest = hashlib.blake2b(f"{endpoint()}{address}".encode(), digest_size=5).hexdigest()
    return user_cache() / kind / f"{name}-{digest}"


def given_place(given: str | os.PathLike[str] | None) -> str | os.PathLike[str] | None:
    """What was named, else EPOCHAL_DIR: None where neither is."""
    return given if given is not None else os.environ.get("EPOCHAL_DIR") or None


def open_place(given: str | os.PathLike[str] | None, *, heavy: bool = True) -> Path:
    """Return the folder of runs that is meant: of an s3:// address, a copy of it as it is now.

    Without `heavy`, it may lack snapshots and values. Raises RemoteError, and NotFoundError where nothing lies there.
    """
    place = given_place(given)
    if not isinstance(place, str) or not is_remote(place):
        return resolve_root(given)
    cached = CachedStore(place)
    cached.refresh(heavy=heavy)
    return cached.root


class CachedStore:
    """A copy of all runs and labs below an s3:// address, in this user's cache. May be used by several processes."""

    def __init__(self, address: str) -> None:
        remote = Remote(address)
        self.address = remote.address
        self.root = own_folder("stores", self.address)
        self.refused: list[str] = []
        self._mirror = Mirror(self.root, remote, cache=True)
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def refresh(self, *, heavy: bool = True) -> int:
        """Take what is new, small things of all runs first; returns how many files came. Raises RemoteError.

        A run that was deleted here is not taken again.
        """
        found = self._listed()
        if not found and not self.root.exists():
            raise NotFoundError(f"There is nothing in {self.address}", hint="is that where runs were put?")
        count = 0
        self.refused = []
        for folder in self._mirror.folders():
            if folder not in found and (self.root / folder).exists():
                with self._mirror.held():
                    self._mirror.forget(folder)
        rounds: list[Callable[[str], bool]] = [lambda name: not is_heavy(name)]
        for wanted in rounds + [lambda name: True] * heavy:
            for folder in sorted(found, reverse=True):
                if self._ending.is_set():
                    return count
                if self._mirror.knows(folder) and not (self.root / folder).exists():
                    continue
                with self._mirror.held():
                    done: Pulled = self._mirror.pull(folder, wanted=wanted, entries=found[folder])
                count += done.files
                self.refused += done.refused
        return count

    def _listed(self) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = {}
        for entry in self._mirror.remote.entries():
            if (folder := folder_of(entry.key)) is not None:
                found.setdefault(folder, []).append(entry)
        return found

    def watch(self, say: Callable[[str], None]) -> None:
        """Refresh in a thread until `close`; `say` is told when that does not work, and when it works again."""
        self._thread = threading.Thread(target=self._keep_fresh, args=(say,), name="epochal-cache", daemon=True)
        self._thread.start()

    def _keep_fresh(self, say: Callable[[str], None]) -> None:
        trouble = False
        wait = 0.0
        while not self._ending.wait(wait):
            began = time.monotonic()
            try:
                self.refresh()
            except (EpochalError, OSError) as error:
                if not trouble:
                    say(f"{getattr(error, 'message', error)}; what is shown is as it was")
                trouble = True
            else:
                if trouble:
                    say(f"{self.address} answers again")
                trouble = False
            wait = max(REFRESH_SECS, REST * (time.monotonic() - began))

    def close(self) -> None:
        """End the refreshing."""
        self._ending.set()
        if self._thread is not None:
            with contextlib.suppress(RuntimeError):
                self._thread.join(10)
