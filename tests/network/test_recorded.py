from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch")

import torch
from torch import nn

import epochal
from epochal.errors import NetworkMissingError, NotFoundError, UntrustedNetworkError, UsageError
from epochal.network import Network, Preparation, open_recorded
from epochal.network.recorded import bring_to, choose_step
from epochal.store import StoredRun
from tests.frameworks.torch_networks import Deciding, Grouped, Residual, Shared
from tests.network.attacks import Entries, guard_code, honest, packed, pickled_example_inputs

pytestmark = pytest.mark.torch

STEPS = 5


def batch(seed: int = 0, n: int = 32) -> torch.Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))


def stored(run: epochal.Run) -> StoredRun:
    assert run.path is not None
    return StoredRun(run.path)


def train(folder: Path, network: nn.Module, *inputs: torch.Tensor) -> tuple[StoredRun, list[Any]]:
    """Record a few steps of training; also what the network answers, in eval mode, after each of them."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    answers = []
    with epochal.init(project="test", dir=folder, strict=True) as run:
        run.watch(network, inputs=tuple(x[:3] for x in inputs), snapshots=1)
        for step in range(STEPS):
            network.train()
            optimizer.zero_grad()
            network(*inputs).square().mean().backward()
            optimizer.step()
            run.log({"loss": 0.0}, step=step)
            network.eval()
            with torch.no_grad():
                answers.append(network(*inputs).numpy())
    return stored(run), answers


@pytest.fixture(scope="module")
def residual(tmp_path_factory: pytest.TempPathFactory) -> tuple[StoredRun, list[Any]]:
    torch.manual_seed(3)
    return train(tmp_path_factory.mktemp("residual"), Residual(), batch())


def test_the_network_answers_as_the_original_did_at_each_step(residual: tuple[StoredRun, list[Any]]) -> None:
    """Batch norm (its running statistics too), dropout and a residual connection."""
    run, answers = residual
    assert run.snapshot_steps() == list(range(STEPS))
    for step, expected in enumerate(answers):
        network = open_recorded(run, step)
        assert network.step == step
        answered = network(batch().numpy())
        assert isinstance(answered, np.ndarray)
        np.testing.assert_allclose(answered, expected, rtol=0, atol=1e-5)
    assert not np.allclose(answers[0], answers[-1], atol=1e-2), "the steps must differ, else this proves nothing"


def test_the_last_step_is_the_default_and_any_batch_size_is_taken(residual: tuple[StoredRun, list[Any]]) -> None:
    run, answers = residual
    network = open_recorded(run)
    assert network.step == STEPS - 1
    x = batch().numpy()
    for n in (1, 2, 32):
        np.testing.assert_allclose(network(x[:n]), answers[-1][:n], rtol=0, atol=1e-5)
    np.testing.assert_allclose(network(x.astype(np.float64)), answers[-1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(network(x=batch()), answers[-1], rtol=0, atol=1e-5)


def test_the_state_is_the_snapshot_and_names_are_the_original_ones(residual: tuple[StoredRun, list[Any]]) -> None:
    run, _ = residual
    network = open_recorded(run, 2)
    snapshot, state = run.snapshot(2), network.state()
    assert state.keys() == snapshot.keys() == Residual().state_dict().keys()
    for name, value in snapshot.items():
        np.testing.assert_array_equal(state[name], value)
    state["last.bias"][:] = 7
    assert not np.any(network.state()["last.bias"] == 7), "a copy"
    assert [layer.layer_id for layer in network.layers] == ["first", "norm", "middle", "drop", "last"]
    assert network.graph is not None
    assert network.graph.source == "export"
    assert repr(network) == "<Network Residual at step 2, takes x [any, 4]>"


def test_hooks_and_gradients_work_on_the_module(residual: tuple[StoredRun, list[Any]]) -> None:
    run, _ = residual
    network = open_recorded(run)
    seen: list[torch.Tensor] = []
    modules = dict(network.module.named_modules())
    modules["middle"].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    x = batch(n=4).requires_grad_()
    network.module(x)[:, 0].sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert seen[0].shape == (4, 8)
    weight = dict(network.module.named_parameters())["middle.weight"]
    assert weight.grad is not None


def test_a_step_without_a_snapshot_names_the_nearest(residual: tuple[StoredRun, list[Any]]) -> None:
    with pytest.raises(NotFoundError, match=r"no snapshot at step 77[\s\S]*nearest: 4"):
        open_recorded(residual[0], 77)


@pytest.mark.parametrize(
    ("step", "found"), [(None, 30), (10, 10), (30, 30), (15, "10 and 20"), (5, "10"), (99, "30"), (-1, "10")]
)
def test_choosing_a_step(step: int | None, found: int | str) -> None:
    if isinstance(found, int):
        assert choose_step([10, 20, 30], step) == found
        return
    with pytest.raises(NotFoundError, match=f"nearest: {found}\\."):
        choose_step([10, 20, 30], step)


def test_choosing_among_no_steps() -> None:
    assert choose_step([], None) is None
    with pytest.raises(NotFoundError, match="has no snapshots"):
        choose_step([], 3)


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ((np.zeros((2, 5), np.float32),), r"x must have the shape \[any, 4\]; it has \[2, 5\]"),
        ((np.zeros(4, np.float32),), r"x must have the shape \[any, 4\]; it has \[4\]"),
        ((), "takes x; it was given nothing"),
        ((np.zeros((1, 4)), np.zeros((1, 4))), "takes x; it was given input 1, input 2"),
    ],
)
def test_inputs_that_do_not_fit_are_said(
    inputs: tuple[Any, ...], why: str, residual: tuple[StoredRun, list[Any]]
) -> None:
    with pytest.raises(UsageError, match=why):
        open_recorded(residual[0])(*inputs)


def test_shared_layers_and_several_inputs(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(4, 4)
            self.other = self.one
            self.inner = Shared()

        def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.inner(self.one(left), self.other(right))
            return out

    run, answers = train(tmp_path, Twice(), batch(1), batch(2))
    for step in (0, STEPS - 1):
        answered = open_recorded(run, step)(batch(1).numpy(), right=batch(2).numpy())
        np.testing.assert_allclose(answered, answers[step], rtol=0, atol=1e-5)


class Pair(nn.Module):
    """Takes a dictionary and a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 3), nn.Linear(2, 3)

    def forward(self, parts: dict[str, torch.Tensor], rest: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        out: torch.Tensor = self.one(parts["wide"]) * rest[0] + self.two(parts["narrow"]) - rest[1]
        return out


def test_inputs_in_a_structure_are_given_as_the_original_took_them(tmp_path: Path) -> None:
    network = Pair()
    made = {"wide": torch.randn(3, 4), "narrow": torch.randn(3, 2)}, (torch.randn(3, 3), torch.randn(3, 3))
    with epochal.init(project="test", dir=tmp_path, strict=True) as run:
        run.watch(network, inputs=made)
        run.snapshot(step=0)
    opened = open_recorded(stored(run))
    expected = network(*made).detach().numpy()
    arrays = {name: value.numpy() for name, value in made[0].items()}, tuple(value.numpy() for value in made[1])
    np.testing.assert_allclose(opened(*arrays), expected, atol=1e-6)
    np.testing.assert_allclose(opened(*arrays[0].values(), *arrays[1]), expected, atol=1e-6)
    with pytest.raises(UsageError, match="parts_wide"):
        opened({"wide": arrays[0]["wide"]}, arrays[1])
    graph = stored(run).graph()
    assert graph is not None
    assert sum(layer.role == "input" for layer in graph.layers) == 4


def test_outputs_come_in_the_networks_structure(tmp_path: Path) -> None:
    network = Grouped()
    with epochal.init(project="test", dir=tmp_path, strict=True) as run:
        run.watch(network, inputs={"x": batch(n=3), "mask": torch.ones(3, 4)})
        run.snapshot(step=0)
    answered = open_recorded(stored(run))(x=batch(n=5), mask=np.ones((5, 4), np.float32))
    assert {name: value.shape for name, value in answered.items()} == {"small": (5, 2), "large": (5, 6)}


@pytest.mark.filterwarnings("ignore::epochal.errors.RecordingWarning")
def test_a_network_that_could_not_be_exported_says_why(tmp_path: Path) -> None:
    network = Deciding()
    with epochal.init(project="test", name="flower", dir=tmp_path) as run:
        run.watch(network, inputs=(batch(n=3),))
        run.log({"loss": 1.0}, step=0)
    found = stored(run)
    graph = found.graph()
    assert graph is not None
    assert graph.source == "forward"
    with pytest.raises(NetworkMissingError, match=r"'flower' has no recorded network: .*decides by the values"):
        open_recorded(found)


def test_a_run_without_a_model_says_so(tmp_path: Path) -> None:
    with epochal.init(project="test", dir=tmp_path) as run:
        run.log({"loss": 1.0}, step=0)
    with pytest.raises(NetworkMissingError, match=r"no recorded network: no model was watched") as missing:
        open_recorded(stored(run))
    assert "inputs=" in missing.value.hint


def altered(run: StoredRun, folder: Path) -> tuple[StoredRun, Path]:
    """A copy of a run whose files may be changed."""
    copy = StoredRun(shutil.copytree(run.path, folder / "copy" / run.path.name))
    path = copy.network_path()
    assert path is not None
    return copy, path


def test_a_hostile_file_is_refused_and_trust_lifts_that(residual: tuple[StoredRun, list[Any]], tmp_path: Path) -> None:
    run, path = altered(residual[0], tmp_path)
    marker = tmp_path / "marker"
    entries: Entries = honest()
    pickled_example_inputs(entries, marker)
    path.write_bytes(packed(entries))
    with pytest.raises(UntrustedNetworkError, match="sample_inputs"):
        open_recorded(run)
    assert not marker.exists()
    with pytest.raises(NetworkMissingError, match=r"does not fit|cannot rebuild"):
        open_recorded(run, trust=True)
    assert marker.exists(), "trusted means trusted"


def test_a_trusted_network_answers_too(residual: tuple[StoredRun, list[Any]]) -> None:
    run, answers = residual
    np.testing.assert_allclose(open_recorded(run, 1, trust=True)(batch().numpy()), answers[1], rtol=0, atol=1e-5)


def test_a_snapshot_of_another_network_is_refused(residual: tuple[StoredRun, list[Any]], tmp_path: Path) -> None:
    run, path = altered(residual[0], tmp_path)
    path.write_bytes(packed(honest()))
    with pytest.raises(NetworkMissingError, match=r"lacks layers\.0\.weight.*has no first\.bias"):
        open_recorded(run)


def test_a_damaged_file_says_so(residual: tuple[StoredRun, list[Any]], tmp_path: Path) -> None:
    run, path = altered(residual[0], tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(NetworkMissingError, match="damaged"):
        open_recorded(run)


def test_a_program_that_pytorch_does_not_understand_says_so(
    residual: tuple[StoredRun, list[Any]], tmp_path: Path
) -> None:
    run, path = altered(residual[0], tmp_path)
    entries = honest()
    entries["models/model.json"] = entries["models/model.json"].replace(b'"major": 8', b'"major": 99')
    path.write_bytes(packed(entries))
    with pytest.raises(NetworkMissingError, match="cannot rebuild the recorded network"):
        open_recorded(run)


def test_half_precision_parameters_come_back_bit_for_bit(tmp_path: Path) -> None:
    network = nn.Linear(4, 3).to(torch.bfloat16)
    with epochal.init(project="test", dir=tmp_path, strict=True) as run:
        run.watch(network, inputs=(batch(n=3).to(torch.bfloat16),))
        run.snapshot(step=0)
    opened = open_recorded(stored(run))
    assert torch.equal(opened.module.state_dict()["weight"], network.weight)
    with torch.no_grad():
        np.testing.assert_array_equal(opened(batch().numpy()), network(batch().to(torch.bfloat16)).float().numpy())


def test_the_room_is_imported_without_pytorch() -> None:
    script = "import sys, epochal.network; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
    assert Network.__name__ == "Network"


def test_guard_code_in_a_run_is_never_run(residual: tuple[StoredRun, list[Any]], tmp_path: Path) -> None:
    run, path = altered(residual[0], tmp_path)
    entries, marker = honest(), tmp_path / "marker"
    guard_code(entries, marker)
    path.write_bytes(packed(entries))
    with pytest.raises(UntrustedNetworkError):
        open_recorded(run)
    assert not marker.exists()


def test_a_config_tells_the_names_of_classes_and_how_photos_become_inputs(tmp_path: Path) -> None:
    told = Preparation(size=(6, 6), shorter=8, mean=(0.5, 0.4, 0.3), deviation=(0.2,))
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(32, 2))
    config = {"class_names": ["cat", "dog"], "preparation": told.settings()}
    with epochal.init(project="test", dir=tmp_path, config=config, strict=True) as run:
        run.watch(network, inputs=(torch.zeros(2, 3, 6, 6),))
        run.snapshot(step=0)
    opened = open_recorded(stored(run))
    assert opened.classes == ("cat", "dog")
    assert opened.preparation == told


@pytest.mark.parametrize(
    "said", ["as usual", {"size": [5, 5]}, {"size": [6, 6], "mean": [1, 2]}, {"size": 3}, {"size": [6, 6], "of": 1}]
)
def test_what_is_no_preparation_for_the_network_is_none(said: object, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten())
    with epochal.init(project="test", dir=tmp_path, config={"preparation": said}, strict=True) as run:
        run.watch(network, inputs=(torch.zeros(2, 3, 6, 6),))
        run.snapshot(step=0)
    assert open_recorded(stored(run)).preparation is None


def test_a_network_takes_the_parameters_of_another_step(residual: tuple[StoredRun, list[Any]]) -> None:
    run, _ = residual
    network = open_recorded(run, 0)
    assert bring_to(network, run, 3)
    assert network.step == 3
    np.testing.assert_allclose(network(*(x.numpy() for x in (batch(),))), open_recorded(run, 3)(batch().numpy()))


def test_a_network_is_sent_to_another_process_by_its_file(residual: tuple[StoredRun, list[Any]]) -> None:
    network = open_recorded(residual[0], 1)
    with torch.no_grad():
        next(iter(network.module.parameters())).add_(1)
    came = pickle.loads(pickle.dumps(network))
    assert came.step == 1
    np.testing.assert_array_equal(came(batch().numpy()), network(batch().numpy()))
