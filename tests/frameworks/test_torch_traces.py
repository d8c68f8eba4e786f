"""Nothing of us stays in a model, and a watched model is saved, copied and loaded like any other."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from torch import nn
from torch.nn.modules import module as module_file
from torch.nn.utils import parametrizations
from torch.optim import optimizer as optimizer_file

from tests.frameworks.torch_trainings import Block, batch, begin, step_of, train

pytestmark = pytest.mark.torch


def traces(model: nn.Module) -> dict[str, Any]:
    """All that watching could leave behind: attributes and hooks of modules, hooks of parameters, global hooks."""
    found: dict[str, Any] = {}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key == "_forward_pre_hooks_with_kwargs" or not isinstance(value, dict):
                found[f"{name}.{key}"] = repr(value) if isinstance(value, dict) else id(value)
            else:
                found[f"{name}.{key}"] = (id(value), {k: id(v) for k, v in value.items()})
    for name, parameter in model.named_parameters():
        found[f"{name} hooks"] = (repr(parameter._post_accumulate_grad_hooks), repr(parameter._backward_hooks))
    for key, value in vars(module_file).items():
        if key.startswith("_global") and isinstance(value, dict):
            found[f"module {key}"] = dict(value)
    for key, value in vars(optimizer_file).items():
        if key.startswith("_global"):
            found[f"optimizer {key}"] = dict(value)
    return found


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = Block()
        self.norm = parametrizations.weight_norm(nn.Linear(3, 3))
        self.bag = nn.ModuleDict({"a": nn.Linear(3, 3)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.bag["a"](self.norm(self.block(x)))
        return out


@pytest.mark.parametrize("end", ["finish", "unwatch", "error", "at once", "before a forward", "in the middle"])
def test_nothing_is_left(tmp_path: Path, end: str) -> None:
    torch.manual_seed(0)
    model = Whole()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step_of(model, optimizer, 0)  # PyTorch itself makes some dictionaries when they are first used
    before, names = traces(model), dir(model)
    run = begin(tmp_path)
    run.watch(model)
    assert traces(model) != before
    if end == "before a forward":
        run.log({"x": 1.0}, step=0, epoch=0)
    elif end == "in the middle":
        train(model, run, 2)
        model(batch(7)[0])
        run.log({"x": 1.0}, step=2, epoch=2)
        model(batch(8)[0]).sum().backward()
    elif end != "at once":
        train(model, run, 3)
    if end == "unwatch":
        run.unwatch()
    elif end == "error":
        run.end_with_process(ValueError("the training failed"))
    else:
        run.finish()
    assert traces(model) == before
    assert dir(model) == names
    run.finish()


def test_hooks_of_the_user_stay_and_run_in_their_order(tmp_path: Path) -> None:
    model = Block()
    order: list[str] = []
    handles = [
        model.head.register_forward_hook(lambda m, a, out: order.append("first")),
        model.head.weight.register_post_accumulate_grad_hook(  # type: ignore[no-untyped-call]
            lambda p: order.append("gradient")
        ),
        optimizer_file.register_optimizer_step_pre_hook(lambda o, a, k: order.append("step")),
    ]
    with begin(tmp_path) as run:
        run.watch(model)
        handles.append(model.head.register_forward_hook(lambda m, a, out: order.append("second")))
        train(model, run, 1)
        order.clear()  # drawing the network runs them too
        train(model, run, 1, first=1)
    train_alone = torch.optim.SGD(model.parameters(), lr=0.1)
    step_of(model, train_alone, 9)
    assert order == ["first", "second", "gradient", "step"] * 3
    for handle in handles:
        handle.remove()


def test_saved_copied_and_reloaded_in_any_state(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Block()
    state = copy.deepcopy(model.state_dict())
    with begin(tmp_path) as run:
        run.watch(model)
        assert model.state_dict().keys() == state.keys()
        for epoch in range(3):
            for made in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), _through_torch(model)):
                assert torch.equal(made.eval()(batch(0)[0]), copy.deepcopy(model).eval()(batch(0)[0]))
                made.train()
                made(batch(1)[0]).sum().backward()  # what stands in the copy does nothing there
            model.load_state_dict(copy.deepcopy(model.state_dict()))
            train(model, run, 1, first=epoch)
        model.load_state_dict(state, assign=True)
        train(model, run, 1, first=3)
    assert run.path is not None


def _through_torch(model: nn.Module) -> Any:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_watched_model_loads_where_epochal_was_never_installed(tmp_path: Path, how: str) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    path = tmp_path / "model"
    with begin(tmp_path) as run:
        run.watch(model)
        train(model, run, 2)
        if how == "torch":
            torch.save(model, path)
        else:
            path.write_bytes(pickle.dumps(model))
    call = "torch.load(file, weights_only=False)" if how == "torch" else "pickle.load(file)"
    code = f"""
import sys, pickle
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] == 'epochal':
            raise ImportError('not installed')
sys.meta_path.insert(0, Refuse())
import torch
file = open({str(path)!r}, 'rb')
model = {call}
model(torch.zeros(2, 4)).sum().backward()
print('epochal' in sys.modules, tuple(model(torch.zeros(2, 4)).shape))
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.strip() == "False (2, 3)", done.stderr


def test_training_is_the_same_to_the_last_bit(tmp_path: Path) -> None:
    def trained(*, watched: bool) -> list[torch.Tensor]:
        torch.manual_seed(3)
        model = Whole()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        run = begin(tmp_path) if watched else None
        if run is not None:
            run.watch(model, inputs=batch(0)[0], budget=None)
        for step in range(10):
            loss = step_of(model, optimizer, step)
            if run is not None:
                run.log({"loss": loss}, step=step, epoch=step // 3)
        if run is not None:
            run.finish()
        return [*model.state_dict().values(), torch.rand(4)]

    assert all(torch.equal(a, b) for a, b in zip(trained(watched=True), trained(watched=False), strict=True))
