"""What the small files of a run say together: what it is, how it stands, whether there is news."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from epochal.facts import Notice, RunInfo, RunStatus
from epochal.store.boots import Boot, is_young
from epochal.store.layout import RunFolder, default_name
from epochal.store.segments import list_segments

__all__ = ["news_of", "overall_status", "run_info"]


def run_info(
    folder: RunFolder,
    run: Mapping[str, Any],
    meta: Mapping[str, Any],
    ranks: list[list[Boot]],
    notices: tuple[Notice, ...],
    *,
    steps_read: Sequence[int] = (),
) -> RunInfo:
    """Return the facts of a run from its run.json, its meta.json and its writers.

    `steps_read` are steps that scalars were read at, where those may be later than what the writers' states say.
    """
    status = overall_status(folder, ranks, time.time())
    latest = [boots[-1] for boots in ranks]
    config = dict(run.get("config") or {})
    recorder: dict[str, Any] = {}
    for boots in reversed(ranks):  # what rank 0 says stands
        for boot in boots:
            config.update(boot.state.get("config") or {})
            recorder.update(boot.state.get("recorder") or {})
    errors = [_error_of(boot, several=len(ranks) > 1) for boot in latest if boot.state.get("error")]
    steps = [int(step) for boots in ranks if (step := _latest(boots, "last_step")) is not None]
    steps += steps_read
    epochs = [float(epoch) for boots in ranks if (epoch := _latest(boots, "last_epoch")) is not None]
    return RunInfo(
        run_id=folder.run_id,
        project=folder.project,
        name=str(meta.get("name") or run.get("name") or default_name(folder.project, folder.run_id)),
        path=str(folder.path),
        created=float(run.get("created") or 0.0),
        status=status,
        ended=None if status == "running" else max((boot.last_sign for boot in latest), default=None),
        last_step=max(steps, default=None),
        last_epoch=max(epochs, default=None),
        format_version=int(run["format_version"]),
        config=config,
        group=run.get("group"),
        parent=run.get("parent"),
        parent_step=run.get("parent_step"),
        ranks=max(1, len(ranks)),
        tags=tuple(str(tag) for tag in meta.get("tags", run.get("tags")) or ()),
        notes=str(meta.get("notes", run.get("notes")) or ""),
        archived=bool(meta.get("archived")),
        error=errors[0] if errors else None,
        code=dict(run.get("code") or {}),
        environment=dict(run.get("environment") or {}),
        recorder=recorder,
        notices=notices,
    )


def _error_of(boot: Boot, *, several: bool) -> str:
    return f"rank {boot.folder.rank}: {boot.state['error']}" if several else str(boot.state["error"])


def _latest(boots: Sequence[Boot], what: str) -> Any:
    """The last step or epoch of a rank: what its latest boot says, or, where that logged none yet, the one before."""
    for boot in reversed(boots):
        if (value := boot.state.get(what)) is not None or boot.rewound_to is not None:
            return value
    return None


def overall_status(run: RunFolder, ranks: list[list[Boot]], now: float) -> RunStatus:
    """How the run stands, by the latest boot of each rank: running while one lives, failed if one failed.

    Else it stands as its lowest rank does: a rank that died in a run that went on to its end is told in a notice.
    """
    latest = [boots[-1].status(now) for boots in ranks]
    for status in ("running", "failed"):
        if status in latest:
            return status
    if latest:
        return latest[0]
    return "running" if is_young(run.path, now) else "crashed"


def news_of(boot: Boot) -> tuple[object, ...]:
    """Return what changes when anything comes to a writer's folder, heartbeats left out."""
    folder = boot.folder
    places = [_stamp(path) for path in (folder.snapshots("params"), folder.snapshots("grads"), folder.network)]
    if boot.ended:
        return (boot.state_file.stamp, *places)
    known = {key: value for key, value in boot.state.items() if key not in ("heartbeat", "recorder")}
    streams = (folder.scalars, folder.stats, folder.media)
    newest = [_stamp(path / name) for path in streams for name in list_segments(path)[-1:]]
    beside = [_stamp(path) for path in (folder.console, folder.alerts)]
    return (repr(known), boot.journal.newest(), *newest, *places, *beside)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = os.stat(path)  # noqa: PTH116
    except OSError:
        return (0, 0)
    return (stat.st_mtime_ns, stat.st_size)
