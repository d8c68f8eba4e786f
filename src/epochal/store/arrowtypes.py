"""What the Arrow streams of a run hold: their columns, and the numbers that Arrow's format gives to things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from epochal.facts import HISTOGRAM_BINS, STATISTICS

__all__ = [
    "MEDIA_COLUMNS",
    "NARROW_STATISTICS_COLUMNS",
    "SCALAR_COLUMNS",
    "STATISTICS_COLUMNS",
    "Column",
    "Kind",
    "layouts_of",
]

Kind = Literal["name", "i8", "f8", "u4", "u2", "text"]
"""`name` is dictionary<int32, utf8>, `text` is utf8; the others are numpy's little-endian types."""

FORMAT_KEY = "epochal_format"
"""In the schema's metadata: the stream is laid out exactly as here, so whatever is not is damage."""

END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
CONTINUATION = b"\xff\xff\xff\xff"
DICTIONARY_ID = 0
DIGITS = 20
METADATA_V5 = 4
HEADER_SCHEMA, HEADER_DICTIONARY, HEADER_BATCH = 1, 2, 3
TYPE_INT, TYPE_FLOAT, TYPE_UTF8, TYPE_FIXED_LIST = 2, 3, 5, 16
DOUBLE = 2

_TYPES: dict[str, np.dtype[np.generic]] = {
    "name": np.dtype("<i4"),
    "i8": np.dtype("<i8"),
    "f8": np.dtype("<f8"),
    "u4": np.dtype("<u4"),
    "u2": np.dtype("<u2"),
    "text": np.dtype("<i4"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, kind, and for a fixed-size list how many values a row holds (1 = no list)."""

    name: str
    kind: Kind
    width: int = 1

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """numpy's type of the values on disk; of a text, that of the offsets before it."""
        return _TYPES[self.kind]


_COUNTED = ("zeros", "nan", "inf", "size", "seen")

SCALAR_COLUMNS = (Column("name", "name"), Column("step", "i8"), Column("t", "f8"), Column("v", "f8"))
STATISTICS_COLUMNS = (
    Column("name", "name"),
    Column("step", "i8"),
    Column("t", "f8"),
    *(Column(name, "i8" if name in _COUNTED else "f8") for name in STATISTICS),
    Column("lo", "f8"),
    Column("hi", "f8"),
    Column("counts", "u4", HISTOGRAM_BINS),
)
NARROW_STATISTICS_COLUMNS = tuple(
    Column(c.name, "u2", c.width) if c.name == "counts" else c for c in STATISTICS_COLUMNS
)
"""The same with counts below 65,536, as those of small networks are: two thirds of the bytes."""
_OTHERS = {
    STATISTICS_COLUMNS: [
        NARROW_STATISTICS_COLUMNS,
        tuple(c for c in STATISTICS_COLUMNS if c.name != "dead"),  # of an earlier version
    ]
}

MEDIA_COLUMNS = (
    Column("name", "name"),
    Column("step", "i8"),
    Column("t", "f8"),
    Column("kind", "text"),
    Column("index", "i8"),
    Column("sha256", "text"),
    Column("extension", "text"),
    Column("size", "i8"),
    Column("caption", "text"),
    Column("meta", "text"),
)


def layouts_of(columns: tuple[Column, ...]) -> list[tuple[Column, ...]]:
    """Return these columns, and the others that streams of the same kind may have."""
    return [columns, *_OTHERS.get(columns, ())]
