"""What a run is told of single examples: predictions, and places in a space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import time
from typing import TYPE_CHECKING, Any, SupportsIndex

from epochal.record.edge import Edge
from epochal.record.media.value import Value

if TYPE_CHECKING:
    from epochal.record.examined import Examined
    from epochal.record.media.pictured import ExampleBatch


class Examples(Edge):
    """The part of `Run` that is about single examples."""

    __slots__ = ()

    _batches: dict[str, ExampleBatch]
    """The inputs that were logged last under each name, to be recognised when they come again."""

    def log_predictions(
        self,
        inputs: object,
        labels: object,
        probabilities: object,
        class_names: Sequence[str] | None = None,
        *,
        name: str = "predictions",
        ids: object = None,
        feature_names: Sequence[str] | None = None,
        step: SupportsIndex | None = None,
        epoch: float | None = None,
    ) -> None:
        """Record what the network says of examples: its confidence in each class, beside the right answers.

        `probabilities` are [N, C] (or [N], of the second of two classes), `labels` [N] numbers or names of classes,
        `inputs` the examples: [N, H, W], [N, H, W, C] or [N, C, H, W] are kept as pictures, texts as texts, anything
        else as numbers: [N, features] is a table with the columns `feature_names`, [N, D, H, W] a block of slices. The
        same inputs are kept once, however often they are logged. Without `step` that of the last log call is taken.
        """
        self._log_predictions(
            inputs, labels, probabilities, class_names, name, ids, feature_names, step=step, epoch=epoch
        )

    def _log_predictions(
        self,
        inputs: object,
        labels: object,
        probabilities: object,
        class_names: Sequence[str] | None,
        name: str,
        ids: object = None,
        feature_names: Sequence[str] | None = None,
        *,
        step: SupportsIndex | None,
        epoch: float | None = None,
        facts: Mapping[str, Any] | None = None,
        doing: str = "run.log_predictions()",
    ) -> None:
        from epochal.record.media.predictions import Predictions

        def made() -> Value:
            value = Predictions(
                inputs,
                labels=labels,
                probabilities=probabilities,
                class_names=class_names,
                ids=ids,
                feature_names=feature_names,
                facts=facts,
                known=self._batches.get(name),
            )
            if value.batch is not None:
                self._keep(name, value.batch)
            return value

        self._log_made(doing, name, made, step, epoch)

    def _keep(self, name: str, batch: ExampleBatch) -> None:
        """Keep a batch to know it again, and let go of the oldest where all of them are too large."""
        from epochal.record.media.pictured import KEPT_BYTES, KEPT_BYTES_OF_ALL

        self._batches.pop(name, None)
        if batch.nbytes <= KEPT_BYTES:
            self._batches[name] = batch
        held = list(self._batches.items())
        total = sum(one.nbytes for _, one in held)
        for oldest, one in held:
            if total <= KEPT_BYTES_OF_ALL:
                break
            self._batches.pop(oldest, None)
            total -= one.nbytes

    def _log_examined(self, asked: Examined, step: int, probabilities: object, seconds: float) -> None:
        self._log_predictions(
            asked.shown,
            asked.labels,
            probabilities,
            asked.class_names,
            asked.name,
            feature_names=asked.feature_names,
            step=step,
            facts={
                "outputs": asked.outputs or "raw",
                "seconds": round(seconds, 6),
                **({"shown": True} if asked.otherwise else {}),
                **({"prepared": asked.prepared} if asked.prepared is not None else {}),
            },
            doing="run.watch(examples=...)",
        )

    def log_embedding(
        self,
        vectors: object,
        labels: object = None,
        *,
        name: str = "embedding",
        metadata: Mapping[str, Sequence[Any]] | None = None,
        images: object = None,
        step: SupportsIndex | None = None,
        epoch: float | None = None,
    ) -> None:
        """Record points in a space of many dimensions, such as a layer's answers: `vectors` [N, D] and `labels` [N].

        `metadata` maps names to N numbers or texts, `images` are N pictures. Without `step` that of the last log call
        is taken.
        """
        from epochal.record.media.embedding import Embedding

        def made() -> Value:
            return Embedding(vectors, labels=labels, metadata=metadata, images=images)

        self._log_made("run.log_embedding()", name, made, step, epoch)

    def _log_made(self, doing: str, name: str, made: Any, step: SupportsIndex | None, epoch: float | None) -> None:
        if self._writer is None:
            return
        value = None
        with self._guard.over(doing):
            value = made()
        if value is None:
            return
        self.aside({name: value} if epoch is None else {name: value, "epoch": epoch}, step=step, t=time())

    def aside(self, data: Mapping[str, Any], *, step: SupportsIndex | None = None, t: float | None = None) -> None:
        """Record beside the training's own steps."""
        raise NotImplementedError
