"""The beginning of a run: `epochal.init`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from epochal.errors import UsageError
from epochal.record.config import plain_config
from epochal.record.entry import enter, last_step, stay_out
from epochal.record.guard import strict_wanted, warn_user
from epochal.record.lineage import project_of_fork
from epochal.record.origin import code_facts, environment_facts
from epochal.record.ranks import find_place
from epochal.record.run import Run
from epochal.record.secret import Masker
from epochal.record.streamed import place_of, stream, take
from epochal.record.surroundings import AlertTargets, begin, choose
from epochal.store import Resume, RunWriter, default_name, new_run_id

Mode = Literal["on", "off"]


def init(
    project: str | None = None,
    *,
    name: str | None = None,
    config: Mapping[str, Any] | object | None = None,
    dir: str | os.PathLike[str] | None = None,  # noqa: A002 - the word every tracker uses
    tags: Sequence[str] = (),
    notes: str = "",
    group: str | None = None,
    id: str | None = None,  # noqa: A002
    resume: Resume = "never",
    rewind_to: int | None = None,
    fork: str | None = None,
    rank: int | None = None,
    world_size: int | None = None,
    mode: Mode = "on",
    strict: bool | None = None,
    system: bool | float | None = None,
    console: bool | None = None,
    code: bool | None = None,
    alerts: AlertTargets | None = None,
) -> Run:
    """Begin to record a training and return its run.

    Runs lie below `dir` (or EPOCHAL_DIR, or ./epochal-runs), in the folder of their `project` (the script's name
    where none is given). `config` is a mapping, dataclass or namespace of settings. With an `id` of a run that is
    there, `resume="allow"` goes on with it and "must" insists that it is there; `rewind_to` is then the last step that
    is kept, what came after it is hidden. `fork="run@step"` begins a new run where another one was at a step: see
    `Run.parent_parameters`. `mode="off"` records nothing, at no cost. `strict=True` (or EPOCHAL_STRICT=1) raises
    errors that otherwise are warned of once.

    All processes of a distributed training call this and record into one run. `rank` and `world_size` say which of
    them this is where neither their launcher nor torch.distributed does; `world_size=1` gives it a run of its own.

    Recorded too, unless switched off: the machine each 10 s (`system` is True, False or the seconds; EPOCHAL_SYSTEM
    where it is not given), what is printed (`console`, EPOCHAL_CONSOLE), and the code's command, commit, changes and
    packages (`code`, EPOCHAL_CODE). `alerts` is who is told of alerts besides the terminal: the address of a webhook,
    a function that takes an `Alert`, or a list of these; EPOCHAL_ALERT_WEBHOOK adds one.

    Raises UsageError for what cannot be, RunExistsError, NotFoundError (`resume="must"`, `fork`), and StorageFullError
    where the folder cannot be written. Where `dir` is `s3://bucket/prefix`, the run is recorded in the user's cache and
    put there meanwhile; RemoteError where that cannot be.

    >>> import epochal
    >>> run = epochal.init("example", config={"lr": 0.1}, mode="off")
    >>> run.log({"loss": 0.5})
    >>> run.finish()
    """
    if mode not in ("on", "off"):
        raise UsageError(f"mode is {mode!r}", hint="use 'on' or 'off'")
    if isinstance(tags, str):
        raise UsageError(f"tags is the string {tags!r}", hint="give a list, such as tags=['baseline']")
    choices = choose(system=system, console=console, code=code, alerts=alerts)
    settings, by_repr = plain_config(config)
    (root, address), place = place_of(dir, reach=mode == "on"), find_place(rank, world_size)
    where = project if project is not None else project_of_fork(root, fork) or project_of_script()
    if mode == "off":
        entry = stay_out(root, fork)
        settings = {**entry.config, **settings}
        off = Run(None, run_id=id or "off", name=name or "off", project=where, config=settings, strict=False)
        return off.placed(place, entry.parent)
    if resume != "never":
        take(root, address, where, id or os.environ.get("EPOCHAL_RUN_ID"))
    entry = enter(place, root, where, run_id=id, resume=resume, fork=fork)
    settings = {**entry.config, **settings}
    masker = Masker(also=[target for target in choices.targets if isinstance(target, str)])
    facts = (code_facts(masker) if choices.code else {}, environment_facts(masker))
    writer = RunWriter.create(
        root,
        project=where,
        name=name,
        config=settings,
        group=group,
        parent=entry.parent.name if entry.parent else None,
        parent_step=entry.parent.step if entry.parent else None,
        tags=tuple(tags),
        notes=notes,
        run_id=entry.run_id,
        resume=entry.resume,
        rewind_to=rewind_to,
        rank=place.rank,
        world_size=place.world_size,
        wait_secs=entry.wait_secs,
        code=facts[0],
        environment=facts[1],
    )
    stream(writer, address)
    if by_repr:
        warn_user(f"config: {', '.join(by_repr[:8])} cannot be stored as such and kept as text (repr)")
    run = Run(
        writer,
        run_id=writer.run_id,
        name=name or default_name(where, writer.run_id),
        project=where,
        config=settings,
        strict=strict_wanted(strict),
        last_step=last_step(writer, place, entry, rewind_to),
    )
    place, parent = place.settle(), entry.arrive(writer)
    begin(run, writer, choices, masker, facts=facts, place=place)
    return run.placed(place, parent)


def new_id() -> str:
    """An id for a run that begins later, for those who must name it before."""
    return new_run_id()


def root_of(dir: str | os.PathLike[str] | None) -> Path:  # noqa: A002 - as `init` has it
    """The folder below which a run of `init(dir=dir)` lies."""
    return place_of(dir)[0]


def project_of_script() -> str:
    """The project of runs that name none: the script's name."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    stem = re.sub(r"[^\w -]", "", Path(file).stem).strip(" _") if file else ""
    return stem[:60] or "untitled"
