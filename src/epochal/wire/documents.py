"""Facts into documents: plain dictionaries in the shapes of `epochal.wire.schema`, which JSON is made from.

They are not built as models: a table of a thousand runs would take a tenth of a second for checks of what was made
here a moment before. Tests hold every document against its model instead.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from epochal.facts import ConsoleLine, Graph, MediaItem, Notice, SeriesSummary, is_system
from epochal.store.mediaread import MediaSeries
from epochal.views.detail import DetailFacts
from epochal.views.runs import RunFacts, StoredSummaries, flat_config, total_epochs

__all__ = [
    "console_document",
    "detail_document",
    "graph_document",
    "media_document",
    "notice_documents",
    "row_document",
    "to_json",
]

_FIRST_METRICS = ("val_loss", "val/loss", "validation_loss", "loss", "train_loss", "train/loss")
_SPARK = re.compile(rb',\s*"spark":\s*(\[[^\]]*\])')


def to_json(document: Any) -> bytes:
    """A document as JSON; NaN and infinities are null there."""
    try:
        return orjson.dumps(document)
    except TypeError:
        # Integers beyond 64 bits, half surrogates and odd keys of somebody's config: slower, but it takes all of them.
        return json.dumps(_finite(document), ensure_ascii=True, default=str).encode("ascii")


def row_document(facts: RunFacts) -> dict[str, Any]:
    """A RunRow."""
    info = facts.info
    metrics, spark = _metrics(facts.summaries)
    return {
        "id": f"{info.project}/{info.run_id}",
        "project": info.project,
        "run_id": info.run_id,
        "name": info.name,
        "status": info.status,
        "created": info.created,
        "ended": info.ended,
        "seconds": info.seconds,
        "last_step": info.last_step,
        "last_epoch": info.last_epoch,
        "total_epochs": total_epochs(info.config),
        "group": info.group,
        "parent": info.parent,
        "parent_step": info.parent_step,
        "tags": list(info.tags),
        "notes": info.notes,
        "archived": info.archived,
        "parameters": facts.parameters,
        "config": flat_config(info.config),
        "metrics": metrics,
        "spark": spark,
        "error": info.error,
        "notices": sum(notice.code != "thinned" for notice in info.notices),  # thinning is no alarm
        "version": facts.version,
    }


def detail_document(facts: DetailFacts) -> dict[str, Any]:
    """A RunDetail."""
    info = facts.row.info
    return {
        "row": row_document(facts.row),
        "path": info.path,
        "code": dict(facts.code),
        "environment": dict(facts.environment),
        "recorder": dict(info.recorder),
        "series": list(facts.series),
        "tensors": [asdict(t) for t in facts.tensors],
        "layers": [asdict(layer) for layer in facts.layers],
        "snapshots": list(facts.snapshots),
        "epoch_steps": list(facts.epoch_steps),
        "epochs": list(facts.epochs),
        "graph": facts.graph,
        "network": facts.network,
        "media": [_media_series(series) for series in facts.media],
        "alerts": [asdict(alert) for alert in facts.alerts],
        "console": facts.console,
        "notices": notice_documents(facts.notices),
    }


def _media_series(series: MediaSeries) -> dict[str, Any]:
    found = {**asdict(series), "series": series.name, "kinds": list(series.kinds)}
    del found["name"]
    return found


def media_document(series: str, items: Sequence[MediaItem], *, total: int, stride: int) -> dict[str, Any]:
    """A MediaDocument."""
    return {
        "series": series,
        "total": total,
        "stride": stride,
        "items": [
            {
                "step": item.step,
                "t": item.t,
                "index": item.index,
                "kind": item.kind,
                "blob": item.filename,
                "size": item.size,
                "caption": item.caption,
                "meta": dict(item.meta),
            }
            for item in items
        ],
    }


def console_document(lines: Sequence[ConsoleLine]) -> dict[str, Any]:
    """A ConsoleDocument."""
    return {
        "lines": [
            {"t": line.t, "step": line.step, "stream": line.stream, "text": line.text, "rank": line.rank}
            for line in lines
        ]
    }


def notice_documents(notices: Sequence[Notice]) -> list[dict[str, Any]]:
    """NoticeDocuments."""
    return [asdict(notice) for notice in notices]


def graph_document(graph: Graph) -> dict[str, Any]:
    """A GraphDocument."""
    group_of = {layer_id: group.group_id for group in graph.groups for layer_id in group.layers}
    shared = graph.shared
    return {
        "source": graph.source,
        "model": graph.model,
        "framework": graph.framework,
        "note": graph.note,
        "layers": [
            {
                "layer_id": layer.layer_id,
                "kind": layer.kind,
                "module": layer.module,
                "role": layer.role,
                "inputs": [list(shape) for shape in layer.inputs],
                "outputs": [list(shape) for shape in layer.outputs],
                "parameters": [
                    {
                        "name": p.name,
                        "shape": list(p.shape),
                        "dtype": p.dtype,
                        "role": p.role,
                        "trainable": p.trainable,
                        "initializer": p.initializer,
                        "size": p.size,
                        "bytes": p.nbytes,
                    }
                    for p in layer.parameters
                ],
                "activation": layer.activation,
                "attributes": dict(layer.attributes),
                "parameter_count": layer.parameter_count,
                "multiply_adds": layer.multiply_adds,
                "units": layer.units,
                "group": group_of.get(layer.layer_id, ""),
                "shared": list(shared.get(layer.module, ())) if layer.role == "module" else [],
            }
            for layer in graph.layers
        ],
        "edges": [{"source": e.source, "target": e.target, "skip": e.skip} for e in graph.edges],
        "groups": [{"group_id": g.group_id, "kind": g.kind, "parent": g.parent} for g in graph.groups],
        "skips": [{"source": s.source, "target": s.target, "through": list(s.through)} for s in graph.skips],
        "multiply_adds": graph.multiply_adds,
        "bytes": graph.nbytes,
        "parameter_count": graph.parameter_count,
        "trainable_count": graph.trainable_count,
    }


def _metrics(summaries: Mapping[str, SeriesSummary]) -> tuple[Any, Any]:
    """MetricDocuments by name, and the SparkDocument of one of them."""
    if isinstance(summaries, StoredSummaries):
        return _passed_on(summaries.stored) or _read(orjson.loads(summaries.stored))
    sparks = {name: list(summary.spark) for name, summary in summaries.items()}
    return {name: _metric(summary) for name, summary in summaries.items()}, _spark(sparks)


def _passed_on(stored: bytes) -> tuple[Any, Any] | None:
    """As `_read`, without reading: summaries are stored with the very fields of the document, and their sparks.

    None where that does not do: a number that is not finite stands there as a word, or no usual loss is there to draw.
    A quote inside of a name is stored with a backslash before it, so that nothing here is found inside of a name.
    """
    if b'NaN"' in stored or b'Infinity"' in stored:
        return None
    chosen, at = next(((name, at) for name in _FIRST_METRICS if (at := _place(stored, name)) >= 0), ("", -1))
    spark = _SPARK.search(stored, at) if chosen else None
    if spark is None or spark[1] == b"[]":
        return None
    return orjson.Fragment(_SPARK.sub(b"", stored)), {"name": chosen, "values": orjson.Fragment(spark[1])}


def _place(stored: bytes, name: str) -> int:
    """Where a series begins in the stored form, -1 where it is not there."""
    key = f'"{name}":'.encode()
    at = stored.find(key)
    while at > 0 and stored[at - 1 : at] == b"\\":
        at = stored.find(key, at + 1)
    return at


def _read(stored: dict[str, dict[str, Any]]) -> tuple[Any, Any]:
    sparks = {name: metric.pop("spark", None) or [] for name, metric in stored.items()}
    for metric in stored.values():
        metric.update({key: None for key in ("last", "min", "max", "mean") if isinstance(metric[key], str)})
    return stored, _spark(sparks)


def _spark(sparks: Mapping[str, Sequence[Any]]) -> dict[str, Any] | None:
    """The series that says most in one line: the loss on data the network did not train on, where there is one."""
    names = {name for name, values in sparks.items() if values and name != "epoch" and not is_system(name)}
    chosen = next((name for name in _FIRST_METRICS if name in names), None)
    chosen = chosen or min((n for n in names if "loss" in n.lower()), default=None) or min(names, default=None)
    return None if chosen is None else {"name": chosen, "values": sparks[chosen]}


def _metric(summary: SeriesSummary) -> dict[str, Any]:
    document = asdict(summary)
    del document["name"], document["spark"]
    return document


def _finite(value: Any) -> Any:
    """As orjson would write it: null for what is not finite, texts for keys."""
    if isinstance(value, orjson.Fragment):
        return orjson.loads(value.contents)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair is no letter
    if isinstance(value, Mapping):
        return {_finite(str(key)): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
