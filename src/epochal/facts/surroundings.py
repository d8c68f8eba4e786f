"""Facts about what went on around a training: console lines, alerts, and the series of the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Stream = Literal["stdout", "stderr"]
AlertLevel = Literal["info", "warning", "error"]

SYSTEM_PREFIX = "system/"
"""Series of this beginning tell of the machine, not of the training: they are no metrics of it and count no steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleLine:
    """One line that the training printed: when (unix seconds), at which step (None before the first), and what.

    Colours and movements of the cursor are taken out; a progress bar is the line that it came to. `ended` is False
    for a line that was still being written.
    """

    t: float
    step: int | None
    stream: Stream
    text: str
    ended: bool = True
    rank: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something that the training wanted to be told: by `run.alert` (`rule` is empty) or by a rule of `run.define`.

    `rule` says the series and its condition, such as `loss: nan`; `step` is None before the first step.
    """

    t: float
    step: int | None
    title: str
    text: str = ""
    level: AlertLevel = "info"
    rule: str = ""
    rank: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemSeries:
    """What a series of the machine means: its unit, and which way is better where one is."""

    unit: str
    about: str
    better: Literal["min", "max"] | None = None


SYSTEM_SERIES: Mapping[str, SystemSeries] = {
    "cpu": SystemSeries(unit="%", about="work of all processors together; 100 is all of them"),
    "memory": SystemSeries(unit="%", about="part of the machine's memory that is in use", better="min"),
    "process_cpu": SystemSeries(unit="%", about="work of this process; 100 is one processor"),
    "process_memory": SystemSeries(unit="MB", about="memory of this process (resident)", better="min"),
    "disk_free": SystemSeries(unit="GB", about="room left on the disk that the run is written to", better="max"),
    "disk_read": SystemSeries(unit="MB/s", about="read from all disks"),
    "disk_write": SystemSeries(unit="MB/s", about="written to all disks"),
    "net_sent": SystemSeries(unit="MB/s", about="sent over the network"),
    "net_received": SystemSeries(unit="MB/s", about="received from the network"),
    "gpu/use": SystemSeries(unit="%", about="part of the time in which the GPU computed", better="max"),
    "gpu/memory": SystemSeries(unit="%", about="part of the GPU's memory that is in use"),
    "gpu/process_memory": SystemSeries(unit="MB", about="memory of this process on the GPU"),
    "gpu/power": SystemSeries(unit="W", about="electrical power that the GPU takes"),
    "gpu/temperature": SystemSeries(unit="°C", about="temperature of the GPU"),
}
"""By the name after `system/`; `gpu/` stands for `gpu0/`, `gpu1/` and so on. M is a million, G a thousand million."""


def is_system(series: str) -> bool:
    """Whether a series tells of the machine: `system/cpu`, and `rank1/system/cpu` of another process of the run."""
    if series.startswith(SYSTEM_PREFIX):
        return True
    rank, _, rest = series.partition("/")
    return rest.startswith(SYSTEM_PREFIX) and rank.startswith("rank") and rank[4:].isdigit()


def system_series(series: str) -> SystemSeries | None:
    """What a series of the machine means; None for any other."""
    if not is_system(series):
        return None
    name = series.partition(SYSTEM_PREFIX)[2]
    device, slash, what = name.partition("/")
    return SYSTEM_SERIES.get(f"gpu/{what}" if slash and device.startswith("gpu") else name)
