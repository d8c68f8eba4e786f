"""Optimisers, schedules of the learning rate, losses, and what is done to training examples at random."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from epochal.errors import UsageError
from epochal.lab.training_settings import Settings

__all__ = ["augment", "loss_of", "make_optimiser", "rate_at", "spatial_axes"]


def make_optimiser(settings: Settings, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser, with PyTorch's own defaults for all that `settings` does not say."""
    rate, decay = settings.rate, settings.weight_decay
    optim = torch.optim
    if settings.optimiser == "sgd":
        return optim.SGD(parameters, lr=rate, momentum=settings.momentum, weight_decay=decay)
    if settings.optimiser == "rmsprop":
        return optim.RMSprop(parameters, lr=rate, weight_decay=decay)
    known: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adam": optim.Adam, "adamw": optim.AdamW, "nadam": optim.NAdam, "adagrad": optim.Adagrad,
    }  # fmt: skip
    return known[settings.optimiser](parameters, lr=rate, weight_decay=decay)


def rate_at(settings: Settings, done: float) -> float:
    """The learning rate after `done` epochs, which need not be whole."""
    whole, part = settings.rate, min(done / settings.epochs, 1.0)
    if settings.schedule == "step":
        rate = whole * settings.decay ** (int(done) // settings.decay_every)
    elif settings.schedule == "exponential":
        rate = whole * settings.decay ** int(done)
    elif settings.schedule == "cosine":
        rate = whole * (1 + math.cos(math.pi * part)) / 2
    elif settings.schedule == "linear":
        rate = whole * (1 - part)
    elif settings.schedule == "one_cycle":
        # From a 25th up to the whole and down to nothing, both along half a cosine.
        up = part * 3
        rising = 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * up)) / 2
        rate = whole * (rising if up < 1 else (1 + math.cos(math.pi * (up - 1) / 2)) / 2)
    else:
        rate = whole
    return rate * min(1.0, (done + 1e-3) / settings.warmup) if done < settings.warmup else rate


def loss_of(settings: Settings, *, classes: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of answers and labels, a mean over the batch. Raises UsageError where it does not fit the labels."""
    name = settings.loss if settings.loss != "auto" else "cross_entropy" if classes else "mse"
    if (name == "cross_entropy") != classes:
        what = "classes" if classes else "numbers to be met"
        raise UsageError(f"loss {name!r} does not fit the data, whose labels are {what}.")
    if classes:
        smoothing = settings.label_smoothing
        return lambda said, truth: functional.cross_entropy(said, truth, label_smoothing=smoothing)
    measures: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "mse": functional.mse_loss, "mae": functional.l1_loss, "huber": functional.huber_loss,
    }  # fmt: skip
    measure = measures[name]
    return lambda said, truth: measure(said.reshape(truth.shape), truth)


def spatial_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of a batch that are places: all of a row, picture or volume, without its channels."""
    channels = len(shape) == 4 or (len(shape) == 3 and shape[0] in (1, 3, 4)) or (len(shape) == 2 and shape[0] == 1)
    return tuple(range(2 if channels else 1, len(shape) + 1))


def augment(x: Tensor, what: tuple[tuple[str, float], ...], *, chance: float = 1.0) -> Tensor:
    """A batch [n, ...] with each example changed at random, by the random numbers of the CPU; the others stay."""
    axes, plain = spatial_axes(tuple(x.shape[1:])), x
    for name, much in what:
        x = _AUGMENTATIONS[name](x, axes, much)
    return x if chance >= 1 else torch.where(_column(torch.rand(len(x)) < chance, x), x, plain)


def _column(values: Tensor, x: Tensor) -> Tensor:
    """One value for each example, so that it goes with the batch."""
    return values.to(x.device).reshape(-1, *(1,) * (x.dim() - 1))


def _flip(x: Tensor, axes: tuple[int, ...], chance: float) -> Tensor:
    for axis in axes:
        x = torch.where(_column(torch.rand(len(x)) < chance, x), x.flip(axis), x)
    return x


def _shift(x: Tensor, axes: tuple[int, ...], share: float) -> Tensor:
    for axis in axes:
        most = round(share * x.shape[axis])
        by = torch.randint(-most, most + 1, (len(x),)).to(x.device)
        places = torch.arange(x.shape[axis], device=x.device)
        source = places - by[:, None]
        inside = (source >= 0) & (source < x.shape[axis])
        shape = [len(x), *(1,) * (x.dim() - 1)]
        shape[axis] = x.shape[axis]
        index = source.clamp(0, x.shape[axis] - 1).reshape(shape).expand_as(x)
        x = x.gather(axis, index) * inside.reshape(shape)
    return x


def _rotate(x: Tensor, axes: tuple[int, ...], degrees: float) -> Tensor:
    if len(axes) not in (2, 3):
        raise UsageError("Rows of numbers cannot be rotated.", hint="Leave augmentation='rotate' out.")
    angle = (torch.rand(len(x)) * 2 - 1) * math.radians(degrees)
    turn = torch.zeros(len(x), len(axes), len(axes) + 1)
    if len(axes) == 2:
        cos, sin = angle.cos(), angle.sin()
        turn[:, 0, 0], turn[:, 0, 1], turn[:, 1, 0], turn[:, 1, 1] = cos, -sin, sin, cos
    else:
        turn[:, :, :3] = _about(functional.normalize(torch.randn(len(x), 3), dim=1), angle)
    # The grid's sides all go from -1 to 1, however long they are.
    sides = torch.tensor([float(x.shape[axis]) for axis in reversed(axes)])
    turn[:, :, : len(axes)] *= sides / sides[:, None]
    full = x.reshape(len(x), -1, *x.shape[axes[0] :])
    grid = functional.affine_grid(turn.to(x.device), list(full.shape), align_corners=False)
    return functional.grid_sample(full, grid, align_corners=False).reshape(x.shape)


def _about(axis: Tensor, angle: Tensor) -> Tensor:
    """Rotations [n, 3, 3] by `angle` about unit vectors [n, 3]: Rodrigues' formula."""
    cross = torch.zeros(len(axis), 3, 3)
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
    cross = cross - cross.transpose(1, 2)
    sin, cos = angle.sin()[:, None, None], angle.cos()[:, None, None]
    return torch.eye(3) + sin * cross + (1 - cos) * (cross @ cross)


def _noise(x: Tensor, _axes: tuple[int, ...], deviation: float) -> Tensor:
    return x + deviation * torch.randn(x.shape).to(x.device)


def _erase(x: Tensor, axes: tuple[int, ...], share: float) -> Tensor:
    inside = torch.ones((), dtype=torch.bool, device=x.device)
    for axis in axes:
        size = x.shape[axis]
        side = max(1, round(share * size))
        begin = torch.randint(0, max(size - side, 0) + 1, (len(x),)).to(x.device)
        places = torch.arange(size, device=x.device)
        shape = [len(x), *(1,) * (x.dim() - 1)]
        shape[axis] = size
        inside = inside & ((places >= begin[:, None]) & (places < begin[:, None] + side)).reshape(shape)
    return x * ~inside


_AUGMENTATIONS: dict[str, Callable[[Tensor, tuple[int, ...], float], Tensor]] = {
    "flip": _flip, "shift": _shift, "rotate": _rotate, "noise": _noise, "erase": _erase,
}  # fmt: skip
