"""The process that looks into networks, started and spoken to by `server.looking`.

A question is an EPF1 container behind its length (8 bytes); so is each thing that it says. It is a process of its own
so that a long calculation, a crash of a decoder, or a network that eats all memory leaves the server as it is. It ends
when its input does, whatever it is at.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from queue import SimpleQueue
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from epochal.errors import EpochalError, MissingExtraError, NetworkError, UsageError
from epochal.lens.methods import METHODS, look
from epochal.lens.photos import Photo, preparation_of, prepare, read_photo
from epochal.network import Network, Preparation
from epochal.network.confidence import confidences
from epochal.network.dense import DenseNetwork
from epochal.network.recorded import open_quickly
from epochal.store.reader import StoredRun
from epochal.views.predictions import find_item, read_predictions
from epochal.wire import frames
from epochal.wire.looking import GROUP, drawn, packed, said_of

__all__ = ["main", "read_message", "write_message"]

Array = npt.NDArray[Any]

_TOP = 5
_KEPT = 4
_MOST_ROW = 4096
_OFF = 0.05
"""So far may confidences be from those recorded before the picture is held to be another input."""
_LENGTH = struct.Struct("<Q")


def read_message(stream: BinaryIO) -> tuple[dict[str, Any], dict[str, Array]] | None:
    """The next header and its arrays, None at the end."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    body = stream.read(_LENGTH.unpack(head)[0])
    return frames.decode(body)


def write_message(stream: BinaryIO, header: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> None:
    """Send a header and arrays."""
    body = frames.encode(header, arrays or {})
    stream.write(_LENGTH.pack(len(body)) + body)
    stream.flush()


def main() -> None:
    """Answer questions until the input ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not come between
    questions: SimpleQueue[Any] = SimpleQueue()
    stopped: set[str] = set()

    def listen() -> None:
        while (message := read_message(sys.stdin.buffer)) is not None:
            if message[0].get("stop"):
                stopped.add(message[0]["stop"])
            else:
                questions.put(message)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    desk = _Desk(out, stopped)
    while True:
        header, arrays = questions.get()
        desk.answer(header, arrays)


class _Desk:
    """Answers one question after the other; networks and examples stay open."""

    def __init__(self, out: BinaryIO, stopped: set[str]) -> None:
        self._out = out
        self._stopped = stopped
        self._stands_back = False
        self._networks: OrderedDict[tuple[str, int, int], Network] = OrderedDict()
        self._examples: OrderedDict[tuple[str, str, int | None], Any] = OrderedDict()

    def answer(self, asked: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        """Say the input, then what each method found, then that it is done; or what went wrong."""
        job = str(asked["job"])
        try:
            self._look(job, asked, arrays)
            self._say({"job": job, "say": "done"})
        except (EpochalError, MemoryError, OSError, ValueError, RuntimeError) as error:
            self._say({"job": job, "say": "error", "error": _told(error)})
        except Exception as error:  # noqa: BLE001 - a question that fails leaves the desk open for the next
            self._say({"job": job, "say": "error", "error": _told(error)})

    def _look(self, job: str, asked: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        with contextlib.suppress(ModuleNotFoundError):
            from epochal.lens.threads import limit_threads

            limit_threads(int(asked["threads"]))
        run = StoredRun(asked["path"])
        network = self._open(run, int(asked["step"]), int(asked["stamp"]))
        self._stand_back()
        photo = self._input(run, network, asked, arrays)
        said, pixels = self._seen(network, photo)
        expected = self._recorded(run, network, asked)
        if expected is not None and (note := _compared(said["all"], expected[0], shown=expected[1])):
            said["notes"].append(note)
        del said["all"]
        self._say({"job": job, "say": "input", "input": said}, {} if pixels is None else {"pixels": pixels})
        target = asked["target"] if asked["target"] is not None else _best(said)
        how = {"target": target, "channel": asked["channel"]}
        for names in _groups(asked["methods"]):
            if job in self._stopped:
                return
            self._one_group(job, network, photo, names, asked, how)

    def _stand_back(self) -> None:
        """Let other programs go first; not before everything is imported, which somebody waits for."""
        if not self._stands_back:
            self._stands_back = True
            with contextlib.suppress(OSError, AttributeError):
                os.nice(10)

    def _one_group(
        self, job: str, network: Network, photo: Photo, names: Sequence[str], asked: Mapping[str, Any], how: Any
    ) -> None:
        """Several methods that share a forward; each by itself where one of them cannot."""
        start = time.perf_counter()
        options = {name: value for name, value in asked["options"].items() if name in names}
        try:
            layer = self._layer(network, photo, names, asked["layer"])
            if "maximize" in names:
                options = {"maximize": self._previewed(job, network, options.get("maximize", {}), asked)}
                layer = asked["layer"] if how["channel"] is not None else None
            found = look(network, photo.array, names, layer=layer, options=options, **how)
        except (EpochalError, MemoryError, RuntimeError, ValueError, TypeError) as error:
            if len(names) > 1:
                for name in names:
                    self._one_group(job, network, photo, [name], asked, how)
                return
            self._say({"job": job, "say": "failed", "method": names[0], "error": _told(error)})
            return
        seconds = (time.perf_counter() - start) / len(names)
        for name, result in found.items():
            self._found(job, network, photo, name, result, seconds, asked)

    def _found(
        self, job: str, network: Network, photo: Photo, name: str, result: Any, seconds: float, asked: Mapping[str, Any]
    ) -> None:
        size = None if photo.pixels is None else (photo.pixels.shape[0], photo.pixels.shape[1])
        body = packed(name, result, size)
        picture = b""
        with contextlib.suppress(EpochalError, ValueError):  # a picture to keep is an extra
            caption = "" if network.step is None else f"step {network.step:,}"
            picture = drawn(name, result, photo.pixels, title=photo.name, caption=caption, mode=asked["theme"])
        self._say(
            {"job": job, "say": "result", "result": said_of(name, result, seconds)},
            {"maps": np.frombuffer(body, np.uint8), "picture": np.frombuffer(picture, np.uint8)},
        )

    def _previewed(
        self, job: str, network: Network, settings: Mapping[str, Any], asked: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The settings of `maximize`, with first sights of the picture on the way."""
        start = time.perf_counter()

        def preview(so_far: Any) -> bool:
            said = said_of("maximize", so_far, time.perf_counter() - start) | {"done": False}
            body = packed("maximize", so_far, None)
            self._say({"job": job, "say": "result", "result": said}, {"maps": np.frombuffer(body, np.uint8)})
            return job not in self._stopped

        found = {**settings, "preview": preview}
        if network.preparation is None:
            found["preparation"] = self._preparation(StoredRun(asked["path"]), network, asked)[0]
        return found

    def _layer(self, network: Network, photo: Photo, names: Sequence[str], layer: str | None) -> str | None:
        """The layer to look at: where none is named, a class activation map chooses its own."""
        if layer is not None:
            return layer
        if "feature_maps" not in names:
            return None
        if isinstance(network, DenseNetwork):
            return network.chain.links[0].layer
        from epochal.lens.asking import Subject
        from epochal.lens.layers import last_useful_layer, named_layers

        subject = Subject(network)
        with subject.asking(gradients=False):
            try:
                return last_useful_layer(subject.module, lambda: subject.outputs(subject.example(photo.array)))
            except UsageError:
                return next(reversed(named_layers(subject.module)))

    def _open(self, run: StoredRun, step: int, stamp: int) -> Network:
        key = (str(run.path), step, stamp)
        network = self._networks.pop(key, None)
        if network is None:
            network = open_quickly(run, step)
        self._networks[key] = network
        while len(self._networks) > _KEPT:
            self._networks.popitem(last=False)
        return network

    def _input(self, run: StoredRun, network: Network, asked: Mapping[str, Any], arrays: Mapping[str, Array]) -> Photo:
        """The input that is asked for, as the network takes it."""
        shape = network.input_shape
        if shape is None:
            raise NetworkError("The shape of this network's inputs is not known.")
        if asked["example"] is not None:
            return self._example(run, shape, asked)
        if "picture" in arrays:
            pixels, name = read_photo(arrays["picture"].tobytes()), "picture"
        else:
            pixels, name = read_photo(asked["photo"]), asked["photo"]
        preparation, notes = self._preparation(run, network, asked)
        array, shown = prepare(pixels, preparation)
        shown = _as_given(shown, preparation)
        return Photo(name=name, array=_shaped(network, array, shape), pixels=shown, notes=notes)

    def _preparation(
        self, run: StoredRun, network: Network, asked: Mapping[str, Any]
    ) -> tuple[Preparation, tuple[str, ...]]:
        """How photos become inputs: as the run's recorded pictures were scaled, where there are some."""
        shape = network.input_shape or ()
        if len(shape) == 3 and shape[2] in (1, 3) and shape[0] not in (1, 3):
            known = Preparation(
                size=(shape[0], shape[1]), shorter=min(shape[:2]) if shape[0] == shape[1] else None,
                channels=shape[2], channels_last=True,
            )  # fmt: skip
            notes: tuple[str, ...] = ("the network does not say how photos were prepared: colours go from 0 to 1",)
        else:
            known, notes = preparation_of(network)
        if network.preparation is not None:
            return known, notes
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
        found = self._examples_of(run, asked)
        i = int(asked["example"])
        if found.inputs is None or isinstance(found.inputs, tuple):
            raise UsageError("These examples were recorded without the numbers that the network takes.")
        if not 0 <= i < len(found.inputs):
            raise UsageError(f"There is no example {i}: they go from 0 to {len(found.inputs) - 1}.")
        value = np.asarray(found.inputs[i])
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

    def _examples_of(self, run: StoredRun, asked: Mapping[str, Any]) -> Any:
        item = find_item(run, asked["series"], "predictions", asked["at"])
        key = (str(run.path), str(item.sha256), asked["at"])
        found = self._examples.pop(key, None)
        if found is None:
            found = read_predictions(run, asked["series"], asked["at"])
        self._examples[key] = found
        while len(self._examples) > _KEPT:
            self._examples.popitem(last=False)
        return found

    def _recorded(self, run: StoredRun, network: Network, asked: Mapping[str, Any]) -> tuple[Array, bool] | None:
        """What was recorded of the example at this very step, and whether its picture is one for people."""
        if asked["example"] is None:
            return None
        item = find_item(run, asked["series"], "predictions", asked["at"])
        if item.step != network.step:
            return None
        row = self._examples_of(run, asked).probabilities[int(asked["example"])]
        return row.astype(np.float64), item.meta.get("shown") is True

    def _seen(self, network: Network, photo: Photo) -> tuple[dict[str, Any], Array | None]:
        """What the network says of the input."""
        shape = network.input_shape or photo.array.shape
        outputs: Any = network(photo.array.reshape(1, *shape).astype(np.float32))
        outputs = outputs[0] if isinstance(outputs, tuple | list) and len(outputs) == 1 else outputs
        if not isinstance(outputs, np.ndarray) or outputs.shape[:1] != (1,) or not outputs.size:
            raise UsageError("The network does not answer with one row of numbers.")
        flat = outputs.reshape(-1).astype(np.float64)
        sure, meaning = confidences(flat, network.graph)
        best = np.argsort(-np.nan_to_num(flat, nan=-np.inf), kind="stable")[:_TOP]
        answers = [
            {"index": int(i), "score": float(flat[i]), "confidence": float(sure[i]) if i < len(sure) else None}
            for i in best
        ]
        height, width = (0, 0) if photo.pixels is None else photo.pixels.shape[:2]
        values = photo.array.reshape(-1)[:_MOST_ROW].tolist() if photo.pixels is None else []
        said = {
            "name": photo.name, "height": height, "width": width, "values": values, "answers": answers,
            "meaning": meaning, "notes": list(photo.notes), "all": sure,
        }  # fmt: skip
        return said, photo.pixels

    def _say(self, header: Mapping[str, Any], arrays: Mapping[str, Array] | None = None) -> None:
        write_message(self._out, header, arrays)


def _compared(said: Array, recorded: Array, *, shown: bool) -> str:
    """A note where the network says something else of an example than was recorded at the same step."""
    if said.shape != recorded.shape or not np.abs(said - recorded).max(initial=0.0) > _OFF:
        return ""
    if shown:
        raise UsageError(
            "These pictures were recorded for people: of them the network says something else than was recorded.",
            hint="Leave shown= out of run.watch(examples=...), or record what the network takes.",
        )
    return "the network says something else of this example than was recorded: it was given other numbers"


def _best(said: Mapping[str, Any]) -> int | None:
    return said["answers"][0]["index"] if said["answers"] else None


def _groups(methods: Sequence[str]) -> Iterator[list[str]]:
    """Those that share a forward together, then the others one by one, the quick ones first."""
    shared = [name for name in methods if name in GROUP]
    if shared:
        yield shared
    rest = [name for name in methods if name not in GROUP]
    for name in sorted(rest, key=lambda one: METHODS[one].kind in ("attribution", "maximum")):
        yield [name]


def _shaped(network: Network, array: Array, shape: tuple[int, ...]) -> Array:
    """A picture keeps its sides where the network is a chain that takes them lying flat."""
    return array if isinstance(network, DenseNetwork) else array.reshape(shape)


def _as_given(pixels: Array, preparation: Preparation) -> Array:
    """The photo as the network sees it: grey where it takes grey."""
    if preparation.channels != 1:
        return pixels
    grey = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
    return np.repeat(np.round(grey).astype(np.uint8)[..., None], 3, axis=2)


def _told(error: BaseException) -> dict[str, str]:
    if isinstance(error, MemoryError):
        return {"code": "memory", "message": "There is not enough memory for it.", "hint": "Choose smaller settings."}
    if isinstance(error, ModuleNotFoundError) and not isinstance(error, MissingExtraError):
        return {"code": "missing_extra", "message": f"It needs {error.name}, which is not installed.", "hint": ""}
    if isinstance(error, EpochalError):
        return {"code": error.code, "message": error.message, "hint": error.hint}
    first = (str(error).strip().splitlines() or [""])[0][:300]
    return {"code": "network", "message": f"{type(error).__name__}: {first}", "hint": ""}
