"""What `epochal lens` says and writes."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epochal.cli.terminal import Terminal, columns

if TYPE_CHECKING:
    from epochal.lens.photos import Photo
    from epochal.network import Network

_TOP = 5


def answers(network: Network, photo: Photo) -> list[dict[str, Any]]:
    """The network's first answers: class, name, score and share of all."""
    import numpy as np

    from epochal.lens.answering import scores_of

    scores = scores_of(network, photo.array)
    if scores.ndim != 2 or scores.shape[1] < 2:
        return []
    row = scores[0].astype(np.float64)
    if row.min() >= 0 and math.isclose(float(row.sum()), 1.0, rel_tol=1e-3):
        shares = row
    else:
        shares = np.exp(row - row.max())
        shares /= shares.sum()
    names = network.classes
    return [
        {
            "class": int(i),
            "name": names[i] if i < len(names) else str(i),
            "score": float(row[i]),
            "probability": float(shares[i]),
        }
        for i in np.argsort(-row, kind="stable")[:_TOP]
    ]


def write(
    args: argparse.Namespace,
    seen: Mapping[str, Sequence[Any]],
    captions: Sequence[str],
    photo: Photo | None,
    network: Network,
) -> Path:
    """Write the picture, film or numbers of what was seen; the file's path."""
    from epochal.film.draw import parse_size
    from epochal.lens.showing import scene
    from epochal.picture import MOVIE_FORMATS, save, write_flipbook

    target = Path(args.to)
    kind = target.suffix.lower().lstrip(".")
    if kind == "npz":
        return _write_numbers(target, seen)
    title = args.network if photo is None else f"{photo.name} · {args.network}"
    labels = {r.target for results in seen.values() for r in results if isinstance(getattr(r, "target", None), int)}
    if len(labels) == 1:
        title += f" · {_explained(args, network, labels.pop())}"
    drawn = scene(
        seen,
        None if photo is None else photo.pixels,
        title=title,
        captions=captions,
        mode=args.theme,
        size=parse_size(args.size),
        volume=photo.array if photo is not None and photo.pixels is None and photo.array.ndim == 4 else None,
        moving=kind in (*MOVIE_FORMATS, "html"),
    )
    if kind == "html":
        return write_flipbook(drawn, target, captions=drawn.captions, fps=args.fps)
    return save(drawn, target, fps=args.fps)


def _explained(args: argparse.Namespace, network: Network, target: int) -> str:
    """What a number of a class, or with --inside of a channel, stands for."""
    if args.inside is not None:
        return f"{args.inside}, channel {target}"
    return network.classes[target] if target < len(network.classes) else f"class {target}"


def _write_numbers(target: Path, seen: Mapping[str, Sequence[Any]]) -> Path:
    import numpy as np

    from epochal.picture import replacing

    arrays: dict[str, Any] = {
        name: np.stack([np.asarray(_numbers_of(r)) for r in results]) for name, results in seen.items()
    }
    with replacing(target) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return target


def _numbers_of(result: Any) -> Any:
    return result.values if hasattr(result, "indices") else result.array


def say(
    args: argparse.Namespace,
    terminal: Terminal,
    network: Network,
    photo: Photo | None,
    top: list[dict[str, Any]],
    seen: Mapping[str, Sequence[Any]],
    path: Path | None,
    frames: int,
) -> None:
    """Say what was seen, as lines or as one JSON document."""
    notes = list(photo.notes) if photo is not None else []
    if args.json:
        terminal.json(
            {
                "network": args.network,
                "step": network.step,
                "image": None if photo is None else photo.name,
                "top": top,
                "methods": [_document(name, results[-1]) for name, results in seen.items()],
                "path": None if path is None else str(path.absolute()),
                "frames": frames,
                "notes": notes,
            }
        )
        return
    for one in top:
        terminal.line(f"{one['probability']:>6.1%}  {one['name']}  ({one['score']:.3g})")
    for name, results in seen.items():
        last = results[-1]
        numbers = ", ".join(f"{key} {value:.4g}" for key, value in dict(getattr(last, "numbers", {})).items())
        where = f" at {last.layer}" if getattr(last, "layer", None) else ""
        what = "class" if args.inside is None else f"{args.inside}, channel"
        of = f", {what} {last.target} with {last.score:.4g}" if hasattr(last, "score") else ""
        terminal.line(f"{terminal.style(name, 'bold')}{where}{of}" + (f" ({numbers})" if numbers else ""))
        notes += [f"{name}: {note}" for note in getattr(last, "notes", ())]
    if path is not None:
        terminal.line(f"{path}" + (f", {frames} frames" if frames > 1 else ""))
    for note in notes:
        terminal.warn(note)


def _document(name: str, result: Any) -> dict[str, Any]:
    return {
        "name": name,
        "layer": getattr(result, "layer", None),
        "target": getattr(result, "target", None),
        "score": getattr(result, "score", None),
        "shape": list(_numbers_of(result).shape),
        "caption": result.caption,
        "numbers": dict(getattr(result, "numbers", {})),
        "notes": list(getattr(result, "notes", ())),
    }


def list_methods(args: argparse.Namespace, terminal: Terminal) -> None:
    """List all ways of looking."""
    from epochal.lens.comparing import COMPARISONS
    from epochal.lens.methods import METHODS

    known: list[Any] = [*METHODS.values(), *COMPARISONS.values()]
    if args.json:
        terminal.json(
            [
                {"name": m.name, "words": m.words, "paper": m.paper, "takes": sorted(m.takes), "needs": sorted(m.needs)}
                for m in known
            ]
        )
        return
    for line in columns([[m.name, m.words, m.paper] for m in known]):
        terminal.line(line)


def list_layers(network: Network, args: argparse.Namespace, terminal: Terminal) -> None:
    """List the layers of a network by the names that the lens knows."""
    from epochal.lens.layers import named_layers

    if network.chain is not None and network.graph is not None:
        rows = [[layer.layer_id, layer.kind] for layer in network.layers]
    else:
        rows = [[name, type(module).__name__] for name, module in named_layers(network.module).items()]
    if args.json:
        terminal.json([{"name": name, "kind": kind} for name, kind in rows])
        return
    for line in columns(rows):
        terminal.line(line)
