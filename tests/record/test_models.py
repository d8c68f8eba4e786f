"""Several networks of numpy arrays in one run, from the calls to what the store gives back."""

from __future__ import annotations

import gc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from epochal.errors import NotFoundError, RecordingWarning, UsageError
from epochal.facts import Edge, Graph, Layer, Parameter
from epochal.record import Run, init
from epochal.store import StoredRun

Arrays = dict[str, npt.NDArray[Any]]


def begin(tmp_path: Path, **options: Any) -> Run:
    return init("models", dir=tmp_path, strict=True, **options)


def stored(run: Run) -> StoredRun:
    assert run.path is not None
    return StoredRun(run.path)


def drawn(name: str) -> Graph:
    weight = Parameter(name="w", shape=(3,), dtype="float64", role="weight")
    layers = (
        Layer(layer_id="input", kind="input", role="input"),
        Layer(layer_id="0", kind="Dense", module="0", parameters=(weight,)),
        Layer(layer_id="relu", kind="relu", role="operation", attributes={"activates": "0"}),
    )
    edges = (Edge(source="input", target="0"), Edge(source="0", target="relu", skip=True))
    return Graph(source="declared", layers=layers, edges=edges, model=name, framework="numpy")


def network(name: str) -> SimpleNamespace:
    return SimpleNamespace(
        parameters={"w": np.zeros(3), "b": np.zeros(1)},
        gradients={"w": np.ones(3)},
        activations={"0": np.arange(6.0).reshape(2, 3)},
        graph=lambda: drawn(name),
    )


def test_two_models_are_recorded_as_if_they_sat_in_one_dictionary(tmp_path: Path) -> None:
    one, two = network("Generator"), network("Critic")
    with begin(tmp_path) as run:
        run.watch(one, name="generator")
        run.watch(two, name="critic", gradients=False)
        for epoch in range(1, 4):
            one.parameters["w"][:] = epoch
            two.parameters["w"][:] = -epoch
            run.log({"x": 1.0}, step=epoch, epoch=epoch)
    found = stored(run)
    # Step 0 is both networks before the first update: nothing was logged between the two calls.
    assert found.snapshot_steps() == [0, 1, 2, 3]
    for step in range(4):
        snapshot = found.snapshot(step)
        assert list(snapshot) == ["generator.w", "generator.b", "critic.w", "critic.b"]
        assert snapshot["generator.w"].tolist() == [step] * 3
        assert snapshot["critic.w"].tolist() == [-step] * 3
    assert sorted(found.statistics_series()) == [
        "act/critic.0", "act/generator.0", "grad/generator.w",
        "param/critic.b", "param/critic.w", "param/generator.b", "param/generator.w",
    ]  # fmt: skip
    facts = found.info().recorder
    assert facts["models"] == ["generator", "critic"]
    assert facts["framework"] == "numpy"
    assert facts["parameters"] == 4  # of the critic no gradients are recorded, but the generator's say what is trained


def test_gradients_belong_to_the_model_that_has_them(tmp_path: Path) -> None:
    one, two = network("One"), network("Two")
    one.gradients, two.gradients = {"w": np.full(3, 1.0)}, {"b": np.full(1, 2.0)}
    with begin(tmp_path) as run:
        run.watch(one, name="one", gradient_snapshots=True)
        run.watch(two, name="two")
        run.log({"x": 1.0}, step=1, epoch=1)
    found = stored(run)
    means = {s: found.statistics(s).columns["mean"][0] for s in found.statistics_series() if s.startswith("grad/")}
    assert means == {"grad/one.w": 1.0, "grad/two.b": 2.0}
    assert {name: values[0] for name, values in found.snapshot(1, "grads").items()} == {"one.w": 1.0, "two.b": 2.0}


def test_the_graphs_of_several_models_are_one_and_each_alone(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        run.watch(network("Generator"), name="generator")
        run.watch(network("Critic"), name="critic")
        run.log({"x": 1.0})
    found = stored(run)
    assert found.models() == ["generator", "critic"]
    assert found.graph("critic") == drawn("Critic")
    both = found.graph()
    assert both is not None
    ids = [layer.layer_id for layer in both.layers]
    assert ids == ["generator.input", "generator.0", "generator.relu", "critic.input", "critic.0", "critic.relu"]
    assert [layer.module for layer in both.layers] == [
        "generator",
        "generator.0",
        "generator",
        *["critic", "critic.0"],
        "critic",
    ]
    assert both.layers[4].parameters[0].name == "critic.w"
    assert both.layers[5].attributes == {"activates": "critic.0"}
    assert (both.edges[3].source, both.edges[3].target, both.edges[3].skip) == ("critic.0", "critic.relu", True)
    assert (both.model, both.source) == ("generator: Generator, critic: Critic", "declared")
    with pytest.raises(NotFoundError, match="no model 'other'"):
        found.graph("other")


def test_one_model_without_a_name_keeps_its_names_beside_named_ones(tmp_path: Path) -> None:
    with begin(tmp_path) as run:
        run.watch({"w": np.zeros(2)})
        run.watch({"w": np.ones(2)}, name="teacher")
        run.log({"x": 1.0}, epoch=1)
    found = stored(run)
    assert list(found.snapshot(0)) == ["w", "teacher.w"]
    assert found.models() == ["", "teacher"]
    assert found.graph("") is not None


def test_what_cannot_be_is_told_with_what_to_do(tmp_path: Path) -> None:
    model, other = {"a.w": np.zeros(1)}, {"w": np.zeros(1)}
    with begin(tmp_path) as run:
        run.watch(model)
        with pytest.raises(UsageError, match=r"(?s)a second one needs a name.*name='critic'"):
            run.watch(other)
        with pytest.raises(UsageError, match="this model is being watched already"):
            run.watch(model, name="again")
        with pytest.raises(UsageError, match=r"two watched models have a tensor 'a\.w'"):
            run.watch(other, name="a")
        run.watch(other, name="b")
        with pytest.raises(UsageError, match="a model called 'b' is being watched already"):
            run.watch({"w": np.zeros(1)}, name="b")
        for name in ("", "a/b", "a.b", "-a", 3):
            with pytest.raises(UsageError, match="letters, digits"):
                run.watch({"w": np.zeros(1)}, name=name)  # type: ignore[arg-type]
        for option in ({"snapshots": 10}, {"budget": 0.5}, {"disk": 1e6}, {"every": 5}, {"gradient_snapshots": True}):
            with pytest.raises(UsageError, match=f"{next(iter(option))} is .* here and .* watched already"):
                run.watch({"w": np.zeros(1)}, name="c", **option)
        with pytest.raises(UsageError, match="not being watched"):
            run.unwatch(object())
        run.log({"x": 1.0}, epoch=0)
    # What was refused left nothing behind.
    assert list(stored(run).snapshot(0)) == ["a.w", "b.w"]


def test_the_schedule_of_the_first_call_holds_for_all(tmp_path: Path) -> None:
    one, two = {"w": np.zeros(1)}, {"w": np.zeros(1)}
    with begin(tmp_path) as run:
        run.watch(one, name="one", snapshots=10, budget=0.0)
        run.watch(two, name="two")
        for step in range(31):
            one["w"][:] = two["w"][:] = step
            run.log({"x": 1.0}, step=step)
    assert stored(run).snapshot_steps() == [0, 10, 20, 30]
    assert stored(run).snapshot(20)["two.w"].tolist() == [20]


def test_a_model_that_comes_later_is_there_from_then_on(tmp_path: Path) -> None:
    one, two = {"w": np.zeros(1)}, {"w": np.zeros(1)}
    with begin(tmp_path) as run:
        run.watch(one, name="one")
        for epoch in range(6):
            if epoch == 3:
                run.watch(two, name="two")
            one["w"][:] = two["w"][:] = epoch
            run.log({"x": 1.0}, step=epoch, epoch=epoch)
    found = stored(run)
    assert found.snapshot_steps() == list(range(6))
    assert found.tensor_film("two.w")[0].tolist() == [3, 4, 5]
    assert found.tensor_film("one.w")[1][:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert found.statistics("param/one.w").steps.tolist() == list(range(6))


@pytest.mark.parametrize("by_name", [False, True])
def test_one_of_several_is_let_go_of(tmp_path: Path, *, by_name: bool) -> None:
    one, two = {"w": np.zeros(1)}, {"w": np.zeros(1)}
    with begin(tmp_path) as run:
        run.watch(one, name="one")
        run.watch(two, name="two")
        for step in range(6):
            one["w"][:] = two["w"][:] = step
            run.log({"x": 1.0}, step=step, epoch=step // 2)
            if step == 3:
                run.unwatch("one" if by_name else one)
        run.unwatch(two)
        assert run._watcher is None
    found = stored(run)
    # Of the one that was let go of at step 3 that step is the last look.
    assert found.tensor_film("one.w")[0].tolist() == [0, 2, 3]
    assert found.tensor_film("two.w")[0].tolist() == [0, 2, 3, 4, 5]


def test_a_model_that_the_script_lost_ends_alone(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="a model of arrays is kept alive, one of PyTorch is not")
    kept, lost = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    with init("models", dir=tmp_path, strict=False) as run:
        run.watch(kept, name="kept", inputs=torch.zeros(1, 2))
        run.watch(lost, name="lost", inputs=torch.zeros(1, 2))
        run.log({"x": 1.0}, step=0, epoch=0)
        del lost
        gc.collect()  # the export leaves circles behind
        with pytest.warns(RecordingWarning, match="the watched model 'lost' is no longer there"):
            run.log({"x": 1.0}, step=1, epoch=1)
        run.watch(torch.nn.Linear(1, 1), name="lost", inputs=torch.zeros(1, 1))
        run.log({"x": 1.0}, step=2, epoch=2)
    found = stored(run)
    assert sorted(found.snapshot(1)) == ["kept.bias", "kept.weight"]
    assert found.tensor_film("kept.weight")[0].tolist() == [0, 1, 2]


def test_a_model_alone_that_the_script_lost_makes_room_for_another(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="a model of arrays is kept alive, one of PyTorch is not")
    with init("models", dir=tmp_path, strict=False) as run:
        run.watch(torch.nn.Linear(2, 2), inputs=torch.zeros(1, 2))
        gc.collect()
        with pytest.warns(RecordingWarning, match="the watched model is no longer there"):
            run.log({"x": 1.0}, step=0, epoch=0)
        network = torch.nn.Linear(3, 1)
        run.watch(network, inputs=torch.zeros(1, 3))
        run.log({"x": 1.0}, step=1, epoch=1)
    assert stored(run).snapshot(1)["weight"].shape == (1, 3)


@pytest.mark.torch
def test_two_optimisers_of_one_training(tmp_path: Path) -> None:
    """Gradients, activations, dead units and programs of a generator and its critic."""
    torch = pytest.importorskip("torch", reason="two PyTorch networks")
    from epochal.workspace import RunReader

    nn = torch.nn
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
    critic = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(), nn.Linear(8, 1))
    optimisers = [torch.optim.SGD(m.parameters(), 0.1) for m in (generator, critic)]
    truth: dict[int, Any] = {}
    with begin(tmp_path) as run:
        run.watch(generator, name="generator", gradient_snapshots=True, snapshots=2, budget=0.0)
        run.watch(critic, name="critic")
        for step in range(6):
            noise, real = torch.randn(16, 2), torch.randn(16, 2) + 3
            fake = generator(noise)
            loss = critic(fake.detach()).mean() - critic(real).mean()
            optimisers[1].zero_grad()
            loss.backward()
            # The generator's loss, too, leaves gradients in the critic: what its optimiser gets is what counts.
            gradients = {f"critic.{k}": p.grad.clone() for k, p in critic.named_parameters()}
            optimisers[1].step()
            loss = -critic(fake).mean()
            optimisers[0].zero_grad()
            loss.backward()
            gradients |= {f"generator.{k}": p.grad.clone() for k, p in generator.named_parameters()}
            optimisers[0].step()
            run.log({"loss": loss.item()}, step=step)
            truth[step] = gradients, critic(real).detach().numpy(), real.numpy()
    reader = RunReader(stored(run))
    assert reader.models() == ["generator", "critic"]
    assert reader.steps("grads") == [0, 2, 4, 5]
    for step in (2, 4):
        gradients, answer, real = truth[step]
        kept = reader.stored.snapshot(step, "grads")
        assert sorted(kept) == sorted(gradients)
        for name, value in gradients.items():
            assert np.array_equal(kept[name], value.numpy()), name
            norm = reader.film(f"norm/grad/{name}")
            assert norm[step] == pytest.approx(float(value.norm()), rel=1e-5)
        network = reader.network(step, model="critic")
        np.testing.assert_allclose(network(real), answer, atol=1e-6)
    assert {s for s in reader.stored.statistics_series() if s.startswith("act/")} >= {"act/generator.1", "act/critic.2"}
    with pytest.raises(UsageError, match="several models: generator, critic"):
        reader.network()
    assert {layer.layer_id.partition(".")[0] for layer in reader.graph().layers} == {"generator", "critic"}  # type: ignore[union-attr]
