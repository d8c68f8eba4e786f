"""Recorded gradients against those that an optimizer of an independent training got."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from epochal.frameworks.torch import TorchProbe
from epochal.record import Run
from tests.frameworks.torch_trainings import batch, begin, hooks_left, stored

pytestmark = pytest.mark.torch

State = dict[str, Tensor]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def loss_of(model: nn.Module, seed: int) -> Tensor:
    x, y = batch(seed)
    out: Tensor = model(x)
    return F.cross_entropy(out.float(), y)


def gradients_at(model: nn.Module, state: State, seeds: list[int]) -> State:
    """The gradient of the mean loss over batches at given parameters, by autograd alone."""
    fresh = copy.deepcopy(model)
    fresh.load_state_dict(state)
    names, tensors = zip(*fresh.named_parameters(), strict=True)
    total = sum(loss_of(fresh, seed) for seed in seeds) / len(seeds)
    return dict(zip(names, torch.autograd.grad(total, tensors), strict=True))  # type: ignore[arg-type]


def state_of(model: nn.Module) -> State:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def recorded(run: Run, name: str, step: int) -> tuple[float, float, float] | None:
    table = stored(run).statistics(f"grad/{name}")
    if step not in table.steps.tolist():
        return None
    k = table.steps.tolist().index(step)
    return float(table.columns["norm"][k]), float(table.columns["min"][k]), float(table.columns["max"][k])


def expect(run: Run, step: int, gradients: State, *, rtol: float = 1e-5) -> None:
    for name, gradient in gradients.items():
        values = gradient.double().numpy()
        found = recorded(run, name, step)
        assert found is not None, (name, step)
        np.testing.assert_allclose(found, (np.linalg.norm(values), values.min(), values.max()), rtol=rtol, atol=1e-7)


ORDERS = ["log last", "zero, then log", "zero in place, then log", "log, then step"]


def one_step(
    order: str, model: nn.Module, optimizer: torch.optim.Optimizer, log: Callable[[], None], seed: int
) -> None:
    if order == "log last":
        optimizer.zero_grad()
    loss_of(model, seed).backward()  # type: ignore[no-untyped-call]
    if order == "log, then step":
        log()
    optimizer.step()
    if order == "zero, then log":
        optimizer.zero_grad()
    if order == "zero in place, then log":
        optimizer.zero_grad(set_to_none=False)
    if order == "log, then step":
        optimizer.zero_grad()
    else:
        log()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", ["sgd", "adam", "foreach", "fused"])
def test_gradients_are_the_step_s_own_in_every_order(tmp_path: Path, order: str, kind: str) -> None:
    model = network()
    optimizer: torch.optim.Optimizer
    if kind == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, foreach=kind == "foreach", fused=kind == "fused")
    wanted: list[State] = []
    with begin(tmp_path) as run:
        run.watch(model)
        for step in range(6):
            wanted.append(gradients_at(model, state_of(model), [step]))
            one_step(order, model, optimizer, partial(run.log, {"x": 1.0}, step=step, epoch=step), step)
    for step, gradients in enumerate(wanted):
        expect(run, step, gradients)
    assert hooks_left(model) == 0


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("logs", ["each step", "each pass"])
def test_accumulated_gradients_are_the_sum_that_is_stepped_with(
    tmp_path: Path, *, set_to_none: bool, logs: str
) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wanted: dict[int, State] = {}
    with begin(tmp_path) as run:
        run.watch(model, budget=None)
        for k in range(24):
            if k % 4 == 0:
                wanted[k + 3] = gradients_at(model, state_of(model), [k, k + 1, k + 2, k + 3])
            (loss_of(model, k) / 4).backward()  # type: ignore[no-untyped-call]
            if k % 4 == 3:
                optimizer.step()
                optimizer.zero_grad(set_to_none=set_to_none)
            if logs == "each pass" or k % 4 == 3:
                run.log({"x": 1.0}, step=k)
    # Passes that make one step are told from steps of one pass once two steps were seen.
    for step in list(wanted)[2:]:
        expect(run, step, wanted[step])
    # At the passes in between there is the gradient of the last step, or none: never a part of a sum.
    norms = {round(float(g["0.weight"].norm()), 6) for g in wanted.values()}
    table = stored(run).statistics("grad/0.weight")
    later = table.steps > 8
    assert {round(n, 6) for n in table.columns["norm"][later].tolist()} <= norms


def test_the_recorded_gradient_is_the_clipped_one(tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with begin(tmp_path) as run:
        run.watch(model)
        for step in range(3):
            optimizer.zero_grad()
            loss_of(model, step).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01)
            optimizer.step()
            run.log({"x": 1.0}, step=step, epoch=step)
    for step in range(3):
        whole = [recorded(run, name, step) for name, _ in model.named_parameters()]
        assert all(found is not None for found in whole)
        np.testing.assert_allclose(np.linalg.norm([found[0] for found in whole if found]), 0.01, rtol=1e-3)


@pytest.mark.parametrize("zeroed", ["before backward", "before log"])
def test_of_several_steps_between_looks_the_last_counts(tmp_path: Path, zeroed: str) -> None:
    """Where gradients are zeroed at once, only a copy made at the right step can tell: learned from epoch to epoch."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wanted: list[State] = []
    with begin(tmp_path) as run:
        run.watch(model, budget=0.0)
        for epoch in range(6):
            for k in range(5 if epoch < 4 else 7):
                last = gradients_at(model, state_of(model), [10 * epoch + k])
                one_step(
                    "log last" if zeroed == "before backward" else "zero, then log",
                    model,
                    optimizer,
                    lambda: None,
                    10 * epoch + k,
                )
            wanted.append(last)
            run.log({"x": 1.0}, step=epoch, epoch=epoch)
    for epoch in range(0 if zeroed == "before backward" else 1, 6):
        expect(run, epoch, wanted[epoch])


def test_closures_are_stepped_with_their_last_gradient(tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4)
    seen: list[State] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(model, 0)
        loss.backward()  # type: ignore[no-untyped-call]
        seen.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
        return loss

    wanted = []
    with begin(tmp_path) as run:
        run.watch(model)
        for step in range(4):
            optimizer.step(closure)  # type: ignore[no-untyped-call]
            wanted.append(seen[-1])
            optimizer.zero_grad()
            run.log({"x": 1.0}, step=step, epoch=step)
    for step, gradients in enumerate(wanted):
        expect(run, step, gradients)


def test_several_optimizers_of_one_model(tmp_path: Path) -> None:
    model = network()
    first = torch.optim.SGD([p for n, p in model.named_parameters() if n.startswith("0")], lr=0.1)
    second = torch.optim.Adam([p for n, p in model.named_parameters() if n.startswith("2")], lr=0.01)
    wanted = []
    with begin(tmp_path) as run:
        run.watch(model)
        for step in range(5):
            wanted.append(gradients_at(model, state_of(model), [step]))
            loss_of(model, step).backward()  # type: ignore[no-untyped-call]
            first.step()
            second.step()
            first.zero_grad()
            second.zero_grad()
            run.log({"x": 1.0}, step=step, epoch=step)
    for step, gradients in enumerate(wanted):
        expect(run, step, gradients)


def test_a_discriminator_is_not_spoiled_by_the_generator_s_loss(tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator, judge = nn.Linear(2, 4), nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    g_steps = torch.optim.SGD(generator.parameters(), lr=0.05)
    j_steps = torch.optim.SGD(judge.parameters(), lr=0.05)
    wanted: list[State] = []
    with begin(tmp_path) as run:
        run.watch(judge, name="judge")
        run.watch(generator, name="generator")
        for step in range(8):
            noise = torch.randn(16, 2, generator=torch.Generator().manual_seed(step))
            j_steps.zero_grad()
            fake = generator(noise)
            (judge(fake.detach()).mean() - judge(batch(step)[0]).mean()).backward()
            got = {f"judge.{n}": p.grad.clone() for n, p in judge.named_parameters() if p.grad is not None}
            j_steps.step()
            g_steps.zero_grad()
            (-judge(generator(noise)).mean()).backward()
            got |= {f"generator.{n}": p.grad.clone() for n, p in generator.named_parameters() if p.grad is not None}
            g_steps.step()
            wanted.append(got)
            run.log({"x": 1.0}, step=step, epoch=step)
    for step, gradients in enumerate(wanted):
        expect(run, step, gradients)


@pytest.mark.parametrize("zeroed", [False, True])
def test_a_gan_in_one_module(tmp_path: Path, *, zeroed: bool) -> None:
    torch.manual_seed(0)
    both = nn.ModuleDict({"generator": nn.Linear(2, 4), "judge": nn.Linear(4, 1)})
    g_steps, j_steps = (torch.optim.SGD(both[name].parameters(), lr=0.05) for name in ("generator", "judge"))
    wanted: list[State] = []
    with begin(tmp_path) as run:
        run.watch(both)
        for step in range(8):
            noise = torch.randn(16, 2, generator=torch.Generator().manual_seed(step))
            j_steps.zero_grad()
            fake = both["generator"](noise)
            (both["judge"](fake.detach()).mean() - both["judge"](batch(step)[0]).mean()).backward()
            got = {f"judge.{n}": p.grad.clone() for n, p in both["judge"].named_parameters() if p.grad is not None}
            j_steps.step()
            g_steps.zero_grad()
            (-both["judge"](both["generator"](noise)).mean()).backward()
            ours = both["generator"].named_parameters()
            got |= {f"generator.{n}": p.grad.clone() for n, p in ours if p.grad is not None}
            g_steps.step()
            if zeroed:
                g_steps.zero_grad()
            wanted.append(got)
            run.log({"x": 1.0}, step=step, epoch=step)
    for step, gradients in enumerate(wanted):
        expect(run, step, gradients)


def test_an_optimizer_of_the_user_s_own_that_zeroes(tmp_path: Path) -> None:
    model = network()
    wanted = []
    with begin(tmp_path) as run:
        run.watch(model)
        for step in range(5):
            wanted.append(gradients_at(model, state_of(model), [step]))
            loss_of(model, step).backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                for parameter in model.parameters():
                    assert parameter.grad is not None
                    parameter.sub_(0.1 * parameter.grad)
                    parameter.grad = None
            run.log({"x": 1.0}, step=step, epoch=step)
    for step in range(1, 5):  # the first time nobody knows
        expect(run, step, wanted[step])


def test_hooks_are_there_only_while_a_look_is_near() -> None:
    from torch.optim import optimizer as module

    def standing() -> int:
        hooks = len(module._global_optimizer_pre_hooks) + len(module._global_optimizer_post_hooks)
        return hooks - before + hooks_left(model)

    before = len(module._global_optimizer_pre_hooks) + len(module._global_optimizer_post_hooks)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    probe = TorchProbe(model, activations=True, gradients=True)
    facts = probe.parameters()
    places = [torch.empty(f.shape) for f in facts]
    assert standing() == 0
    probe.arm()
    assert standing() > 0
    for step in range(3):
        one_step("log last", model, optimizer, lambda: None, step)
    assert probe.stage(places, places) == [0, 1, 2, 3]
    probe.activations()
    assert standing() == 0
    probe.arm()
    assert standing() > 0
    probe.close()
    assert standing() == 0
    assert all(p._post_accumulate_grad_hooks is None for p in model.parameters())


class Scaled:
    """A training with autocast and a GradScaler, and the gradients that it should have: unscaled, of a twin."""

    def __init__(self, *, fused: bool = False, scale: float = 2.0**12, growth: int = 3) -> None:
        self.model = network()
        self.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=growth)
        self.optimizer: torch.optim.Optimizer
        if fused:
            self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01, fused=True)
        else:
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

    def loss(self, seed: int, model: nn.Module | None = None) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return loss_of(self.model if model is None else model, seed)

    def unscaled(self, *seeds: int) -> State:
        twin = copy.deepcopy(self.model)
        names, tensors = zip(*twin.named_parameters(), strict=True)
        total = sum(self.loss(seed, twin) for seed in seeds) / len(seeds)
        return dict(zip(names, torch.autograd.grad(total, tensors), strict=True))  # type: ignore[arg-type]


AMP_ORDERS = [
    "log last",
    "zero, then log",
    "zero in place, then log",
    "log before step",
    "log before step, after unscale",
    "log between step and update",
]


@pytest.mark.parametrize("order", AMP_ORDERS)
@pytest.mark.parametrize("fused", [False, True])
def test_gradients_are_unscaled(tmp_path: Path, order: str, *, fused: bool) -> None:
    it = Scaled(fused=fused)
    wanted: list[State] = []
    with begin(tmp_path) as run:
        run.watch(it.model)
        for step in range(8):

            def log(at: int = step) -> None:
                run.log({"x": 1.0}, step=at, epoch=at)

            wanted.append(it.unscaled(step))
            if not order.startswith("zero"):
                it.optimizer.zero_grad()
            it.scaler.scale(it.loss(step)).backward()  # type: ignore[no-untyped-call]
            if order == "log before step":
                log()
            if order == "log before step, after unscale":
                it.scaler.unscale_(it.optimizer)
                log()
            it.scaler.step(it.optimizer)
            if order == "log between step and update":
                log()
            it.scaler.update()
            if order.startswith("zero"):
                it.optimizer.zero_grad(set_to_none=order == "zero, then log")
            if order in ("log last", "zero, then log", "zero in place, then log"):
                log()
    assert it.scaler.get_scale() > 2.0**12  # it changed on the way
    for step, gradients in enumerate(wanted):
        expect(run, step, gradients)


@pytest.mark.parametrize("order", ["log last", "zero, then log", "log before step"])
def test_accumulated_and_clipped_gradients_are_unscaled(tmp_path: Path, order: str) -> None:
    it = Scaled()
    wanted: dict[int, State] = {}
    with begin(tmp_path) as run:
        run.watch(it.model)
        for k in range(18):
            if k % 3 == 0:
                wanted[k + 2] = it.unscaled(k, k + 1, k + 2)
            it.scaler.scale(it.loss(k) / 3).backward()  # type: ignore[no-untyped-call]
            if k % 3 < 2:
                continue
            if order == "log before step":
                run.log({"x": 1.0}, step=k, epoch=k)
            it.scaler.unscale_(it.optimizer)
            torch.nn.utils.clip_grad_norm_(it.model.parameters(), 1e6)
            it.scaler.step(it.optimizer)
            it.scaler.update()
            if order == "log last":
                run.log({"x": 1.0}, step=k, epoch=k)
            it.optimizer.zero_grad()
            if order == "zero, then log":
                run.log({"x": 1.0}, step=k, epoch=k)
    for step, gradients in wanted.items():
        expect(run, step, gradients, rtol=1e-3)  # sums of bfloat16 products in another order


@pytest.mark.parametrize("skipped", [(0,), (1, 2), (4,)])
@pytest.mark.parametrize("order", ["log last", "log before step"])
def test_a_step_that_is_skipped_for_infinities(tmp_path: Path, skipped: tuple[int, ...], order: str) -> None:
    it = Scaled()
    wanted: list[State] = []
    with begin(tmp_path) as run:
        run.watch(it.model)
        for step in range(8):
            spoil = torch.inf if step in skipped else 1.0
            wanted.append(it.unscaled(step))
            it.optimizer.zero_grad()
            it.scaler.scale(it.loss(step)).backward()  # type: ignore[no-untyped-call]
            weight = it.model[2].weight.grad  # type: ignore[index]
            weight[0, 0] *= spoil
            if order == "log before step":
                run.log({"x": 1.0}, step=step, epoch=step)
            it.scaler.step(it.optimizer)
            it.scaler.update()
            if order == "log last":
                run.log({"x": 1.0}, step=step, epoch=step)
    for step, gradients in enumerate(wanted):
        if step in skipped:
            table = stored(run).statistics("grad/2.weight")
            assert table.columns["inf"][table.steps.tolist().index(step)] == 1
            del gradients["2.weight"]
        expect(run, step, gradients)


def test_watching_begins_in_the_middle_of_a_scaled_training(tmp_path: Path) -> None:
    it = Scaled(growth=2)
    wanted: dict[int, State] = {}
    run: Run | None = None
    for step in range(9):
        if step == 4:
            run = begin(tmp_path)
            run.watch(it.model)
        it.optimizer.zero_grad()
        wanted[step] = it.unscaled(step)
        it.scaler.scale(it.loss(step)).backward()  # type: ignore[no-untyped-call]
        if run is not None:
            run.log({"x": 1.0}, step=step, epoch=step)
        it.scaler.step(it.optimizer)
        it.scaler.update()
    assert run is not None
    run.finish()
    for step in range(4, 9):
        expect(run, step, wanted[step])


def test_a_scaler_of_another_model_scales_nothing_here(tmp_path: Path) -> None:
    other = Scaled()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wanted = []
    with begin(tmp_path) as run:
        run.watch(model)
        for step in range(5):
            other.optimizer.zero_grad()
            other.scaler.scale(other.loss(step)).backward()  # type: ignore[no-untyped-call]
            wanted.append(gradients_at(model, state_of(model), [step]))
            optimizer.zero_grad()
            loss_of(model, step).backward()  # type: ignore[no-untyped-call]
            if step > 0:  # after a step of its optimizer it is known that no scaler serves it
                run.log({"x": 1.0}, step=step, epoch=step)
            optimizer.step()
            other.scaler.step(other.optimizer)
            other.scaler.update()
    for step in range(1, 5):
        expect(run, step, wanted[step])


def test_a_scaler_that_is_off(tmp_path: Path) -> None:
    model = network()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wanted = []
    with begin(tmp_path) as run:
        run.watch(model)
        for step in range(4):
            wanted.append(gradients_at(model, state_of(model), [step]))
            optimizer.zero_grad()
            scaler.scale(loss_of(model, step)).backward()  # type: ignore[no-untyped-call]
            run.log({"x": 1.0}, step=step, epoch=step)
            scaler.step(optimizer)
            scaler.update()
    for step, gradients in enumerate(wanted):
        expect(run, step, gradients)


def test_two_scalers_that_cannot_be_told_apart(tmp_path: Path) -> None:
    model = network()
    first = torch.amp.GradScaler("cpu", init_scale=4.0)
    second = torch.amp.GradScaler("cpu", init_scale=8.0)
    other: Any = nn.Linear(1, 1)
    from epochal.errors import RecordingWarning
    from epochal.record import init

    with init("torch", dir=tmp_path, strict=False) as run:
        run.watch(model)
        first.scale(other(torch.ones(1, 1)).sum()).backward()
        second.scale(loss_of(model, 0)).backward()  # type: ignore[no-untyped-call]
        with pytest.warns(RecordingWarning, match="several GradScalers cannot be told apart"):
            run.log({"x": 1.0}, step=0, epoch=0)
    assert recorded(run, "0.weight", 0) is None if "grad/0.weight" in stored(run).statistics_series() else True
