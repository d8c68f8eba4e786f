"""graph.json: what it keeps, and what older files lack."""

from __future__ import annotations

import json
from typing import Any

import pytest

from epochal.errors import DamagedError
from epochal.facts import Edge, Graph, Group, Layer, Parameter, Skip, find_groups, mark_skips
from epochal.store import graph_from_json, graph_to_json
from epochal.store.graphs import join_graphs


def linear(name: str, **more: Any) -> Layer:
    weight = Parameter(name=f"{name}.weight", shape=(4, 4), dtype="bfloat16", role="weight")
    return Layer(layer_id=name, kind="Linear", module=name.partition("@")[0], parameters=(weight,), **more)


def add(name: str) -> Layer:
    return Layer(layer_id=name, kind="add", role="operation", module=name.rpartition(".")[0])


def block() -> Graph:
    """A residual block whose skip has a layer of its own, behind a first layer."""
    layers = (linear("stem", multiply_adds=16), linear("b.one"), linear("b.two"), linear("b.side"), add("b.add"))
    ways = [("stem", "b.one"), ("b.one", "b.two"), ("stem", "b.side"), ("b.two", "b.add"), ("b.side", "b.add")]
    return Graph(
        source="declared",
        layers=layers,
        edges=mark_skips(layers, [Edge(source=s, target=t) for s, t in ways]),
        groups=find_groups(layers, {"b": "Block"}),
    )


def test_a_graph_comes_back_whole() -> None:
    graph = block()
    assert graph.skips == (Skip(source="stem", target="b.add", through=("b.side",)),)
    assert graph.groups == (Group(group_id="b", kind="Block", layers=("b.one", "b.two", "b.side", "b.add")),)
    assert graph_from_json(graph_to_json(graph)) == graph
    assert (graph.nbytes, graph.multiply_adds, graph.nodes) == (4 * 32, 16, graph.layers)


def test_a_file_from_before_groups_and_work_were_kept_opens() -> None:
    old = json.loads(graph_to_json(block()))
    del old["groups"]
    for layer in old["layers"]:
        del layer["multiply_adds"]
    graph = graph_from_json(json.dumps(old).encode())
    assert graph.multiply_adds is None
    assert [(group.group_id, group.kind) for group in graph.groups] == [("b", "")]
    assert graph.skips == block().skips
    slashes = Graph(source="declared", layers=(linear("left/dense"), linear("right/dense")))
    old = json.loads(graph_to_json(slashes))
    del old["groups"]
    assert [group.group_id for group in graph_from_json(json.dumps(old).encode()).groups] == ["left", "right"]


@pytest.mark.parametrize("groups", [7, [7], [{"kind": "Block"}], [{"group_id": "b", "what": 1}]])
def test_groups_that_are_none_are_refused(groups: Any) -> None:
    damaged = {**json.loads(graph_to_json(block())), "groups": groups}
    with pytest.raises(DamagedError, match="no graph"):
        graph_from_json(json.dumps(damaged).encode())


@pytest.mark.parametrize("data", [b'{"layers":' * 100_000, b'{"source": "declared", "layers": [{"layer_id": 1e999}]}'])
def test_hostile_graphs_are_refused(data: bytes) -> None:
    with pytest.raises(DamagedError, match="no graph"):
        graph_from_json(data)


def test_several_models_keep_their_groups_below_their_names() -> None:
    joined = join_graphs({"critic": block(), "actor": block()})
    assert [(g.group_id, g.parent, g.layers[0]) for g in joined.groups] == [
        ("critic", "", "critic.stem"), ("critic.b", "critic", "critic.b.one"),
        ("actor", "", "actor.stem"), ("actor.b", "actor", "actor.b.one"),
    ]  # fmt: skip
    assert [skip.source for skip in joined.skips] == ["critic.stem", "actor.stem"]


def test_a_module_that_runs_again_is_a_group_each_time() -> None:
    def groups(*names: str) -> list[tuple[str, int]]:
        return [(g.group_id, len(g.layers)) for g in find_groups([linear(name) for name in names])]

    assert groups("b.a", "b.c", "b.a@2", "b.c@2") == [("b", 2), ("b@2", 2)], "one right after the other"
    assert groups("b.a", "b.c", "stem", "b.a@2", "b.c@2") == [("b", 2), ("b@2", 2)]
    assert groups("b.norm", "b.relu", "b.relu@2", "b.norm@2", "b.relu@3", "b.relu@4") == [("b", 3), ("b@2", 3)]
    assert groups("b.relu", "b.a", "b.relu@2") == [("b", 3)], "a layer inside that is used twice"
    assert groups("b.a", "stem", "b.c") == [("b", 2)], "one use, with something in between"
    assert groups("o.b.a", "o.b.a@2") == [("o", 0), ("o.b", 1), ("o@2", 0), ("o.b@2", 1)]


def test_what_is_a_skip() -> None:
    chain = [linear("a"), linear("b"), linear("c")]

    def skips(last: Layer, *ways: tuple[str, str]) -> list[tuple[str, str]]:
        edges = [Edge(source="a", target="b"), Edge(source="b", target="c")]
        edges += [Edge(source=s, target=t) for s, t in ways]
        return [(e.source, e.target) for e in mark_skips([*chain, last], edges) if e.skip]

    assert skips(add("add"), ("c", "add"), ("a", "add")) == [("a", "add")]
    cat = Layer(layer_id="cat", kind="Concatenate", role="operation")
    assert skips(cat, ("c", "cat"), ("b", "cat"), ("a", "cat")) == [("b", "cat"), ("a", "cat")]
    times = Layer(layer_id="mul", kind="mul", role="operation")
    assert skips(times, ("c", "mul"), ("a", "mul")) == [], "a gate"
    own = Layer(layer_id="mine", kind="SkipAdd")
    assert skips(own, ("c", "mine"), ("a", "mine")) == [("a", "mine")], "a module of the user's that sums"
    pool = Layer(layer_id="pool", kind="MaxPooling2D")
    crop = Layer(layer_id="crop", kind="Cropping2D")
    for side, found in ((pool, []), (crop, [("crop", "cat")])):
        layers = [linear("a"), linear("b"), side, cat]
        ways = (("a", "b"), ("a", side.layer_id), ("b", "cat"), (side.layer_id, "cat"))
        edges = [Edge(source=s, target=t) for s, t in ways]
        assert [(e.source, e.target) for e in mark_skips(layers, edges) if e.skip] == found
    # Of two ways that are equally long neither is a skip.
    layers = [linear("a"), linear("b"), linear("c"), add("add")]
    edges = [Edge(source=s, target=t) for s, t in (("a", "b"), ("a", "c"), ("b", "add"), ("c", "add"))]
    assert not any(edge.skip for edge in mark_skips(layers, edges))


def test_bytes_of_types() -> None:
    sizes = {"float32": 4, "bfloat16": 2, "float8_e4m3fn": 1, "bool": 1, "complex64": 8, "int8": 1, "strange": 4}
    for dtype, size in sizes.items():
        assert Parameter(name="w", shape=(3,), dtype=dtype, role="weight").nbytes == 3 * size
