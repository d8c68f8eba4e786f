"""Flax linen, Flax NNX and Equinox: names, kinds of layers, what is watched and what is handed over, graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed: make test-frameworks installs it")
jnp = jax.numpy

from epochal.errors import RecordingWarning, UsageError  # noqa: E402
from epochal.facts import Graph, Layer  # noqa: E402
from epochal.frameworks.jax import graph_of  # noqa: E402
from epochal.record import Run, init  # noqa: E402
from epochal.record.tree import flatten  # noqa: E402
from epochal.store import StoredRun  # noqa: E402
from epochal.views.layers import TensorFacts, group_layers  # noqa: E402

pytestmark = pytest.mark.jax


def begin(tmp_path: Path) -> Run:
    return init("jax", dir=tmp_path, strict=True)


def stored(run: Run) -> StoredRun:
    assert run.path is not None
    return StoredRun(run.path)


def layer(graph: Graph | None, name: str) -> Layer:
    assert graph is not None
    return next(one for one in graph.layers if one.layer_id == name)


def linen() -> Any:
    nn = pytest.importorskip("flax.linen", reason="Flax is not installed")

    class Net(nn.Module):  # type: ignore[misc, name-defined]
        @nn.compact  # type: ignore[untyped-decorator]
        def __call__(self, x: Any, train: bool = False) -> Any:
            x = nn.max_pool(nn.relu(nn.Conv(4, (3, 3))(x)), (2, 2), strides=(2, 2))
            x = nn.Dense(8)(x.reshape(x.shape[0], -1))
            y = nn.BatchNorm(use_running_average=not train)(x)
            y = nn.LayerNorm()(y + x)
            for _ in range(9):
                y = nn.Dense(8)(y)
            return nn.Dense(3)(nn.tanh(y))

    return Net()


IMAGES = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("f4")


def test_linen_names_leave_out_collections_and_keep_their_numbers_order(tmp_path: Path) -> None:
    model = linen()
    variables = jax.jit(model.init)(jax.random.key(0), IMAGES)
    traverse = pytest.importorskip("flax.traverse_util", reason="Flax is not installed")
    expected = {".".join(path[1:]): np.asarray(array) for path, array in traverse.flatten_dict(dict(variables)).items()}
    with begin(tmp_path) as run:
        run.log_parameters(variables, gradients=variables["params"], step=0)
        run.log_parameters(variables["params"], step=1)
    found = stored(run)
    first = found.snapshot(0)
    assert set(first) == set(expected)
    assert all(np.array_equal(first[name], array) for name, array in expected.items())
    assert set(found.snapshot(1)) == {".".join(path) for path in traverse.flatten_dict(dict(variables["params"]))}
    assert "grad/Dense_10.kernel" in found.statistics_series()
    assert "grad/BatchNorm_0.mean" not in found.statistics_series()


def test_linen_layers_are_drawn_from_names_with_outputs_first(tmp_path: Path) -> None:
    variables = jax.jit(linen().init)(jax.random.key(0), IMAGES)
    with begin(tmp_path) as run:
        run.log_parameters(variables)
    graph = stored(run).graph()
    assert graph is not None
    assert graph.source == "parameters"
    names = [one.layer_id for one in graph.layers if one.kind == "Dense"]
    assert names == [f"Dense_{i}" for i in range(11)]
    kernels = {p.name: p for one in graph.layers for p in one.parameters}
    assert kernels["Dense_10.kernel"].shown_shape == (3, 8)
    assert kernels["Conv_0.kernel"].shown_shape == (4, 1, 3, 3)
    assert {p.name: p.role for p in layer(graph, "BatchNorm_0").parameters} == {
        "BatchNorm_0.scale": "weight",
        "BatchNorm_0.bias": "bias",
        "BatchNorm_0.mean": "buffer",
        "BatchNorm_0.var": "buffer",
    }
    facts = [
        TensorFacts(
            series=f"param/{n}", kind="param", name=n, shape=p.shape, dtype=p.dtype, frames=1, rows=1, change=None
        )
        for n, p in kernels.items()
    ]
    grouped = {one.layer: one for one in group_layers(facts, graph)}
    assert (grouped["Dense_10"].inputs, grouped["Dense_10"].outputs) == (8, 3)


def test_the_graph_of_a_linen_network_is_read_off_its_program() -> None:
    model = linen()
    variables = model.init(jax.random.key(0), IMAGES)
    graph = graph_of(model.apply, variables, IMAGES)
    assert graph is not None
    assert (graph.model, graph.framework, graph.source) == ("Net", "flax", "forward")
    names = [one.layer_id for one in graph.layers]
    assert names[:8] == ["x", "Conv_0", "relu", "reduce_window_max", "Dense_0", "BatchNorm_0", "add", "LayerNorm_0"]
    assert names[8:] == [*(f"Dense_{i}" for i in range(1, 10)), "tanh", "Dense_10", "output"]
    assert [(e.source, e.target) for e in graph.edges if e.skip] == [("Dense_0", "add")]
    assert graph.multiply_adds == 64 * 9 * 4 + 64 * 8 + 9 * 64 + 8 * 3
    assert layer(graph, "Conv_0").activation == "ReLU"
    assert layer(graph, "Dense_9").activation == "Tanh"
    assert layer(graph, "Conv_0").outputs == ((-1, 8, 8, 4),)
    assert layer(graph, "Dense_0").parameters[0].shown_shape == (8, 64)
    assert layer(graph, "Conv_0").parameters[0].layout == (3, 2, 0, 1)
    # The same as in training, when the normalisation measures the batch.
    training = graph_of(lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"])[0], variables, IMAGES)
    assert training is not None
    assert [one.layer_id for one in training.layers] == names
    assert [e for e in training.edges if e.skip] == [e for e in graph.edges if e.skip]


def nnx_net() -> Any:
    nnx = pytest.importorskip("flax.nnx", reason="Flax is not installed")

    class Net(nnx.Module):  # type: ignore[misc, name-defined]
        def __init__(self, rngs: Any) -> None:
            self.zeta = nnx.Linear(4, 8, rngs=rngs)
            self.alpha = nnx.BatchNorm(8, rngs=rngs)
            self.drop = nnx.Dropout(0.1, rngs=rngs)
            self.blocks = nnx.List([nnx.Linear(8, 8, rngs=rngs) for _ in range(2)])
            self._out = nnx.Linear(8, 3, rngs=rngs)
            self.me = self

        def __call__(self, x: Any) -> Any:
            x = self.drop(nnx.relu(self.alpha(self.zeta(x))))
            for block in self.blocks:
                x = x + nnx.silu(block(x))
            return self._out(x)

    return Net(nnx.Rngs(0))


def test_an_nnx_module_is_watched_as_training_changes_it(tmp_path: Path) -> None:
    nnx, optax = (
        pytest.importorskip("flax.nnx", reason="x"),
        pytest.importorskip("optax", reason="Optax is not installed"),
    )
    model = nnx_net()
    optimizer = nnx.Optimizer(model, optax.adam(0.1), wrt=nnx.Param)
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("f4")

    @nnx.jit  # type: ignore[untyped-decorator]
    def update(model: Any, optimizer: Any) -> None:
        optimizer.update(model, nnx.grad(lambda m: (m(x) ** 2).mean())(model))

    kept = []
    with begin(tmp_path) as run:
        run.watch(model, inputs=x)
        for epoch in range(4):
            update(model, optimizer)
            run.log({"x": 1.0}, step=epoch, epoch=epoch)
            kept.append(
                {".".join(map(str, p)): np.array(v[...]) for p, v in nnx.to_flat_state(nnx.state(model, nnx.Param))}
            )
    found = stored(run)
    assert found.snapshot_steps() == [0, 1, 2, 3]
    for step, expected in enumerate(kept):
        snapshot = found.snapshot(step)
        assert set(snapshot) == set(expected) | {"alpha.mean", "alpha.var"}, "random state is no parameter"
        assert all(np.array_equal(snapshot[name], array) for name, array in expected.items())
    assert not np.array_equal(kept[0]["zeta.kernel"], kept[3]["zeta.kernel"])
    graph = found.graph()
    assert graph is not None
    assert (graph.framework, graph.model) == ("flax", "Net")
    assert [one.layer_id for one in graph.layers if one.role == "module"] == [
        "zeta", "alpha", "blocks.0", "blocks.1", "_out"
    ]  # fmt: skip
    assert {one.kind for one in graph.layers if one.role == "module"} == {"Linear", "BatchNorm"}
    assert [(e.source, e.target) for e in graph.edges if e.skip] == [("relu", "add"), ("add", "add_2")]


def test_gradients_of_an_nnx_module_have_its_names(tmp_path: Path) -> None:
    nnx = pytest.importorskip("flax.nnx", reason="Flax is not installed")
    model = nnx_net()
    gradients = nnx.grad(lambda m: (m(jnp.ones((2, 4))) ** 2).mean())(model)
    with begin(tmp_path) as run:
        run.log_parameters(model, gradients=gradients)
        run.log_parameters(nnx.state(model), gradients=gradients, step=1)
    found = stored(run)
    slopes = {name.removeprefix("grad/") for name in found.statistics_series() if name.startswith("grad/")}
    assert slopes == {".".join(map(str, path)) for path, _ in nnx.to_flat_state(gradients)}
    assert set(found.snapshot(0)) == set(found.snapshot(1))
    assert found.info().recorder["framework"] == "flax"


def test_an_equinox_module_is_handed_over_and_not_watched(tmp_path: Path) -> None:
    eqx = pytest.importorskip("equinox", reason="Equinox is not installed")
    model = eqx.nn.MLP(4, 3, 8, 2, key=jax.random.key(0))
    x = jnp.ones((5, 4))
    gradients = eqx.filter_grad(lambda m: (jax.vmap(m)(x) ** 2).mean())(model)
    arrays = eqx.filter(model, eqx.is_array)
    leaves = jax.tree_util.tree_flatten_with_path(arrays)[0]
    expected = {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}
    with begin(tmp_path) as run:
        graph = graph_of(lambda m, x: jax.vmap(m)(x), model, x)
        with pytest.raises(UsageError, match=r"Equinox module.*\n.*log_parameters"):
            run.watch(model)
        run.log_parameters(model, gradients=gradients, graph=graph)
        with pytest.raises(UsageError, match="handed over by log_parameters already"):
            run.watch(model)
    found = stored(run)
    assert {name: array.tolist() for name, array in found.snapshot(0).items()} == {
        name: array.tolist() for name, array in expected.items()
    }
    assert sorted(n for n in found.statistics_series() if n.startswith("grad/")) == sorted(
        f"grad/{n}" for n in expected
    )
    drawn = found.graph()
    assert drawn is not None
    assert drawn.framework == found.info().recorder["framework"] == "equinox"
    assert [one.layer_id for one in drawn.layers] == [
        "x",
        "layers.0",
        "relu",
        "layers.1",
        "relu_2",
        "layers.2",
        "output",
    ]
    assert layer(drawn, "layers.0").kind == "Linear"
    assert layer(drawn, "layers.0").parameters[0].layout == ()


def test_a_linen_module_itself_is_refused(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        with pytest.raises(UsageError, match="Flax linen module"):
            run.watch(linen())
        with pytest.raises(UsageError, match="without any array"):
            run.log_parameters(linen())


def test_a_layer_that_is_used_twice_and_one_that_is_not(tmp_path: Path) -> None:
    params = {"a": {"w": jnp.ones((4, 4)), "b": jnp.ones(4)}, "idle": {"w": jnp.ones((4, 4))}}

    def net(p: Any, x: Any) -> Any:
        for _ in range(2):
            x = jnp.maximum(x @ p["a"]["w"].T + p["a"]["b"], 0)
        return x

    graph = graph_of(net, params, jnp.ones((2, 4)))
    assert graph is not None
    assert [one.layer_id for one in graph.layers] == ["x", "a", "relu", "a@2", "relu_2", "output", "idle"]
    assert layer(graph, "idle").attributes == {"used": False}
    assert layer(graph, "a@2").parameters == layer(graph, "a").parameters
    assert layer(graph, "a").parameters[0].layout == ()
    straight = graph_of(lambda p, x: (x @ p["a"]["w"]) @ p["a"]["w"], params, jnp.ones((2, 4)))
    assert straight is not None
    assert [one.layer_id for one in straight.layers] == ["x", "a", "a@2", "output", "idle"]
    turned = graph_of(lambda p, x: x @ p["a"]["w"], params, jnp.ones((2, 4)))
    assert layer(turned, "a").parameters[0].layout == (1, 0)


def test_a_network_that_cannot_be_read_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EPOCHAL_STRICT", raising=False)

    def broken(p: Any, x: Any) -> Any:
        return x @ p["w"] if float(x.sum()) > 0 else x

    with pytest.warns(RecordingWarning, match="graph could not be drawn: ConcretizationTypeError"):
        assert graph_of(broken, {"w": jnp.ones((2, 2))}, jnp.ones((1, 2))) is None


def test_multiply_adds_of_convolutions_there_and_back() -> None:
    def net(params: Any, x: Any) -> Any:
        small = jax.lax.conv_general_dilated(
            x, params["down"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        large = jax.lax.conv_transpose(small, params["up"], (2, 2), "VALID")
        return jnp.einsum("bijc,cd->bijd", large, params["mix"])

    shapes = {"down": (3, 3, 1, 4), "up": (3, 3, 4, 2), "mix": (2, 5)}
    graph = graph_of(net, {name: jnp.ones(shape) for name, shape in shapes.items()}, IMAGES)
    assert graph is not None
    places = 4 * 4
    assert graph.multiply_adds == places * 9 * 4 + places * 4 * 9 * 2 + 9 * 9 * 2 * 5


def test_loops_stay_one_step_of_the_graph() -> None:
    params = {"cell": {"w": jnp.ones((3, 3))}, "head": {"w": jnp.ones((2, 3)), "b": jnp.ones(2)}}

    def net(p: Any, x: Any) -> Any:
        state, _ = jax.lax.scan(lambda s, step: (jnp.tanh(s @ p["cell"]["w"] + step), None), x[:, 0], x.swapaxes(0, 1))
        return state @ p["head"]["w"].T + p["head"]["b"]

    graph = graph_of(net, params, jnp.ones((2, 5, 3)))
    assert graph is not None
    assert [(e.source, e.target) for e in graph.edges] == [("x", "cell"), ("cell", "head"), ("head", "output")]


def test_flattening_follows_the_order_of_attributes() -> None:
    names = list(flatten(nnx_net()).arrays)
    assert [n for n in names if n.endswith("kernel")] == [
        "zeta.kernel",
        "blocks.0.kernel",
        "blocks.1.kernel",
        "_out.kernel",
    ]
