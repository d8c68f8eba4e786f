"""What the layers and arrows of a graph say of its structure: which arrows are skip connections, what groups there are.

A skip connection is a short way round layers of the main path, joined to it by a sum or a concatenation: the identity
or the projection of a residual block (He et al. 2015), the features that a dense block hands on (Huang et al. 2016),
the encoder's features in a decoder (Ronneberger et al. 2015). A gate, which multiplies, is none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from epochal.facts.graph import Edge, Group, Layer

__all__ = ["find_groups", "mark_skips", "name_activations"]

_SUMS = frozenset(
    {
        "add", "iadd", "radd", "add_any", "addv2", "addn", "sum", "sub", "isub", "rsub", "subtract", "average",
        "maximum", "minimum",
    }
)  # fmt: skip
_JOINS = frozenset({"cat", "concat", "concatv2", "concatenate", "stack", "hstack", "vstack", "dstack", "column_stack"})
_SAID = re.compile(r"add|sum|residual|shortcut|skip|(con)?cat|merge")
# What only makes features fit those that they are put beside.
_FITTED = re.compile(r"crop|pad|slice|narrow|index|select|identity|dropout|interpolate|upsampl|resiz")
_USE = re.compile(r"@\d+$")
# Where more ways meet than this, each is not held against each other one.
_MOST_WAYS = 100


def mark_skips(layers: Sequence[Layer], edges: Sequence[Edge], *, weighted: Collection[str] = ()) -> tuple[Edge, ...]:
    """Return the arrows, each marked by whether a skip connection arrives with it.

    `layers` and `edges` are in running order. Of the ways that meet in a sum or a concatenation, one is a skip where it
    is an identity that another way leads round through layers, or where it has fewer layers than another way has: in a
    sum at most one (a projection), in a concatenation none, and nothing but a change of size (a crop). `weighted` names
    layers that have a matrix of weights although their parameters do not say so.
    """
    at = {layer.layer_id: i for i, layer in enumerate(layers)}
    sources: dict[int, list[int]] = {}
    for edge in edges:
        if edge.source in at and edge.target in at:
            sources.setdefault(at[edge.target], []).append(at[edge.source])
    joins = {i: join for i, layer in enumerate(layers)
             if 1 < len(sources.get(i, ())) <= _MOST_WAYS and (join := _join(layer))}  # fmt: skip
    if not joins:
        return tuple(replace(edge, skip=False) for edge in edges)
    ways = _Ways(
        *_reach(len(layers), sources),
        heavy=_bits(i for i, layer in enumerate(layers) if _weighs(layer) or layer.layer_id in weighted),
        solid=_bits(i for i, layer in enumerate(layers) if layer.role == "module" or layer.parameter_count > 0),
        fitted=_bits(i for i, layer in enumerate(layers) if _FITTED.search(layer.kind.lower())),
    )
    skips = {(s, i) for i, join in joins.items() for s in ways.short(sources[i], concatenated=join != "sum")}
    return tuple(replace(e, skip=(at.get(e.source, -1), at.get(e.target, -1)) in skips) for e in edges)


def _join(layer: Layer) -> str | None:
    """Whether a layer sums or concatenates what meets in it; None where it does anything else."""
    word = layer.kind.strip("_").lower()
    if word in _SUMS:
        return "sum"
    if word in _JOINS:
        return "concatenation"
    said = _SAID.search(word) if layer.role == "module" and not layer.parameters else None
    return None if said is None else "concatenation" if said[0].endswith("cat") else "sum"


def _weighs(layer: Layer) -> bool:
    """Whether a layer is one of those that a network's depth is counted in: its weight has two axes or more."""
    return any(p.role != "buffer" and len(p.shape) > 1 for p in layer.parameters)


def _bits(places: Iterable[int]) -> int:
    """A set of whole numbers as the bits of one."""
    found = 0
    for place in places:
        found |= 1 << place
    return found


def _reach(count: int, sources: Mapping[int, Sequence[int]]) -> tuple[list[int], list[int]]:
    """Of each layer, as sets of bits: itself and what leads to it, itself and what it leads to."""
    before, after = [1 << i for i in range(count)], [1 << i for i in range(count)]
    for i in range(count):
        for source in sources.get(i, ()):
            before[i] |= before[source]
    for i in reversed(range(count)):
        for source in sources.get(i, ()):
            after[source] |= after[i]
    return before, after


@dataclass(frozen=True, slots=True)
class _Ways:
    """The ways through a network, as sets of bits: one bit for each layer."""

    before: Sequence[int]
    after: Sequence[int]
    heavy: int
    solid: int
    fitted: int

    def short(self, meeting: Sequence[int], *, concatenated: bool) -> set[int]:
        """Those of the layers meeting in a sum or concatenation that end a short way."""
        found: set[int] = set()
        for one in meeting:
            for other in meeting:
                if one != other and other not in found and self._is_short(one, other, concatenated=concatenated):
                    found.add(one)
        return found

    def _is_short(self, one: int, other: int, *, concatenated: bool) -> bool:
        """Whether the way that ends in `one` is a short one beside that which ends in `other`."""
        before, shared = self.before, self.before[one] & self.before[other]
        if before[other] >> one & 1:  # handed on as it is, while the other way leads on from it
            return bool(before[other] & ~before[one] & self.after[one] & self.solid)
        if not shared or before[one] >> other & 1:
            return False
        behind = self.after[shared.bit_length() - 1]  # where the two ways part
        way, round_it = before[one] & ~before[other] & behind, before[other] & ~before[one] & behind
        own = (way & self.heavy).bit_count()
        return own < (round_it & self.heavy).bit_count() and (not way & ~self.fitted if concatenated else own <= 1)


def name_activations(
    layers: Sequence[Layer], edges: Sequence[Edge], functions: Mapping[str, str], through: Collection[str]
) -> list[Layer]:
    """Return the layers, each told which activation its output goes through; each activation, whose it is.

    `functions` are the layers that are activations, by their ids, with the words for them. Behind a layer of `through`,
    a normalisation or a dropout, an activation is that of the layer in front as well.
    """
    found = {layer.layer_id: layer for layer in layers}
    sources: dict[str, list[str]] = {}
    followers: dict[str, int] = {}
    for edge in edges:
        sources.setdefault(edge.target, []).append(edge.source)
        followers[edge.source] = followers.get(edge.source, 0) + 1
    for layer_id in [layer.layer_id for layer in layers if layer.layer_id in functions]:
        at = layer_id
        while len(before := sources.get(at, [])) == 1 and followers[before[0]] == 1:
            at = before[0]
            if found[at].role == "input" or found[at].activation is not None or at in functions:
                break
            found[at] = replace(found[at], activation=functions[layer_id])
            own = found[layer_id]
            found[layer_id] = replace(
                own, attributes={**own.attributes, "activates": own.attributes.get("activates", at)}
            )
            if at not in through:
                break
    return list(found.values())


def find_groups(
    layers: Sequence[Layer], kinds: Mapping[str, str] | None = None, *, separator: str = "."
) -> tuple[Group, ...]:
    """Return the modules around the layers, outer ones first, as the layers' ids tell them (`layer1.0.conv1`).

    `kinds` are the classes of the modules that are groups; without, each part of a name that ends before the last
    separator is one. A module that runs again later, so that its layers come a second time, is a group of its own each
    time: `block` and `block@2`.
    """
    ids = {layer.layer_id for layer in layers}
    found: dict[str, Group] = {}
    held: dict[str, list[str]] = {}
    current: dict[str, str] = {}  # a module -> its use that is open
    met: dict[str, set[str]] = {}  # a use of a group -> modules of the layers that it has
    left: set[str] = set()  # uses after which something outside has run
    around: set[str] = set()  # uses that the layer before stands in
    begins = _first_layers(layers, separator)
    for layer in layers:
        name = _USE.sub("", layer.layer_id)
        paths = _paths(name, separator)
        paths = [p for p in paths if p in kinds] if kinds is not None else [p for p in paths if p not in ids]
        parent = ""
        for path in paths:
            use = current.get(path)
            met_before = layer.role == "module" and use is not None and name in met[use]
            again = met_before and (use in left or begins.get(path) == name)
            moved = use is not None and found[use].parent != parent
            if use is None or again or moved:
                use = path if path not in found else _next_use(path, found)
                found[use] = Group(group_id=use, kind=(kinds or {}).get(path, ""), parent=parent)
                current[path], met[use], held[use] = use, set(), []
            met[use].add(name)
            parent = use
        inside = {current[path] for path in paths}
        left |= around - inside
        around = inside
        if parent:
            held[parent].append(layer.layer_id)
    return tuple(replace(group, layers=tuple(held[name])) for name, group in found.items())


def _paths(name: str, separator: str) -> list[str]:
    """The modules around a layer as its name tells them, outer ones first."""
    parts = name.split(separator)
    return [separator.join(parts[:n]) for n in range(1, len(parts))]


def _first_layers(layers: Sequence[Layer], separator: str) -> dict[str, str]:
    """Of modules that run several times, the layer with which each time begins: no other one inside runs less often."""
    uses: dict[str, dict[str, int]] = {}
    for layer in layers:
        name = _USE.sub("", layer.layer_id)
        for path in _paths(name, separator) if layer.role == "module" else ():
            inside = uses.setdefault(path, {})
            inside[name] = inside.get(name, 0) + 1
    found = {}
    for path, inside in uses.items():
        first, count = next(iter(inside.items()))
        if count > 1 and count == min(inside.values()):
            found[path] = first
    return found


def _next_use(path: str, found: Mapping[str, Group]) -> str:
    n = 2
    while f"{path}@{n}" in found:
        n += 1
    return f"{path}@{n}"
