"""How a process comes into its run: makes a new one, goes on with one, or joins the one that rank 0 has made."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from epochal.errors import EpochalError, UsageError
from epochal.facts import is_system
from epochal.record.guard import warn_user
from epochal.record.lineage import Parent, find_parent, parent_of
from epochal.record.meeting import Meeting, wait_secs
from epochal.record.ranks import Place
from epochal.store import Resume, RunFolder, RunWriter
from epochal.store.files import read_json

__all__ = ["Entry", "enter", "last_step", "stay_out"]

SHARED_SECS = 10.0
"""How long a folder that another machine has made may take to be seen on this one."""

_OTHERS = re.compile(r"rank\d+/|ranks/(?:mean|min|max)/")


@dataclass(slots=True, kw_only=True)
class Entry:
    """What a run is begun or joined with. `config` lies under the settings that the user gave."""

    run_id: str | None
    resume: Resume
    joins: bool = False
    wait_secs: float = 0.0
    parent: Parent | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    meeting: Meeting | None = None

    def arrive(self, writer: RunWriter) -> Parent | None:
        """Tell the others of the run that was begun, and return the parent of the run that was joined."""
        if self.meeting is not None:
            self.meeting.tell(writer.run_id)
        if not self.joins:
            return self.parent
        return parent_of(writer.path.parent.parent, read_json(RunFolder(writer.path).run_json))


def enter(place: Place, root: Path, project: str, *, run_id: str | None, resume: Resume, fork: str | None) -> Entry:
    """Find out which run this process is to record into, waiting for rank 0 where that must be asked.

    Raises UsageError and NotFoundError for a parent that cannot be forked.
    """
    if fork is not None and resume == "must":
        raise UsageError("resume='must' goes on with a run, fork begins a new one", hint="choose one of them")
    entry = _find(place, root, project, run_id=run_id or os.environ.get("EPOCHAL_RUN_ID"), resume=resume)
    if entry.run_id is not None:
        entry.joins = place.rank > 0 or RunFolder.of(root, project, entry.run_id).run_json.exists()
    if fork is not None and not entry.joins:
        entry.parent = find_parent(root, fork)
        entry.config = entry.parent.config
    return entry


def stay_out(root: Path, fork: str | None) -> Entry:
    """What a process goes by that records nothing, and yet may want the parameters of the run that it would fork."""
    parent = None if fork is None else find_parent(root, fork)
    return Entry(run_id=None, resume="never", parent=parent, config=parent.config if parent else {})


def _find(place: Place, root: Path, project: str, *, run_id: str | None, resume: Resume) -> Entry:
    if run_id is not None:
        # A process that was started anew by its launcher goes on with the run of the attempt before.
        again: Resume = "allow" if place.attempt and resume == "never" else resume
        return Entry(run_id=run_id, resume=again, wait_secs=wait_secs() if place.rank else 0.0)
    if resume == "must" or (place.world_size == 1 and not place.elastic):
        return Entry(run_id=None, resume=resume)
    meeting = Meeting(place, root, project)
    if not place.rank:
        earlier = meeting.earlier() if place.attempt else None
        return Entry(run_id=earlier, resume="allow" if earlier else resume, meeting=meeting)
    secs = wait_secs()
    found = meeting.wait(secs)
    if found is not None:
        return Entry(run_id=found, resume="allow", wait_secs=min(secs, SHARED_SECS))
    waited = f"waited {secs:g} s for rank 0 in vain" if meeting.possible else "cannot hear of rank 0"
    warn_user(
        f"rank {place.rank} {waited} and records a run of its own: call epochal.init() on rank 0 too, after "
        "init_process_group() where there is no launcher, or give all ranks the same id= (or EPOCHAL_RUN_ID)"
    )
    return Entry(run_id=None, resume="never")


def last_step(writer: RunWriter, place: Place, entry: Entry, rewind_to: int | None) -> int:
    """The step after which the run's own counter goes on; -1 for a run that begins."""
    if not entry.joins:
        return entry.parent.step if entry.parent else -1
    from epochal.store import StoredRun  # only who goes on with a run reads one

    stored = StoredRun(writer.path)
    try:
        if rewind_to is not None:
            if not place.rank and len(epochs := stored.epochs()[1]):
                writer.set_state(last_epoch=float(epochs[-1]))
            return rewind_to
        summaries = stored.summaries()
    except EpochalError:  # what other processes left is damaged: this one begins again
        return -1 if rewind_to is None else rewind_to
    own = f"rank{place.rank}/" if place.rank else ""
    steps = [
        s.last_step
        for name, s in summaries.items()
        if name.startswith(own) and (own or not _OTHERS.match(name)) and not is_system(name)
    ]
    run = read_json(RunFolder(writer.path).run_json)
    begun = run.get("parent_step")
    return max(steps, default=begun if isinstance(begun, int) else -1)
