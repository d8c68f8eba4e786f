"""JAX: pytrees that are handed over, arrays that are not computed yet or given away, Flax and Equinox modules."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed: make test-frameworks installs it")
jnp = jax.numpy

from epochal.errors import RecordingWarning, UsageError  # noqa: E402
from epochal.record import Run, init  # noqa: E402
from epochal.record.tree import flatten  # noqa: E402
from epochal.store import StoredRun  # noqa: E402

pytestmark = pytest.mark.jax


def begin(tmp_path: Path, **options: Any) -> Run:
    return init("jax", dir=tmp_path, strict=True, **options)


def stored(run: Run) -> StoredRun:
    assert run.path is not None
    return StoredRun(run.path)


def column(found: StoredRun, series: str, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return found.statistics(series).columns[name].astype(np.float64)


def mlp(seed: int = 0) -> list[dict[str, Any]]:
    keys = jax.random.split(jax.random.key(seed), 2)
    return [
        {"w": jax.random.normal(keys[0], (4, 8)) / 2, "b": jnp.zeros(8)},
        {"w": jax.random.normal(keys[1], (8, 3)) / 3, "b": jnp.zeros(3)},
    ]


def loss(params: Any, x: Any, y: Any) -> Any:
    hidden = jnp.tanh(x @ params[0]["w"] + params[0]["b"])
    return jnp.mean((hidden @ params[1]["w"] + params[1]["b"] - y) ** 2)


X, Y = np.random.default_rng(0).normal(size=(2, 16, 4)).astype("f4")
Y = Y[:, :3]


def test_parameters_and_gradients_of_a_training_bit_for_bit(tmp_path: Path) -> None:
    params, kept = mlp(), []
    update = jax.jit(lambda p, g: jax.tree.map(lambda a, b: a - 0.1 * b, p, g))
    with begin(tmp_path) as run:
        for step in range(12):
            value, grads = jax.value_and_grad(loss)(params, X, Y)
            run.log({"loss": float(value)}, step=step)
            run.log_parameters(params, gradients=grads)
            kept.append((jax.tree.map(np.array, params), jax.tree.map(np.array, grads)))
            params = update(params, grads)
    found = stored(run)
    assert found.snapshot_steps() == list(range(12))
    for step, (at, _) in enumerate(kept):
        snapshot = found.snapshot(step)
        # JAX sorts the keys of dictionaries that it makes; the first order stays.
        assert list(snapshot) == ["0.w", "0.b", "1.w", "1.b"]
        for i in range(2):
            assert np.array_equal(snapshot[f"{i}.w"], at[i]["w"])
            assert np.array_equal(snapshot[f"{i}.b"], at[i]["b"])
    slopes = [grads[0]["w"] for _, grads in kept]
    norms, means = [float(np.linalg.norm(g)) for g in slopes], [float(g.mean()) for g in slopes]
    np.testing.assert_allclose(column(found, "grad/0.w", "norm"), norms, rtol=1e-6)
    np.testing.assert_allclose(column(found, "grad/0.w", "mean"), means, rtol=1e-5, atol=1e-9)
    weights = [params[0]["w"] for params, _ in kept]
    moved = [float(np.linalg.norm(b - a) / np.linalg.norm(a)) for a, b in pairwise(weights)]
    np.testing.assert_allclose(column(found, "param/0.w", "update_ratio")[1:], moved, rtol=1e-5)
    assert found.info().recorder["framework"] == "jax"
    assert found.notices() == ()


def test_the_gradients_are_those_of_finite_differences(tmp_path: Path) -> None:
    with jax.enable_x64(True):
        params = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), "f8"), mlp())
        with begin(tmp_path) as run:
            run.log_parameters(params, gradients=jax.grad(loss)(params, X, Y))
        nudged = []
        for sign in (1, -1):
            moved = [dict(layer) for layer in params]
            moved[0]["b"] = params[0]["b"].at[2].add(sign * 1e-5)
            nudged.append(float(loss(moved, X, Y)))
    only = flatten(params).arrays["0.b"].size
    row = stored(run).statistics("grad/0.b")
    slope = (nudged[0] - nudged[1]) / 2e-5
    assert row.columns["size"][0] == only == 8
    assert row.columns["min"][0] - 1e-9 <= slope <= row.columns["max"][0] + 1e-9
    exact = [_slope(params, i) for i in range(8)]
    np.testing.assert_allclose(row.columns["norm"][0], np.linalg.norm(exact), rtol=1e-6)


def _slope(params: Any, i: int) -> float:
    with jax.enable_x64(True):
        either = []
        for sign in (1, -1):
            moved = [dict(layer) for layer in params]
            moved[0]["b"] = params[0]["b"].at[i].add(sign * 1e-5)
            either.append(float(loss(moved, X, Y)))
    return (either[0] - either[1]) / 2e-5


@pytest.mark.parametrize("size", [200, 60_000])
def test_memory_that_is_given_away_right_after_is_still_recorded(tmp_path: Path, size: int) -> None:
    step_fn = jax.jit(lambda p: jax.tree.map(lambda a: a + 1, p), donate_argnums=0)
    params = {"w": jnp.zeros(size), "b": jnp.zeros(3)}
    with begin(tmp_path) as run:
        for step in range(20):
            before = params
            run.log_parameters(params, step=step)
            params = step_fn(params)
            assert before["w"].is_deleted(), "donation does not happen here, so this test shows nothing"
    found = stored(run)
    assert found.snapshot_steps() == list(range(20))
    assert all((found.tensor("w", s) == s).all() for s in range(20))
    assert found.statistics("param/b").columns["mean"].tolist() == list(range(20))


@pytest.mark.parametrize("side", [100, 900])
def test_what_is_not_computed_yet_is_not_waited_for(tmp_path: Path, side: int) -> None:
    # A computation that takes about a second; whoever waited for it would be caught by the array not being ready after.
    slow = jax.jit(lambda a, n: jax.lax.fori_loop(0, n, lambda _, v: v @ v / side, a))
    start = jnp.ones((side, side))
    slow(start, 1).block_until_ready()
    away = jax.jit(lambda a: a * 0, donate_argnums=0)
    away(jnp.ones((side, side)).copy())
    rounds = 60_000 if side == 100 else 100
    with begin(tmp_path) as run:
        run.log_parameters({"w": start}, step=0)
        late = slow(start, rounds)
        run.log_parameters({"w": late}, gradients={"w": late}, activations={"a": late}, step=1)
        assert not late.is_ready()
        away(late)  # its memory is taken for the next computation before it is even filled
        assert late.is_deleted()
    found = stored(run)
    assert np.array_equal(found.tensor("w", 1), np.ones((side, side), "f4"))
    for series in ("param/w", "grad/w", "act/a"):
        assert found.statistics(series).columns["mean"][-1] == pytest.approx(1.0)


def test_arrays_whose_memory_is_gone_are_refused(tmp_path: Path) -> None:
    old = {"w": jnp.ones(3)}
    jax.jit(lambda p: jax.tree.map(lambda a: a * 2, p), donate_argnums=0)(old)
    with begin(tmp_path) as run, pytest.raises(UsageError, match="given away"):
        run.log_parameters(old)


def test_inside_a_traced_function_it_says_so_and_training_goes_on(tmp_path: Path) -> None:
    with init("jax", dir=tmp_path, strict=False) as run:

        @jax.jit  # type: ignore[untyped-decorator]
        def step(p: Any) -> Any:
            run.log_parameters(p)
            return jax.tree.map(lambda a: a + 1, p)

        with pytest.warns(RecordingWarning, match=r"no values yet.*outside of it"):
            after = step({"w": jnp.ones(3)})
    assert after["w"].tolist() == [2.0] * 3
    assert stored(run).snapshot_steps() == []


def test_element_types_are_kept_exactly(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 3))
    types = ["bfloat16", "float16", "float32", "float8_e4m3fn", "float8_e5m2", "int32", "uint8", "bool"]
    params = {t: jnp.asarray(values, t) for t in types}
    with begin(tmp_path) as run:
        run.log_parameters(params, gradients={"bfloat16": jnp.asarray(values, "float32")})
    safetensors = pytest.importorskip("safetensors", reason="safetensors is not installed")
    read = dict(safetensors.deserialize(stored(run).snapshot_path(0).read_bytes()))
    words = ["BF16", "F16", "F32", "F8_E4M3", "F8_E5M2", "I32", "U8", "BOOL"]
    for word, (name, array) in zip(words, params.items(), strict=True):
        assert (read[name]["dtype"], tuple(read[name]["shape"])) == (word, (5, 3))
        assert bytes(read[name]["data"]) == np.asarray(array).tobytes()
    row = stored(run).statistics("grad/bfloat16")
    assert row.columns["mean"][0] == pytest.approx(float(np.asarray(params["bfloat16"], "f4").mean()), abs=1e-6)


def test_random_keys_whole_numbers_and_their_gradients(tmp_path: Path) -> None:
    params = {
        "w": jnp.ones(2),
        "count": jnp.array(3),
        "key": jax.random.key(0),
        "keys": jax.random.split(jax.random.key(1)),
    }
    grads = jax.grad(lambda p: (p["w"] ** 2).sum(), allow_int=True)({k: params[k] for k in ("w", "count")})
    assert grads["count"].dtype == jax.dtypes.float0
    with begin(tmp_path) as run:
        run.log_parameters(params, gradients=grads)
    found = stored(run)
    assert list(found.snapshot(0)) == ["w", "count"]
    assert found.statistics_series() == ["param/w", "grad/w"]
    graph = found.graph()
    assert graph is not None
    roles = {p.name: (p.role, p.trainable) for layer in graph.layers for p in layer.parameters}
    assert roles == {"w": ("weight", True), "count": ("buffer", False)}


def test_types_that_cannot_be_stored_are_named(tmp_path: Path) -> None:
    with (
        init("jax", dir=tmp_path, strict=False) as run,
        pytest.warns(RecordingWarning, match=r"1 tensors .* q \(int4\)"),
    ):
        run.log_parameters({"w": jnp.ones(2), "q": jnp.ones(2, "int4")})
    assert list(stored(run).snapshot(0)) == ["w"]


class Pair(NamedTuple):
    w: Any
    b: Any


@jax.tree_util.register_pytree_node_class
class Own:
    """A user's own kind of node."""

    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second = first, second

    def tree_flatten(self) -> Any:
        return (self.first, self.second), None

    @classmethod
    def tree_unflatten(cls, _: Any, children: Any) -> Own:
        return cls(*children)


def test_names_are_those_of_jaxs_own_key_paths() -> None:
    tree = {"net": [Pair(jnp.ones(1), jnp.ones(2)), (jnp.ones(3), {"deep": jnp.ones(4)})], "scale": 2.0}
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    expected = {jax.tree_util.keystr(path, simple=True, separator="."): np.shape(leaf) for path, leaf in leaves}
    assert {n: np.shape(a) for n, a in flatten(tree).arrays.items()} == expected
    assert set(flatten({"a": Own(jnp.ones(1), {"x": jnp.ones(2)})}).arrays) == {"a.0", "a.1.x"}


def test_a_mapping_of_jax_arrays_is_not_watched_but_handed_over(tmp_path: Path) -> None:
    with begin(tmp_path) as run, pytest.raises(UsageError, match=r"tree of JAX arrays.*\n.*log_parameters"):
        run.watch({"w": jnp.ones(2)})


ACROSS_DEVICES = """
import jax, jax.numpy as jnp, numpy as np, sys, epochal
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
assert jax.device_count() == 4
mesh = Mesh(np.array(jax.devices()), ("d",))
w = np.arange(32.0, dtype="f4").reshape(8, 4)
with epochal.init("p", dir=sys.argv[1], strict=True) as run:
    for step in range(3):
        split = jax.device_put(w + step, NamedSharding(mesh, P("d", None)))
        same = jax.device_put(w[0] + step, NamedSharding(mesh, P()))
        run.log_parameters({"split": split, "same": same}, step=step)
reader = epochal.open(sys.argv[1]).run("latest")
for step in range(3):
    assert np.array_equal(reader.parameters(step)["split"], w + step)
    assert np.array_equal(reader.parameters(step)["same"], w[0] + step)
"""

ACROSS_PROCESSES = """
import jax, numpy as np, sys, epochal, warnings
jax.distributed.initialize(f"127.0.0.1:{sys.argv[2]}", num_processes=2, process_id=int(sys.argv[3]))
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
assert jax.device_count() == 2 and jax.local_device_count() == 1
mesh = Mesh(np.array(jax.devices()), ("d",))
me = jax.process_index()
split = jax.make_array_from_process_local_data(NamedSharding(mesh, P("d")), np.full(3, me, "f4"))
same = jax.make_array_from_process_local_data(NamedSharding(mesh, P()), np.arange(4, dtype="f4"))
with warnings.catch_warnings(record=True) as told, epochal.init("p", dir=sys.argv[1], strict=False) as run:
    warnings.simplefilter("always")
    run.log_parameters({"split": split, "same": same}, step=0)
assert any("split (parts of it are on other machines)" in str(w.message) for w in told), [str(w.message) for w in told]
found = epochal.open(sys.argv[1]).run("latest").parameters(0)
assert list(found) == ["same"] and found["same"].tolist() == [0, 1, 2, 3], found
jax.distributed.shutdown()
"""


def _python(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    import os

    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_arrays_on_several_devices_are_gathered(tmp_path: Path) -> None:
    process = _python(ACROSS_DEVICES, str(tmp_path), XLA_FLAGS="--xla_force_host_platform_device_count=4")
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0, told


@pytest.mark.distributed
def test_arrays_spread_over_processes_are_left_out_and_said(tmp_path: Path) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    both = [_python(ACROSS_PROCESSES, str(tmp_path / str(i)), port, str(i)) for i in range(2)]
    for process in both:
        told, _ = process.communicate(timeout=120)
        assert process.returncode == 0, told
