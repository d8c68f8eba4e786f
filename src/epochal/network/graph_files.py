"""Networks' graphs from files that other tools wrote: ONNX, TensorBoard's event files, W&B's and Keras' JSON.

Nothing in such a file is run, and every byte of it may be hostile: sizes and depths have bounds, and what cannot be is
a DamagedError.
"""

from __future__ import annotations

from pathlib import Path

from epochal.errors import DamagedError, NotFoundError

__all__ = ["file_bytes", "fresh"]

MOST_BYTES = 4 << 30


def file_bytes(path: Path, most: int = MOST_BYTES) -> memoryview:
    """What a file holds; NotFoundError where there is none, DamagedError where it is larger than `most` bytes."""
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}.", hint="It is a folder." if path.is_dir() else "")
    if path.stat().st_size > most:
        raise DamagedError(f"{path.name} is larger than {most >> 20:,} MiB.")
    return memoryview(path.read_bytes())


def fresh(name: str, taken: dict[str, None]) -> str:
    """`name`, or that with a number behind it where it is taken; it is taken then."""
    found, n = name or "value", 2
    while found in taken:
        found, n = f"{name}_{n}", n + 1
    taken[found] = None
    return found
