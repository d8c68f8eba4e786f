from __future__ import annotations

import io
import random
import sys
import warnings
import zipfile

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch")

import torch
from torch import nn

from epochal.errors import NetworkError
from epochal.facts import Graph, Layer
from epochal.frameworks.torch_graph import build_graph, export_network, parameter_graph
from tests.frameworks.torch_networks import Convolutional, Deciding, Grouped, Mlp, Residual, Shared, Spiteful

pytestmark = pytest.mark.torch


def layer(graph: Graph, layer_id: str) -> Layer:
    return {layer.layer_id: layer for layer in graph.layers}[layer_id]


def arrows(graph: Graph) -> set[str]:
    return {f"{e.source}{'~' if e.skip else '-'}{e.target}" for e in graph.edges}


def test_the_iris_network_is_drawn_layer_by_layer() -> None:
    data, graph = export_network(Mlp(), (torch.randn(5, 4),))
    assert zipfile.is_zipfile(io.BytesIO(data))
    assert graph.source == "export"
    assert graph.model == "Mlp"
    assert graph.framework == "torch"
    assert graph.note == ""
    assert [la.layer_id for la in graph.layers] == ["x", *(f"layers.{i}" for i in range(5)), "output"]
    assert [la.role for la in graph.layers] == ["input", *["module"] * 5, "output"]
    first = layer(graph, "layers.0")
    assert (first.kind, first.module, first.activation) == ("Linear", "layers.0", "ReLU")
    assert (first.inputs, first.outputs) == (((-1, 4),), ((-1, 12),))
    assert first.attributes["in_features"] == 4
    weight, bias = first.parameters
    assert (weight.name, weight.shape, weight.dtype, weight.role) == ("layers.0.weight", (12, 4), "float32", "weight")
    assert (bias.name, bias.role, bias.trainable) == ("layers.0.bias", "bias", True)
    assert weight.initializer == "Kaiming uniform (a=√5), default"
    assert layer(graph, "layers.1").attributes["activates"] == "layers.0"
    assert layer(graph, "layers.4").activation is None
    assert graph.parameter_count == 4 * 12 + 12 + 12 * 12 + 12 + 12 * 3 + 3


@pytest.mark.parametrize("exported", [True, False])
def test_a_residual_connection_is_a_skip_and_activations_are_found(exported: bool) -> None:
    network, inputs = Residual(), (torch.randn(6, 4),)
    graph = export_network(network, inputs)[1] if exported else build_graph(network, inputs)
    assert graph.source == ("export" if exported else "forward")
    assert arrows(graph) == {
        "x-first", "first-norm", "norm-relu", "relu-middle", "middle-tanh", "tanh-drop", "drop-add", "relu~add",
        "add-last", "last-output",
    }  # fmt: skip
    assert layer(graph, "first").activation == "ReLU", "also behind the batch norm"
    assert layer(graph, "middle").activation == "Tanh"
    assert layer(graph, "last").activation is None
    assert layer(graph, "add").role == "operation"
    assert layer(graph, "drop").attributes["p"] == pytest.approx(0.3)
    norm = layer(graph, "norm")
    assert norm.attributes["eps"] == pytest.approx(1e-5)
    began = {p.name: p.initializer for p in norm.parameters}
    assert began["norm.weight"] == "ones"
    assert began["norm.running_mean"] == "zeros"
    assert {p.name for p in norm.parameters if p.role == "buffer"} == {
        "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"
    }  # fmt: skip
    assert graph.parameter_count == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("exported", [True, False])
def test_a_convolutional_network(exported: bool) -> None:
    network, inputs = Convolutional(), (torch.randn(2, 1, 10, 10),)
    graph = export_network(network, inputs)[1] if exported else build_graph(network, inputs)
    first = layer(graph, "body.0")
    assert (first.kind, first.outputs) == ("Conv2d", ((-1, 4, 10, 10),))
    assert first.attributes["kernel_size"] == [3, 3]
    assert first.attributes["padding"] == [1, 1]
    assert first.activation == "ReLU"
    assert layer(graph, "body.4").activation == "GELU"
    assert layer(graph, "head").activation == "LogSoftmax"
    assert layer(graph, "flatten").outputs == ((-1, 72),)
    assert not any(e.skip for e in graph.edges)


@pytest.mark.parametrize("exported", [True, False])
def test_a_shared_layer_two_inputs_and_parameters_outside_of_layers(exported: bool) -> None:
    network, inputs = Shared(), (torch.randn(3, 4), torch.randn(3, 4))
    graph = export_network(network, inputs)[1] if exported else build_graph(network, inputs)
    assert arrows(graph) == {
        "left-layer", "layer-layer@2", "layer@2-cat", "right-mul", "mul-cat", "cat-output"
    }  # fmt: skip
    assert layer(graph, "layer@2").module == "layer"
    assert [p.name for p in layer(graph, "mul").parameters] == ["scale"]
    assert layer(graph, "mul").parameters[0].initializer == "constant 2"
    lost = layer(graph, "lost")
    assert lost.attributes["used"] is False
    assert not lost.outputs
    assert graph.parameter_count == sum(p.numel() for p in network.parameters()), "shared parameters count once"


def test_named_inputs_and_a_dictionary_of_outputs() -> None:
    network = Grouped()
    graph = export_network(network, {"x": torch.randn(3, 4), "mask": torch.ones(3, 4)})[1]
    assert [la.layer_id for la in graph.layers if la.role == "input"] == ["x", "mask"]
    assert {"mask-mul", "heads.small-output", "heads.large-output"} <= arrows(graph)
    seen = build_graph(network, {"x": torch.randn(3, 4), "mask": torch.ones(3, 4)})
    assert {"mask-mul", "heads.small-output", "heads.large-output"} <= arrows(seen)


def test_any_batch_size_can_be_asked_also_when_the_example_was_one() -> None:
    data, graph = export_network(Residual(), torch.randn(1, 4))
    assert graph.note == ""
    assert layer(graph, "first").inputs == ((-1, 4),)
    module = torch.export.load(io.BytesIO(data)).module()
    assert module(torch.randn(7, 4)).shape == (7, 3)


def test_a_batch_size_that_must_be_known_is_said() -> None:
    class OneByOne(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([x[i] * i for i in range(x.shape[0])])

    graph = export_network(OneByOne(), (torch.randn(6, 4),))[1]
    assert "fixed at 6" in graph.note
    assert layer(graph, "x").outputs == ((6, 4),)


def test_control_flow_by_values_is_refused_in_plain_words_and_drawn_from_a_forward_call(
    capfd: pytest.CaptureFixture[str],
) -> None:
    network = Deciding()
    with pytest.raises(NetworkError, match="Deciding cannot be exported: its forward decides by the values of tensors"):
        export_network(network, (torch.ones(2, 4),))
    assert capfd.readouterr() == ("", ""), "PyTorch's own complaints stay off the terminal"
    graph = build_graph(network, (torch.ones(2, 4),), note="why")
    assert (graph.source, graph.note) == ("forward", "why")
    assert arrows(graph) == {"x-up", "up-relu", "relu-output"}
    assert layer(graph, "up").activation == "ReLU"
    assert layer(graph, "down").attributes["used"] is False


@pytest.mark.parametrize("look", [export_network, build_graph])
@pytest.mark.parametrize("failing", [False, True])
def test_the_network_and_all_random_numbers_stay_as_they_were(look: object, failing: bool) -> None:
    assert callable(look)
    network = nn.Sequential(Spiteful(failing=failing), nn.Dropout(0.5), nn.BatchNorm1d(3))
    assert isinstance(network[0], Spiteful)
    network[2].eval()  # someone froze this one
    before = {name: value.clone() for name, value in network.state_dict().items()}
    kept, buffer = dict(vars(network[0])), network[0].last
    network.register_forward_hook(lambda *_: None)
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    expected = torch.rand(3), np.random.rand(), random.random()
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    stderr, filters = sys.stderr, list(warnings.filters)
    if failing:
        with pytest.raises(NetworkError, match="no, not today"):
            look(network, (torch.ones(4, 3),))
    else:
        look(network, (torch.ones(4, 3),))
    assert [m.training for m in network.modules()] == [True, True, True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network[0].last is buffer
    assert vars(network[0]) == kept, "attributes, hooks and caches"
    assert torch.equal(torch.rand(3), expected[0])
    assert (np.random.rand(), random.random()) == expected[1:]
    assert sys.stderr is stderr
    assert warnings.filters == filters
    assert not network[0]._forward_hooks
    assert not network[0]._forward_pre_hooks
    assert len(network._forward_hooks) == 1, "the user's own hooks stay"


def test_the_file_holds_no_paths_source_inputs_or_guard_code() -> None:
    secret = torch.full((3, 4), 1234.5678)
    data, _ = export_network(Shared(), (secret, secret + 1))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        everything = {name: archive.read(name) for name in archive.namelist()}
    text = b"".join(everything.values())
    assert b"torch_networks.py" not in text
    assert b"torch.cat(" not in text, "source lines"
    assert secret.numpy().tobytes()[:8] not in text
    assert b'"guards_code": []' in text
    assert not any(content for name, content in everything.items() if name.endswith(".pt"))


def test_trained_weights_are_not_said_to_be_fresh() -> None:
    network = Mlp()
    with torch.no_grad():
        parameters = dict(network.named_parameters())
        parameters["layers.0.weight"].add_(0.3)
        parameters["layers.2.weight"].mul_(0.5)
        parameters["layers.4.bias"].zero_()
    graph = parameter_graph(network)
    began = {p.name: p.initializer for la in graph.layers for p in la.parameters}
    assert began["layers.0.weight"] is None, "outside of the bound"
    assert began["layers.0.bias"] is None, "a bias alone proves nothing"
    assert began["layers.2.weight"] is None, "too narrow"
    assert began["layers.4.weight"] == "Kaiming uniform (a=√5), default"
    assert began["layers.4.bias"] == "zeros"


@pytest.mark.parametrize("seed", range(20))
def test_fresh_default_weights_are_recognised(seed: int) -> None:
    torch.manual_seed(seed)
    network = nn.ModuleList([nn.Linear(30, 20), nn.Conv2d(3, 8, 5), nn.Embedding(40, 7), nn.LSTM(5, 6)])
    for found in parameter_graph(network).layers:
        for parameter in found.parameters:
            assert parameter.initializer is not None, parameter
            assert parameter.initializer.endswith(", default")


def test_without_inputs_the_layers_and_parameters_are_listed() -> None:
    network = Shared()
    network.layer.weight.requires_grad_(False)
    graph = parameter_graph(network)
    assert graph.source == "parameters"
    assert graph.edges == ()
    assert {la.layer_id for la in graph.layers} == {"Shared", "layer", "lost"}
    assert layer(graph, "layer").parameters[0].trainable is False
    assert graph.parameter_count - graph.trainable_count == 16
    assert "no example inputs" in graph.note


@pytest.mark.parametrize("exported", [True, False])
def test_masks_that_the_network_makes_for_itself_are_left_out(exported: bool) -> None:
    class Masked(nn.Module):
        mask: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mask", torch.ones(5, 5).tril().bool(), persistent=False)
            self.places = nn.Parameter(torch.zeros(5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            n = x.shape[1]
            return (x + self.places[:n] + torch.arange(n)).masked_fill(~self.mask[:n, :n][0], 0.0)

    inputs = (torch.randn(3, 4),)
    graph = export_network(Masked(), inputs)[1] if exported else build_graph(Masked(), inputs)
    kinds = [la.kind for la in graph.layers]
    assert kinds == ["input", "slice" if exported else "index", "add", "add", "masked_fill", "output"]
    assert [p.name for la in graph.layers for p in la.parameters] == ["places"]


def test_one_module_alone_is_a_layer() -> None:
    graph = export_network(nn.Linear(2, 3), torch.randn(2, 2))[1]
    assert arrows(graph) == {"input-Linear", "Linear-output"}
    assert [p.name for p in layer(graph, "Linear").parameters] == ["weight", "bias"]


def test_inputs_that_do_not_fit_are_said() -> None:
    with pytest.raises(NetworkError, match="cannot be exported"):
        export_network(Mlp(), (torch.randn(2, 9),))
    with pytest.raises(NetworkError, match="forward call of Mlp failed"):
        build_graph(Mlp(), (torch.randn(2, 9),))


def test_what_cannot_be_run_is_said() -> None:
    lazy = nn.Sequential(nn.LazyLinear(3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still met
        scripted = torch.jit.script(nn.Linear(4, 2))
    for look in (export_network, build_graph):
        with pytest.raises(NetworkError, match="lazy layers"):
            look(lazy, torch.zeros(2, 4))
        with pytest.raises(NetworkError, match=r"TorchScript|ScriptModule"):
            look(scripted, torch.zeros(2, 4))
    assert isinstance(lazy[0].weight, nn.UninitializedParameter), "it was not drawn by us"
    assert parameter_graph(nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 2))).parameter_count == 8
    assert parameter_graph(scripted).parameter_count == 10


def test_a_compiled_network_goes_by_the_name_of_the_one_inside() -> None:
    compiled = torch.compile(Mlp(), backend="eager")
    assert isinstance(compiled, nn.Module)
    graph = export_network(compiled, torch.randn(2, 4))[1]
    assert graph.model == "Mlp"
    assert layer(graph, "_orig_mod.layers.0").parameters[0].name == "_orig_mod.layers.0.weight"


def test_a_layer_called_output_is_a_layer() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.output = nn.Linear(4, 3), nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores: torch.Tensor = self.output(self.hidden(x).relu())
            return scores

    graph = build_graph(Named(), (torch.rand(5, 4),))
    assert [(layer.layer_id, layer.role) for layer in graph.layers][-2:] == [
        ("output", "module"),
        ("output_2", "output"),
    ]
    assert graph.parameter_count == 15 + 8
