"""Arrays as they are: what has no picture of its own, kept bit for bit."""

from __future__ import annotations

from epochal.errors import UsageError
from epochal.record.media.arrays import as_array
from epochal.record.media.value import Encoded, Value
from epochal.store.safetensors import pack_tensors

__all__ = ["Array"]

LIMIT_BYTES = 256 << 20


class Array(Value):
    """Numbers of any shape, such as an attention map or a confusion matrix; logged at many steps they are a film.

    Takes arrays, tensors and nested lists of bools, integers and floats; bfloat16 is kept as float32. Raises UsageError
    for anything else, and for more than 256 MB.

    >>> epochal.Array([[1, 2], [3, 4]])
    <epochal.Array [2, 2] int64>
    """

    __slots__ = ("_values",)

    kind = "array"

    def __init__(self, data: object, *, caption: str = "") -> None:
        super().__init__(caption)
        self._values = as_array(data, "an array")
        if self._values.nbytes > LIMIT_BYTES:
            raise UsageError(
                f"an array of {self._values.nbytes:,} bytes is too large to log",
                hint=f"at most {LIMIT_BYTES:,} are recorded; log a part of it",
            )

    @property
    def nbytes(self) -> int:
        """How many bytes its values take."""
        return self._values.nbytes

    def encode(self) -> Encoded:
        """A safetensors file with one tensor, `values`."""
        return Encoded(
            data=pack_tensors({"values": self._values}),
            extension="safetensors",
            meta={"shape": list(self._values.shape), "dtype": str(self._values.dtype)},
        )

    def __repr__(self) -> str:
        return f"<epochal.Array {list(self._values.shape)} {self._values.dtype}>"
