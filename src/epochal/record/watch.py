"""Looking at one model while it trains: `tick` on the thread that logs, `_digest` on the writer's.

A look costs the caller a copy into memory that lies ready; files, statistics and histograms are made by the writer's
thread, for several looks at once. When that falls behind, looks are skipped and counted: training never waits.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from math import inf
from time import perf_counter, thread_time
from typing import Any

from epochal.errors import RecordingWarning, StoreError
from epochal.record.digest import Digest, write_snapshot
from epochal.record.policy import ARM, NOTHING, Look, Policy
from epochal.record.probe import Late, Probe
from epochal.record.staging import Layout, Pool, Slot
from epochal.store import RunWriter, WriterFolder, graph_to_json

GATHER_SECONDS = 0.4
"""How long the writer lets looks gather before it digests them together."""
GATHER_BYTES = 4 << 20


class Watcher:
    """The watch over one model. `due_time` and `due_step` tell `Run.log` when to call `tick`."""

    def __init__(
        self,
        probe: Probe,
        policy: Policy,
        writer: RunWriter,
        *,
        parameters: bool,
        gradients: bool,
        chosen: Callable[[str], bool],
        told: Callable[[str], None],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self.policy = policy
        self.due_time = 0.0
        self.due_step: float = policy.due_step
        self._probe, self._writer, self._told, self._failed = probe, writer, told, failed
        self._parameters, self._gradients, self._chosen = parameters, gradients, chosen
        self._lock = threading.RLock()
        self._waiting: deque[Slot] = deque()
        self._submitted = self._ending = self._looking = False
        self._full = threading.Event()
        self._began = perf_counter()
        self._first: Slot | None = None
        self._needs_inputs = False
        self._network_seconds = 0.0
        self._folder = WriterFolder(writer.folder)
        self._digester = Digest()
        self._late: Callable[[], Late | None] = getattr(probe, "late", lambda: None)
        self._pool = self._prepare()

    def begin(self, inputs: object, *, step: int | None, untrained: bool, now: float) -> None:
        """Draw the network, and keep its `untrained` parameters until the first log call says which step that was.

        `step` is the last one logged before watching began, None when there is none; parameters read now belong to
        it, or else to step 0, unless the first log call is one of step 0 itself.
        """
        if inputs is None:
            self._probe.await_inputs()
            self._needs_inputs = True
        else:
            self.draw(inputs)
        self._began, start = perf_counter(), thread_time()
        slot = self._pool.take()
        if untrained and slot is not None and self._stage(slot, step or 0, None, now, gradients=False):
            slot.statistics, slot.snapshot = self._parameters, self.policy.snapshots is not None
            self._first = self._pool.settle(slot)
        self._probe.arm()
        self.policy.account.caller += thread_time() - start

    def tick(self, step: int, epoch: float | None, now: float) -> None:
        """Look at the model if this log call asks for it.

        To be called when `due_time` or `due_step` has come, and for each call that names a new epoch.
        """
        if not self._lock.acquire(blocking=epoch is not None):
            return  # another thread logs and looks right now; only what was asked for is worth waiting for it
        try:
            if self._probe.gone:
                self._tell_gone()
                return
            if self._needs_inputs:
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
                self._probe.arm()
                account.caller += thread_time() - start
            else:
                self._look(look, step, epoch, now)
                account.paid(thread_time() - start + self._probe.hook_seconds)
                self._probe.hook_seconds = 0.0
        finally:
            self.due_time = 0.0 if self._needs_inputs else self.policy.due_time
            self.due_step = self.policy.due_step
            self._lock.release()

    def snapshot(self, step: int, epoch: float | None, now: float) -> bool:
        """Take a snapshot now, unless there is one of this step; say whether there is."""
        with self._lock:
            self._place_first(step)
            if self.policy.last_snapshot == step:
                return True
            return self.look(Look(statistics=self.policy.last_look != step, snapshot=True), step, epoch, now)

    def look(self, look: Look, step: int, epoch: float | None, now: float) -> bool:
        """Take a look now, after the writer has freed memory for it if there is none; say whether it did."""
        with self._lock:
            start = thread_time()
            if not self._pool.ready:
                self._full.set()
                self._writer.flush()
            taken = self._look(look, step, epoch, now)
            self.policy.account.paid(thread_time() - start)
            return taken

    def finish(self, step: int | None, epoch: float | None, now: float) -> None:
        """Take the last look, hand over everything, and let go of the model."""
        policy = self.policy
        with self._lock:
            self._ending = True
            try:
                if self._needs_inputs and not self._probe.gone:
                    self._draw_late(last=True)
                if step is None:
                    step = 1  # nothing was logged: keep the parameters that were there at the beginning
                elif policy.last_look != step or (policy.snapshots is not None and policy.last_snapshot != step):
                    policy.account.loop = perf_counter() - self._began
                    if self._probe.gone:
                        self._tell_gone()
                    elif policy.snapshots is not None:
                        self.snapshot(step, epoch, now)
                    elif self._pool.ready:
                        self._look(Look(statistics=True), step, epoch, now)
                self._place_first(step)
            finally:
                self._probe.close()
                self._full.set()
        if not self._submitted:
            self._report()

    def _tell_gone(self) -> None:
        self._needs_inputs = False
        self.policy.due_time = self.policy.due_step = inf
        self._told(
            "the watched model is no longer there: nothing of it is recorded from here on; "
            "keep a reference to it, or call run.unwatch() before letting go of it"
        )

    def _prepare(self) -> Pool:
        facts = self._probe.parameters()
        trainable = [f for f in facts if f.trainable] if self._gradients else []
        layout, grad_layout = Layout(facts, chosen=self._chosen), Layout(trainable, chosen=self._chosen)
        self.policy.bytes = layout.bytes
        if left_out := self._probe.left_out:
            names = ", ".join(left_out[:8]) + (", ..." if len(left_out) > 8 else "")
            self._told(f"{len(left_out)} tensors are of types that cannot be stored and are not recorded: {names}")
        return Pool(layout, grad_layout, self._probe.bind)

    def _place_first(self, step: int) -> None:
        """The untrained network is the snapshot of the step before the first log call, if there is one."""
        slot, self._first = self._first, None
        if slot is None:
            return
        if step <= slot.step:
            self._pool.give(slot)
            return
        self.policy.looks += slot.statistics
        self.policy.account.looks += 1
        if slot.snapshot:
            self.policy.last_snapshot = slot.step
            self.policy.snapshots_taken += 1
        self._hand_over(slot)

    def _look(self, look: Look, step: int, epoch: float | None, now: float) -> bool:
        if self._looking:
            return False  # a signal handler logs in the middle of a look of the same thread
        self._looking = True
        try:
            return self._look_once(look, step, epoch, now)
        finally:
            self._looking = False

    def _look_once(self, look: Look, step: int, epoch: float | None, now: float) -> bool:
        slot = self._pool.take()
        if slot is None:
            self._full.set()
            self.policy.skip(now)
            self._writer.drop("looks", 1)
            return False
        gradients = look.statistics and self._gradients
        if not self._stage(slot, step, epoch, now, gradients=gradients):
            # The model has other parameters than before: begin again with those that it has now.
            self._pool = self._prepare()
            slot = self._pool.take()
            if slot is None or not self._stage(slot, step, epoch, now, gradients=gradients):
                raise StoreError("the parameters of the model changed while they were read")
        slot.statistics, slot.snapshot = look.statistics, look.snapshot
        if look.statistics:
            slot.activations = self._probe.activations()
        self._hand_over(self._pool.settle(slot))
        self.policy.took(step, look, now)
        if (self.policy.ready or self.policy.on_demand) and not self._ending:
            self._probe.arm()
        return True

    def _stage(self, slot: Slot, step: int, epoch: float | None, now: float, *, gradients: bool) -> bool:
        slot.step, slot.epoch, slot.t, slot.with_parameters = step, epoch, now, self._parameters
        there = self._probe.stage(slot.params, slot.grads if gradients else None)
        slot.with_gradients = there or ()
        slot.late = self._late() if there is not None else None
        return there is not None

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
                if slot.layout is self._pool.layout:
                    self._pool.give(slot)
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
        try:
            write_snapshot(self._folder, slot)
        except OSError as error:
            message = f"the snapshot of step {slot.step} was not written: {error.strerror or error}"
            self._writer.drop("snapshot", 1, message)

    def _notice_zeros(self, rows: dict[str, Any]) -> None:
        """Where every gradient is zero at log time, training zeroes them in place before it logs."""
        norms = [n for n, name in zip(rows["norm"].tolist(), rows["series"], strict=True) if name.startswith("grad/")]
        if norms and not any(norms):
            self._probe.prefer_hooks()

    def _draw_late(self, *, last: bool = False) -> None:
        inputs = self._probe.caught_inputs()
        if inputs is not None or last:
            self._needs_inputs = False
            self.draw(inputs)

    def draw(self, inputs: object) -> None:
        """Keep the network's graph and program. Its time is no part of the looks' budget: it happens once."""
        start = perf_counter()
        try:
            network = self._probe.network(inputs)
            self._writer.put_file("network/graph.json", graph_to_json(network.graph))
            if network.program is not None:
                self._writer.put_file("network/network.pt2", network.program)
            elif network.trouble:
                self._told(f"the network could not be exported, only its graph is recorded: {network.trouble}")
        except RecordingWarning:
            raise
        except Exception as error:  # noqa: BLE001 - the user's own code runs in here, and looks must go on
            self._failed("drawing the network", error)
        finally:
            self._network_seconds = perf_counter() - start
            self._began += self._network_seconds

    def _report(self) -> None:
        """Say in the run's state what was chosen and what it cost."""
        policy, account = self.policy, self.policy.account
        self._writer.set_state(
            recorder={
                "framework": self._probe.framework,
                "budget": account.budget,
                "share": round(account.share, 5),
                "looks": policy.looks,
                "snapshots": policy.snapshots_taken,
                "skipped": policy.skipped,
                "period": policy.period,
                "caller_seconds": round(account.caller, 6),
                "writer_seconds": round(account.writer, 6),
                "loop_seconds": round(account.loop, 6),
                "network_seconds": round(self._network_seconds, 3),
                "snapshot_bytes": policy.bytes,
                "slots": self._pool.made,
            }
        )
