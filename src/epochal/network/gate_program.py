"""What the program of a recorded network may hold: `models/model.json`, written anew from what is allowed.

The places where PyTorch 2.13 would run something while it reads this document, and what is done about each:

- `expr_str`: `sympy.sympify` evaluates it -> parsed and written anew (gate_symbols);
- `target` of a node, `as_operator`, `source_fn_stack`: attributes of any module are looked up -> gate_operators;
- `#...` targets: a registry of extensions -> refused;
- `in_spec`, `out_spec`: types and enums are imported by name -> only tuples, lists and dictionaries of plain keys;
- `guards_code`: run by `exec` -> refused;
- names of values, inputs and modules: pasted into Python code that is then compiled -> plain names only;
- custom, script and opaque objects: unpickled -> refused.
"""

from __future__ import annotations

import json
import re
from typing import Any

from epochal.network.gate_operators import GRAD_MODE, operator
from epochal.network.gate_rules import (
    Refused,
    Rule,
    boolean,
    brief,
    choice,
    empty,
    integer,
    listing,
    mapping,
    name,
    nothing,
    number,
    optional,
    record,
    text,
    union,
)
from epochal.network.gate_symbols import expression

__all__ = ["ITEM_BYTES", "module_path", "program", "tensor_facts"]

ITEM_BYTES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 9: 4, 10: 8, 11: 16, 12: 1, 13: 2, 28: 2, 29: 1, 30: 1, 31: 1,
    32: 1, 33: 1, 34: 4, 35: 8,
}  # fmt: skip
"""Bytes of one value of each element type, by the number that PyTorch's schema gives it."""

_DEEPEST = 8

module_path = text(r"|[\w\-+@ ]+(\.[\w\-+@ ]+)*", what="a path of module names", longest=1000)
_class_name = re.compile(r"[\w.<>\[\], ]{1,500}")
_symbol = text(r"[a-z]{1,4}\d{1,6}", what="the name of a size")
_key = text(r"[\w\-. /]{1,200}", what="a plain key")
_word = text(r"[ -~]*", what="a short plain text", longest=500)


def _device(value: Any, where: str) -> dict[str, Any]:
    """Networks are opened on the CPU, wherever they were trained."""
    record({"type": text(r"[a-z]{1,20}", what="a device")}, needed=("type",))(value, where)
    return {"type": "cpu", "index": None}


_sym_int = union(
    {"as_int": integer(), "as_expr": record({"expr_str": expression, "hint": optional(union({"as_int": integer()}))},
                                            needed=("expr_str",))}
)  # fmt: skip
_sym_float = union(
    {"as_float": number, "as_expr": record({"expr_str": expression, "hint": optional(union({"as_float": number}))},
                                           needed=("expr_str",))}
)  # fmt: skip
_sym_bool = union({"as_bool": boolean, "as_expr": record({"expr_str": expression}, needed=("expr_str",))})

_dtype = choice(*ITEM_BYTES)
_layout = choice(7)
tensor_facts = record(
    {
        "dtype": _dtype,
        "sizes": listing(_sym_int, longest=64),
        "requires_grad": boolean,
        "device": _device,
        "strides": listing(_sym_int, longest=64),
        "storage_offset": _sym_int,
        "layout": _layout,
    },
    needed=("dtype", "sizes", "requires_grad", "device", "strides", "storage_offset", "layout"),
)

_tensor = record({"name": name}, needed=("name",))
_no_objects = nothing("a custom object, which is kept as a pickle")
_name_or_int = union({"as_name": name, "as_int": integer()})
_name_or_float = union({"as_name": name, "as_float": number})
_name_or_bool = union({"as_name": name, "as_bool": boolean})
_maybe_tensor = union({"as_none": boolean, "as_tensor": _tensor})
_argument = union(
    {
        "as_none": boolean,
        "as_tensor": _tensor,
        "as_tensors": listing(_tensor),
        "as_nested_tensors": listing(listing(_tensor)),
        "as_optional_tensor": _maybe_tensor,
        "as_optional_tensors": listing(_maybe_tensor),
        "as_int": integer(),
        "as_ints": listing(integer()),
        "as_int_lists": listing(listing(integer())),
        "as_float": number,
        "as_floats": listing(number),
        "as_float_lists": listing(listing(number)),
        "as_complex": record({"real": number, "imag": number}, needed=("real", "imag")),
        "as_string": _word,
        "as_strings": listing(_word),
        "as_bool": boolean,
        "as_bools": listing(boolean),
        "as_sym_int": _name_or_int,
        "as_sym_ints": listing(_name_or_int),
        "as_sym_float": _name_or_float,
        "as_sym_floats": listing(_name_or_float),
        "as_sym_bool": _name_or_bool,
        "as_sym_bools": listing(_name_or_bool),
        "as_scalar_type": _dtype,
        "as_memory_format": choice(1, 2, 3, 4),
        "as_layout": _layout,
        "as_device": _device,
        "as_custom_obj": _no_objects,
        "as_operator": nothing("an operator given as a value"),
        "as_graph": nothing("a graph inside an operator other than torch.no_grad()"),
        "as_string_to_argument": nothing("a dictionary of arguments"),
    }
)


def _metadata(value: Any, where: str) -> dict[str, str]:
    """Of what is noted about a node, only the modules that it ran in; some of the rest would be looked up by name."""
    noted = value.get("nn_module_stack") if isinstance(value, dict) else None
    if not noted:
        return {}
    where = f"{where}.nn_module_stack"
    kept = []
    for entry in text(r"[ -~\w]*", what="a list of modules", longest=100_000)(noted, where).split(";"):
        key, _, rest = entry.partition(",")
        path, _, kind = rest.partition(",")
        module_path(key, where)
        module_path(path, where)
        if not _class_name.fullmatch(kind):
            raise Refused(where, f"{brief(kind)} is not the name of a class")
        kept.append(f"{key},{path},{kind}")
    return {"nn_module_stack": ";".join(kept)}


_argument_name = text(r"[A-Za-z_]\w{0,200}|", what="the name of an argument")


def _given(argument: Rule) -> Rule:
    fields: dict[str, Rule] = {"name": _argument_name, "arg": argument, "kind": optional(choice(0, 1, 2))}
    return record(fields, needed=("name", "arg"))


def _node(depth: int) -> Rule:
    fields: dict[str, Rule] = {
        "target": operator,
        "inputs": listing(_given(_argument)),
        "outputs": listing(_argument),
        "metadata": _metadata,
        "is_hop_single_tensor_return": optional(boolean),
        "name": optional(name),
    }
    needed = ("target", "inputs", "outputs", "metadata")
    plain = record(fields, needed=needed)
    without_grad = record(fields | {"target": choice(GRAD_MODE), "inputs": _no_grad_inputs(depth)}, needed=needed)

    def rule(value: Any, where: str) -> Any:
        stretch = isinstance(value, dict) and value.get("target") == GRAD_MODE
        return (without_grad if stretch else plain)(value, where)

    return rule


def _no_grad_inputs(depth: int) -> Rule:
    """The mode, the graph that runs in it, then what that graph takes."""

    def rule(value: Any, where: str) -> list[Any]:
        given = listing(lambda item, _: item)(value, where)
        if len(given) < 2:
            raise Refused(where, "torch.no_grad() without a mode and a graph")
        if depth >= _DEEPEST:
            raise Refused(where, f"graphs inside graphs, more than {_DEEPEST} deep")
        graph = record({"name": name, "graph": _graph(depth + 1)}, needed=("name", "graph"))
        first = _given(union({"as_bool": boolean}))(given[0], f"{where}[0]")
        second = _given(union({"as_graph": graph}))(given[1], f"{where}[1]")
        return [first, second, *listing(_given(_argument))(given[2:], f"{where}[2:]")]

    return rule


def _graph(depth: int = 0) -> Rule:
    def rule(value: Any, where: str) -> Any:
        return record(
            {
                "inputs": listing(_argument),
                "outputs": listing(_argument),
                "nodes": listing(_node(depth)),
                "tensor_values": mapping(name, tensor_facts),
                "sym_int_values": mapping(name, _sym_int),
                "sym_bool_values": mapping(name, _sym_bool),
                "sym_float_values": mapping(name, _sym_float),
                "is_single_tensor_return": boolean,
                "custom_obj_values": empty("custom objects, which are kept as pickles"),
            },
            needed=("inputs", "outputs", "nodes", "tensor_values", "sym_int_values", "sym_bool_values"),
        )(value, where)

    return rule


_constant = union({"as_none": boolean, "as_int": integer(), "as_float": number, "as_string": _word, "as_bool": boolean})
_input_kind = union(
    {
        "user_input": record({"arg": _argument}, needed=("arg",)),
        "parameter": record({"arg": _tensor, "parameter_name": module_path}, needed=("arg", "parameter_name")),
        "buffer": record(
            {"arg": _tensor, "buffer_name": module_path, "persistent": boolean},
            needed=("arg", "buffer_name", "persistent"),
        ),
        "tensor_constant": record(
            {"arg": _tensor, "tensor_constant_name": module_path}, needed=("arg", "tensor_constant_name")
        ),
        "constant_input": record(
            {
                "name": name,
                "value": union(
                    {
                        "as_none": boolean,
                        "as_int": integer(),
                        "as_float": number,
                        "as_string": _word,
                        "as_bool": boolean,
                    }
                ),
            },
            needed=("name", "value"),
        ),
        "custom_obj": _no_objects,
        "token": nothing("an effect token"),
    }
)
_output_kind = union(
    {
        "user_output": record({"arg": _argument}, needed=("arg",)),
        "buffer_mutation": record({"arg": _tensor, "buffer_name": module_path}, needed=("arg", "buffer_name")),
        "parameter_mutation": record({"arg": _tensor, "parameter_name": module_path}, needed=("arg", "parameter_name")),
        "user_input_mutation": record({"arg": _tensor, "user_input_name": name}, needed=("arg", "user_input_name")),
        "token": nothing("an effect token"),
    }
)

_CONTAINERS = {"builtins.tuple": None, "builtins.list": None, "builtins.dict": _key, "collections.OrderedDict": _key}


def _structure(value: Any, where: str) -> str:
    """How inputs or outputs are nested: tuples, lists and dictionaries; types are not looked up by name."""
    document = _parsed(value, where, longest=1_000_000)
    if not isinstance(document, list) or len(document) != 2 or document[0] != 1:
        raise Refused(where, f"{brief(value)} is not a structure of version 1")
    tree = _structure_node(document[1], where, 0)
    if tree["type"] == "builtins.tuple" and len(tree["children_spec"]) == 2:
        # The top of inputs: positional and named; these names become the arguments of a function.
        named = tree["children_spec"][1]
        if named["type"] == "builtins.dict":
            for key in json.loads(named["context"]):
                name(key, where)
    return json.dumps([1, tree])


def _structure_node(value: Any, where: str, depth: int) -> dict[str, Any]:
    if depth > 32:
        raise Refused(where, "a structure nested more than 32 deep")
    needed = ("type", "context", "children_spec")
    node = record({field: lambda item, _: item for field in needed}, needed=needed)(value, where)
    children = listing(lambda item, at: _structure_node(item, at, depth + 1))(node["children_spec"], where)
    kind, context = node["type"], node["context"]
    if kind is None:
        if context is not None or children:
            raise Refused(where, "a leaf with something in it")
        return {"type": None, "context": None, "children_spec": []}
    if not isinstance(kind, str) or kind not in _CONTAINERS:
        raise Refused(where, f"the type {brief(kind)}, which is no tuple, list or dictionary")
    keys = _CONTAINERS[kind]
    held = _parsed(context, where, longest=100_000)
    if keys is None and held is not None:
        raise Refused(where, f"{brief(held)} beside a {kind}")
    if keys is not None:
        held = listing(lambda key, at: integer()(key, at) if isinstance(key, int) else keys(key, at))(held, where)
    return {"type": kind, "context": json.dumps(held), "children_spec": children}


def _parsed(value: Any, where: str, *, longest: int) -> Any:
    if not isinstance(value, str) or len(value) > longest:
        raise Refused(where, f"{brief(value)} is not a document of at most {longest:,} characters")
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Refused(where, f"{brief(value)} cannot be read as JSON") from error


_call = record(
    {
        "fqn": module_path,
        "signature": optional(
            record(
                {
                    "inputs": listing(_argument),
                    "outputs": listing(_argument),
                    "in_spec": _structure,
                    "out_spec": _structure,
                    "forward_arg_names": optional(listing(name)),
                },
                needed=("inputs", "outputs", "in_spec", "out_spec"),
            )
        ),
    },
    needed=("fqn",),
)

_range = record({"min_val": optional(integer()), "max_val": optional(integer())}, needed=("min_val", "max_val"))

program = record(
    {
        "graph_module": record(
            {
                "graph": _graph(),
                "signature": record(
                    {"input_specs": listing(_input_kind), "output_specs": listing(_output_kind)},
                    needed=("input_specs", "output_specs"),
                ),
                "module_call_graph": listing(_call),
                "metadata": lambda _value, _where: {},
                "treespec_namedtuple_fields": lambda _value, _where: {},
            },
            needed=("graph", "signature", "module_call_graph"),
        ),
        "opset_version": mapping(text(r"[a-z_]{1,40}", what="a set of operators"), integer(0, 10_000)),
        "range_constraints": mapping(_symbol, _range),
        "schema_version": record({"major": integer(0, 1000), "minor": integer(0, 100_000)}, needed=("major", "minor")),
        "verifiers": listing(text(r"[A-Z_]{1,40}", what="a verifier")),
        "torch_version": text(r"[\w.+<=\- ]{1,60}", what="a version"),
        "guards_code": empty("Python code that would be run to check the inputs (guards)"),
    },
    needed=("graph_module", "opset_version", "range_constraints", "schema_version"),
)
"""The rule for the whole document."""
