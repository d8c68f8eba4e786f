"""Points in a space of many dimensions, with what is known of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError
from epochal.record.media.arrays import as_array
from epochal.record.media.pictured import are_pictures, checked_examples, pack_examples
from epochal.record.media.shapes import label_numbers
from epochal.record.media.table import Table
from epochal.record.media.value import Blob, Encoded, Value
from epochal.store.safetensors import pack_tensors

__all__ = ["Embedding"]


class Embedding(Value):
    """Vectors [N, D], such as a layer's answers to N examples.

    `labels` [N] are numbers or names of classes, `metadata` maps names of columns to N numbers or texts, and `images`
    are N pictures ([N, H, W], [N, H, W, C] or [N, C, H, W]).

    Raises UsageError where their numbers do not fit.
    """

    __slots__ = ("_classes", "_images", "_labels", "_table", "_vectors")

    kind = "embedding"

    def __init__(
        self,
        vectors: object,
        *,
        labels: object = None,
        metadata: Mapping[str, Sequence[Any]] | None = None,
        images: object = None,
        caption: str = "",
    ) -> None:
        super().__init__(caption)
        found = as_array(vectors, "vectors")
        if found.ndim != 2 or 0 in found.shape:
            raise UsageError(f"vectors have shape {found.shape}", hint="give [N, D], such as features.reshape(N, -1)")
        self._vectors = found.astype(np.float32)
        count = len(found)
        self._labels: npt.NDArray[np.int64] | None = None
        self._classes: list[str] = []
        if labels is not None:
            self._labels, self._classes = label_numbers(labels, count, "labels")
        self._table: Table | None = None
        if metadata:
            self._table = Table(data=metadata)
            if len(self._table) != count:
                raise UsageError(f"metadata has {len(self._table)} rows for {count} vectors")
        self._images: npt.NDArray[Any] | None = None
        if images is not None:
            self._images = checked_examples(images, count, "images")
            if not are_pictures(self._images):
                raise UsageError(
                    f"images have shape {self._images.shape}", hint="give [N, H, W], [N, H, W, C] or [N, C, H, W]"
                )

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it holds."""
        held = self._vectors.nbytes + (0 if self._images is None else self._images.nbytes)
        return held + (0 if self._table is None else self._table.nbytes)

    def encode(self) -> Encoded:
        """A safetensors file with `vectors` and `labels`; metadata and pictures are files of their own."""
        tensors: dict[str, npt.NDArray[Any]] = {"vectors": self._vectors}
        count, dimensions = self._vectors.shape
        meta: dict[str, Any] = {"points": count, "dimensions": dimensions}
        if odd := count - int(np.count_nonzero(np.isfinite(self._vectors).all(axis=1))):
            meta["nonfinite"] = odd
        if self._labels is not None:
            tensors["labels"] = self._labels
        if self._classes:
            meta["class_names"] = self._classes
        blobs: list[Blob] = []
        if self._table is not None:
            table = self._table.encode()
            blobs += [Blob(table.data, table.extension), *table.blobs]
            meta |= {"columns": self._table.columns, "metadata_blob": blobs[0].name}
        if self._images is not None:
            pictures, facts = pack_examples(self._images)
            blobs.append(pictures)
            meta |= {"images_blob": pictures.name, **({"range": facts["range"]} if "range" in facts else {})}
        data = pack_tensors(tensors, metadata={"kind": "embedding"})
        return Encoded(data=data, extension="safetensors", meta=meta, blobs=tuple(blobs))
