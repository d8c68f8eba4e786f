"""How a photo becomes what a network takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.errors import UsageError

__all__ = ["Preparation"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """How the photos were prepared that a network has learnt from.

    `size` (height, width) is that of an input, cut from the middle of a photo whose shorter side was first brought to
    `shorter` pixels; None stretches the photo. An input is (x - mean) / deviation of colours x from 0 to 1, one number
    for all channels or one for each; `channels` is 1 for grey. `reversed` networks take blue first, although `mean`
    and `deviation` are those of red, green and blue; `channels_last` ones take [H, W, C].
    """

    size: tuple[int, int]
    shorter: int | None = None
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)
    channels: int = 3
    reversed: bool = False
    channels_last: bool = False

    def __post_init__(self) -> None:
        for what in ("mean", "deviation"):
            if len(getattr(self, what)) not in (1, self.channels):
                raise UsageError(f"{what} has {len(getattr(self, what))} numbers for {self.channels} channels.")
        if self.channels not in (1, 3) or min(self.size) < 1 or not all(d > 0 for d in self.deviation):
            raise UsageError("A preparation has 1 or 3 channels, a size of at least one pixel and deviations above 0.")

    @staticmethod
    def told(value: object) -> Preparation | None:
        """The preparation that a run's config tells (`settings` of one), None where it tells none that can be."""
        if not isinstance(value, Mapping) or "size" not in value:
            return None
        known: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in value.items()}
        try:
            return Preparation(**known)
        except (TypeError, UsageError):
            return None

    def settings(self) -> dict[str, Any]:
        """What it says as plain values, for a run's config: `config={"preparation": preparation.settings()}`."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Sizes of one input."""
        high, wide = self.size
        return (high, wide, self.channels) if self.channels_last else (self.channels, high, wide)

    def input(self, pixels: Array) -> Array:
        """The input, float32, for pixels [H, W, 3] or [H, W] uint8 of the right size; colours become grey if asked."""
        colours = np.asarray(pixels, np.float32) / 255
        if colours.ndim == 2:
            colours = np.repeat(colours[..., None], self.channels, axis=2)
        if self.channels == 1 and colours.shape[2] == 3:
            colours = colours @ np.array([[0.299], [0.587], [0.114]], np.float32)  # ITU-R BT.601
        scaled = (colours - np.array(self.mean, np.float32)) / np.array(self.deviation, np.float32)
        scaled = scaled[..., ::-1] if self.reversed else scaled
        return np.ascontiguousarray(scaled if self.channels_last else scaled.transpose(2, 0, 1))

    def pixels(self, value: Array) -> Array:
        """The pixels [H, W, 3] uint8 of an input: what `input` was given, up to rounding."""
        colours = np.asarray(value, np.float32)
        colours = colours if self.channels_last else colours.transpose(1, 2, 0)
        colours = colours[..., ::-1] if self.reversed else colours
        colours = colours * np.array(self.deviation, np.float32) + np.array(self.mean, np.float32)
        whole = np.clip(np.round(np.nan_to_num(colours) * 255), 0, 255).astype(np.uint8)
        return np.repeat(whole, 3, axis=2) if whole.shape[2] == 1 else np.ascontiguousarray(whole)
