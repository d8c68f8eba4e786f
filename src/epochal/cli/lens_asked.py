"""What `epochal lens` is asked about: an input, a place inside the network, and whether random weights see the same."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from epochal.cli.options import existing_root
from epochal.errors import UsageError

if TYPE_CHECKING:
    from epochal.lens.photos import Photo
    from epochal.network import Network

__all__ = ["add_questions", "checks", "photo_of", "seen_from"]


def add_questions(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--example", type=int, metavar="N", help="in place of IMAGE: one that the run has recorded")
    parser.add_argument(
        "--inside", metavar="L", help="explain a channel of this layer instead of a class: --target is its number"
    )
    parser.add_argument("--place", metavar="ROW,COL", help="with --inside: the one unit of the channel there")
    parser.add_argument(
        "--check", action="store_true", help="draw attributions again with random weights, and say how alike they are"
    )


def photo_of(args: argparse.Namespace, network: Network) -> Photo | None:
    """The input that is meant, None where none is."""
    if args.example is None:
        if args.image is None:
            return None
        from epochal.lens.photos import open_photo

        return open_photo(args.image, network)
    if args.image is not None:
        raise UsageError("Name an IMAGE or an --example, not both.")
    if network.step is None:
        raise UsageError(
            "--example is one that a run has recorded.", hint="Name a run: epochal lens latest --example 3."
        )
    from epochal.network.sources import named_run
    from epochal.server.lens_inputs import Opened
    from epochal.server.lens_question import recorded_at

    stored, _ = named_run(args.network, root=existing_root(args.dir))
    series, at = recorded_at(stored, None, network.step)
    asked = {"example": args.example, "series": series, "at": at, "photo": None}
    return Opened().input(stored, network, asked, {})


def seen_from(args: argparse.Namespace, network: Network, methods: Sequence[str]) -> Any:
    """The network, or with --inside that seen from one of its layers."""
    if args.inside is None:
        if args.place is not None:
            raise UsageError("--place is that of a unit: name its layer as well, --inside L.")
        return network
    from epochal.lens import inside
    from epochal.lens.methods import METHODS

    if others := [name for name in methods if METHODS[name].kind != "attribution"]:
        raise UsageError(f"{others[0]} explains nothing: --inside is for attributions.", hint="Leave --inside out.")
    place = None
    if args.place is not None:
        match = re.fullmatch(r"(\d+),(\d+)", args.place.replace(" ", ""))
        if match is None:
            raise UsageError(f"The place {args.place!r} cannot be read.", hint="Write --place 4,7: row and column.")
        place = (int(match[1]), int(match[2]))
    return inside(network, args.inside, place=place)


def checks(
    args: argparse.Namespace, subject: Any, photo: Photo | None, target: int | None, methods: Sequence[str],
    options: Mapping[str, Mapping[str, Any]],
) -> dict[str, list[Any]]:  # fmt: skip
    """Each map, and the same with random weights, whose numbers say how alike they are."""
    from dataclasses import replace

    import epochal.lens as lens
    from epochal.lens.methods import METHODS

    if args.steps is not None:
        raise UsageError("--check is of one step.", hint="Leave --steps out, and name it: RUN@STEP.")
    if photo is None:
        raise UsageError("--check needs an input.", hint="Name an IMAGE or an --example.")
    seen: dict[str, list[Any]] = {}
    for name in methods:
        if METHODS[name].kind != "attribution":
            raise UsageError(f"{name} is no attribution: --check looks at those.", hint="Leave it out.")
        layer = {"layer": args.layer} if args.layer and "layer" in METHODS[name].takes else {}
        found = lens.sanity_check(
            getattr(lens, name), subject, photo.array, target=target, **layer, **options.get(name, {})
        )
        last = found.maps[-1]
        numbers = {**last.numbers, "rank_correlation": found.correlation}
        seen[name] = [found.original]
        seen[f"{name}, random weights"] = [replace(last, numbers=numbers, caption=found.caption)]
    return seen
