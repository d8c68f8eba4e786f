"""What the writer's thread makes of staged looks: statistics rows and snapshot files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.record.staging import Group, Layout, Slot
from epochal.record.statistics import Table, describe
from epochal.store import WriterFolder
from epochal.store.files import replace_file
from epochal.store.safetensors import RawTensor
from epochal.store.safetensors import write_snapshot as store_snapshot

TOGETHER = 65_536
"""Looks are described together up to this many values: many looks at a small network cost little more than one."""

_COPIED = ("mean", "std", "min", "max", "norm", "zeros", "nan", "inf", "size", "lo", "hi", "counts")
_FIGURES = ("mean", "std", "min", "max", "norm", "zeros", "nan", "inf")
Columns = dict[str, Any]


class Digest:
    """Turns slots into rows, in the order of their steps. Belongs to one thread.

    It keeps the last slot of a layout to say how far the parameters moved since then.
    """

    def __init__(self) -> None:
        self._last: Slot | None = None
        self._norms: dict[str, npt.NDArray[np.float64]] = {}
        self._rows: list[Columns] = []

    def take(self, slots: Sequence[Slot], *, keep: bool = True) -> list[Slot]:
        """Describe slots and return those that are free again; the last one too unless it is to be kept."""
        wanted = [s for s in slots if s.statistics]
        free = [s for s in slots if not s.statistics]
        for layout in dict.fromkeys(s.layout for s in wanted):
            of_layout = [s for s in wanted if s.layout is layout]
            with_parameters = [s for s in of_layout if s.with_parameters]
            if with_parameters:
                if self._last is not None and self._last.layout is not layout:
                    free.append(self._last)
                    self._last, self._norms = None, {}
                for group in layout.groups:
                    self._parameters(layout, group, with_parameters, self._last)
                if self._last is not None:
                    free.append(self._last)
                self._last = with_parameters[-1] if keep else None
            for group in of_layout[0].grad_layout.groups:
                self._gradients(of_layout[0].grad_layout, group, [s for s in of_layout if len(s.with_gradients)])
            free += [s for s in of_layout if s is not self._last]
        self._activations(wanted)
        return free

    def rows(self) -> Columns | None:
        """The statistics rows made since the last call, as columns; None when there are none."""
        pieces, self._rows = self._rows, []
        if not pieces:
            return None
        return {
            name: [s for p in pieces for s in p[name]]
            if name == "series"
            else np.concatenate([p[name] for p in pieces])
            for name in pieces[0]
        }

    def _parameters(self, layout: Layout, group: Group, slots: Sequence[Slot], last: Slot | None) -> None:
        names = [f"param/{layout.facts[i].name}" for i in group.tensors.tolist()]
        for part in _parts(slots, group.values):
            arrays = [group.read(s.buffer) for s in part]
            table = _described(arrays, group.sizes, arrays[0] if last is None else group.read(last.buffer))
            norms = table.norm.reshape(len(part), len(names))
            known = self._norms[group.code] if last is not None else np.full(len(names), np.nan)
            earlier = np.concatenate([known[None], norms[:-1]]).reshape(-1)
            with np.errstate(all="ignore"):
                ratio = table.change / earlier
            ratio[~np.isfinite(ratio)] = np.nan
            self._add(table, names, part, ratio)
            self._norms[group.code] = norms[-1].copy()
            last = part[-1]

    def _gradients(self, layout: Layout, group: Group, slots: Sequence[Slot]) -> None:
        names = [f"grad/{layout.facts[i].name}" for i in group.tensors.tolist()]
        for part in _parts(slots, group.values):
            table = _described([group.read(s.grad_buffer) for s in part], group.sizes, None)
            keep = None
            if any(len(s.with_gradients) < len(layout.facts) for s in part):
                keep = np.concatenate([np.isin(group.tensors, np.asarray(s.with_gradients)) for s in part])
            self._add(table, names, part, np.full(len(names) * len(part), np.nan), keep)

    def _activations(self, slots: Sequence[Slot]) -> None:
        every = [(s, a) for s in slots for a in s.activations()]
        for kind in ("<f4", "<f8"):
            caught = [(s, a) for s, a in every if a.values.dtype == kind]
            for part in _parts(caught, max((len(a.values) for _, a in caught), default=1)):
                sizes = np.array([len(a.values) for _, a in part], np.intp)
                table = describe(np.concatenate([a.values for _, a in part]), sizes)
                columns = _columns(table, np.full(len(part), np.nan))
                columns["size"] = np.array([a.size for _, a in part], np.int64)
                columns["dead"] = np.array([a.dead for _, a in part], np.float64)
                for row, (_, a) in enumerate(part):
                    if a.figures is not None:
                        for name in _FIGURES:
                            columns[name][row] = getattr(a.figures, name)
                columns["series"] = [f"act/{a.layer}" for _, a in part]
                columns["step"] = np.array([s.step for s, _ in part], np.int64)
                columns["t"] = np.array([s.t for s, _ in part])
                self._rows.append(columns)

    def _add(
        self,
        table: Table,
        names: list[str],
        slots: Sequence[Slot],
        ratio: npt.NDArray[np.float64],
        keep: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        columns = _columns(table, ratio)
        columns["step"] = np.repeat(np.array([s.step for s in slots], np.int64), len(names))
        columns["t"] = np.repeat(np.array([s.t for s in slots]), len(names))
        series = names * len(slots)
        if keep is not None:
            columns = {name: values[keep] for name, values in columns.items()}
            series = [name for name, there in zip(series, keep.tolist(), strict=True) if there]
        columns["series"] = series
        self._rows.append(columns)


def _parts(items: Sequence[Any], values: int) -> list[Sequence[Any]]:
    """Items cut into parts of about TOGETHER values, `values` in each item, at least one item a part."""
    each = max(1, TOGETHER // max(1, values))
    return [items[at : at + each] for at in range(0, len(items), each)]


def _described(arrays: list[Any], sizes: npt.NDArray[np.intp], before: Any | None) -> Table:
    if len(arrays) == 1:
        return describe(arrays[0], sizes, before)
    every = np.tile(sizes, len(arrays))
    if before is None:
        return describe(np.concatenate(arrays), every)
    # Each look but the first has the one in front of it as its `before`.
    joined = np.concatenate([before, *arrays])
    return describe(joined[len(before) :], every, joined[: -len(before) or None])


def _columns(table: Table, ratio: npt.NDArray[np.float64]) -> Columns:
    columns: Columns = {name: getattr(table, name) for name in _COPIED}
    columns["update_ratio"] = ratio
    columns["seen"] = table.size
    columns["dead"] = np.full(len(ratio), np.nan)
    return columns


def write_snapshot(folder: WriterFolder, slot: Slot) -> int:
    """Write a slot as the snapshot of its step and return its size.

    The buffer is the file already. Raises OSError when it cannot be written; nothing of it is left then.
    """
    slot.layout.fill_header(slot.buffer, slot.step, slot.epoch)
    path = folder.snapshot("params", slot.step)
    try:
        replace_file(path, slot.buffer.data)  # type: ignore[arg-type] # os.write takes any buffer
    except FileNotFoundError:  # the first one
        path.parent.mkdir()
        replace_file(path, slot.buffer.data)  # type: ignore[arg-type]
    return slot.layout.bytes


def write_gradients(folder: WriterFolder, slot: Slot) -> int:
    """Write the gradients that a slot holds as those of its step and return the file's size.

    Raises OSError when it cannot be written; nothing of it is left then.
    """
    layout = slot.grad_layout
    path = folder.snapshot("grads", slot.step)
    path.parent.mkdir(exist_ok=True)
    if len(slot.with_gradients) == len(layout.facts):
        layout.fill_header(slot.grad_buffer, slot.step, slot.epoch)
        replace_file(path, slot.grad_buffer.data)  # type: ignore[arg-type]
        return layout.bytes
    tensors = {}
    for k in slot.with_gradients:
        fact, (begin, end) = layout.facts[k], layout.places[k]
        tensors[fact.name] = RawTensor(fact.code, fact.shape, slot.grad_buffer[begin:end])
    facts = {"step": str(slot.step), **({} if slot.epoch is None else {"epoch": repr(slot.epoch)})}
    return store_snapshot(path, tensors, metadata=facts)
