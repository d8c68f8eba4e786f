"""How pictures are described while they are being optimised: by their frequencies, in colours that do not go together.

Olah, Mordvintsev and Schubert, "Feature Visualization", Distill 2017.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody writes it
from torch import Tensor

__all__ = ["DEVIATION", "Painting", "Shaking"]

DEVIATION = 0.01
"""Of the numbers that a picture starts from."""
_DAMPING = 4.0

# The square root of the covariance of the colours of natural photos: its columns are brightness, and two pairs of
# opposed colours (Olah et al. 2017).
_COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.0, -0.05), (0.27, -0.09, 0.03))


@final
class Painting:
    """A picture [1, C, H, W] from 0 to 1 as a function of `spectrum` [C, H, W // 2 + 1, 2], which is optimised.

    `size` may have any number of sides: with three it is a volume [1, C, D, H, W].

    Each frequency f counts 1 / f, as in natural photos, so that a step of one size changes all scales of the picture
    alike; three channels are mixed from uncorrelated ones. The picture begins as faint noise around grey.
    """

    def __init__(
        self, channels: int, size: tuple[int, ...], *, seed: int, decorrelated: bool, device: torch.device
    ) -> None:
        self.size = size
        sides = [torch.fft.fftfreq(side) for side in size[:-1]] + [torch.fft.rfftfreq(size[-1])]
        squares = torch.stack([axis**2 for axis in torch.meshgrid(*sides, indexing="ij")])
        frequency = squares.sum(dim=0).sqrt().clamp_min(1 / max(size))
        # The inverse transform below divides by H * W. One that divided by its square root ("ortho") would give values
        # sqrt(H * W) times as large: a picture of black and white noise whose gradients are all but zero.
        self._weights = (math.sqrt(math.prod(size)) / frequency / _DAMPING).to(device)
        source = torch.Generator().manual_seed(seed)
        noise = torch.randn(channels, *self._weights.shape, 2, generator=source) * DEVIATION
        self.spectrum = noise.to(device).requires_grad_()
        mixing = torch.tensor(_COLOURS, device=device)
        self._mixing = mixing / mixing.norm(dim=0).max() if decorrelated and channels == 3 else None

    def plane(self) -> Tensor:
        """The values [1, C, H, W] that colours are made from, around zero."""
        axes = tuple(range(-len(self.size), 0))
        flow = torch.fft.irfftn(
            torch.view_as_complex(self.spectrum) * self._weights, s=self.size, dim=axes, norm="backward"
        )
        return (flow if self._mixing is None else torch.einsum("dc,c...->d...", self._mixing, flow))[None]

    def picture(self) -> Tensor:
        """The picture [1, C, H, W], from 0 to 1."""
        return torch.sigmoid(self.plane())

    def expected_deviation(self) -> float:
        """The standard deviation that the values of one channel have at the beginning, before colours are mixed."""
        # A column and its mirror image add up: twice the value, four times the variance.
        share = torch.full((self._weights.shape[-1],), 4.0, dtype=torch.float64)
        share[0] = 1.0  # these stand for themselves alone
        if self.size[-1] % 2 == 0:
            share[-1] = 1.0
        total = float((self._weights.cpu().double() ** 2 * share).sum())
        return DEVIATION * math.sqrt(total) / math.prod(self.size)


@dataclass(frozen=True, slots=True)
class Shaking:
    """Small random moves before each step, so that a picture holds what the network sees also a little beside it.

    `shift` is a share of the picture's side, `turn` an angle in degrees, `zoom` a share of its size.
    """

    shift: float = 0.04
    turn: float = 10.0
    zoom: float = 0.1

    def __call__(self, picture: Tensor, source: torch.Generator) -> Tensor:
        """The picture [N, C, H, W] moved, each one otherwise; what comes in from outside is its mirror image.

        A volume [N, C, D, H, W] is moved along its depth too, and turned about it.
        """
        if picture.ndim == 5:
            return self._volume(picture, source)
        chance = (torch.rand(len(picture), 4, generator=source) * 2 - 1).to(picture.device)
        angle = chance[:, 0] * math.radians(self.turn)
        factor = 1 + chance[:, 1] * self.zoom
        ratio = picture.shape[-2] / picture.shape[-1]
        cos, sin = angle.cos() / factor, angle.sin() / factor
        moves = chance[:, 2:] * 2 * self.shift
        rows = [
            torch.stack([cos, -sin * ratio, moves[:, 0]], dim=1),
            torch.stack([sin / ratio, cos, moves[:, 1]], dim=1),
        ]
        grid = F.affine_grid(torch.stack(rows, dim=1), list(picture.shape), align_corners=False)
        return F.grid_sample(picture, grid, padding_mode="reflection", align_corners=False)

    def _volume(self, picture: Tensor, source: torch.Generator) -> Tensor:
        chance = (torch.rand(len(picture), 5, generator=source) * 2 - 1).to(picture.device)
        angle = chance[:, 0] * math.radians(self.turn)
        factor = 1 + chance[:, 1] * self.zoom
        ratio = picture.shape[-2] / picture.shape[-1]
        cos, sin, none = angle.cos() / factor, angle.sin() / factor, torch.zeros_like(angle)
        moves = chance[:, 2:] * 2 * self.shift
        rows = [
            torch.stack([cos, -sin * ratio, none, moves[:, 0]], dim=1),
            torch.stack([sin / ratio, cos, none, moves[:, 1]], dim=1),
            torch.stack([none, none, 1 / factor, moves[:, 2]], dim=1),
        ]
        grid = F.affine_grid(torch.stack(rows, dim=1), list(picture.shape), align_corners=False)
        return F.grid_sample(picture, grid, padding_mode="reflection", align_corners=False)
