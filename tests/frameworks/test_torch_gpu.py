"""The way of values from an accelerator to the files, on a real one where there is one.

The same logic runs on the CPU too, which is told to be far away: the order of copies, slots, what is lost and counted.
Runs alone where only PyTorch, numpy, flatbuffers, orjson and pytest are installed:
`PYTHONPATH=src python -m pytest -c /dev/null --rootdir . tests/frameworks/test_torch_gpu.py`
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from epochal.errors import RecordingWarning, StoreError
from epochal.frameworks import torch_device
from epochal.frameworks.torch import TorchProbe
from epochal.frameworks.torch_device import Delivery, Ring, carrier
from epochal.record import Run, deferred, init
from epochal.store import StatisticsTable, StoredRun

pytestmark = pytest.mark.torch

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"))
DEVICES = ["cpu", CUDA]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    found = torch.device(request.param)
    if found.type == "cpu":
        monkeypatch.setattr(torch_device, "carried", lambda tensor: True)
        monkeypatch.setattr(deferred, "_NEAR", frozenset({"meta"}))
    else:
        found = torch.device("cuda", torch.cuda.current_device())
    yield found
    torch_device._carriers.clear()


def stored(run: Run) -> StoredRun:
    assert run.path is not None
    return StoredRun(run.path)


def column(table: StatisticsTable, name: str) -> npt.NDArray[np.float64]:
    return table.columns[name].astype(np.float64)


def flush(run: Run) -> None:
    assert run._writer is not None
    run._writer.flush()


def network(device: torch.device, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 3))
    return model.to(device, dtype)


def batch(seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(seed)
    x, y = torch.randn(16, 4, generator=made), torch.randint(0, 3, (16,), generator=made)
    return x.to(device), y.to(device)


def step_of(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int, device: torch.device) -> Tensor:
    x, y = batch(seed, device)
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x.to(next(model.parameters()).dtype)).float(), y)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach()


def held_up(device: torch.device) -> None:
    """Keep the current stream busy for some milliseconds."""
    if device.type == "cuda":
        torch.cuda._sleep(20_000_000)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_snapshots_are_what_was_there_at_the_look(tmp_path: Path, device: torch.device, dtype: torch.dtype) -> None:
    model = network(device, dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    wanted: list[dict[str, Tensor]] = []
    grads: list[float] = []
    with init("gpu", dir=tmp_path, strict=True) as run:
        run.watch(model, budget=None)
        for step in range(8):
            step_of(model, optimizer, step, device)
            wanted.append({k: v.detach().clone() for k, v in model.state_dict().items()})
            gradient = model[0].weight.grad  # type: ignore[index]
            grads.append(float(gradient.double().norm()))
            held_up(device)
            run.log({"x": 1.0}, step=step, epoch=step)
            with torch.no_grad():  # the next thing on the stream changes what was looked at
                for parameter in model.parameters():
                    parameter.mul_(0.5)
    found = stored(run)
    assert found.snapshot_steps() == list(range(8))
    for step, state in enumerate(wanted):
        arrays = found.snapshot(step)
        for name, value in state.items():
            exact = value.cpu().float() if value.dtype == torch.bfloat16 else value.cpu()
            assert np.array_equal(arrays[name], exact.numpy()), (step, name)
    table = found.statistics("grad/0.weight")
    np.testing.assert_allclose(column(table, "norm"), grads, rtol=1e-5)
    acts = found.statistics("act/2")
    assert len(acts.steps) == 8
    assert ((column(acts, "dead") >= 0) & (column(acts, "dead") < 1)).all()


def test_only_some_tensors_have_gradients(tmp_path: Path, device: torch.device) -> None:
    model = nn.ModuleList([nn.Linear(4, 3), nn.Linear(2, 2), nn.Linear(4, 3)]).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with init("gpu", dir=tmp_path, strict=True) as run:
        run.watch(model, budget=None)
        for step in range(3):
            optimizer.zero_grad()
            x, _ = batch(step, device)
            (model[0](x) + model[2](x)).sum().backward()
            optimizer.step()
            run.log({"x": 1.0}, step=step, epoch=step)
    found = stored(run)
    assert {n for n in found.statistics_series() if n.startswith("grad/")} == {
        f"grad/{k}.{kind}" for k in (0, 2) for kind in ("weight", "bias")
    }
    np.testing.assert_allclose(column(found.statistics("grad/2.bias"), "mean"), 16)


def test_scaled_gradients_are_unscaled_on_their_way(tmp_path: Path, device: torch.device) -> None:
    model = network(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler(device.type, init_scale=2.0**10)
    norms = []
    with init("gpu", dir=tmp_path, strict=True) as run:
        run.watch(model, budget=None)
        for step in range(4):
            optimizer.zero_grad()
            x, y = batch(step, device)
            scaler.scale(F.cross_entropy(model(x), y)).backward()  # type: ignore[no-untyped-call]
            gradient = model[0].weight.grad  # type: ignore[index]
            norms.append(float(gradient.double().norm()) / scaler.get_scale())
            run.log({"x": 1.0}, step=step, epoch=step)
            scaler.step(optimizer)
            scaler.update()
    np.testing.assert_allclose(column(stored(run).statistics("grad/0.weight"), "norm"), norms, rtol=1e-6)


def test_without_room_on_the_device_the_values_go_straight_to_the_host(
    tmp_path: Path, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_device, "DEVICE_BYTES", 64)
    model = network(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    wanted = []
    with init("gpu", dir=tmp_path, strict=True) as run:
        run.watch(model, budget=None)
        for step in range(4):
            step_of(model, optimizer, step, device)
            wanted.append(model[0].weight.detach().clone())  # type: ignore[index]
            held_up(device)
            run.log({"x": 1.0}, step=step, epoch=step)
            with torch.no_grad():
                model[0].weight.zero_()  # type: ignore[index]
    for step, value in enumerate(wanted):
        assert np.array_equal(stored(run).snapshot(step)["0.weight"], value.cpu().numpy())


def test_a_part_on_the_host_and_a_part_on_the_device(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    model: Any = nn.Sequential(nn.Linear(4, 64), nn.Linear(64, 3))
    model[1].to("cuda")
    with init("gpu", dir=tmp_path, strict=True) as run:
        run.watch(model, activations=False)
        model[1](model[0](torch.ones(2, 4)).cuda()).sum().backward()
        run.log({"x": 1.0}, step=0, epoch=0)
    found = stored(run)
    for k in range(2):
        assert np.array_equal(found.snapshot(0)[f"{k}.weight"], model[k].weight.detach().cpu().numpy())
    assert {"grad/0.weight", "grad/1.weight"} <= set(found.statistics_series())


class Stuck(torch_device.Carrier):
    """A device that hands nothing over until it is told to: copies wait as they would behind much work."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.waiting: list[tuple[Any, ...]] = []

    def send(self, pairs: torch_device.Pairs, *, aside: bool = True) -> torch_device.Arrival:
        flag = torch.zeros(1, dtype=torch.int64)
        self.waiting.append((flag, list(pairs)))
        return torch_device.Arrival(flag, pairs)

    def go_on(self) -> None:
        for flag, pairs in self.waiting:
            for host, there in pairs:
                host.copy_(there)
            flag.fill_(1)
        self.waiting.clear()


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stuck]:
    monkeypatch.setattr(torch_device, "carried", lambda tensor: True)
    monkeypatch.setattr(deferred, "_NEAR", frozenset({"meta"}))
    found = Stuck(torch.device("cpu"))
    monkeypatch.setattr(torch_device, "_carriers", {torch.device("cpu"): found})
    yield found
    found.go_on()


def test_a_look_that_finds_the_way_taken_is_lost_and_counted(
    tmp_path: Path, stuck: Stuck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_device, "SMALL_RING_SLOTS", 1)
    monkeypatch.setattr(torch_device, "RING_SLOTS", 1)
    model = network(torch.device("cpu"))
    with init("gpu", dir=tmp_path, strict=False) as run:
        run.watch(model, budget=None, activations=False, gradients=False)  # this look is under way from here on
        run.log({"x": 1.0}, step=1, epoch=1)
        run.log({"x": 1.0}, step=2, epoch=2)
        stuck.go_on()
        with pytest.warns(RecordingWarning, match="looks made before were still on their way from the device"):
            flush(run)
        run.log({"x": 1.0}, step=3, epoch=3)
        stuck.go_on()
    found = stored(run)
    assert found.snapshot_steps() == [0, 3]
    assert [n.count for n in found.notices() if n.code == "dropped_looks"] == [2], found.notices()


def test_the_writer_waits_and_the_caller_does_not(stuck: Stuck) -> None:
    model = network(torch.device("cpu"))
    probe = TorchProbe(model, activations=False, gradients=False)
    places = probe.bind([np.zeros(f.size * f.itemsize, np.uint8) for f in probe.parameters()], probe.parameters())
    began = time.perf_counter()
    probe.stage(places)
    assert time.perf_counter() - began < 1
    late = probe.late()
    assert late is not None
    wanted = [t.clone() for t in model.state_dict().values()]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    done = threading.Event()

    def write() -> None:
        late(places, ())
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    assert not done.wait(0.1)
    assert not any(bool(p.any()) for p in places)
    stuck.go_on()
    thread.join()
    assert all(torch.equal(p, w) for p, w in zip(places, wanted, strict=True))
    probe.close()


def test_a_device_that_never_answers_is_given_up(stuck: Stuck) -> None:
    arrival = stuck.send([])
    with pytest.raises(StoreError, match=r"has not handed over its values in 0\.01 seconds"):
        arrival.wait(0.01)


def test_slots_come_back_where_a_look_is_dropped(device: torch.device) -> None:
    ring = Ring([(torch.Size([3]), torch.float32), (torch.Size([2, 2]), torch.float64)])
    tensors = [torch.arange(3.0, device=device), torch.ones(2, 2, dtype=torch.float64, device=device)]
    for k in range(20):
        way = ring.send([0, 1], [t + k for t in tensors], 0, None)
        for slot in ring._slots:
            for arrival in slot.arrivals:
                arrival.wait()
        if k % 2:
            places = [torch.zeros(3), torch.zeros(2, 2, dtype=torch.float64)]
            way(places, ())
            assert places[0].tolist() == [k, k + 1, k + 2]
            assert places[1].tolist() == [[k + 1] * 2] * 2
        del way
        gc.collect()
    assert len(ring._slots) <= torch_device.RING_SLOTS


def test_missing_tensors_are_left_alone_and_scaled_ones_divided(device: torch.device) -> None:
    likes = [(torch.Size([n]), torch.float32) for n in (3, 1, 0, 5, 2)]
    ring = Ring(likes)
    tensors = [torch.full((n,), float(n), device=device) for n in (3, 5, 2)]
    way = ring.send([0, 3, 4], tensors, 2, torch.tensor(0.5, device=device))
    places = [torch.full(shape, -1.0) for shape, _ in likes]
    way(places[:2], places[2:])
    assert [p.tolist() for p in places] == [[3.0] * 3, [-1.0], [], [2.5] * 5, [1.0] * 2]


def test_small_tensors_are_delivered_in_order(device: torch.device) -> None:
    sent = [
        torch.arange(6.0, device=device).view(2, 3),
        torch.tensor(7, device=device),
        torch.tensor([True, False], device=device),
        torch.tensor(0.5, dtype=torch.bfloat16, device=device),
        torch.arange(2, dtype=torch.float64, device=device),
    ]
    held_up(device)
    delivery = Delivery(sent)
    read = delivery.read()
    assert delivery.done
    assert all(
        a.device.type == "cpu" and a.dtype == b.dtype and torch.equal(a, b.cpu())
        for a, b in zip(read, sent, strict=True)
    )


def test_a_stream_of_the_user_s_own_is_followed(device: torch.device) -> None:
    if device.type != "cuda":
        pytest.skip("the CPU has no streams")
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    value = torch.zeros(1000, device=device)
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)  # type: ignore[no-untyped-call]
        value.add_(3)
        delivery = Delivery([value])
        value.add_(1)
    assert delivery.read()[0].tolist() == [3.0] * 1000


def test_nothing_waits_for_the_device(tmp_path: Path, device: torch.device) -> None:
    if device.type != "cuda":
        pytest.skip("only a GPU works while the program goes on")
    model = network(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with init("gpu", dir=tmp_path, strict=True) as run:
        run.watch(model, budget=None)
        for step in range(3):
            run.log({"loss": step_of(model, optimizer, step, device)}, step=step, epoch=step)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for step in range(3, 8):
                run.log({"loss": step_of(model, optimizer, step, device)}, step=step, epoch=step)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert stored(run).snapshot_steps() == list(range(8))
    assert len(stored(run).scalars()["loss"].v) == 8


def test_the_device_keeps_at_most_one_copy(tmp_path: Path, device: torch.device) -> None:
    if device.type != "cuda":
        pytest.skip("only a GPU's memory is counted")
    model = nn.Sequential(*[nn.Linear(512, 512) for _ in range(8)]).to(device)
    size = sum(p.numel() * 4 for p in model.parameters())
    with init("gpu", dir=tmp_path, strict=True) as run:
        run.watch(model, budget=None, activations=False)
        before = torch.cuda.memory_allocated()
        for step in range(6):
            model.zero_grad(set_to_none=False)
            model(torch.ones(1, 512, device=device)).sum().backward()
            run.log({"x": 1.0}, step=step, epoch=step)
        torch.cuda.synchronize()
        grown = torch.cuda.memory_allocated() - before
    # Its gradients, which are the training's own, and one copy of both.
    assert grown <= 3 * size + (8 << 20)


def test_carriers_are_made_once(device: torch.device) -> None:
    assert carrier(device) is carrier(device)


def test_numbers_keep_their_step_time_and_value(tmp_path: Path, device: torch.device) -> None:
    loss = torch.zeros((), device=device)
    with init("gpu", dir=tmp_path, strict=True) as run:
        for step in range(1300):
            loss += 1
            found = {
                "loss": loss,
                "more": {"half": loss.to(torch.bfloat16) / 2, "count": torch.tensor(step).to(device)},
            }
            run.log({**found, "plain": float(step)} if step % 2 else {"loss": loss}, step=step, t=1e9 + step)
            loss.add_(0.25).sub_(0.25)  # in place, right after it was logged
    series = stored(run).scalars()
    assert series["loss"].steps.tolist() == list(range(1300))
    assert series["loss"].v.tolist() == [step + 1.0 for step in range(1300)]
    assert series["loss"].t.tolist() == [1e9 + step for step in range(1300)]
    odd = list(range(1, 1300, 2))
    assert series["plain"].steps.tolist() == odd
    assert series["more/count"].v.tolist() == odd
    assert series["more/half"].steps.tolist() == odd
    np.testing.assert_allclose(series["more/half"].v, np.array(odd) / 2, rtol=0.01, atol=0.6)


def test_what_is_no_real_number_is_refused_as_ever(tmp_path: Path, device: torch.device) -> None:
    values = {"z": torch.tensor(1j, device=device), "many": torch.ones(2, device=device)}
    with init("gpu", dir=tmp_path, strict=False) as run, pytest.warns(RecordingWarning) as told:
        run.log({**values, "one": torch.ones(1, 1, device=device, requires_grad=True)}, step=0)
    assert {w.message.args[0].split("'")[1] for w in told} == {"z", "many"}  # type: ignore[union-attr]
    assert {n: s.v.tolist() for n, s in stored(run).scalars().items()} == {"one": [1.0]}


def test_an_epoch_on_the_device_still_counts(tmp_path: Path, device: torch.device) -> None:
    model = network(device)
    with init("gpu", dir=tmp_path, strict=True) as run:
        run.watch(model, activations=False)
        for k in range(3):
            run.log({"x": torch.tensor(1.0).to(device)}, step=k, epoch=torch.tensor(k, device=device))  # type: ignore[arg-type]
    assert stored(run).snapshot_steps() == [0, 1, 2]
    assert stored(run).scalars()["epoch"].v.tolist() == [0, 1, 2]


def test_numbers_are_visible_while_the_run_goes_on(tmp_path: Path, device: torch.device) -> None:
    run = init("gpu", dir=tmp_path, strict=True)
    for step in range(3):
        run.log({"loss": torch.tensor(float(step), device=device)}, step=step)
        time.sleep(deferred.PERIOD_SECONDS + 0.02)
    flush(run)
    assert stored(run).scalars()["loss"].v.tolist() == [0.0, 1.0, 2.0]
    run.finish()


def test_rules_hear_of_numbers_when_they_come(tmp_path: Path, device: torch.device) -> None:
    heard: list[Any] = []
    with init("gpu", dir=tmp_path, strict=True, alerts=heard.append) as run:
        run.define("loss", alert="nan")
        run.log({"loss": torch.tensor(torch.nan, device=device)}, step=7)
    assert [alert.step for alert in heard] == [7]


def test_numbers_that_never_come_are_counted(tmp_path: Path, stuck: Stuck, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_device, "PATIENCE_SECONDS", 0.1)
    with init("gpu", dir=tmp_path, strict=False) as run:
        run.log({"loss": torch.tensor(1.0), "other": torch.tensor(2.0)}, step=0)
        with pytest.warns(RecordingWarning, match="has not handed over its values"):
            flush(run)
        run.log({"plain": 1.0}, step=1)
    found = stored(run)
    assert list(found.scalars()) == ["plain"]
    assert [n.count for n in found.notices() if n.code == "dropped_far"] == [2]


def test_numbers_of_the_host_are_read_at_once(tmp_path: Path) -> None:
    run = init("gpu", dir=tmp_path, strict=True)
    run.log({"loss": torch.tensor(2.0)}, step=0)
    assert run._deferred is None
    assert stored(run).scalars()["loss"].v.tolist() == [2.0]
    run.finish()
