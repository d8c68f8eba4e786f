"""What recording costs a training on a GPU: the steps' time with and without it, and what a look costs each side.

Usage: python bench/record/gpu.py [--quick] [--device cuda]

Needs PyTorch, numpy and flatbuffers alone. Bare and recorded trainings take turns in one process; each figure is the
median over the turns. The time of steps is that of the device: from an event before the first to one after the last.
`--device cpu` runs everything on the CPU, to try the script where there is no GPU; its figures say nothing of one.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).parents[2]
if not __package__:
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

import epochal  # noqa: E402
from epochal.frameworks import torch_device  # noqa: E402
from epochal.frameworks.torch import TorchProbe  # noqa: E402

Step = Callable[[int], torch.Tensor]
Log = Callable[[torch.Tensor, int], None]


def convolutional(width: int) -> nn.Module:
    """A small residual-free image network: many launches, little arithmetic."""
    layers: list[nn.Module] = []
    before = 3
    for k in range(8):
        layers += [nn.Conv2d(before, width, 3, padding=1, stride=1 + k % 2), nn.BatchNorm2d(width), nn.ReLU()]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


def transformer(width: int, depth: int) -> nn.Module:
    """Encoder blocks: much arithmetic, many parameters."""
    layer = nn.TransformerEncoderLayer(width, max(1, width // 64), 4 * width, batch_first=True, dropout=0.0)
    return nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)


def make(kind: str, device: torch.device, *, quick: bool) -> tuple[nn.Module, Step]:
    """A network and one training step of it, which answers its loss on the device."""
    torch.manual_seed(0)
    if kind == "small":
        model = convolutional(16 if quick else 64).to(device)
        x = torch.randn(32, 3, 32, 32, device=device)
    else:
        model = transformer(64 if quick else 1024, 2 if quick else 12).to(device)
        x = torch.randn(4, 32 if quick else 256, 64 if quick else 1024, device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step(_: int) -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(x).float().square().mean() if kind != "small" else F.cross_entropy(model(x), target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    target = torch.arange(32, device=device) % 10
    return model, step


@contextlib.contextmanager
def recording(kind: str, model: nn.Module) -> Iterator[Log]:
    """Ways of recording: nothing, the loss read at once (`item`), the loss logged, the network watched too."""
    if kind == "bare":
        yield lambda loss, step: None
    elif kind == "item":
        kept: list[float] = []
        yield lambda loss, step: kept.append(loss.item())
    else:
        with tempfile.TemporaryDirectory() as folder:
            run = epochal.init("bench", dir=folder, strict=True, system=False, console=False, code=False)
            if kind == "watch":
                run.watch(model, snapshots=None)
            elif kind == "watch every step":
                run.watch(model, snapshots=None, budget=None)
            yield lambda loss, step: run.log({"loss": loss}, step=step)
            run.finish()


def timed(device: torch.device, model: nn.Module, step: Step, kind: str, steps: int) -> tuple[float, float]:
    """Seconds of a step on the device, and of its caller's thread."""
    with recording(kind, model) as log:
        for k in range(5):
            log(step(k), k)
        synchronize(device)
        start = perf_counter()
        for k in range(5, 5 + steps):
            log(step(k), k)
        called = perf_counter() - start
        synchronize(device)
        whole = perf_counter() - start
    return whole / steps, called / steps


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def one_look(device: torch.device, model: nn.Module, step: Step) -> dict[str, float]:
    """Milliseconds of one look at all parameters and gradients: the caller's thread, the training's stream, arrival."""
    probe = TorchProbe(model, activations=False, gradients=True)
    facts = probe.parameters()
    trainable = [f for f in facts if f.trainable]
    rooms = [
        probe.bind([torch.empty(f.size * f.itemsize, dtype=torch.uint8).numpy() for f in group], group)
        for group in (facts, trainable)
    ]
    called, stalled, arrived = [], [], []
    for k in range(12):
        step(k)
        synchronize(device)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2)) if device.type == "cuda" else (None, None)
        if begin is not None:
            begin.record()
        start = perf_counter()
        probe.stage(*rooms)
        called.append(perf_counter() - start)
        late = probe.late()
        if begin is not None and end is not None:
            end.record()
            end.synchronize()
            stalled.append(begin.elapsed_time(end) / 1e3)
        if late is not None:
            late(*rooms)
        arrived.append(perf_counter() - start)
    probe.close()
    size = sum(f.size * f.itemsize for f in (*facts, *trainable))
    found = {"MB": size / 1e6}
    for name, seconds in (("caller ms", called), ("stream ms", stalled), ("host ms", arrived)):
        if seconds:
            found[name] = 1e3 * statistics.median(seconds[2:])
    return found


def log_call(device: torch.device) -> dict[str, float]:
    """Microseconds of a log call with one number, and with ten, that lie on the device."""
    found = {}
    for count in (1, 10):
        values = {f"v{k}": torch.ones((), device=device) for k in range(count)}
        with tempfile.TemporaryDirectory() as folder:
            run = epochal.init("bench", dir=folder, strict=True, system=False, console=False, code=False)
            took = []
            for k in range(3000):
                start = perf_counter()
                run.log(values, step=k)
                took.append(perf_counter() - start)
            run.finish()
        found[f"log {count}, us p50"] = 1e6 * statistics.median(took)
        found[f"log {count}, us p99"] = 1e6 * sorted(took)[int(0.99 * len(took))]
    return found


def main() -> int:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="small networks and few steps: a try")
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "")
    chosen = options.parse_args()
    if not chosen.device:
        print("There is no CUDA device here. Try --device cpu to see whether the script runs.")
        return 2
    device = torch.device(chosen.device)
    if device.type == "cpu":
        torch_device.carried = lambda device: True
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, which is no GPU"
    print(f"{name}; PyTorch {torch.__version__}; epochal {epochal.__version__}")
    turns, steps = (2, 20) if chosen.quick else (5, 200)
    kinds = ["bare", "item", "log", "watch", "watch every step"]
    for size in ("small", "large"):
        model, step = make(size, device, quick=chosen.quick)
        for k in range(10):
            step(k)
        taken: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
        for turn in range(turns):
            for kind in kinds[turn % len(kinds) :] + kinds[: turn % len(kinds)]:
                taken[kind].append(timed(device, model, step, kind, steps))
        bare = statistics.median(whole for whole, _ in taken["bare"])
        parameters = sum(p.numel() for p in model.parameters())
        print(f"\n{size}: {parameters / 1e6:.1f} M parameters, {steps} steps, {turns} turns")
        for kind, pairs in taken.items():
            whole, called = (statistics.median(column) for column in zip(*pairs, strict=True))
            more = 100 * (whole / bare - 1)
            print(f"  {kind:18s}{1e3 * whole:9.3f} ms a step  ({more:+6.2f} %), caller {1e3 * called:.3f} ms")
        print("  one look:", ", ".join(f"{k} {v:.3f}" for k, v in one_look(device, model, step).items()))
    print("\nnumbers on the device:", ", ".join(f"{k} {v:.1f}" for k, v in log_call(device).items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
