"""The process that looks into networks, started and spoken to by `server.looking`.

A question is an EPF1 container behind its length (8 bytes); so is each thing that it says. It is a process of its own
so that a long calculation, a crash of a decoder, or a network that eats all memory leaves the server as it is. It ends
when its input does, whatever it is at.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Mapping
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.network.dense import DenseNetwork
from epochal.server.lens_desk import Desk, read_message

__all__ = ["TASKS", "main", "warm"]

Array = npt.NDArray[Any]

TASKS = {
    "warm": "epochal.server.lens_worker:warm",
    "look": "epochal.server.lens_look:look",
    "film": "epochal.server.lens_film:film",
    "compare": "epochal.server.lens_compare:compare",
    "class_images": "epochal.server.lens_classes:find_class_images",
}
"""What can be asked: name -> the function `(desk, asked, arrays)` that does it, imported when it is first asked for."""


def main() -> None:
    """Do tasks until the input ends."""
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
    desk = Desk(TASKS, out, stopped)
    while True:
        header, arrays = questions.get()
        desk.answer(header, arrays)


def warm(desk: Desk, asked: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Load the network and let it run once, so that the first question finds everything in memory."""
    network = desk.network(asked)
    for task in TASKS.values():
        importlib.import_module(task.partition(":")[0])
    shape = network.input_shape
    if shape is not None and not isinstance(network, DenseNetwork):
        from epochal.lens.asking import Subject

        subject = Subject(network)
        blank = np.zeros(shape, np.float32)
        subject.forward(subject.example(blank)).gradient(last=True)
