"""Alerts on their way out: posted as JSON to an address, or handed to a function of the user's, from a thread.

The training never waits for them. An address may hold a token: it is never recorded, shown or put into a message.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from time import monotonic
from urllib.parse import urlsplit

from epochal.errors import UsageError
from epochal.facts import Alert

ATTEMPTS = 2
TIMEOUT_SECS = 5.0
PAUSE_SECS = 0.5
CLOSE_SECS = 6.0
QUEUE = 100

Target = str | Callable[[Alert], object]


def check_address(address: str) -> str:
    """The address of a webhook, without blanks around it; raises UsageError, which does not show it."""
    address = address.strip()
    try:
        parts = urlsplit(address)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or any(ch <= " " or ch == "\x7f" for ch in address):
        raise UsageError("the address of a webhook for alerts is no http:// or https:// address")
    return address


class Post:
    """Hands alerts to their targets, one after the other, in a thread that is started by the first.

    `about` says what run it is (strings), `failed(reason)` is called for each alert that did not reach a target.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        about: dict[str, str],
        failed: Callable[[str], object],
        timeout_secs: float = TIMEOUT_SECS,
        close_secs: float = CLOSE_SECS,
    ) -> None:
        self._targets = tuple(targets)
        self._about = about
        self._failed = failed
        self._timeout, self._close_secs = timeout_secs, close_secs
        self._queue: queue.Queue[Alert | None] = queue.Queue(QUEUE)
        self._thread: threading.Thread | None = None
        self._deadline: float | None = None
        self._lock = threading.Lock()
        self._left = 0
        self._given_up = False

    def send(self, alert: Alert) -> None:
        """Queue an alert. Never waits, never raises."""
        if not self._targets:
            return
        with self._lock:
            try:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._loop, name="epochal-alerts", daemon=True)
                    self._thread.start()
                self._queue.put_nowait(alert)
                self._left += len(self._targets)
                return
            except queue.Full:
                reason = "too many alerts wait already"
            except RuntimeError:  # the interpreter is shutting down
                self._thread, reason = None, "the process ends"
        for _ in self._targets:
            self._failed(reason)

    def close(self) -> None:
        """Wait for what is queued, not for long; what is left then counts as failed."""
        if self._thread is None:
            return
        self._deadline = monotonic() + self._close_secs
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=self._close_secs)
        if self._thread is not threading.current_thread():
            self._thread.join(max(0.0, self._deadline - monotonic()))
        with self._lock:
            left, self._left, self._given_up = self._left, 0, True
        for _ in range(left):
            self._failed("the run ended before it was delivered")

    def _loop(self) -> None:
        while (alert := self._queue.get()) is not None:
            for target in self._targets:
                if self._given_up:
                    return
                try:
                    if isinstance(target, str):
                        reason = self._post(target, alert)
                    else:
                        target(alert)
                        reason = ""
                except Exception as error:  # noqa: BLE001 - a function of the user's may raise anything
                    reason = f"the function raised {type(error).__name__}: {error}"
                with self._lock:
                    self._left -= not self._given_up
                if reason and not self._given_up:
                    self._failed(reason)

    def _post(self, address: str, alert: Alert) -> str:
        """Post an alert, try once more where that fails; return why it failed, '' when it did not."""
        # Only here: what speaks HTTP takes longer to import than all else of the recorder.
        from epochal.record.http import post_json

        body = {"text": message(alert, self._about), "epochal": {**self._about, **asdict(alert)}}
        reason = ""
        for attempt in range(ATTEMPTS):
            timeout = self._timeout
            if self._deadline is not None:
                timeout = min(timeout, self._deadline - monotonic())
            if attempt and timeout > PAUSE_SECS:
                threading.Event().wait(PAUSE_SECS)
            if timeout <= 0:
                return reason or "the run ended before it was delivered"
            status = post_json(address, json.dumps(body).encode(), timeout=timeout)
            if isinstance(status, int) and 200 <= status < 300:
                return ""
            reason = f"the webhook answered {status}" if isinstance(status, int) else f"the webhook: {status}"
            if isinstance(status, int) and 400 <= status < 500:
                body = {"text": body["text"]}  # some receivers take nothing else
        return reason


def message(alert: Alert, about: dict[str, str]) -> str:
    """What a person reads of an alert in a chat."""
    at = "" if alert.step is None else f", step {alert.step:,}"
    head = f"{alert.level}: {alert.title}"
    return "\n".join(filter(None, (head, alert.text, f"{about.get('project', '')}/{about.get('name', '')}{at}")))
