"""What a run tells its people: kept in the run, said in the terminal, handed to webhooks and functions."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import get_args

from epochal.errors import UsageError
from epochal.facts import Alert, AlertLevel, Better
from epochal.record.deferred import Append
from epochal.record.rules import Rules
from epochal.record.secret import Mask
from epochal.record.webhook import Post, Target
from epochal.store import RunWriter

LIMIT_BYTES = 4_000_000
BURST = 20
REFILL_SECS = 5.0
"""So many alerts at once are said and sent, then one each so many seconds; all of them are kept in the run."""

TITLES = 1_000


class Bucket:
    """Lets `burst` things through at once, and one more for each `refill_secs` that pass."""

    def __init__(self, burst: int, refill_secs: float, *, clock: Callable[[], float] = monotonic) -> None:
        self._burst, self._refill, self._clock = burst, refill_secs, clock
        self._room, self._then = float(burst), clock()

    def take(self) -> bool:
        """Whether one may go now."""
        now = self._clock()
        self._room = min(self._burst, self._room + (now - self._then) / self._refill)
        self._then = now
        if self._room < 1:
            return False
        self._room -= 1
        return True


class Alerts:
    """The alerts of one run. Every method may be called from any thread; none waits for a network."""

    def __init__(
        self,
        writer: RunWriter,
        *,
        targets: Sequence[Target] = (),
        about: dict[str, str],
        mask: Mask,
        bucket: Bucket | None = None,
    ) -> None:
        self._writer = writer
        self._mask = mask
        self._file = writer.lines("alerts", limit_bytes=LIMIT_BYTES)
        self._post = Post(targets, about=about, failed=self._undelivered)
        self._targets = len(targets)
        self._bucket = bucket or Bucket(BURST, REFILL_SECS)
        self._unsaid = 0
        self._last: dict[str, float] = {}
        self._lock = threading.RLock()  # a signal handler may raise an alert in the middle of one
        self._rules = Rules(self._raise_by_rule)
        self._looking = False

    def raise_alert(
        self,
        title: str,
        text: str,
        level: AlertLevel,
        *,
        step: int | None,
        t: float | None = None,
        rule: str = "",
        every: float | None = None,
    ) -> None:
        """Keep, say and send an alert. With `every`, the same title again only after so many seconds."""
        if level not in get_args(AlertLevel):
            raise UsageError(f"level is {level!r}", hint="use 'info', 'warning' or 'error'")
        if every is not None and not (isinstance(every, int | float) and 0 <= every < math.inf):
            raise UsageError(f"every is {every!r}", hint="give the seconds between two alerts of one title")
        alert = Alert(
            t=time() if t is None else t,
            step=step,
            title=self._mask(str(title)),
            text=self._mask(str(text)),
            level=level,
            rule=rule,
            rank=0,
        )
        with self._lock:
            now = monotonic()
            last = self._last.get(alert.title)
            if every is not None and last is not None and now - last < every:
                return
            if every is not None:
                if len(self._last) >= TITLES:
                    self._last.clear()  # titles that are all different need no memory
                self._last[alert.title] = now
            self._keep(alert)
            loud = self._bucket.take()
            unsaid, self._unsaid = (self._unsaid, 0) if loud else (0, self._unsaid + 1)
        if loud:
            self._say(alert, unsaid)
            self._post.send(alert)
        elif self._targets:
            self._writer.drop("delivery", self._targets)

    def _keep(self, alert: Alert) -> None:
        row = {"t": alert.t, "step": alert.step, "title": alert.title, "text": alert.text, "level": alert.level}
        try:
            kept = self._file.write([{**row, "rule": alert.rule}])
        except OSError:
            kept = 0
        if not kept:
            self._writer.drop("alert", 1)

    def _say(self, alert: Alert, unsaid: int) -> None:
        at = "" if alert.step is None else f" (step {alert.step:,})"
        more = f": {alert.text}" if alert.text else ""
        before = f"epochal: {unsaid:,} more alerts were not said\n" if unsaid else ""
        # A closed or broken stderr is no reason to disturb the training.
        with contextlib.suppress(Exception):
            sys.stderr.write(f"{before}epochal {alert.level}: {alert.title}{at}{more}\n")
            sys.stderr.flush()

    def _undelivered(self, reason: str) -> None:
        self._writer.drop("delivery", 1, f"an alert was not delivered: {reason}")

    def watch(self, series: str, conditions: str | Sequence[str], *, begin: Callable[[Append], object]) -> list[str]:
        """Give a series its conditions; return their texts. The first time, `begin` gets what is to look at numbers."""
        texts = self._rules.set(series, conditions)
        if not self._looking:
            self._looking = True
            begin(self._rules.look)
        return texts

    def _raise_by_rule(self, title: str, level: AlertLevel, rule: str, step: int, t: float) -> None:
        self.raise_alert(title, "", level, step=step, t=t, rule=rule)

    def set_better(self, series: str, better: Better) -> None:
        """Say which way a series is better, for `stalled`."""
        self._rules.set_better(series, better)

    def close(self) -> None:
        """Send what waits, for some seconds at most."""
        self._post.close()
        if untold := self._rules.untold:
            self._writer.drop("alert", untold)
        self._file.close()
