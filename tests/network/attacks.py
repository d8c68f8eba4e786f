"""Network files that run code when PyTorch loads them; import this only where PyTorch is there."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from epochal.frameworks.torch_graph import export_network
from tests.frameworks.torch_networks import Mlp

Entries = dict[str, bytes]
Attack = Callable[[Entries, Path], None]

PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLES = "data/sample_inputs/model.pt"


def honest() -> Entries:
    """The entries of a recorded network, without their common folder."""
    data, _ = export_network(Mlp(), (torch.zeros(2, 4),))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {info.filename.partition("/")[2]: archive.read(info) for info in archive.infolist()}


def packed(entries: Entries, *, root: str = "archive/", method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive of entries."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(root + name), data, compress_type=method)
    return buffer.getvalue()


class Bomb:
    """Unpickling it makes the marker file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def edit(entries: Entries, name: str, change: Callable[[Any], None]) -> None:
    """Change a JSON entry in place."""
    document = json.loads(entries[name])
    change(document)
    entries[name] = json.dumps(document).encode()


def first_node(document: Any) -> Any:
    return document["graph_module"]["graph"]["nodes"][0]


def touch(marker: Path) -> str:
    """A Python expression that makes the marker file."""
    return f"__import__('pathlib').Path({str(marker)!r}).touch()"


# --- attacks that run the moment that PyTorch loads the file -----------------------------------------------------


def pickled_example_inputs(entries: Entries, marker: Path) -> None:
    entries[SAMPLES] = saved(((Bomb(marker),), {}))


def pickled_weight(entries: Entries, marker: Path) -> None:
    def change(document: Any) -> None:
        document["config"]["layers.0.weight"].update(path_name="weight_0", use_pickle=True, tensor_meta=None)

    edit(entries, WEIGHTS, change)
    entries["data/weights/weight_0"] = saved(Bomb(marker))


def pickled_constant(entries: Entries, marker: Path) -> None:
    def change(document: Any) -> None:
        document["config"]["c"] = {"path_name": "tensor_0", "is_param": False, "use_pickle": True, "tensor_meta": None}

    edit(entries, CONSTANTS, change)
    entries["data/constants/tensor_0"] = saved(Bomb(marker))


def opaque_object(entries: Entries, marker: Path) -> None:
    def change(document: Any) -> None:
        document["config"]["c"] = {
            "path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None,
        }  # fmt: skip

    edit(entries, CONSTANTS, change)
    entries["data/constants/opaque_obj_0"] = pickle.dumps(Bomb(marker))


def old_weights_file(entries: Entries, marker: Path) -> None:
    entries["data/weights/model.pt"] = saved({"layers.0.weight": Bomb(marker)})


def old_constants_file(entries: Entries, marker: Path) -> None:
    entries["data/constants/model.pt"] = saved({"c": Bomb(marker)})


def second_program(entries: Entries, marker: Path) -> None:
    """Every file under models/ is loaded, not only the one that is asked for."""
    entries["models/other.json"] = entries[PROGRAM]
    entries["data/sample_inputs/other.pt"] = saved(((Bomb(marker),), {}))
    entries["data/weights/other_weights_config.json"] = entries[WEIGHTS]
    entries["data/constants/other_constants_config.json"] = entries[CONSTANTS]


def size_expression(entries: Entries, marker: Path) -> None:
    def change(document: Any) -> None:
        sizes = document["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
        sizes[0] = {"as_expr": {"expr_str": touch(marker), "hint": None}}

    edit(entries, PROGRAM, change)


def size_value(entries: Entries, marker: Path) -> None:
    def change(document: Any) -> None:
        graph = document["graph_module"]["graph"]
        graph["sym_bool_values"]["evil"] = {"as_expr": {"expr_str": touch(marker), "hint": None}}
        graph["inputs"].append({"as_tensor": {"name": "evil"}})

    edit(entries, PROGRAM, change)


def value_name(entries: Entries, marker: Path) -> None:
    """Names become Python source: an input of this name is an argument with a default value."""
    evil = f"y={touch(marker)}"

    def change(document: Any) -> None:
        module = document["graph_module"]
        graph, signature = module["graph"], module["signature"]
        graph["inputs"].append({"as_tensor": {"name": evil}})
        graph["tensor_values"][evil] = graph["tensor_values"]["x"]
        signature["input_specs"].append({"user_input": {"arg": {"as_tensor": {"name": evil}}}})

    edit(entries, PROGRAM, change)


def structure_type(entries: Entries, marker: Path) -> None:
    """The module of a dictionary's default value is imported by name: importing it is enough."""
    (marker.parent / "epochal_evil.py").write_text(f"{touch(marker)}\nthing = int\n")
    context = {"default_factory_module": "epochal_evil", "default_factory_name": "thing", "dict_context": []}
    tree = {"type": "collections.defaultdict", "context": context, "children_spec": []}

    def change(document: Any) -> None:
        document["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps([1, tree])

    edit(entries, PROGRAM, change)


def structure_enum(entries: Entries, marker: Path) -> None:
    (marker.parent / "epochal_evil.py").write_text(f"{touch(marker)}\nthing = int\n")
    key = {"__enum__": True, "fqn": "epochal_evil:Thing", "name": "a"}
    leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
    tree = {"type": "builtins.dict", "context": json.dumps([key]), "children_spec": [leaf]}

    def change(document: Any) -> None:
        document["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps([1, tree])

    edit(entries, PROGRAM, change)


# --- attacks that run later, when the network is called or taken apart ---------------------------------------------


def guard_code(entries: Entries, marker: Path) -> None:
    """Run when the module made from the program is called; PyTorch does so only where example inputs are there."""
    entries[SAMPLES] = saved(((torch.zeros(2, 4),), {}))
    edit(entries, PROGRAM, lambda document: document.update(guards_code=[touch(marker)]))


AT_LOAD: list[Attack] = [
    pickled_example_inputs, pickled_weight, pickled_constant, opaque_object, old_weights_file, old_constants_file,
    second_program, size_expression, size_value, value_name, structure_type, structure_enum,
]  # fmt: skip
LATER: list[Attack] = [guard_code]
