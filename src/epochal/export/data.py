"""Numbers as CSV and Parquet: long tables with one row for each value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from epochal.errors import NotFoundError, UsageError
from epochal.export.choose import choose_layers, choose_steps
from epochal.export.curves import chosen_series
from epochal.export.job import Job
from epochal.export.spreads import shown_name, tables
from epochal.export.tensors import known_graph, weight_layers
from epochal.export.weights import nothing_kept
from epochal.picture import replacing
from epochal.store import SnapshotKind
from epochal.views.layers import layouts
from epochal.workspace.films import epochs_at

_ROWS_AT_ONCE = 1 << 18
_TEXT = pa.dictionary(pa.int32(), pa.string())
_SCALARS = pa.schema(
    [("name", _TEXT), ("step", pa.int64()), ("epoch", pa.float64()), ("t", pa.float64()), ("v", pa.float64())]
)
_VALUES = [("row", pa.int32()), ("col", pa.int32())]
_HISTOGRAM = pa.schema(
    [
        ("step", pa.int64()),
        ("epoch", pa.float64()),
        ("tensor", _TEXT),
        ("bin", pa.int32()),
        ("lo", pa.float64()),
        ("hi", pa.float64()),
        ("count", pa.uint32()),
    ]
)


def write_data(job: Job) -> None:
    """Write what was asked for; NaN and infinities stay what they are, an unknown epoch is empty."""
    if job.what == "scalars":
        _write(job, _SCALARS, _scalar_tables(job))
    elif job.what == "histogram":
        _write(job, _HISTOGRAM, _histogram_tables(job))
    elif job.what in ("weights", "biases", "gradients"):
        schema, batches = _tensor_tables(job, "grads" if job.what == "gradients" else "params")
        _write(job, schema, batches)
    else:
        raise UsageError(
            f"{job.what!r} is too many kinds of data for one table.",
            hint="Choose --what scalars, weights, biases, gradients or histogram.",
        )


def _write(job: Job, schema: pa.Schema, found: Iterator[pa.Table]) -> None:
    with replacing(job.to) as temporary:
        if job.format == "csv":
            flat = pa.schema([(f.name, pa.string() if f.type == _TEXT else f.type) for f in schema])
            with pa_csv.CSVWriter(temporary, flat) as writer:
                for table in found:
                    writer.write_table(table.cast(flat))
        else:
            with pa_parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
                for table in _gathered(found):
                    writer.write_table(table)


def _gathered(found: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Tables joined until they are worth a row group of their own."""
    waiting: list[pa.Table] = []
    for table in found:
        waiting.append(table)
        if sum(each.num_rows for each in waiting) >= _ROWS_AT_ONCE:
            yield pa.concat_tables(waiting).unify_dictionaries().combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).unify_dictionaries().combine_chunks()


def _scalar_tables(job: Job) -> Iterator[pa.Table]:
    series = chosen_series(job)
    every = np.unique(np.concatenate([each.steps for each in series.values()]))
    wanted = np.array(choose_steps(job.steps, every.tolist()), np.int64) if job.steps is not None else None
    for name, each in series.items():
        kept = slice(None) if wanted is None else np.isin(each.steps, wanted)
        steps = each.steps[kept]
        yield pa.table(
            [
                _repeated(name, len(steps)),
                pa.array(steps),
                _epochs(job, steps),
                pa.array(each.t[kept]),
                pa.array(each.v[kept], from_pandas=False),
            ],
            schema=_SCALARS,
        )


def _tensor_tables(job: Job, kind: SnapshotKind) -> tuple[pa.Schema, Iterator[pa.Table]]:
    layers = weight_layers(job.run, kind)
    if not layers:
        raise nothing_kept(job, kind)
    kept = set(choose_layers(job.layers, [layer.layer for layer in layers]))
    tensors: list[tuple[str, str]] = []
    for layer in (each for each in layers if each.layer in kept):
        parts = [layer.bias] if job.what == "biases" else [layer.weight, layer.bias, *layer.others]
        tensors += [(layer.layer, part.name) for part in parts if part is not None]
    if not tensors:
        raise NotFoundError("None of these layers has a bias.", hint="Export --what weights instead.")
    steps = choose_steps(job.steps, job.run.snapshot_steps(kind))
    dtypes = {job.run.tensor(name, steps[-1], kind).dtype for _, name in tensors}
    number = pa.float32() if dtypes <= {np.dtype(np.float32), np.dtype(np.float16)} else pa.float64()
    schema = pa.schema(
        [
            ("step", pa.int64()),
            ("epoch", pa.float64()),
            ("layer", _TEXT),
            ("tensor", _TEXT),
            *_VALUES,
            ("value", number),
        ]
    )
    return schema, _rows(job, kind, tensors, steps, schema)


def _rows(
    job: Job, kind: SnapshotKind, tensors: Sequence[tuple[str, str]], steps: Sequence[int], schema: pa.Schema
) -> Iterator[pa.Table]:
    """Row: the unit or output channel. Col: where the value lies in that row, all other indices in one."""
    orders = layouts(known_graph(job.run))
    for done, step in enumerate(steps, 1):
        snapshot = job.run.snapshot(step, kind)
        for layer, name in tensors:
            if name not in snapshot:
                job.tell("missing", f"{name} was not kept at step {step}.")
                continue
            values = snapshot[name]
            if len(order := orders.get(name, ())) == values.ndim:
                values = values.transpose(order)
            values = values.reshape(values.shape[0] if values.ndim else 1, -1)
            for start in range(0, values.size, _ROWS_AT_ONCE):
                part = values.reshape(-1)[start : start + _ROWS_AT_ONCE]
                place = np.arange(start, start + len(part))
                count = len(part)
                yield pa.table(
                    [
                        pa.array(np.full(count, step, np.int64)),
                        _epochs(job, np.full(count, step, np.int64)),
                        _repeated(layer, count),
                        _repeated(name, count),
                        pa.array((place // values.shape[1]).astype(np.int32)),
                        pa.array((place % values.shape[1]).astype(np.int32)),
                        pa.array(part.astype(schema.field("value").type.to_pandas_dtype()), from_pandas=False),
                    ],
                    schema=schema,
                )
        if job.progress is not None:
            job.progress(done, len(steps))


def _histogram_tables(job: Job) -> Iterator[pa.Table]:
    found = tables(job, "param")
    every = np.unique(np.concatenate([t.steps for t in found]))
    wanted = np.array(choose_steps(job.steps, every.tolist()), np.int64)
    for each in found:
        rows = np.flatnonzero(np.isin(each.steps, wanted))
        bins = each.counts.shape[1]
        edges = np.linspace(each.lo[rows], each.hi[rows], bins + 1, axis=1)
        steps = np.repeat(each.steps[rows], bins)
        yield pa.table(
            [
                pa.array(steps),
                _epochs(job, steps),
                _repeated(shown_name(each.series), len(steps)),
                pa.array(np.tile(np.arange(bins, dtype=np.int32), len(rows))),
                pa.array(edges[:, :-1].ravel()),
                pa.array(edges[:, 1:].ravel()),
                pa.array(each.counts[rows].ravel()),
            ],
            schema=_HISTOGRAM,
        )


def _repeated(word: str, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([word], pa.string()))


def _epochs(job: Job, steps: npt.NDArray[np.int64]) -> Any:
    epochs = epochs_at(job.run, steps)
    if epochs is None:
        return pa.nulls(len(steps), pa.float64())
    return pa.array(epochs, from_pandas=False, mask=np.isnan(epochs))
