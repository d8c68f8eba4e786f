"""A graph of operations as TensorFlow and PyTorch write it for TensorBoard (graph.proto, node_def.proto)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from epochal.facts import Shape
from epochal.network.graph_files import MOST_LAYERS, running_order
from epochal.network.protobuf import MOST_NAME, Field, doubles, fields, flag, floats, number, numbers, part, text

__all__ = ["Node", "read_nodes"]

MOST_NODES = 10 * MOST_LAYERS
MOST_AXES = 32
MOST_VALUES = 1000


@dataclass(slots=True)
class Node:
    """One operation: `settings` are its plain attributes, `shapes` those of what it puts out where they are told."""

    name: str = ""
    op: str = ""
    inputs: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    shapes: list[Shape | None] = field(default_factory=list)

    @property
    def shape(self) -> Shape | None:
        """Of its first output."""
        return self.shapes[0] if self.shapes else None


def read_nodes(data: memoryview) -> list[Node]:
    """The operations of a graph in running order; its library of functions stays closed.

    They stay as they lie in the file where that is one, but for PyTorch's outputs, which it writes first.
    """
    found: dict[str, Node] = {}
    for what, value in fields(data):
        if what == 1:
            node = _node(part(value))
            found[node.name] = node
            if len(found) > MOST_NODES:
                raise ValueError(f"more than {MOST_NODES:,} operations")
    if not found:
        raise ValueError("its graph has no operations")
    first = sorted(found, key=lambda name: found[name].op == "IO Node" and bool(found[name].inputs))
    again = {name for name, node in found.items() if node.op.endswith("NextIteration")}  # what leads back in a loop
    sources = {name: [i for i in node.inputs if i not in again] for name, node in found.items()}
    return [found[name] for name in running_order(sources, first)]


def _node(data: memoryview) -> Node:
    node = Node()
    for what, value in fields(data):
        if what == 1:
            node.name = text(value)
        elif what == 2:
            node.op = text(value)
        elif what == 3:
            name = text(value)
            if not name.startswith("^"):  # which only says that it runs later
                node.inputs.append(name.partition(":")[0])
        elif what == 5:
            _take(node, part(value))
    return node


def _take(node: Node, entry: memoryview) -> None:
    key, said = "", None
    for what, value in fields(entry):
        if what == 1:
            key = text(value)
        elif what == 2:
            said = part(value)
    if said is None:
        return
    found = _value(said)
    if key == "_output_shapes":
        node.shapes = [one for one in found if one is None or isinstance(one, tuple)] if isinstance(found, list) else []
    elif found is not None:
        node.settings[key] = found


def _value(data: memoryview) -> Any:
    """A plain value, a shape, or a list of such; None for what is neither."""
    for what, value in fields(data):
        if what == 1:
            return _list(part(value))
        if what == 2:
            return _short(value)
        if what == 3:
            return number(value)
        if what == 4:
            return floats(value)[0]
        if what == 5:
            return flag(value)
        if what == 6:
            return f"type {number(value)}"
        if what == 7:
            return _shape(part(value))
        if what == 8:
            return _numbers_of(part(value))
    return None


def _list(data: memoryview) -> list[Any]:
    found: list[Any] = []
    for what, value in fields(data):
        if what == 2:
            found.append(_short(value))
        elif what == 3:
            found += numbers(value)
        elif what == 4:
            found += floats(value)
        elif what == 7:
            found.append(_shape(part(value)))
        if len(found) > MOST_VALUES:
            raise ValueError(f"an attribute of more than {MOST_VALUES:,} values")
    return found


def _short(value: Field) -> str | None:
    return text(value) if len(part(value)) <= MOST_NAME else None


def _shape(data: memoryview) -> Shape | None:
    sizes, known = [], True
    for what, value in fields(data):
        if what == 2:
            sizes.append(max(-1, sum(number(size) for one, size in fields(part(value)) if one == 1)))
        elif what == 3:
            known = not flag(value)
    if len(sizes) > MOST_AXES:
        raise ValueError(f"a shape of {len(sizes)} axes")
    return tuple(sizes) if known else None


def _numbers_of(data: memoryview) -> Any:
    """The numbers of a small tensor, such as the axes that a sum goes over; None for others."""
    found: list[float] = []
    readers: dict[int, Any] = {5: floats, 6: doubles, 7: numbers, 10: numbers}
    content: memoryview | None = None
    kind = 0
    for what, value in fields(data):
        if what == 1:
            kind = number(value)
        elif what == 4:
            content = part(value)
        elif what in readers and (isinstance(value, int) or len(value) <= 8 * MOST_VALUES):
            found += readers[what](value)
    if content is not None and kind == 3 and len(content) <= 4 * MOST_VALUES:
        found += [int.from_bytes(content[i : i + 4], "little", signed=True) for i in range(0, len(content), 4)]
    return found or None
