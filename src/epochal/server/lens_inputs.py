"""What the process that looks is asked about: networks and examples, which stay open, and pictures."""

from __future__ import annotations

import importlib.util
from collections import OrderedDict
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from epochal.errors import NetworkError, UsageError
from epochal.lens.photos import SAMPLES, Photo, preparation_of, prepare, read_photo
from epochal.network import Network, Preparation
from epochal.network.dense import DenseNetwork
from epochal.network.recorded import bring_to, open_quickly
from epochal.store.reader import StoredRun
from epochal.views.predictions import find_item, read_predictions

if TYPE_CHECKING:
    from epochal.lens import TopExamples

__all__ = ["Opened"]

Array = npt.NDArray[Any]

_KEPT = 4


@final
class Opened:
    """Networks and examples that were asked for last."""

    def __init__(self) -> None:
        self._networks: OrderedDict[str, tuple[Network, int, int]] = OrderedDict()
        self._examples: OrderedDict[tuple[str, str, int | None], Any] = OrderedDict()
        self._tops: OrderedDict[tuple[Any, ...], tuple[Network, TopExamples]] = OrderedDict()

    def network(self, run: StoredRun, step: int, stamp: int) -> Network:
        """A run's network at a step whose file is of this moment; the last one of the run takes its parameters."""
        path = str(run.path)
        program = run.network_path()
        made = 0 if program is None else Path(program).stat().st_mtime_ns
        held = self._networks.pop(path, None)
        if held is None or held[1] != made or (held[0].step, held[2]) != (step, stamp):
            if held is None or held[1] != made or not bring_to(held[0], run, step):
                held = (open_quickly(run, step), made, stamp)
            held = (held[0], made, stamp)
        self._networks[path] = held
        while len(self._networks) > _KEPT:
            self._networks.popitem(last=False)
        return held[0]

    def top_examples(
        self, run: StoredRun, network: Network, asked: Mapping[str, Any], layer: str, **options: Any
    ) -> TopExamples:
        """The strongest of the recorded examples, or of the sample photos where there are none; kept for a while."""
        from epochal.lens import top_examples

        progress = options.pop("progress", None)
        key = (asked["path"], asked["step"], asked["stamp"], asked["series"], asked["at"], layer, *options.items())
        held = self._tops.pop(key, None)
        if held is None or held[0] is not network:
            data = self._photos(run, network) if not asked["series"] else self.data(run, network, asked)
            held = (network, top_examples(network, data, layer=layer, progress=progress, **options))
        self._tops[key] = held
        while len(self._tops) > _KEPT:
            self._tops.popitem(last=False)
        return held[1]

    def _photos(self, run: StoredRun, network: Network) -> Array:
        there = [name for name, (package, _) in SAMPLES.items() if importlib.util.find_spec(package) is not None]
        preparation, _ = self.preparation(run, network)
        return np.stack([prepare(read_photo(name), preparation)[0] for name in there])

    def data(self, run: StoredRun, network: Network, asked: Mapping[str, Any]) -> Array:
        """All recorded examples as the network takes them."""
        shape = network.input_shape
        given = self.examples(run, asked).given
        if given is None or shape is None:
            raise UsageError("These examples were recorded without the numbers that the network takes.")
        found = np.asarray(given, np.float32)
        if found[0].size != prod(shape):
            raise UsageError(f"These examples have {found[0].size:,} numbers; the network takes {list(shape)}.")
        if found.ndim == 4 and tuple(found.shape[1:]) != tuple(shape):
            found = found.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(found.reshape(len(found), *shape))

    def input(
        self, run: StoredRun, network: Network, asked: Mapping[str, Any], arrays: Mapping[str, Array]
    ) -> Photo | None:
        """The input that is asked for, as the network takes it; None where none is."""
        shape = network.input_shape
        if shape is None:
            raise NetworkError("The shape of this network's inputs is not known.")
        if asked["example"] is not None:
            return self._example(run, shape, asked)
        if "picture" not in arrays and asked["photo"] is None:
            return None
        if "picture" in arrays:
            pixels, name = read_photo(arrays["picture"].tobytes()), "picture"
        else:
            pixels, name = read_photo(asked["photo"]), asked["photo"]
        preparation, notes = self.preparation(run, network)
        array, shown = prepare(pixels, preparation)
        shown = _as_given(shown, preparation)
        return Photo(name=name, array=_shaped(network, array, shape), pixels=shown, notes=notes)

    def preparation(self, run: StoredRun, network: Network) -> tuple[Preparation, tuple[str, ...]]:
        """How photos become inputs: as the run's recorded pictures were scaled, where there are some."""
        if network.preparation is not None:
            return network.preparation, ()
        shape = network.input_shape or ()
        if len(shape) == 3 and shape[2] in (1, 3) and shape[0] not in (1, 3):
            known = Preparation(
                size=(shape[0], shape[1]), shorter=min(shape[:2]) if shape[0] == shape[1] else None,
                channels=shape[2], channels_last=True,
            )  # fmt: skip
            notes: tuple[str, ...] = ("the network does not say how photos were prepared: colours go from 0 to 1",)
        else:
            known, notes = preparation_of(network)
        for name, series in run.media_series().items():
            if "predictions" not in series.kinds:
                continue
            scale = find_item(run, name, "predictions", None).meta.get("range")
            if not isinstance(scale, list) or len(scale) != 2 or not scale[0] < scale[1]:
                continue
            low, high = float(scale[0]), float(scale[1])
            scaled = Preparation(
                size=known.size, shorter=known.shorter, channels=known.channels, channels_last=known.channels_last,
                mean=(-low / (high - low),), deviation=(1 / (high - low),),
            )  # fmt: skip
            return scaled, (f"colours go from {low:g} to {high:g}, as those of the recorded examples",)
        return known, notes

    def _example(self, run: StoredRun, shape: tuple[int, ...], asked: Mapping[str, Any]) -> Photo:
        found = self.examples(run, asked)
        i = int(asked["example"])
        if found.inputs is None or isinstance(found.inputs, tuple):
            raise UsageError("These examples were recorded without the numbers that the network takes.")
        if not 0 <= i < len(found.inputs):
            raise UsageError(f"There is no example {i}: they go from 0 to {len(found.inputs) - 1}.")
        value = np.asarray(found.inputs[i])
        if found.prepared is not None and value.ndim == 1:
            value = value * found.prepared[0] + found.prepared[1]
        name = str(found.ids[i]) if found.ids is not None else f"example {i}"
        if value.size != prod(shape):
            raise UsageError(f"Example {i} has {value.size:,} numbers; the network takes {list(shape)}.")
        if value.dtype != np.uint8 or value.ndim != 3:
            return Photo(name=name, array=value.astype(np.float32).reshape(shape), pixels=None)
        low, high = found.range or (0.0, 255.0)
        array = (low + value.astype(np.float64) / 255 * (high - low)).astype(np.float32)
        if len(shape) != 3 or shape[2] != value.shape[2]:
            array = array.transpose(2, 0, 1)
        pixels = np.repeat(value, 3, axis=2) if value.shape[2] == 1 else value[..., :3]
        return Photo(name=name, array=array.reshape(shape), pixels=np.ascontiguousarray(pixels))

    def examples(self, run: StoredRun, asked: Mapping[str, Any]) -> Any:
        """The recorded examples that are meant."""
        item = find_item(run, asked["series"], "predictions", asked["at"])
        key = (str(run.path), str(item.sha256), asked["at"])
        found = self._examples.pop(key, None)
        if found is None:
            found = read_predictions(run, asked["series"], asked["at"])
        self._examples[key] = found
        while len(self._examples) > _KEPT:
            self._examples.popitem(last=False)
        return found


def _shaped(network: Network, array: Array, shape: tuple[int, ...]) -> Array:
    """A picture keeps its sides where the network is a chain that takes them lying flat."""
    return array if isinstance(network, DenseNetwork) else array.reshape(shape)


def _as_given(pixels: Array, preparation: Preparation) -> Array:
    """The photo as the network sees it: grey where it takes grey."""
    if preparation.channels != 1:
        return pixels
    grey = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
    return np.repeat(np.round(grey).astype(np.uint8)[..., None], 3, axis=2)
