"""Looking at the models of a run while they train: `tick` on the thread that logs, `_digest` on the writer's.

A look costs the caller a copy into memory that lies ready; files, statistics and histograms are made by the writer's
thread, for several looks at once. When that falls behind, looks are skipped and counted: training never waits, unless
it was told to by a budget of None.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from math import inf
from time import perf_counter, thread_time
from typing import Any

from epochal.errors import StoreError
from epochal.record.digest import Digest, write_gradients, write_snapshot
from epochal.record.drawing import Drawing
from epochal.record.models import Model, Models
from epochal.record.policy import ARM, NOTHING, Look, Policy
from epochal.record.probe import Probe
from epochal.record.staging import Layout, Pool, Slot
from epochal.store import RunWriter, WriterFolder

GATHER_SECONDS = 0.4
"""How long the writer lets looks gather before it digests them together."""
GATHER_BYTES = 2 << 20
WAIT_SECONDS = 60.0
"""How long a look that must be taken waits for the writer to free memory."""


class Watcher:
    """The watch over the models of a run. `due_time` and `due_step` tell `Run.log` when to call `tick`."""

    def __init__(
        self,
        probe: Probe | Model,
        policy: Policy,
        writer: RunWriter,
        *,
        parameters: bool = True,
        gradients: bool = True,
        chosen: Callable[[str], bool] = lambda _: True,
        gradient_snapshots: bool = False,
        told: Callable[[str], None],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self.policy = policy
        self.gradient_snapshots = gradient_snapshots
        self.due_time = 0.0
        self.due_step: float = policy.due_step
        self._writer, self._told = writer, told
        self._lock = threading.RLock()
        self._waiting: deque[Slot] = deque()
        self._submitted = self._ending = self._looking = False
        self._full = threading.Event()
        self._began = perf_counter()
        self._first: Slot | None = None
        self._folder = WriterFolder(writer.folder)
        self._digester = Digest()
        self._drawing = Drawing(writer, told=told, failed=failed)
        self._models = Models()
        model = probe if isinstance(probe, Model) else Model("", probe, parameters, gradients, chosen)
        self._models.every.append(model)
        writer.shelf.limit = policy.disk
        held = weakref.WeakMethod(self._clock_went_back)
        writer.on_clock_back(lambda secs: (method := held()) and method(secs))
        self._pool = self._prepare()

    def _clock_went_back(self, secs: float) -> None:
        self.policy.due_time -= secs
        self.due_time -= secs

    @property
    def models(self) -> list[Model]:
        """The watched models, in the order in which they came."""
        return list(self._models.every)

    def begin(self, inputs: object, *, step: int | None, untrained: bool, now: float) -> None:
        """Draw the network, and keep its `untrained` parameters until the first log call says which step that was.

        `step` is the last one logged before watching began, None when there is none; parameters read now belong to
        it, or else to step 0, unless the first log call is one of step 0 itself.
        """
        self._drawing.begin(self._models.every[0], inputs)
        self._began = perf_counter()
        self._start(step or 0, now, untrained=untrained)

    def add(self, model: Model, inputs: object, *, step: int | None, now: float) -> None:
        """Watch one more model, at the same steps as the others.

        Raises UsageError when one of its tensors is called as one of theirs.
        """
        with self._lock:
            if gone := self._models.gone:
                self._drop_gone(gone)
            self._models.every.append(model)
            try:
                pool = self._prepare()
            except BaseException:
                self._models.every.remove(model)
                self._models.gather()
                raise
            self._pool = pool
            drawn = self._drawing.seconds
            self._drawing.begin(model, inputs)
            self._began += self._drawing.seconds - drawn
            if self._first is not None:  # nothing was logged since: the untrained network is all of them
                self._start(step or 0, now, untrained=True)
            self.due_time = 0.0

    def remove(self, model: Model, step: int | None, epoch: float | None, now: float) -> None:
        """Take the last look at a model, and let go of it; the others are watched on."""
        with self._lock:
            self._look_last(step, epoch, now)
            if model.awaits_inputs and not model.probe.gone:
                self._drawing.late(model, last=True)
            self._models.every.remove(model)
            model.probe.close()
            self._pool = self._prepare()

    def _start(self, step: int, now: float, *, untrained: bool) -> None:
        start = thread_time()
        slot = self._pool.take()
        known = slot is not None and len(slot.layout.facts) > 0  # an estimator may have none before it is fitted
        wanted = untrained and known and not self.policy.idle
        if wanted and slot is not None and self._stage(slot, step, None, now, gradients=False):
            slot.statistics, slot.snapshot = True, self.policy.snapshots is not None
            self._first = self._pool.settle(slot)
        self._models.arm()
        self.policy.account.caller += thread_time() - start

    def tick(self, step: int, epoch: float | None, now: float) -> None:
        """Look at the models if this log call asks for it.

        To be called when `due_time` or `due_step` has come, and for each call that names a new epoch.
        """
        if not self._lock.acquire(blocking=epoch is not None):
            return  # another thread logs and looks right now; only what was asked for is worth waiting for it
        try:
            if (gone := self._models.gone) and not self._drop_gone(gone):
                return
            if not self._models.every:
                return  # all were let go of before
            self._draw_late()
            account = self.policy.account
            account.loop = perf_counter() - self._began
            self._place_first(step)
            look = self.policy.decide(step, epoch, now)
            if look is NOTHING:
                return
            # Processor time: on a busy machine others' work is not what looking costs.
            start = thread_time()
            if look is ARM:
                self._models.arm()
                account.caller += thread_time() - start
            else:
                taken = False
                try:
                    taken = self._look(look, step, epoch, now)
                except BaseException:
                    self.policy.skip(now)
                    raise
                finally:
                    account.paid(thread_time() - start + self._models.take_hook_seconds(), taken=taken)
        finally:
            waits = any(model.awaits_inputs for model in self._models.every)
            self.due_time = 0.0 if waits else self.policy.due_time
            self.due_step = self.policy.due_step
            self._lock.release()

    def snapshot(self, step: int, epoch: float | None, now: float) -> bool:
        """Take a snapshot that is never let go of, unless there is one of this step; say whether there is."""
        with self._lock:
            self._writer.shelf.keep(step)
            return self._snapshot(step, epoch, now)

    def _snapshot(self, step: int, epoch: float | None, now: float) -> bool:
        self._place_first(step)
        if self.policy.last_snapshot == step:
            return True
        statistics = self.policy.last_look != step and not self.policy.idle
        return self.look(Look(statistics=statistics, snapshot=True), step, epoch, now)

    def look(self, look: Look, step: int, epoch: float | None, now: float) -> bool:
        """Take a look now, after the writer has freed memory for it if there is none; say whether it did."""
        with self._lock:
            start = thread_time()
            taken = self._look(look, step, epoch, now, wait=True)
            self.policy.account.paid(thread_time() - start, taken=taken)
            self.policy.account.loop = perf_counter() - self._began
            return taken

    def draw(self, inputs: object) -> None:
        """Draw the first model anew."""
        drawn = self._drawing.seconds
        self._drawing.draw(self._models.every[0], inputs)
        self._began += self._drawing.seconds - drawn

    def finish(self, step: int | None, epoch: float | None, now: float) -> None:
        """Take the last look, hand over everything, and let go of the models."""
        with self._lock:
            self._ending = True
            try:
                if gone := self._models.gone:
                    # A training function that has returned took its model with it: nothing is missing then.
                    self._drop_gone(gone, missed=self._owes(step))
                self._draw_late(last=True)
                self._look_last(step, epoch, now)
            finally:
                self._models.close()
                self._full.set()
        if not self._submitted:
            self._report()

    def _look_last(self, step: int | None, epoch: float | None, now: float) -> None:
        policy = self.policy
        if step is None:
            step = 1  # nothing was logged: keep the parameters that were there at the beginning
        elif self._models.every and self._owes(step):
            policy.account.loop = perf_counter() - self._began
            if policy.snapshots is not None:
                self._snapshot(step, epoch, now)
            elif self._pool.ready and not policy.idle:
                self._look(Look(statistics=True), step, epoch, now)
        self._place_first(step)

    def _owes(self, step: int | None) -> bool:
        """Whether there is no look, or no snapshot though there are some, of the last step."""
        policy = self.policy
        unseen = policy.last_look != step or (policy.snapshots is not None and policy.last_snapshot != step)
        return step is not None and unseen

    def _drop_gone(self, gone: list[Model], *, missed: bool = True) -> bool:
        """Let go of models that the user let go of; say whether there are others."""
        for model in gone:
            self._models.every.remove(model)
            if missed:
                self._told(
                    f"{model.title} is no longer there: nothing of it is recorded from here on; "
                    "keep a reference to it, or call run.unwatch() before letting go of it"
                )
        if self._models.every:
            self._pool = self._prepare()
            return True
        self.policy.due_time = self.policy.due_step = inf
        return False

    def _draw_late(self, *, last: bool = False) -> None:
        drawn = self._drawing.seconds
        for model in self._models.every:
            if model.awaits_inputs:
                self._drawing.late(model, last=last)
        self._began += self._drawing.seconds - drawn

    def _prepare(self) -> Pool:
        models = self._models
        models.gather()
        layout = Layout(models.facts, chosen=models.wanted)
        grad_layout = Layout(models.slopes, chosen=models.wanted_slope)
        self.policy.idle = self.policy.snapshots is None and not models.measured
        self.policy.bytes = layout.bytes + (grad_layout.bytes if self.gradient_snapshots else 0)
        if left_out := models.left_out:
            names = ", ".join(left_out[:8]) + (", ..." if len(left_out) > 8 else "")
            self._told(f"{len(left_out)} tensors are of types that cannot be stored and are not recorded: {names}")
        return Pool(layout, grad_layout, models.bind)

    def _place_first(self, step: int) -> None:
        """The untrained network is the snapshot of the step before the first log call, if there is one."""
        slot, self._first = self._first, None
        if slot is None:
            return
        if step <= slot.step:
            self._give(slot)
            return
        self.policy.looks += slot.statistics
        self.policy.last_look = slot.step
        self.policy.account.looks += 1
        if slot.snapshot:
            self.policy.last_snapshot = self.policy.last_period = slot.step
            self.policy.snapshots_taken += 1
        self._hand_over(slot)

    def _look(self, look: Look, step: int, epoch: float | None, now: float, *, wait: bool = False) -> bool:
        if self._looking:
            return False  # a signal handler logs in the middle of a look of the same thread
        self._looking = True
        try:
            return self._look_once(look, step, epoch, now, wait=wait or self.policy.account.budget is None)
        finally:
            self._looking = False

    def _look_once(self, look: Look, step: int, epoch: float | None, now: float, *, wait: bool) -> bool:
        slot = self._pool.take()
        if slot is None:
            self._full.set()
            if wait and self._pool.wait(WAIT_SECONDS):
                slot = self._pool.take()
        if slot is None:
            self.policy.skip(now)
            self._writer.drop("looks", 1)
            return False
        self._hand_over(self._filled(slot, look, step, epoch, now))
        for trouble in self._models.troubles():
            self._told(trouble)
        self.policy.took(step, look, now)
        if (self.policy.ready or self.policy.on_demand) and not self._ending:
            self._models.arm()
        else:
            self._models.rest()
        return True

    def _filled(self, slot: Slot, look: Look, step: int, epoch: float | None, now: float) -> Slot:
        """Read the models into a slot, or into a new one where they have other parameters than before."""
        gradients = look.statistics or (look.snapshot and self.gradient_snapshots)
        try:
            if not self._stage(slot, step, epoch, now, gradients=gradients):
                self._pool = self._prepare()
                for model in self._models.every:
                    if getattr(model.probe, "redraws", False) and not model.awaits_inputs:
                        self._drawing.draw(model, None)
                if (fresh := self._pool.take()) is not None:
                    slot = fresh
                if fresh is None or not self._stage(slot, step, epoch, now, gradients=gradients):
                    raise StoreError("the parameters of the model changed while they were read")
            slot.statistics, slot.snapshot = look.statistics, look.snapshot
            if look.statistics:
                slot.activations = self._models.activations()
            return self._pool.settle(slot)
        except BaseException:
            self._give(slot)
            raise

    def _stage(self, slot: Slot, step: int, epoch: float | None, now: float, *, gradients: bool) -> bool:
        slot.step, slot.epoch, slot.t = step, epoch, now
        there = self._models.stage(slot.params, slot.grads if gradients else None)
        slot.with_gradients = there or ()
        slot.late = self._models.late() if there is not None else None
        return there is not None

    def _give(self, slot: Slot) -> None:
        if slot.layout is self._pool.layout:
            self._pool.give(slot)

    def _hand_over(self, slot: Slot) -> None:
        self._waiting.append(slot)
        if not self._submitted:
            self._submitted = True
            self._writer.submit(self._digest)
        gathered = len(self._waiting)
        if gathered * slot.layout.bytes > GATHER_BYTES or gathered * 2 > self._pool.limit:
            self._full.set()

    def _digest(self) -> None:
        """Make rows and files of the looks that wait. Runs on the writer's thread."""
        if not self._ending:
            self._full.wait(GATHER_SECONDS)
            self._full.clear()
        self._submitted = False
        start = thread_time()
        count = len(self._waiting)
        slots = [self._waiting.popleft() for _ in range(count)]
        free = slots
        try:
            slots = [slot for slot in slots if self._arrived(slot)]
            lost = [slot for slot in free if slot not in slots]
            for slot in slots:
                if slot.snapshot:
                    self._write(slot)
            free = lost + self._digester.take(slots, keep=self._pool.limit >= 3)
            rows = self._digester.rows()
            if rows is not None:
                self._writer.add_statistics(rows)
                self._notice_zeros(rows)
        except BaseException:
            self._digester = Digest()  # it may keep a slot that is given back now
            raise
        finally:
            for slot in free:
                self._give(slot)
            self.policy.account.digest(thread_time() - start, count)
            self._report()

    def _arrived(self, slot: Slot) -> bool:
        """Copy what the probe left to this thread; say whether all of it was still there."""
        late, slot.late = slot.late, None
        if late is None:
            return True
        try:
            late(slot.params, slot.grads)
        except StoreError as error:
            self._writer.drop("looks", 1, f"step {slot.step} was not looked at: {error.message}")
            return False
        return True

    def _write(self, slot: Slot) -> None:
        gradients = self.gradient_snapshots and len(slot.with_gradients) > 0
        size = slot.layout.bytes + (slot.grad_layout.bytes if gradients else 0)
        shelf = self._writer.shelf
        try:
            shelf.make_room(slot.step, size, best=self._writer.best_steps)
            shelf.add(slot.step, write_snapshot(self._folder, slot))
            if gradients:
                shelf.add(slot.step, write_gradients(self._folder, slot))
        except OSError as error:
            message = f"the snapshot of step {slot.step} was not written: {error.strerror or error}"
            self._writer.drop("snapshot", 1, message)

    def _notice_zeros(self, rows: dict[str, Any]) -> None:
        norms: dict[str, list[float]] = {}
        for series, norm in zip(rows["series"], rows["norm"].tolist(), strict=True):
            if series.startswith("grad/"):
                norms.setdefault(series, []).append(norm)
        if norms:
            self._models.note_zeros(norms)

    def _report(self) -> None:
        """Say in the run's state what was chosen and what it cost."""
        policy, account, shelf = self.policy, self.policy.account, self._writer.shelf
        names = [model.name for model in self._models.every if model.name]
        self._writer.set_state(
            recorder={
                "framework": self._models.framework,
                **({"models": names} if names else {}),
                "parameters": self._models.size,
                "budget": account.budget,
                "share": round(account.share, 5),
                "looks": policy.looks,
                "asked": policy.asked,
                "snapshots": policy.snapshots_taken,
                "thinned": shelf.thinned,
                "skipped": policy.skipped,
                "period": policy.period,
                "every": policy.every,
                "caller_seconds": round(account.caller, 6),
                "writer_seconds": round(account.writer, 6),
                "loop_seconds": round(account.loop, 6),
                "network_seconds": round(self._drawing.seconds, 3),
                "snapshot_bytes": policy.bytes,
                "disk_bytes": shelf.bytes,
                "disk_limit": shelf.limit,
                "slots": self._pool.made,
            }
        )
