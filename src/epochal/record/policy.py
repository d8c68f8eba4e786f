"""When to look at the network, and what it may cost.

A *look* reads parameters, gradients and activations; a *snapshot* is a look that also keeps the parameters' values.
Looks that the user asked for (each new epoch, every n-th step's snapshot, `run.snapshot()`) are always taken. The
others live on an account: it earns four fifths of `budget` seconds for each second of training, every look is paid from
it (time on the caller's thread and CPU time of the writer's thread), and a look is due once the account covers what
looks cost lately. Where there is no budget (None), every one of them is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, inf, isfinite
from typing import Literal

Snapshots = Literal["epoch"] | int | None

CHEAP_SECONDS = 0.0008
ADVANCE_SECONDS = 0.120
"""What cheap looks may cost before training has earned it, so that a short training of a small network keeps every
step: 150 looks of `CHEAP_SECONDS`. Dearer looks get much less."""
ADVANCE_OTHERWISE_SECONDS = 0.010
"""What any looks get in advance."""
AIM = 0.8
"""The part of the budget that what we measure may take. The rest goes to what no clock of ours sees: after a look, the
training finds its own data gone from the processor's caches."""
ROOM = 1024
"""Snapshots that nobody asked for by name grow scarce once they are so many."""
DISK_BYTES = 4 << 30
"""What snapshots may take on the disk where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Look:
    """What to do at a log call.

    `arm` prepares a look at the next call, so that activations and gradients come from the same step as parameters.
    """

    statistics: bool = False
    snapshot: bool = False
    arm: bool = False


NOTHING = Look()
ARM = Look(arm=True)
# Made once: making a frozen object takes a microsecond.
_LOOKS = {(a, b): Look(statistics=a, snapshot=b) for a in (False, True) for b in (False, True)}


@dataclass(slots=True)
class Account:
    """What looking has cost in seconds, and what it may; `loop` is the time since watching began.

    A `budget` of None lets it cost whatever it takes.
    """

    budget: float | None = 0.02
    loop: float = 0.0
    caller: float = 0.0
    writer: float = 0.0
    looks: int = 0
    digested: int = 0
    recent: float = CHEAP_SECONDS / 4

    def paid(self, caller: float, *, taken: bool = True) -> None:
        """Book a look's time on the caller's thread; one that was not `taken` costs the writer nothing."""
        self.caller += caller
        self.looks += taken
        # One slow look (a page fault, a busy core) says little of the next.
        self.recent += 0.3 * (min(caller, 4 * self.recent) - self.recent)

    def digest(self, writer: float, looks: int) -> None:
        """Book the writer's CPU time for `looks` looks."""
        self.writer += writer
        self.digested += looks

    @property
    def writer_per_look(self) -> float:
        """The writer's CPU time for one look, on average so far."""
        return self.writer / self.digested if self.digested else CHEAP_SECONDS / 2

    @property
    def per_look(self) -> float:
        """What the next look will probably cost."""
        return self.recent + self.writer_per_look

    def missing(self, budget: float) -> float:
        """What the account lacks to pay for one more look, looks that the writer has not come to included."""
        each = self.per_look
        advance = max(ADVANCE_OTHERWISE_SECONDS, ADVANCE_SECONDS * min(1.0, (CHEAP_SECONDS / each) ** 4))
        owed = (self.looks - self.digested) * self.writer_per_look
        return self.caller + self.writer + owed + each - advance - AIM * budget * self.loop

    def wait(self) -> float:
        """Seconds of training until the account covers a look; 0 when it does."""
        if self.budget is None:
            return 0.0
        missing = self.missing(self.budget)
        if missing <= 0:
            return 0.0
        return missing / (AIM * self.budget) if self.budget > 0 else inf

    @property
    def share(self) -> float:
        """Part of the training's time that looking took."""
        return (self.caller + self.writer) / self.loop if self.loop > 0 else 0.0


@dataclass(slots=True)
class Policy:
    """The schedule of one watched model; one thread at a time may ask it.

    `every` is the least distance of looks that nobody asked for, in steps; they are taken at its multiples, or at the
    first call after one. `disk` is what all snapshots may take in bytes, `bytes` what one takes. `due_time` and
    `due_step` say when `decide` wants to be asked next, besides every call that names an epoch. `ready` is set while
    activations are prepared for the very next call.
    """

    snapshots: Snapshots
    account: Account
    every: int = 1
    disk: float | None = DISK_BYTES
    bytes: int = 0
    due_time: float = 0.0
    due_step: float = inf
    ready: bool = True
    idle: bool = False
    """Whether a look would read nothing: no statistics are wanted, and snapshots come when they are called."""
    epoch: int | None = None
    first_step: int | None = None
    last_step: int | None = None
    last_look: int | None = None
    last_snapshot: int | None = None
    last_period: int | None = None
    """The last step at which a snapshot of the period that the user gave was taken, or could not be."""
    stride: int = 1
    looks: int = 0
    asked: int = 0
    """Looks that the user asked for: no account covers them."""
    snapshots_taken: int = 0
    skipped: int = 0

    def __post_init__(self) -> None:
        if self.snapshots_every or self.every > 1:
            self.due_step = 0.0

    @property
    def snapshots_every(self) -> int:
        """Steps from snapshot to snapshot where the user gave them, else 0."""
        return self.snapshots if isinstance(self.snapshots, int) else 0

    def decide(self, step: int, epoch: float | None, now: float) -> Look:
        """Say what this log call asks for; a step that was looked at is not looked at again."""
        if self.first_step is None:
            self.first_step = step
        before = self.last_step
        if before is not None and step > before:
            self.stride = step - before
        self.last_step = step
        if self.idle:
            self.due_time = self.due_step = inf
            return NOTHING
        asked, snapshot = self._asked(step, epoch)
        seen = step == self.last_look
        if asked and not (seen and (not snapshot or step == self.last_snapshot)):
            self.asked += not seen
            return _LOOKS[not seen, snapshot]
        if seen:
            return NOTHING
        look = NOTHING
        if self.every > 1:
            look = self._at_distance(step, before, now)
        elif now >= self.due_time:
            wait = self.account.wait()
            if wait > 0:
                self.due_time = now + wait
            elif self.ready:
                look = _LOOKS[True, self._volunteer(step)]
            else:
                look = self._prepare()
        if look is not NOTHING:
            return look
        period = self.snapshots_every
        return self._prepare() if period and not self.ready and _passes(step, step + self.stride, period) else NOTHING

    def _at_distance(self, step: int, before: int | None, now: float) -> Look:
        """First time passes until the account covers a look, then steps until a multiple comes."""
        wait = self.account.wait()
        if wait > 0:
            self._plan(step, now, wait)
            return NOTHING
        waited_for_step = self.due_time == inf
        if self.last_look is None or step % self.every == 0 or (waited_for_step and _passes(before, step, self.every)):
            return _LOOKS[True, self._volunteer(step)]
        self._plan(step, now, wait)
        # The stride is that between questions: where it is too large, this prepares too early, and again in time.
        return self._prepare() if _passes(step, step + self.stride, self.every) else NOTHING

    def _prepare(self) -> Look:
        self.ready = True
        return ARM

    def took(self, step: int, look: Look, now: float) -> None:
        """Note a look that was taken and plan the next."""
        self.looks += look.statistics
        self.last_look = step
        if look.snapshot:
            self.last_snapshot = self.last_period = step
            self.snapshots_taken += 1
        wait = self.account.wait()
        self.ready = wait == 0.0 and _passes(step, step + self.stride, self.every)
        self._plan(step, now, wait)

    def skip(self, now: float) -> None:
        """Note a look that could not be taken: the writer is behind, or reading failed."""
        self.skipped += 1
        if self.last_step is not None:
            self.last_period = self.last_step
            self._plan(self.last_step, now, max(self.account.wait(), 0.01))

    def _plan(self, step: int, now: float, wait: float) -> None:
        """When to be asked next: once the account covers a look, and one call before a multiple, to prepare it."""
        self.due_time, self.due_step = now + wait, inf
        if self.every > 1 and wait == 0.0:
            self.due_time, self.due_step = inf, (step // self.every + 1) * self.every - self.stride
        if period := self.snapshots_every:
            self.due_step = min(self.due_step, (step // period + 1) * period - self.stride)

    @property
    def on_demand(self) -> bool:
        """Whether the next look may come without a warning one call earlier."""
        return self.epoch is not None or self.snapshots != "epoch" or self.every > 1

    @property
    def period(self) -> int:
        """Steps from look to look, on average."""
        if self.first_step is None or self.last_step is None:
            return 0
        return max(1, round((self.last_step - self.first_step + self.stride) / max(1, self.looks)))

    def _asked(self, step: int, epoch: float | None) -> tuple[bool, bool]:
        """Whether the user asked for a look at this call, and whether for a snapshot."""
        asked = snapshot = False
        if epoch is not None and isfinite(epoch) and floor(epoch) != self.epoch:
            self.epoch = floor(epoch)
            asked, snapshot = True, self.snapshots == "epoch"
        if self.snapshots_every and _passes(self.last_period, step, self.snapshots_every):
            asked = snapshot = True
        return asked, snapshot

    def _volunteer(self, step: int) -> bool:
        """Whether a look that nobody asked for is kept as a snapshot too.

        Never where epochs are known or a period was given. Else all of the first `room` are; later ones must lie a
        `room`-th of the training so far apart, so that their number grows with the logarithm of its length.
        """
        if self.snapshots != "epoch" or self.epoch is not None:
            return False
        if self.last_snapshot is None or self.first_step is None:
            return True
        room = ROOM if self.disk is None else min(ROOM, max(32, self.disk // max(1, self.bytes)))
        return (step - self.last_snapshot) * room >= step - self.first_step


def _passes(before: int | None, step: int, every: int) -> bool:
    """Whether a multiple of `every` lies after step `before`, up to and with `step`."""
    return before is None or step // every != before // every
