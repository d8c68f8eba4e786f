"""What every logged value has: a kind, a caption, and bytes that are made on the writer's thread."""

from __future__ import annotations

from typing import ClassVar

from epochal.store.blobs import Blob, Encoded

__all__ = ["Blob", "Encoded", "Value"]


class Value:
    """Base of all values that `run.log` takes besides numbers.

    A value copies what it is made from, so that it may change afterwards, and is checked when it is made: what cannot
    be a value raises UsageError there. `encode` is called once for each time it is logged, in another thread.
    """

    __slots__ = ("caption",)

    kind: ClassVar[str] = ""
    caption: str

    def __init__(self, caption: str = "") -> None:
        self.caption = str(caption) if caption else ""

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it holds until it is encoded."""
        raise NotImplementedError

    def encode(self) -> Encoded:
        """Its bytes and what is to be known of them."""
        raise NotImplementedError

    def taken(self) -> Value:
        """What is logged of it: itself, or a copy where it can still change."""
        return self

    def __repr__(self) -> str:
        return f"<epochal.{type(self).__name__}{f' {self.caption!r}' if self.caption else ''}>"
