"""Numbers of JAX that are recorded when they are computed, without waiting for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed: make test-frameworks installs it")
jnp = jax.numpy

from epochal.errors import StoreError  # noqa: E402
from epochal.frameworks import jax_deferred  # noqa: E402
from epochal.record import init  # noqa: E402
from epochal.record.deferred import Deferred, is_far, library_of  # noqa: E402
from epochal.store import StoredRun  # noqa: E402

pytestmark = pytest.mark.jax


def test_only_single_real_numbers_of_an_accelerator_are_far() -> None:
    one = jnp.ones(())
    assert library_of(one) == library_of(jnp.ones((1, 1), "int32")) == library_of(one.astype("bfloat16")) == "jax"
    for other in (jnp.ones(2), jnp.ones((), "complex64"), jax.random.key(0), 1.0, "x", None):
        assert library_of(other) == ""
    assert not is_far(one), "what lies in this machine's memory is read at once"


def test_numbers_come_with_their_names_steps_and_calls() -> None:
    rows: list[tuple[dict[str, float], int, float]] = []
    jobs: list[Callable[[], object]] = []

    def append(numbers: Mapping[str, float], step: int, t: float) -> None:
        rows.append((dict(numbers), step, t))

    deferred = Deferred(lambda: append, jobs.append, lambda n, why: pytest.fail(why))
    double = jax.jit(lambda v: v * 2, donate_argnums=0)
    for step in range(5):
        loss = jnp.full((), step + 0.5)
        deferred.put({"loss": loss, "n": jnp.array([step])}, step, 10.0 + step)
        double(loss)
        assert loss.is_deleted()
    deferred.flush()
    for job in jobs:
        job()
    assert rows == [({"loss": step + 0.5, "n": float(step)}, step, 10.0 + step) for step in range(5)]


def test_torch_and_jax_in_one_call() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rows: list[dict[str, float]] = []
    jobs: list[Callable[[], object]] = []
    deferred = Deferred(lambda: lambda numbers, *_: rows.append(dict(numbers)), jobs.append, lambda *_: None)
    deferred.put({"a": jnp.ones(()), "b": torch.tensor(2.0)}, 0, 0.0)
    deferred.flush()
    for job in jobs:
        job()
    assert sorted(rows, key=str) == [{"a": 1.0}, {"b": 2.0}]


def test_putting_does_not_wait_for_the_device() -> None:
    slow = jax.jit(lambda a: jax.lax.fori_loop(0, 60, lambda _, v: v @ v / 900, a).mean())
    start = jnp.ones((900, 900))
    slow.lower(start).compile()
    slow(start).block_until_ready().copy()
    late = slow(start)
    held = jax_deferred.hold([late])
    assert not late.is_ready()
    done: list[list[list[float]]] = []
    reader = threading.Thread(target=lambda: done.append(jax_deferred.send([held]).read()))
    reader.start()
    reader.join(60)
    assert done == [[[pytest.approx(1.0)]]]


def test_a_computation_that_fails_is_a_loss_that_is_said() -> None:
    gone = jnp.ones(())
    gone.delete()
    with pytest.raises(StoreError, match="could not compute"):
        jax_deferred.send([[gone]]).read()


def test_logged_arrays_of_this_machine(tmp_path: Path) -> None:
    with init("jax", dir=tmp_path, strict=True) as run:
        run.log({"a": jnp.float32(1.5), "b": jnp.array([2]), "c": jnp.array(0.25, "bfloat16")})
    assert run.path is not None
    found = StoredRun(run.path).scalars()
    assert [found[name].v[0] for name in "abc"] == [1.5, 2.0, 0.25]
