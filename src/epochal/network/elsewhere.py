"""Networks from files that something else made. Nothing in them is run: no pickle is read but by PyTorch's own
reader of plain tensors, and sizes are checked before memory is taken."""

from __future__ import annotations

import importlib
import math
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from epochal.errors import DamagedError, MissingExtraError, NotFoundError, UntrustedNetworkError, UsageError
from epochal.facts import Edge, Graph, Layer, Parameter
from epochal.network.dense import DenseNetwork
from epochal.store.safetensors import read_file

if TYPE_CHECKING:
    from epochal.network.network import Network

__all__ = ["ACTIVATIONS", "OUTPUTS", "chain_graph", "open_file", "read_arrays"]

Array = npt.NDArray[Any]

ACTIVATIONS = ("relu", "sigmoid", "tanh", "leaky_relu", "none")
OUTPUTS = ("none", "softmax", "sigmoid", "log_softmax", "tanh", "relu")
SUFFIXES = (".npz", ".safetensors", ".pt", ".pth", ".pt2")
MOST_BYTES = 4 << 30
MOST_ARRAYS = 10_000
_KINDS = {"relu": "ReLU", "sigmoid": "Sigmoid", "tanh": "Tanh", "leaky_relu": "LeakyReLU", "softmax": "Softmax",
          "log_softmax": "LogSoftmax"}  # fmt: skip


def open_file(
    path: str | os.PathLike[str], *, input_shape: Sequence[int] | None, activation: str, output: str
) -> Network:
    """`Network.open`."""
    place = Path(path)
    if place.suffix.lower() == ".pt2":
        _check_there(place)
        program: Any = _with_torch("epochal.network.program")
        network: Network = program.load_network(place, graph=None, step=None, state={}, trust=False, drop_samples=True)
        return network
    arrays = read_arrays(place)
    graph = chain_graph(arrays, input_shape=input_shape, activation=activation, output=output, model=place.stem)
    names = {p.name for layer in graph.layers for p in layer.parameters}
    return DenseNetwork(graph, {name: value for name, value in arrays.items() if name in names})


def read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of a `.npz`, `.safetensors` or `.pt` file by name, in the order they lie."""
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise UsageError(f"{path.name} is no network that can be opened.", hint=f"Known: {', '.join(SUFFIXES)}.")
    _check_there(path)
    if kind == ".npz":
        return _npz(path)
    if kind == ".safetensors":
        return read_file(path)
    if kind == ".pt2":
        raise UsageError(f"{path.name} is a program, not a file of arrays.", hint="epochal.Network.open() takes it.")
    return _checkpoint(path)


def chain_graph(
    arrays: Mapping[str, Array],
    *,
    input_shape: Sequence[int] | None = None,
    activation: str = "relu",
    output: str = "none",
    model: str = "",
) -> Graph:
    """The graph of the chain of linear layers that the arrays make; raises UsageError where they make none."""
    for what, word, known in (("activation", activation, ACTIVATIONS), ("output", output, OUTPUTS)):
        if word not in known:
            raise UsageError(f"There is no {what} {word!r}.", hint=f"Known: {', '.join(known)}.")
    found = _layers(arrays)
    shapes = [arrays[weight].shape for weight, _ in found.values()]
    for (above, a), (below, b) in pairwise(zip(found, shapes, strict=True)):
        if a[0] != b[1]:
            raise UsageError(
                f"The layers make no chain: {above} puts out {a[0]} numbers, {below} takes {b[1]}.",
                hint="Weights are [out, in], in the order of the network.",
            )
    inputs = shapes[0][1]
    shape = (inputs,) if input_shape is None else tuple(int(side) for side in input_shape)
    if math.prod(shape) != inputs or any(side < 1 for side in shape):
        raise UsageError(
            f"An input of shape {list(shape)} has {math.prod(shape)} numbers; the first layer takes {inputs}.",
            hint="input_shape is that of one example, without the batch.",
        )
    nodes = [Layer(layer_id="x", kind="input", role="input", outputs=((-1, *shape),))]
    if len(shape) > 1:
        flat = ((-1, inputs),)
        nodes.append(Layer(layer_id="flatten", kind="flatten", role="operation", inputs=nodes[0].outputs, outputs=flat))
    last = len(found) - 1
    for i, (name, (weight, bias)) in enumerate(found.items()):
        nodes += _nodes(name, arrays, weight, bias, output if i == last else activation)
    nodes.append(Layer(layer_id="output", kind="output", role="output", inputs=nodes[-1].outputs))
    edges = tuple(Edge(source=a.layer_id, target=b.layer_id) for a, b in pairwise(nodes))
    return Graph(source="declared", layers=tuple(nodes), edges=edges, model=model, framework="file")


def _nodes(name: str, arrays: Mapping[str, Array], weight: str, bias: str | None, function: str) -> list[Layer]:
    outputs, inputs = arrays[weight].shape
    kind = _KINDS.get(function)
    parameters = [Parameter(name=weight, shape=(outputs, inputs), dtype=str(arrays[weight].dtype), role="weight")]
    if bias is not None:
        parameters.append(Parameter(name=bias, shape=(outputs,), dtype=str(arrays[bias].dtype), role="bias"))
    came, went = ((-1, inputs),), ((-1, outputs),)
    linear = Layer(
        layer_id=name, kind="Linear", module=name, inputs=came, outputs=went, parameters=tuple(parameters),
        activation=kind, attributes={"in_features": inputs, "out_features": outputs},
    )  # fmt: skip
    if kind is None:
        return [linear]
    after = f"{name}.{function}"
    settings = {"activates": name}
    return [linear, Layer(layer_id=after, kind=kind, role="operation", inputs=went, outputs=went, attributes=settings)]


def _layers(arrays: Mapping[str, Array]) -> dict[str, tuple[str, str | None]]:
    """Layer -> the names of its weight and bias; layers that are numbered go by their numbers."""
    weights = {name.removesuffix("weight").rstrip("./") or "network": name for name in arrays
               if re.fullmatch(r"(.*[./])?weight", name)}  # fmt: skip
    if not weights:
        raise UsageError(
            f"No weights were found among the arrays {', '.join(list(arrays)[:8]) or '(none)'}.",
            hint="They are called layers.0.weight [out, in] and layers.0.bias [out], layers.1.weight and so on.",
        )
    found: dict[str, tuple[str, str | None]] = {}
    for layer in sorted(weights, key=_natural) if all(re.search(r"\d", layer) for layer in weights) else weights:
        name = weights[layer]
        value, bias = arrays[name], f"{name.removesuffix('weight')}bias"
        if value.ndim != 2 or not value.size or value.dtype.kind not in "fiu":
            raise UsageError(
                f"{name} is {list(value.shape)} {value.dtype}: only linear layers, [out, in], can be rebuilt from "
                "weights alone.",
                hint="Export other networks with torch.export.save, and open the .pt2 file.",
            )
        if bias in arrays and arrays[bias].shape != value.shape[:1]:
            raise UsageError(f"{bias} is {list(arrays[bias].shape)}; {name} has {value.shape[0]} outputs.")
        found[layer] = (name, bias if bias in arrays else None)
    used = {name for pair in found.values() for name in pair}
    if left := [name for name in arrays if name not in used]:
        raise UsageError(
            f"{left[0]} belongs to no linear layer.",
            hint="The file must hold weights and biases of the chain only.",
        )
    return found


def _natural(text: str) -> list[Any]:
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", text)]


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}.", hint="It is a folder." if path.is_dir() else "")


def _npz(path: Path) -> dict[str, Array]:
    """numpy's own reader takes the memory that a header asks for: here it must be that of the entry."""
    arrays: dict[str, Array] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            total = sum(info.file_size for info in infos)
            if len(infos) > MOST_ARRAYS or total > MOST_BYTES:
                raise DamagedError(f"{path.name} is too large: {len(infos):,} arrays, {total:,} bytes unpacked.")
            for info in infos:
                with archive.open(info) as file:
                    data = file.read(info.file_size + 1)
                if len(data) != info.file_size:
                    raise DamagedError(f"{path.name}: {info.filename} is not as long as the file says.")
                arrays[info.filename.removesuffix(".npy")] = _npy(data, f"{path.name}: {info.filename}")
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise DamagedError(f"{path.name} cannot be read as an .npz file: {error}") from error
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise DamagedError(f"{path.name} cannot be read as an .npz file: {error}") from error
    return arrays


def _npy(data: bytes, where: str) -> Array:
    file = BytesIO(data)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise UntrustedNetworkError(f"{where} holds pickled objects, which can run anything when they are read.")
    if dtype.kind not in "fiub":
        raise UsageError(f"{where} is {dtype}, not numbers.")
    rest = data[file.tell() :]
    if math.prod(shape) * dtype.itemsize != len(rest) or any(side < 0 for side in shape):
        raise DamagedError(f"{where} says {list(shape)} {dtype}, but has {len(rest):,} bytes.")
    return np.frombuffer(rest, dtype).reshape(shape, order="F" if fortran else "C")


def _checkpoint(path: Path) -> dict[str, Array]:
    torch: Any = _with_torch("torch")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if sum(info.file_size for info in archive.infolist()) > MOST_BYTES:
                    raise DamagedError(f"{path.name} is too large to be opened.")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except DamagedError:
        raise
    except Exception as error:
        # PyTorch raises any kind of error for a file that it does not understand.
        text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        if type(error).__name__ == "UnpicklingError":
            raise UntrustedNetworkError(
                f"{path.name} holds more than tensors, which could run code when it is read: it was not opened. {text}",
                hint="Save the tensors alone: torch.save(model.state_dict(), path).",
            ) from error
        raise DamagedError(f"{path.name} cannot be read as a PyTorch file: {text}") from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise UsageError(f"{path.name} holds a {type(content).__name__}, not named tensors.")
    arrays = {}
    for name, value in content.items():
        if not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
            raise UsageError(f"{path.name}: {name} is a {type(value).__name__}, not a plain tensor.")
        plain = value.detach()
        arrays[str(name)] = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy().copy()
    return arrays


def _with_torch(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError(
            "Files of PyTorch are read with PyTorch.", hint="Install it with `pip install 'epochal[torch]'`."
        ) from error
