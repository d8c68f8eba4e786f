"""`epochal lens`."""

from __future__ import annotations

import argparse
import inspect
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epochal.cli.elsewhere import open_typed
from epochal.cli.options import add_dir, add_json, existing_root, within
from epochal.cli.terminal import Terminal, columns
from epochal.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from epochal.lens.photos import Photo
    from epochal.network import Network

EXAMPLES = """
epochal lens epochal:efficientnet-lite0 chelsea
epochal lens epochal:efficientnet-lite0 chelsea --method grad_cam,guided_backprop,occlusion --to cat.png
epochal lens latest@120 digit.png --method feature_maps --layer conv1 --to maps.png
epochal lens latest digit.png --method saliency,grad_cam --target 3 --steps all --to learning.gif
epochal lens latest --method filters --steps all --to filters.mp4
epochal lens latest --method maximize --target 7 --to seven.png
epochal lens net.pt2 --method top_examples --layer features.3 --data test.npz --to examples.png
epochal lens models.small:build --weights small.safetensors photo.jpg --input-shape 3x64x64
epochal lens latest --method cka --against latest@first --to alike.png
epochal lens latest --method linear_probes --steps all --to probes.gif
epochal lens latest --method loss_landscape --path --to path.gif
epochal lens latest --layers
"""
_TOP = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument(
        "network",
        metavar="NETWORK",
        nargs="?",
        help="run@step (latest, latest@120, project/name@last), a .pt2, .npz, .safetensors or .pt file, "
        "epochal:efficientnet-lite0, torchvision:NAME, timm:NAME, transformers:NAME, keras:NAME, "
        "or package.module:function, which is run",
    )
    parser.add_argument(
        "image",
        metavar="IMAGE",
        nargs="?",
        help="a picture, an .npy file with one input, or a sample photo: chelsea, coffee, rocket, china, flower",
    )
    parser.add_argument("--method", metavar="M,...", help="ways of looking, joined by commas (see --methods)")
    parser.add_argument("--methods", action="store_true", help="list the ways of looking")
    parser.add_argument("--layers", action="store_true", help="list the network's layers")
    parser.add_argument(
        "--layer", metavar="L", help="the layer to look at, such as layer3.2; several for comparisons: conv1,fc"
    )
    parser.add_argument("--channel", type=int, metavar="C", help="a channel of it, for filters and maximize")
    parser.add_argument("--target", metavar="T", help="a class by its number or name (default: the network's answer)")
    parser.add_argument("--steps", metavar="STEPS", help="of a run: all, last, 5, 1,5,9, 0:150, every:5; makes a film")
    parser.add_argument(
        "--data", metavar="FILE", help="an .npy or .npz file of inputs [N, ...] (x), and of classes (y)"
    )
    parser.add_argument("--against", metavar="NETWORK", help="another network, for cka: run@step, a file, a name")
    parser.add_argument("--path", action="store_true", help="of a run, for loss_landscape: the way its training took")
    parser.add_argument("--weights", metavar="FILE", help="parameters for a named model or for code")
    parser.add_argument("--input-shape", metavar="CxHxW", help="of one input, where the network does not say it")
    parser.add_argument(
        "--set",
        metavar="METHOD.NAME=VALUE",
        action="append",
        default=[],
        help="an option of a method, such as occlusion.window=16 (may be repeated)",
    )
    parser.add_argument(
        "--to", metavar="FILE", help="the picture: png or svg, gif or mp4 with --steps, npz for numbers"
    )
    parser.add_argument("--fps", type=within(float, 0.1, 240), default=6.0, metavar="N", help="frames a second")
    parser.add_argument("--size", metavar="WxH", help="size in pixels, such as 800x600 (default: as large as needed)")
    parser.add_argument("--theme", choices=("light", "dark"), default="light", help="surface (default: light)")
    parser.add_argument("--trust", action="store_true", help="load a recorded program that the check refuses")
    add_dir(parser)
    add_json(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Look, write the picture, and say what was seen."""
    if args.methods:
        _list_methods(args, terminal)
        return 0
    from epochal.lens.comparing import comparison_named

    if args.network is None:
        raise UsageError("Name a network.", hint="epochal lens latest, a file, or epochal:efficientnet-lite0.")
    if args.layers:
        _list_layers(open_network(args, args.network), args, terminal)
        return 0
    words = [word for word in (args.method or "").split(",") if word.strip()]
    if any(comparison_named(word) for word in words):
        return _compared(args, terminal, words)
    methods = [_method(word) for word in words]
    if args.to and not methods:
        raise UsageError("Say what to look with: --method saliency,grad_cam.", hint="--methods lists all.")
    if not methods and args.image is None:
        raise UsageError("Name an image, a method or both.", hint="epochal lens latest --layers lists the layers.")
    _options(args.set)
    films = steps_of(args)
    network = open_network(args, args.network, films[-1] if films else None)
    photo = None if args.image is None else _photo(args, network)
    top = [] if photo is None else _answers(network, photo)
    target = _target(args.target, network)
    seen, captions = _looked(args, terminal, network, methods, photo, target, films)
    path = None if args.to is None else _write(args, seen, captions, photo, network)
    _say(args, terminal, network, photo, top, seen, path, len(captions))
    return 0


def _compared(args: argparse.Namespace, terminal: Terminal, words: Sequence[str]) -> int:
    """One comparison, which has pictures of its own."""
    from epochal.cli.lens_compare import compare_networks
    from epochal.lens.comparing import comparison_named

    known = comparison_named(words[0])
    if known is None or len(words) > 1:
        raise UsageError("A comparison stands alone.", hint=f"Ask one by one: --method {words[0].strip()}")
    return compare_networks(args, terminal, known.name, _options(args.set).get(known.name, {}))


def open_network(args: argparse.Namespace, text: str, step: int | None = None) -> Network:
    """The network that a word of the command line means, at a step where one is given."""
    if step is not None:
        text = f"{text.rpartition('@')[0] or text}@{step}"
    root = existing_root(args.dir) if args.dir else None
    return open_typed(text, weights=args.weights, input_shape=_shape(args.input_shape), root=root, trust=args.trust)


def _method(word: str) -> str:
    from epochal.lens.comparing import comparison_named
    from epochal.lens.methods import method_named

    if (comparison := comparison_named(word)) is not None:
        return comparison.name
    return method_named(word).name


def steps_of(args: argparse.Namespace) -> list[int]:
    """The snapshots that are meant by --steps, none without it."""
    if args.steps is None:
        return []
    from epochal.export.choose import choose_steps
    from epochal.network.sources import named_run

    name, at, _ = args.network.rpartition("@")
    if at:
        raise UsageError("Name the steps in one way: RUN@STEP or --steps.")
    stored, _ = named_run(args.network if not at else name, root=existing_root(args.dir))
    return choose_steps(args.steps, list(stored.snapshot_steps()))


def _photo(args: argparse.Namespace, network: Network) -> Photo:
    from epochal.lens.photos import open_photo

    return open_photo(args.image, network)


def _target(text: str | None, network: Network) -> int | None:
    if text is None:
        return None
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    names = [name.lower() for name in network.classes]
    if text.lower() in names:
        return names.index(text.lower())
    import difflib

    near = difflib.get_close_matches(text.lower(), names, 3)
    said = f"Did you mean {' or '.join(near)}?" if near else "Name its number; this network has no names of classes."
    raise NotFoundError(f"There is no class {text!r}.", hint=said)


def _looked(
    args: argparse.Namespace,
    terminal: Terminal,
    network: Network,
    methods: Sequence[str],
    photo: Photo | None,
    target: int | None,
    films: Sequence[int],
) -> tuple[dict[str, list[Any]], list[str]]:
    """Each method's results, step after step, and what is said of the steps."""
    from epochal.film.words import captions
    from epochal.lens.methods import look

    if not methods:
        return {}, [""]
    how: dict[str, Any] = {
        "target": target,
        "layer": args.layer,
        "channel": args.channel,
        "data": _data(args.data),
        "options": _options(args.set),
    }
    image = None if photo is None else photo.array
    last = look(network, image, methods, **how)
    if not films:
        said = [""] if network.step is None else list(captions([network.step], None))
        return {name: [result] for name, result in last.items()}, said
    # The class and layer of the last step hold for the whole film.
    how["target"] = next((r.target for r in last.values() if hasattr(r, "target")), target)
    how["layer"] = next((r.layer for r in last.values() if getattr(r, "layer", None)), args.layer)
    seen: dict[str, list[Any]] = {name: [] for name in last}
    with terminal.progress("Looking", unit="steps") as progress:
        for done, one in enumerate(_each(args, films)):
            for name, result in look(one, image, methods, **how).items():
                seen[name].append(result)
            progress(done + 1, len(films))
    return seen, list(captions(films, None))


def _each(args: argparse.Namespace, films: Sequence[int]) -> Iterator[Network]:
    from epochal.network.recorded import open_each
    from epochal.network.sources import named_run

    stored, _ = named_run(args.network, root=existing_root(args.dir))
    return open_each(stored, films)


def _answers(network: Network, photo: Photo) -> list[dict[str, Any]]:
    """The network's first answers: class, name, score and share of all."""
    import numpy as np

    from epochal.network.dense import DenseNetwork

    if isinstance(network, DenseNetwork):
        scores = np.asarray(network(photo.array[None]))
    else:
        from epochal.lens.asking import Subject, to_array

        subject = Subject(network)
        with subject.asking(gradients=False):
            scores = to_array(subject.outputs(subject.example(photo.array)))
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


def _write(
    args: argparse.Namespace,
    seen: Mapping[str, Sequence[Any]],
    captions: Sequence[str],
    photo: Photo | None,
    network: Network,
) -> Path:
    from epochal.film.draw import parse_size
    from epochal.lens.showing import scene
    from epochal.picture import MOVIE_FORMATS, save

    target = Path(args.to)
    kind = target.suffix.lower().lstrip(".")
    if kind == "npz":
        return _write_numbers(target, seen)
    title = args.network if photo is None else f"{photo.name} · {args.network}"
    labels = {r.target for results in seen.values() for r in results if isinstance(getattr(r, "target", None), int)}
    if len(labels) == 1:
        label = labels.pop()
        title += f" · {network.classes[label] if label < len(network.classes) else f'class {label}'}"
    drawn = scene(
        seen,
        None if photo is None else photo.pixels,
        title=title,
        captions=captions,
        mode=args.theme,
        size=parse_size(args.size),
        volume=photo.array if photo is not None and photo.pixels is None and photo.array.ndim == 4 else None,
        moving=kind in MOVIE_FORMATS,
    )
    return save(drawn, target, fps=args.fps)


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


def _say(
    args: argparse.Namespace,
    terminal: Terminal,
    network: Network,
    photo: Photo | None,
    top: list[dict[str, Any]],
    seen: Mapping[str, Sequence[Any]],
    path: Path | None,
    frames: int,
) -> None:
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
        of = f", class {last.target} with {last.score:.4g}" if hasattr(last, "score") else ""
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


def _list_methods(args: argparse.Namespace, terminal: Terminal) -> None:
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


def _list_layers(network: Network, args: argparse.Namespace, terminal: Terminal) -> None:
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


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    if not re.fullmatch(r"\d+(x\d+)*", text.lower()):
        raise UsageError(f"The shape {text!r} cannot be read.", hint="Write 3x224x224, or 784 for a flat input.")
    return tuple(int(side) for side in text.lower().split("x"))


def _data(text: str | None) -> Any:
    """The inputs of a file: an array, or of several the one called x, images or inputs, otherwise the first."""
    if text is None:
        return None
    from epochal.lens.photos import read_inputs

    return read_inputs(text)


def _options(words: Sequence[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for word in words:
        match = re.fullmatch(r"([\w-]+)\.(\w+)=(.+)", word)
        if match is None:
            raise UsageError(f"The option {word!r} cannot be read.", hint="Write --set occlusion.window=16.")
        method = _method(match[1])
        known = _parameters(method)
        if match[2] not in known:
            raise UsageError(f"{method} has no option {match[2]!r}.", hint=f"It has: {', '.join(known) or 'none'}.")
        found.setdefault(method, {})[match[2]] = _value(match[3])
    return found


def _parameters(method: str) -> list[str]:
    """The options of a method, beside what the command has options for."""
    from importlib import import_module

    from epochal.lens.comparing import comparison_named, settings_of

    if comparison_named(method) is not None:
        return settings_of(method)
    taken = {"network", "image", "data", "target", "layer", "channel", "progress", "preview", "every", "preparation"}
    function = getattr(import_module("epochal.lens"), "maximizing" if method == "maximize" else method)
    return [name for name in inspect.signature(function).parameters if name not in taken]


def _value(text: str) -> Any:
    if text.lower() in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return [_value(part) for part in text.split(",")] if "," in text else text
