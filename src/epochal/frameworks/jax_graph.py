"""The graph of a network in JAX, read off the program that JAX makes of it (its jaxpr).

A layer is what the names of parameters say (`Dense_0.kernel` and `Dense_0.bias` are one); what the program tells is in
which order layers come, what flows from which into which, and which axis of a weight is that of its inputs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from epochal.facts import Edge, Graph, Layer, Parameter, Shape, find_groups, mark_skips
from epochal.frameworks.array_layers import plain_graph
from epochal.frameworks.arrays import type_name
from epochal.frameworks.jax_program import (
    CONSTANT,
    Value,
    axes_after,
    called,
    inner_of,
    is_zero,
    keeps,
    value_of,
    work_of,
)
from epochal.record.guard import strict_wanted, warn_user
from epochal.record.tree import flatten, home_of

# Names of JAX's functions and primitives -> what an activation is called in a picture.
_ACTIVATIONS = {
    "relu": "ReLU", "relu6": "ReLU6", "leaky_relu": "LeakyReLU", "elu": "ELU", "selu": "SELU", "celu": "CELU",
    "gelu": "GELU", "silu": "SiLU", "swish": "SiLU", "mish": "Mish", "softplus": "Softplus", "softmax": "Softmax",
    "log_softmax": "LogSoftmax", "sigmoid": "Sigmoid", "logistic": "Sigmoid", "tanh": "Tanh", "hard_tanh": "HardTanh",
}  # fmt: skip
# Primitives with a box of their own although one value alone goes into them.
_POOLS = {"reduce_window_max": "max_pool", "reduce_window_sum": "avg_pool", "reduce_window": "pool"}
_WORDS = {"dot_general": "matmul", "concatenate": "concat"}
_LAYER_KINDS = {"dot_general": "Dense", "conv_general_dilated": "Conv", "gather": "Embedding"}


def graph_of(function: Any, *arguments: Any) -> Graph | None:
    """Return the graph of `function(parameters, *inputs)`, or of a module that is called with `inputs`.

    `graph_of(model.apply, params, x)` for Flax linen, `graph_of(model, x)` for Flax NNX, and for an Equinox module,
    which takes a single example, `graph_of(lambda m, x: jax.vmap(m)(x), model, x)`. `x` is one example batch; nothing
    is computed with it. The answer is for `run.log_parameters(params, graph=...)`. Where the function cannot be read,
    that is warned of, and None returned.
    """
    try:
        return _drawn(function, arguments)
    except Exception as error:  # the user's function runs in here, and recording never breaks training
        if strict_wanted(None):
            raise
        warn_user(f"the network's graph could not be drawn: {type(error).__name__}: {error}")
        return None


def _drawn(function: Any, arguments: Sequence[Any]) -> Graph:
    call, parameters, inputs = _taken_apart(function, arguments)
    tree = flatten(function if inputs is arguments else parameters)
    names = {id(array): name for name, array in reversed(tree.arrays.items())}
    leaves, build = jax.tree_util.tree_flatten(parameters)
    fed, build_inputs = jax.tree_util.tree_flatten(list(inputs))
    moving = [i for i, leaf in enumerate(leaves) if _is_array(leaf)]

    def run(arrays: Sequence[Any], values: Sequence[Any]) -> Any:
        whole = list(leaves)
        for i, array in zip(moving, arrays, strict=True):
            whole[i] = array
        made = call(jax.tree_util.tree_unflatten(build, whole), *jax.tree_util.tree_unflatten(build_inputs, values))
        return [leaf for leaf in jax.tree_util.tree_leaves(made) if _is_array(leaf)]

    program = jax.make_jaxpr(run)([leaves[i] for i in moving], fed)
    facts = {name: (tuple(a.shape), type_name(a)) for name, a in tree.arrays.items()}
    model = function if inputs is arguments else getattr(function, "__self__", parameters)
    plain = plain_graph(
        facts,
        model="" if isinstance(model, Mapping | list | tuple) else type(model).__name__,
        framework=home_of(model, ("flax", "equinox")) or "jax",
        kinds=tree.kinds,
    )
    reader = _Reader(plain, batch=_batch(fed))
    places = [names.get(id(leaves[i])) for i in moving]
    return reader.graph(program, places)


def _taken_apart(function: Any, arguments: Sequence[Any]) -> tuple[Callable[..., Any], Any, Sequence[Any]]:
    """What to call, with which parameters and which inputs."""
    nnx = sys.modules.get("flax.nnx")
    if nnx is not None and isinstance(function, nnx.Module):
        definition, state = nnx.split(function)
        return (lambda part, *inputs: nnx.merge(definition, part)(*inputs)), state, arguments
    equinox = sys.modules.get("equinox")
    if equinox is not None and isinstance(function, equinox.Module):
        return (lambda module, *inputs: module(*inputs)), function, arguments
    return function, arguments[0], arguments[1:]


def _is_array(leaf: object) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def _batch(inputs: Sequence[Any]) -> int | None:
    return next((int(x.shape[0]) for x in inputs if getattr(x, "ndim", 0) > 1), None)


@dataclass(slots=True)
class _Box:
    """A layer or an operation in the making; `weighs` are weights of which a product was in it already."""

    layer_id: str
    kind: str
    layer: str = ""
    sources: list[str] = field(default_factory=list)
    outputs: Shape = ()
    weighs: set[str] = field(default_factory=set)
    activation: str | None = None
    activates: str = ""
    work: int | None = 0


class _Reader:
    """Goes through a program operation by operation."""

    def __init__(self, plain: Graph, *, batch: int | None) -> None:
        self._plain, self._batch = plain, batch
        self._owner = {p.name: layer for layer in plain.layers for p in layer.parameters}
        self._boxes: dict[str, _Box] = {}
        self._open: dict[str, str] = {}  # layer -> the box of its latest use
        self._layouts: dict[str, tuple[int, ...]] = {}
        self._kinds: dict[str, str] = {}

    def graph(self, program: Any, places: Sequence[str | None]) -> Graph:
        """Draw a program whose first inputs are the parameters called `places`."""
        jaxpr = program.jaxpr
        known: dict[Any, Value] = {}
        for k, variable in enumerate(jaxpr.invars):
            if k < len(places):
                name = places[k]
                axes = tuple(range(len(variable.aval.shape)))
                known[variable] = Value(parameters=(name,), axes=axes) if name else CONSTANT
            else:
                box = self._add("x" if k == len(places) else f"x_{k - len(places) + 1}", "input")
                box.outputs = self._shape(variable)
                known[variable] = Value(box.layer_id, fresh=True)
        self._walk(jaxpr, known)
        ends = [value.box for v in jaxpr.outvars if (value := value_of(known, v)).box]
        out = self._add("output", "output")
        out.sources = list(dict.fromkeys(ends))
        self._drop_dead_ends()
        return self._finished()

    def _walk(self, jaxpr: Any, known: dict[Any, Value]) -> None:
        for eqn in jaxpr.eqns:
            values = [value_of(known, v) for v in eqn.invars]
            inner = inner_of(eqn)
            if inner is not None and not self._names_activation(eqn, values):
                scope = dict(zip(inner.invars, values, strict=True))
                self._walk(inner, scope)
                results = [value_of(scope, v) for v in inner.outvars]
            else:
                results = self._took(eqn, values)
            known.update(zip(eqn.outvars, results, strict=True))

    def _names_activation(self, eqn: Any, values: Sequence[Value]) -> bool:
        flowing = [v for v in values if v.box]
        return called(eqn) in _ACTIVATIONS and len(flowing) == 1 and not any(v.parameters for v in values)

    def _took(self, eqn: Any, values: Sequence[Value]) -> list[Value]:
        """What one operation makes of its inputs."""
        flowing = list(dict.fromkeys(v.box for v in values if v.box))
        parameters = tuple(dict.fromkeys(name for v in values for name in v.parameters))
        if not flowing:
            made = Value(parameters=parameters, axes=axes_after(eqn, values)) if parameters else CONSTANT
            return [made] * len(eqn.outvars)
        box: _Box | None
        if parameters:
            box = self._layer_box(eqn, values, parameters, flowing)
        elif len(flowing) > 1:
            box = self._joined(eqn, flowing)
        else:
            box = self._alone(eqn, values, flowing[0])
        work, owner = work_of(eqn, self._batch), box or self._boxes[flowing[0]]
        owner.work = None if work is None or owner.work is None else owner.work + work
        if box is None:
            return [Value(flowing[0], fresh=keeps(eqn) and all(v.fresh for v in values if v.box))] * len(eqn.outvars)
        box.outputs = self._shape(eqn.outvars[0])
        return [Value(box.layer_id, fresh=True)] * len(eqn.outvars)

    def _layer_box(self, eqn: Any, values: Sequence[Value], parameters: Sequence[str], flowing: Sequence[str]) -> _Box:
        """The box of the layers whose parameters are used: the one that is open, or a further use of them."""
        used: list[_Box] = []
        for layer in dict.fromkeys(self._owner[name].layer_id for name in parameters if name in self._owner):
            known = self._boxes.get(self._open.get(layer, ""))
            outside = [f for f in flowing if known is None or (f != known.layer_id and f not in known.sources)]
            weighs = set(parameters) if eqn.primitive.name in _LAYER_KINDS else set()
            if known is None or outside or weighs & known.weighs:
                box = self._add(layer, self._owner_kind(layer), layer=layer)
                box.sources = list(flowing)
                self._open[layer] = box.layer_id
            else:
                box = known
            box.weighs |= weighs
            flowing = [box.layer_id]
            used.append(box)
        self._note_layout(eqn, values)
        return used[-1]

    def _joined(self, eqn: Any, flowing: Sequence[str]) -> _Box:
        """Two values meet. Inside a normalisation that is the layer's own doing, else a box of its own."""
        word = eqn.primitive.name
        for name in flowing if word in ("mul", "div", "sub") else ():
            box = self._boxes[name]
            inside = box.layer and not box.weighs and name == self._open.get(box.layer)
            if inside and all(other == name or other in box.sources for other in flowing):
                return box
        made = self._add(_WORDS.get(word, word), _WORDS.get(word, word))
        made.sources = list(flowing)
        return made

    def _alone(self, eqn: Any, values: Sequence[Value], before: str) -> _Box | None:
        """One value alone: an activation or a pooling has a box, the rest is part of the box before it."""
        word = called(eqn)
        kind = _POOLS.get(word)
        fresh = all(v.fresh for v in values if v.box)
        name = _ACTIVATIONS.get(word) if fresh else None
        if name is None and fresh and word == "max" and any(is_zero(v) for v in eqn.invars):
            name = "ReLU"
        if kind is None and name is None:
            return None
        made = self._add(word if name is None else name.lower(), name or kind or word)
        if name is not None and self._boxes[before].layer:
            self._boxes[before].activation = self._boxes[before].activation or name
            made.activates = before
        made.sources = [before]
        return made

    def _note_layout(self, eqn: Any, values: Sequence[Value]) -> None:
        """Which axes of a weight are outputs and inputs, as the product that it is used in says."""
        for k, value in enumerate(values):
            if value.axes is None or len(value.parameters) != 1 or len(value.axes) < 2:
                continue
            order: tuple[int, ...] = ()
            if eqn.primitive.name == "dot_general":
                (contracted, batched) = eqn.params["dimension_numbers"]
                if len(value.axes) == 2 and len(contracted[k]) == 1 and not batched[k]:
                    inner = contracted[k][0]
                    order = (*(i for i in range(len(value.axes)) if i != inner), inner)
            elif eqn.primitive.name == "conv_general_dilated" and k == 1:
                order = tuple(eqn.params["dimension_numbers"].rhs_spec)
            if order:
                own = tuple(value.axes[i] for i in order)
                self._layouts[value.parameters[0]] = () if own == tuple(range(len(own))) else own
                self._kinds.setdefault(
                    self._owner[value.parameters[0]].layer_id, _LAYER_KINDS.get(eqn.primitive.name, "")
                )

    def _owner_kind(self, layer: str) -> str:
        return next((one.kind for one in self._plain.layers if one.layer_id == layer), "")

    def _add(self, name: str, kind: str, *, layer: str = "") -> _Box:
        taken = {*self._boxes, *(() if layer else (one.layer_id for one in self._plain.layers))}
        mark, n, found = ("@" if layer else "_"), 2, name
        while found in taken:
            found, n = f"{name}{mark}{n}", n + 1
        self._boxes[found] = _Box(found, kind, layer=layer)
        return self._boxes[found]

    def _shape(self, variable: Any) -> Shape:
        shape = tuple(int(n) for n in variable.aval.shape)
        return (-1, *shape[1:]) if shape and shape[0] == self._batch else shape

    def _drop_dead_ends(self) -> None:
        """Leave out operations whose result nothing uses, such as the new averages of a normalisation."""
        needed: set[str] = set()
        for name, box in reversed(list(self._boxes.items())):
            if box.kind in ("input", "output") or box.layer or name in needed:
                needed.update(box.sources)
            else:
                del self._boxes[name]

    def _finished(self) -> Graph:
        by_layer = {layer.layer_id: layer for layer in self._plain.layers}
        layers = [self._layer(box, by_layer.get(box.layer)) for box in self._boxes.values()]
        used = {box.layer for box in self._boxes.values()}
        layers += [replace(one, attributes={"used": False}) for one in self._plain.layers if one.layer_id not in used]
        return replace(
            self._plain,
            source="forward",
            layers=tuple(layers),
            edges=mark_skips(layers, self._edges()),
            groups=find_groups(layers),
            note="",
        )

    def _layer(self, box: _Box, told: Layer | None) -> Layer:
        inputs = tuple(self._boxes[name].outputs for name in box.sources)
        outputs = (box.outputs,) if box.kind != "output" else ()
        if told is None:
            role: Any = box.kind if box.kind in ("input", "output") else "operation"
            extra = {"activates": box.activates} if box.activates else {}
            return Layer(
                layer_id=box.layer_id,
                kind=box.kind,
                role=role,
                inputs=inputs,
                outputs=outputs,
                attributes=extra,
                multiply_adds=box.work,
            )
        kind = told.kind if told.kind != "Arrays" else self._kinds.get(told.layer_id) or told.kind
        return replace(
            told,
            layer_id=box.layer_id,
            kind=kind,
            inputs=inputs,
            outputs=outputs,
            activation=box.activation,
            multiply_adds=box.work,
            parameters=tuple(self._seen(p) for p in told.parameters),
        )

    def _seen(self, parameter: Parameter) -> Parameter:
        layout = self._layouts.get(parameter.name)
        return parameter if layout is None else replace(parameter, layout=layout)

    def _edges(self) -> list[Edge]:
        return [Edge(source=s, target=name) for name, box in self._boxes.items() for s in box.sources]
