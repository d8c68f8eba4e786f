"""`epochal lens`."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from epochal.cli.elsewhere import open_typed
from epochal.cli.lens_asked import add_questions, checks, photo_of, seen_from
from epochal.cli.lens_said import answers, list_layers, list_methods, say, write
from epochal.cli.options import add_dir, add_json, existing_root, within
from epochal.cli.terminal import Terminal
from epochal.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from epochal.lens.photos import Photo
    from epochal.network import Network

EXAMPLES = """
epochal lens epochal:efficientnet-lite0 chelsea
epochal lens epochal:efficientnet-lite0 chelsea --method grad_cam,guided_backprop,occlusion --to cat.png
epochal lens latest@120 digit.png --method feature_maps --layer conv1 --to maps.png
epochal lens latest digit.png --method saliency,grad_cam --target 3 --steps all --to learning.gif
epochal lens latest --example 3 --method saliency --inside conv2 --target 7 --to channel.png
epochal lens latest --example 3 --method grad_cam,saliency --check --to check.png
epochal lens latest --method filters --steps all --to filters.mp4
epochal lens latest --method maximize --target 7 --to seven.png
epochal lens net.pt2 --method top_examples --layer features.3 --data test.npz --to examples.png
epochal lens models.small:build --weights small.safetensors photo.jpg --input-shape 3x64x64
epochal lens latest --method cka --against latest@first --to alike.png
epochal lens latest --method linear_probes --steps all --to probes.gif
epochal lens latest --method loss_landscape --path --to path.gif
epochal lens latest --layers
"""


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
    add_questions(parser)
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
        "--to", metavar="FILE", help="the picture: png or svg; gif, mp4 or html with --steps; npz for numbers"
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
        list_methods(args, terminal)
        return 0
    from epochal.lens.comparing import comparison_named

    if args.network is None:
        raise UsageError("Name a network.", hint="epochal lens latest, a file, or epochal:efficientnet-lite0.")
    if args.layers:
        list_layers(open_network(args, args.network), args, terminal)
        return 0
    words = [word for word in (args.method or "").split(",") if word.strip()]
    if any(comparison_named(word) for word in words):
        return _compared(args, terminal, words)
    methods = [_method(word) for word in words]
    if args.to and not methods:
        raise UsageError("Say what to look with: --method saliency,grad_cam.", hint="--methods lists all.")
    if not methods and args.image is None and args.example is None:
        raise UsageError("Name an image, a method or both.", hint="epochal lens latest --layers lists the layers.")
    _options(args.set)
    films = steps_of(args)
    network = open_network(args, args.network, films[-1] if films else None)
    photo = photo_of(args, network)
    top = [] if photo is None else answers(network, photo)
    target = _target(args.target, network)
    seen, captions = _looked(args, terminal, network, methods, photo, target, films)
    path = None if args.to is None else write(args, seen, captions, photo, network)
    say(args, terminal, network, photo, top, seen, path, len(captions))
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
    said = [""] if network.step is None else list(captions([network.step], None))
    if args.check:
        subject = seen_from(args, network, methods)
        return checks(args, subject, photo, target, methods, how["options"]), said
    last = look(seen_from(args, network, methods), image, methods, **how)
    if not films:
        return {name: [result] for name, result in last.items()}, said
    # The class and layer of the last step hold for the whole film.
    how["target"] = next((r.target for r in last.values() if hasattr(r, "target")), target)
    how["layer"] = next((r.layer for r in last.values() if getattr(r, "layer", None)), args.layer)
    seen: dict[str, list[Any]] = {name: [] for name in last}
    with terminal.progress("Looking", unit="steps") as progress:
        for done, one in enumerate(_each(args, films)):
            for name, result in look(seen_from(args, one, methods), image, methods, **how).items():
                seen[name].append(result)
            progress(done + 1, len(films))
    return seen, list(captions(films, None))


def _each(args: argparse.Namespace, films: Sequence[int]) -> Iterator[Network]:
    from epochal.network.recorded import open_each
    from epochal.network.sources import named_run

    stored, _ = named_run(args.network, root=existing_root(args.dir))
    return open_each(stored, films)


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
