"""Comparisons on the wire: by what a run's network can be compared, and what each comparison found."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import EpochalError
from epochal.facts import Graph
from epochal.lens.comparing import facts_of
from epochal.lens.heads import Attention
from epochal.lens.photos import SAMPLES, picture_shape
from epochal.lens.spectrum import Spectra
from epochal.lens.surface import Landscape
from epochal.store.reader import StoredRun
from epochal.views.given import series_with_inputs
from epochal.views.predictions import last_items
from epochal.views.vocabulary import vocabulary
from epochal.wire.asking import askable
from epochal.wire.frames import encode
from epochal.wire.schema_compare import CompareFacts

__all__ = ["compare_document", "compared_of", "drawn_comparison", "packed_comparison"]

Array = npt.NDArray[Any]

_MOST_NUMBERS = 1 << 22


def compare_document(run: StoredRun) -> dict[str, Any]:
    """A CompareDocument; says why where nothing can be compared."""
    known, graph = askable(run), None
    try:
        graph = run.graph()
    except (EpochalError, OSError):
        known = None
    document: dict[str, Any] = {
        "reason": "", "layers": [], "series": [], "labelled": [], "attends": False, "samples": [],
        "picture": False, "tokens": "",
    }  # fmt: skip
    if importlib.util.find_spec("torch") is None:
        return document | {"reason": "torch"}
    if known is None or graph is None:
        return document | {"reason": "network"}
    series = series_with_inputs(run)
    return document | {
        "layers": [layer.layer_id for layer in graph.layers if _weighted(layer)],
        "series": series,
        "labelled": [name for name in series if _labelled(run, name)],
        "attends": _attends(graph),
        "samples": _samples(tuple(known["shape"])),
        "picture": _takes_pictures(tuple(known["shape"])),
        "tokens": _tokens(run, graph, tuple(known["shape"])),
    }


def compared_of(name: str, result: Any, seconds: float, *, done: bool = True) -> dict[str, Any]:
    """A CompareResult."""
    found = facts_of(result)
    facts = {key: found.get(key, empty) for key, empty in CompareFacts().model_dump().items()}
    return {
        "method": name,
        "caption": result.caption,
        "notes": list(result.notes),
        "numbers": {key: float(value) for key, value in dict(result.numbers).items()},
        "facts": facts,
        "seconds": round(seconds, 4),
        "done": done,
    }


def packed_comparison(name: str, result: Any, pixels: Array | None = None) -> bytes:
    """An EPF1 container with a CompareHeader."""
    arrays: dict[str, Array]
    if isinstance(result, Spectra):
        arrays = {"values": result.array.astype(np.float32)}
    elif isinstance(result, Landscape):
        arrays = {"losses": result.filled.astype(np.float32), "x": result.x}
        for key, value in (("y", result.y), ("path", result.path), ("path_losses", result.path_losses)):
            if value is not None:
                arrays[key] = value.astype(np.float64)
    elif isinstance(result, Attention):
        arrays = {"maps": _maps(result)} | ({} if pixels is None else {"pixels": pixels})
    elif hasattr(result, "interval"):
        arrays = {"accuracy": result.array.astype(np.float32)}
    else:
        arrays = {"matrix": result.array.astype(np.float32)}
    return encode({"method": name}, arrays)


def drawn_comparison(result: Any, *, mode: str, photo: Array | None = None) -> bytes:
    """The same as a PNG picture with its title, scale and source, as `epochal lens` writes it."""
    with TemporaryDirectory(prefix="epochal-compare-") as folder:
        to = Path(folder) / "compare.png"
        result.save(to, theme=mode, **({"photo": photo} if isinstance(result, Attention) else {}))
        return to.read_bytes()


def _maps(result: Attention) -> Array:
    """The rollout and all heads, over patches where there are some, otherwise between tokens."""
    wanted: list[tuple[int | None, int | None]] = [(None, None)] if result.has_rollout else []
    wanted += [(i, head) for i, weights in enumerate(result.weights) for head in range(len(weights))]
    over = result.grid is not None and not result.windowed
    one = result.map(*wanted[0]) if over else result.of(*wanted[0])
    kept = wanted[: max(1, _MOST_NUMBERS // max(1, one.size))]
    found = [result.map(*which) if over else result.of(*which) for which in kept]
    same = [value for value in found if value.shape == one.shape]
    return np.stack(same).astype(np.float32)


def _weighted(layer: Any) -> bool:
    return layer.role == "module" and any(p.role != "buffer" and len(p.shape) > 1 for p in layer.parameters)


def _labelled(run: StoredRun, name: str) -> bool:
    return bool(last_items(run, name)[-1].meta.get("labels", True))


def _attends(graph: Graph) -> bool:
    """Whether something is called attention, or a softmax comes before what has weights."""
    kinds = [layer.kind.lower() for layer in graph.layers]
    if any("attention" in kind for kind in kinds):
        return True
    softmaxes = [i for i, kind in enumerate(kinds) if "softmax" in kind]
    return bool(softmaxes) and any(_weighted(layer) for layer in graph.layers[softmaxes[0] :])


def _takes_pictures(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and (picture_shape(shape) is not None or shape[2] in (1, 3))


def _tokens(run: StoredRun, graph: Graph, shape: tuple[int, ...]) -> str:
    """What one writes for an input that is looked up in an embedding; empty for any other."""
    if len(shape) != 1 or not any("embedding" in layer.kind.lower() for layer in graph.layers):
        return ""
    words = vocabulary(run)
    return "numbers" if not words else "letters" if all(len(word) <= 1 for word in words) else "words"


def _samples(shape: tuple[int, ...]) -> list[str]:
    if not _takes_pictures(shape):
        return []
    return [name for name, (package, _) in SAMPLES.items() if importlib.util.find_spec(package) is not None]
