"""`epochal lens` with the methods that look at a whole network: CKA, probes, spectra, landscapes, attention."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epochal.cli.options import existing_root
from epochal.cli.terminal import Terminal, columns
from epochal.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from epochal.network import Network
    from epochal.workspace import RunReader

__all__ = ["compare_networks"]


def compare_networks(args: argparse.Namespace, terminal: Terminal, name: str, options: Mapping[str, Any]) -> int:
    """Compare, write the picture, and say what was found."""
    from epochal.lens.comparing import COMPARISONS, arguments, compare, facts_of

    known = COMPARISONS[name]
    films = _films(args, name)
    network = _network(args, args.network, films[-1] if films else None)
    reader = _reader(args) if known.needs & {"run"} or args.path or films else None
    data, labels = _examples(args, network, known.needs)
    image, photo = _image(args, network) if "image" in known.needs else (None, None)
    options = {**options, **_names(args, network, image)} if name == "attention" else options
    how = arguments(
        name, data=data, labels=labels, image=image, layers=_layers(args, name), other=_other(args, name),
        path=reader if args.path else None, options=options,
    )  # fmt: skip
    captions = [""] if network.step is None else [f"step {network.step:,}"]
    with terminal.progress("Comparing", unit="parts") as progress:
        watched = {} if name in ("spectra", "attention") else {"progress": progress}
        if films:
            results, captions = _over(reader, name, films, how, progress)
        elif "run" in known.needs:
            results = [compare(reader, name, **how, **watched)]
        else:
            results = [compare(network, name, **how, **watched)]
    path = None if args.to is None else _write(args, results, captions, photo)
    last = results[-1]
    if args.json:
        terminal.json(
            {
                "network": args.network, "step": network.step, "method": name, "caption": last.caption,
                "numbers": dict(last.numbers), "notes": list(last.notes), **facts_of(last),
                "path": None if path is None else str(path.absolute()), "frames": len(captions),
            }
        )  # fmt: skip
        return 0
    for line in columns(_rows(facts_of(last))):
        terminal.line(line)
    terminal.line(terminal.style(last.caption, "dim"))
    if path is not None:
        terminal.line(f"{path}" + (f", {len(captions)} frames" if len(captions) > 1 else ""))
    for note in last.notes:
        terminal.warn(note)
    return 0


def _network(args: argparse.Namespace, text: str, step: int | None = None) -> Network:
    from epochal.cli.lens import open_network

    return open_network(args, text, step)


def _films(args: argparse.Namespace, name: str) -> list[int]:
    from epochal.cli.lens import steps_of

    if args.steps is not None and name == "cka_steps":
        raise UsageError("cka_steps looks at all snapshots of a run.", hint="Leave --steps out.")
    if args.steps is not None and args.path:
        raise UsageError("--path shows all steps at once.", hint="Leave --steps out; --to FILE.gif plays the path.")
    return steps_of(args)


def _reader(args: argparse.Namespace) -> Any:
    return _read(args, args.network)


def _other(args: argparse.Namespace, name: str) -> Any:
    if args.against is None:
        return None
    if name != "cka_steps":
        return _network(args, args.against)
    return _read(args, args.against)


def _read(args: argparse.Namespace, text: str) -> RunReader:
    from epochal.network.sources import named_run
    from epochal.workspace import RunReader

    stored, _ = named_run(text, root=existing_root(args.dir))
    return RunReader.open(stored.path)


def _layers(args: argparse.Namespace, name: str) -> list[str] | None:
    if args.layer is None:
        return None
    layers = [one.strip() for one in args.layer.split(",") if one.strip()]
    if name == "cka_steps" and len(layers) != 1:
        raise UsageError("cka_steps looks at one layer.", hint="--layer conv1")
    return layers


def _examples(args: argparse.Namespace, network: Network, needs: frozenset[str]) -> tuple[Any, Any]:
    """Inputs and classes: of a file, otherwise those that the run has recorded."""
    if "data" not in needs:
        return None, None
    if args.data is not None:
        from epochal.lens.photos import read_inputs, read_labels

        inputs = read_inputs(args.data)
        return inputs, read_labels(args.data) if "labels" in needs else None
    from epochal.network.sources import named_run
    from epochal.views.given import given_examples

    if network.step is None:
        raise UsageError("This needs examples.", hint="--data FILE.npz holds inputs as x, and their classes as y.")
    if network.input_shape is None:
        raise UsageError("The shape of this network's inputs is not known.", hint="Give --data FILE.npz.")
    stored, _ = named_run(args.network, root=existing_root(args.dir))
    found = given_examples(stored, network.input_shape, step=network.step)
    if "labels" in needs and found.labels is None:
        raise NotFoundError(f"The examples of {found.series!r} have no known classes.", hint="Give --data FILE.npz.")
    return found.inputs, found.labels


def _image(args: argparse.Namespace, network: Network) -> tuple[Any, Any]:
    if args.example is not None:
        from epochal.cli.lens_asked import photo_of

        found_photo = photo_of(args, network)
        assert found_photo is not None  # noqa: S101 - an example was named
        return found_photo.array, found_photo.pixels
    if args.image is None:
        raise UsageError("attention needs an input.", hint="Name a picture, or an .npy file of tokens or of one input.")
    if Path(args.image).suffix.lower() == ".npy":
        import numpy as np

        from epochal.lens.photos import read_input

        found = read_input(args.image)
        return (found if found.dtype.kind in "iu" else found.astype(np.float32)), None
    from epochal.lens.photos import SAMPLES, open_photo

    if network.step is not None and args.image not in SAMPLES and not Path(args.image).is_file():
        from epochal.views.vocabulary import typed_input

        words, shape = _words(args), network.input_shape
        if shape is not None and (words or len(shape) == 1):
            return typed_input(args.image, words, shape), None
    photo = open_photo(args.image, network)
    return photo.array, photo.pixels


def _words(args: argparse.Namespace) -> tuple[str, ...]:
    """The vocabulary that the run of the command line tells."""
    from epochal.network.sources import named_run
    from epochal.views.vocabulary import vocabulary

    return vocabulary(named_run(args.network, root=existing_root(args.dir))[0])


def _names(args: argparse.Namespace, network: Network, image: Any) -> dict[str, Any]:
    """Names of the tokens of a run that tells its words."""
    from epochal.views.vocabulary import token_names

    words = _words(args) if network.step is not None and image.ndim == 1 else ()
    return {"tokens": token_names(words, image)} if words else {}


def _over(
    reader: Any, name: str, films: Sequence[int], how: Mapping[str, Any], progress: Any
) -> tuple[list[Any], list[str]]:
    """The results at each step, and what is said of the steps."""
    from importlib import import_module

    from epochal.film.words import captions
    from epochal.lens.films import looks

    method = getattr(import_module("epochal.lens"), name)
    results = []
    for done, (_, result) in enumerate(looks(method, reader.stored, films, **how)):
        results.append(result)
        progress(done + 1, len(films))
    return results, list(captions(films, None))


def _write(args: argparse.Namespace, results: Sequence[Any], captions: Sequence[str], photo: Any) -> Path:
    from epochal.film.draw import parse_size
    from epochal.picture import save, write_flipbook

    target = Path(args.to)
    size = parse_size(args.size)
    last = results[-1]
    more = {"photo": photo} if photo is not None else {}
    if target.suffix.lower() in (".npz", ".csv"):
        return Path(last.save(target))
    if args.path:
        return Path(last.save(target, theme=args.theme, size=size, fps=args.fps))
    title = f"{args.method.strip().replace('_', ' ').replace('-', ' ')} · {args.network}"
    scene = last.scene(mode=args.theme, size=size, title=title, beside=(list(results), list(captions)), **more)
    if target.suffix.lower() == ".html":
        return write_flipbook(scene, target, captions=list(captions), fps=args.fps)
    return save(scene, target, fps=args.fps)


def _rows(facts: Mapping[str, Any]) -> list[list[str]]:
    """What was found as a table for people."""
    if "cka" in facts:
        many = len(facts["columns"]) > 8
        head = ["", *facts["columns"][:8]]
        rows = [[name, *(f"{v:.3f}" for v in row[:8])] for name, row in zip(facts["rows"], facts["cka"], strict=True)]
        return [head, *rows[:24]] + ([["…"] * len(head)] if many or len(rows) > 24 else [])
    if "accuracy" in facts:
        return [
            [name, f"{share:.1%}", f"{low:.1%} to {high:.1%}"]
            for name, share, (low, high) in zip(facts["layers"], facts["accuracy"], facts["interval"], strict=True)
        ] + [["chance", f"{facts['chance']:.1%}", ""]]
    if "stable_rank" in facts:
        rows = [["layer", "shape", "spectral norm", "stable rank", "α"]]
        for i, name in enumerate(facts["layers"]):
            alpha = facts["alpha"][i]
            rows.append(
                [
                    name, "×".join(map(str, facts["shapes"][i])), f"{facts['spectral_norm'][i]:.4g}",
                    f"{facts['stable_rank'][i]:.4g}", "" if alpha is None else f"{alpha:.2f}",
                ]
            )  # fmt: skip
        return rows
    if "centre" in facts:
        rows = [[facts["loss"], f"{facts['centre']:.4g}"], ["least found", f"{facts['least']:.4g}"]]
        if facts["variance"] is not None:
            rows.append(["share of variance", ", ".join(f"{v:.1%}" for v in facts["variance"])])
        return rows
    return [[name, f"{heads} heads"] for name, heads in zip(facts["layers"], facts["heads"], strict=True)]
