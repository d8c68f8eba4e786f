"""What a reader must be told of a run: losses, damage, hidden rows, two writers at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from epochal.facts import Notice
from epochal.store.boots import Boot, CachedJson
from epochal.store.mediaread import MediaSet
from epochal.store.merge import Merged
from epochal.store.process import machine_restarted
from epochal.store.snapshots import SnapshotSet
from epochal.store.statistics import StatisticsSet

__all__ = ["notices_of"]

_FULL = ": the disk refused what came, and the memory for it was full"
_DROPPED = {
    "scalars": ("number", _FULL),
    "statistics": ("row of statistics", _FULL),
    "snapshot": ("snapshot", ""),
    "file": ("file", ""),
    "media": ("value", ""),
    "job": ("part of the recording", ": it failed"),
    "alert": ("alert", ": it came too often, or the disk refused it"),
    "console": ("line of the console", ": its file was full, or the disk refused it"),
    "system": ("sample of the machine", ": it failed"),
    "network": ("part of a watched network", ": the program was told which and why"),
    "far": ("number of an accelerator", ": it was not handed over in time"),
    "late": ("call", ": the run had ended"),
    "error": ("call", ": it failed, as the program was told"),
    "code": ("part of the code's state", ": it could not be found out"),
}


_UNDELIVERED = ("1 alert did not reach its webhook or function", "{:,} alerts did not reach their webhook or function")
_ALTERED = {
    "pixels": "{:,} pixels were not finite or lay outside the stated range: they are shown as its nearest end",
    "samples": "{:,} samples of sounds were not finite or lay outside -1 to 1: they were clamped",
}


def notices_of(
    ranks: list[list[Boot]],
    scalars: Merged,
    statistics: StatisticsSet,
    snapshots: Mapping[Any, SnapshotSet],
    meta: CachedJson,
    *,
    media: MediaSet,
) -> tuple[Notice, ...]:
    """Return the notices known so far; what was not read yet is not known."""
    found: list[Notice] = []
    boots = [boot for rank in ranks for boot in rank]
    for boot in boots:
        found += [*_dropped(boot), *_thinned(boot)]
        if boot.state_file.damaged:
            message = f"{boot.folder.name}: {boot.state_file.damaged}"
            found.append(Notice(code="damaged", message=message, hint=boot.state_file.hint))
    if meta.damaged:
        found.append(Notice(code="damaged", message=meta.damaged, hint="its name, tags and notes are lost"))
    for rank in ranks:
        found += _overlaps(rank)
    found += _dead_ranks(ranks)
    crashed = [boot for boot in boots if not boot.ended and boot.status(time.time()) == "crashed"]
    found += [_cut_off(boot, scalars) for boot in crashed if machine_restarted(boot.state)]
    for name, tail in scalars.tails.items():
        found += _damage(f"{name}/scalars", tail.damaged, tail.lost)
        if tail.unknown:
            found.append(
                Notice(
                    code="unnamed",
                    message=f"{tail.unknown:,} numbers of {name} belong to series whose names were not kept",
                    count=tail.unknown,
                )
            )
    for name, table in statistics.tails.items():
        found += _damage(f"{name}/stats", table.damaged, table.lost)
    found += media.notices()
    for name, (damaged, lost) in media.damage().items():
        found += _damage(f"{name}/media", damaged, lost)
    if scalars.hidden:
        found.append(
            Notice(
                code="hidden",
                message=f"{scalars.hidden:,} numbers are hidden: {_went_back(boots)}",
                hint="the later ones are shown; the earlier ones are still in the run's folder",
                count=scalars.hidden,
            )
        )
    for kind, snapshot_set in snapshots.items():
        found += [
            Notice(
                code="damaged",
                message=f"the {kind} snapshot of step {step} cannot be read; films leave it out",
                hint=f"it is {file.path.name}; a copy of the run may still hold it",
                count=1,
            )
            for file, step in snapshot_set.damaged.items()
        ]
        if snapshot_set.hidden:
            found.append(
                Notice(
                    code="hidden",
                    message=f"{snapshot_set.hidden:,} {kind} snapshots are hidden: {_went_back(boots)}",
                    count=snapshot_set.hidden,
                )
            )
    return tuple(found)


def _dropped(boot: Boot) -> list[Notice]:
    found = []
    for code, count in (boot.state.get("dropped") or {}).items():
        if code in _ALTERED:
            found.append(Notice(code=f"altered_{code}", message=_ALTERED[code].format(count), count=int(count)))
            continue
        if code == "delivery":
            text = _UNDELIVERED[count != 1].format(count)
            found.append(Notice(code="undelivered", message=text, hint="they are kept in the run", count=int(count)))
            continue
        thing, why = _DROPPED.get(code, (code.removesuffix("s"), ""))
        first, _, rest = thing.partition(" ")
        many = " ".join(filter(None, (f"{first}s", rest)))
        text = (f"1 {thing} was" if count == 1 else f"{count:,} {many} were") + f" not recorded{why}"
        series = boot.state.get("dropped_series") or {}
        hint = f"series: {', '.join(list(series)[:8])}" if code == "scalars" and series else ""
        found.append(Notice(code=f"dropped_{code}", message=text, hint=hint, count=int(count)))
    return found


def _thinned(boot: Boot) -> list[Notice]:
    """Snapshots that were let go of on purpose: no loss, but to be known."""
    facts = boot.state.get("thinned") or {}
    count = int(facts.get("count") or 0)
    if not count:
        return []
    which = "1 snapshot was" if count == 1 else f"{count:,} snapshots were"
    return [
        Notice(
            code="thinned",
            message=f"{which} thinned to stay under {_bytes(float(facts['limit']))}",
            hint=f"of steps {facts['first']:,} to {facts['last']:,}; the best, the last and those of run.snapshot() "
            "stay: run.watch(disk=...) sets the limit",
            count=count,
        )
    ]


def _bytes(size: float) -> str:
    power = min(4, max(0, int(size).bit_length() - 1) // 10)
    return f"{size / 1024**power:.4g} {('bytes', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def _damage(where: str, damaged: int, lost: int) -> list[Notice]:
    if not damaged and not lost:
        return []
    rows = f", at least {lost:,} rows are lost" if lost else ""
    return [
        Notice(
            code="damaged",
            message=f"{damaged:,} bytes in {where} cannot be read{rows}; the rest is shown",
            hint="a copy of the run may still hold them",
            count=lost or damaged,
        )
    ]


def _went_back(boots: list[Boot]) -> str:
    """Say why something is hidden: the user took the run back, or it logged steps again."""
    steps = sorted({boot.rewound_to for boot in boots if boot.rewound_to is not None})
    if not steps:
        return "the run went back and logged those steps again"
    return f"the run was taken back to step {', '.join(f'{step:,}' for step in steps)}"


def _dead_ranks(ranks: list[list[Boot]]) -> list[Notice]:
    """Tell of ranks that died while others of the run live or came to an end; a run that died whole is a crash."""
    now = time.time()
    latest = [boots[-1] for boots in ranks]
    dead = [boot for boot in latest if boot.status(now) == "crashed"]
    if not dead or len(dead) == len(latest):
        return []
    names = ", ".join(str(boot.folder.rank) for boot in dead[:8]) + (", ..." if len(dead) > 8 else "")
    return [
        Notice(
            code="dead_rank",
            message=f"rank {names} died before the end: its numbers end where it died"
            if len(dead) == 1
            else f"ranks {names} died before the end: their numbers end where they died",
            hint="means over ranks are those of the ranks that went on",
            count=len(dead),
        )
    ]


def _cut_off(boot: Boot, scalars: Merged) -> Notice:
    """Tell what the end of the machine under a writer cost: all it had handed over, but not yet seen on the disk."""
    boot.summary_file.refresh()
    told = boot.summary_file.value.get("rows_end")
    tail = scalars.tails.get(boot.folder.name)
    missing = tail.missing(told if isinstance(told, int) else 0) if tail else 0
    lost = f"at least {missing:,} of the last numbers are" if missing else "some of the last numbers may be"
    return Notice(
        code="cut_off",
        message=f"the machine stopped or was started anew while {boot.folder.name} was written: {lost} lost",
        hint="numbers and statistics are safe from that after about a second, snapshots once the system wrote them",
        count=missing,
    )


def _overlaps(rank: list[Boot]) -> list[Notice]:
    found = []
    for earlier, later in pairwise(rank):
        if earlier.last_sign > later.started:
            found.append(
                Notice(
                    code="two_writers",
                    message=f"two processes wrote this run at the same time: {earlier.folder.name} and "
                    f"{later.folder.name}",
                    hint="of a series that both logged, the later process's numbers are shown from its first step on",
                    count=2,
                )
            )
    return found
