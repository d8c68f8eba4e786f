"""A run that is put into an object store while it is recorded: `epochal.init(dir="s3://bucket/prefix")`."""

from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path

from epochal.errors import RecordingWarning
from epochal.store import RunWriter, resolve_root

__all__ = ["place_of", "stream", "take"]


def place_of(given: str | os.PathLike[str] | None, *, reach: bool = True) -> tuple[Path, str | None]:
    """The folder that a run is recorded in, and the address that it is put to, if one is meant.

    Without `reach`, the store is left alone. Raises RemoteError where nothing can be put there.
    """
    place = given if given is not None else os.environ.get("EPOCHAL_DIR") or None
    if not isinstance(place, str) or not place.startswith("s3://"):
        return resolve_root(given), None
    from epochal.store.cache import own_folder
    from epochal.store.remote import Remote
    from epochal.store.segments import expect_streaming

    if not reach:
        return own_folder("runs", place), None
    remote = Remote(place)
    remote.check()
    expect_streaming()
    return own_folder("runs", remote.address), remote.address


def take(root: Path, address: str | None, project: str, run_id: str | None) -> None:
    """Bring a run here that is to be gone on with. Raises RemoteError."""
    if address is None or run_id is None:
        return
    from epochal.store.mirror import Mirror
    from epochal.store.remote import Remote

    mirror = Mirror(root, Remote(address))
    with mirror.held():
        mirror.pull(f"{project}/{run_id}")


def stream(writer: RunWriter, address: str | None) -> None:
    """Put a run there from now on, and what is left when it has ended."""
    if address is None:
        return
    from epochal.store.streaming import Stream

    root = writer.path.parent.parent
    following = Stream(address, root, say=_warn)
    following.follow(f"{writer.project}/{writer.run_id}")

    def end() -> None:
        if left := following.close():
            _warn(
                f"not all of {left[0]} is in {address}: it lies in {root}; put it there: epochal push {root} {address}"
            )

    writer.when_ended(end)


def _warn(message: str) -> None:
    # Where warnings are errors this raises inside a thread, which must go on.
    with contextlib.suppress(RecordingWarning):
        warnings.warn(message, RecordingWarning, stacklevel=2)
