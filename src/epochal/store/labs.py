"""How a lab lies on disk: what it is, and what became of its trials.

`<root>/<project>/.labs/<lab_id>/` holds `lab.json`, which never changes, and `events.jsonl`, which only grows and is
written by the one process that runs the lab. Readers of runs pass the folder by: its name begins with a dot.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from epochal.errors import DamagedError, FormatVersionError, NotFoundError, StorageFullError, UsageError
from epochal.facts.lab import LabInfo, Trial, TrialState, TrialStatus
from epochal.store.files import from_json_number, read_json, replace_file, to_json
from epochal.store.layout import check_name, new_run_id, resolve_root
from epochal.store.lines import LineFile, read_lines
from epochal.store.process import HEARTBEAT_LIMIT_SECS, identity, is_alive

__all__ = ["LABS_NAME", "LAB_FORMAT_VERSION", "LabLog", "drop_outcome", "is_running", "labs", "new_lab_id"]
__all__ += ["outcome_document", "outcome_of", "read_lab", "take_outcome", "write_outcome"]

LABS_NAME = ".labs"
LAB_FORMAT_VERSION = 1
EVENTS_LIMIT_BYTES = 1 << 30
BEAT_SECS = HEARTBEAT_LIMIT_SECS / 6
_INTERRUPTED = "the process that ran the lab ended before this trial did"
_GARBLED = (TypeError, ValueError, AttributeError, OverflowError)
"""What an event that holds other things than it should comes to: it is passed over, as those that are not known are."""
_STATUSES: dict[str, TrialStatus] = {"finished": "finished", "failed": "failed", "stopped": "stopped"}


def new_lab_id() -> str:
    """Return a new id that sorts by time, as those of runs do."""
    return new_run_id()


def labs(root: str | os.PathLike[str] | None = None) -> list[LabInfo]:
    """Return all labs below a root, newest first; such as cannot be read are left out."""
    found = []
    for path in _folders(resolve_root(root)):
        with contextlib.suppress(DamagedError, FormatVersionError, OSError):
            found.append(_read_info(path))
    return sorted(found, key=lambda info: (info.created, info.id), reverse=True)


def read_lab(root: str | os.PathLike[str] | None = None, name: str = "latest") -> tuple[LabInfo, list[TrialState]]:
    """Return a lab and how its trials stand, in the order of their numbers.

    `name` is `latest`, an id or the only beginning of one, `project/id`, or the lab's name (the newest of that name).
    Raises NotFoundError naming near ones, DamagedError, FormatVersionError.
    """
    path = _find(resolve_root(root), name)
    info = _read_info(path)
    events, _ = read_lines(path / "events.jsonl")
    trials = list(info.trials)
    known = {trial.number for trial in trials}
    for event in events:
        with contextlib.suppress(*_GARBLED):
            if event.get("event") == "planned" and (trial := _trial(event.get("trial"))) and trial.number not in known:
                known.add(trial.number)
                trials.append(trial)
    states = _states(trials, events, running=is_running(path))
    return replace(info, trials=tuple(trials)), states


def is_running(path: str | os.PathLike[str]) -> bool:
    """Say whether the process that runs the lab of this folder still lives."""
    try:
        runner = read_json(Path(path) / "runner.json")
    except (FileNotFoundError, DamagedError):
        return False
    return runner.get("status") == "running" and is_alive(runner, time.time())


class LabLog:
    """The lab as the one process that runs it writes it. Not thread-safe; a context manager.

    Raises UsageError where another process that lives runs this lab, StorageFullError where the disk refuses.
    """

    def __init__(self, root: str | os.PathLike[str] | None, info: LabInfo) -> None:
        self.path = resolve_root(root) / check_name(info.project, what="project") / LABS_NAME / info.id
        check_name(info.id, what="lab id")
        if is_running(self.path):
            raise UsageError(
                f"Lab {info.project}/{info.id} is being run by another process",
                hint="wait for it, or end it with Ctrl-C",
            )
        self._lines = LineFile(self.path / "events.jsonl", limit_bytes=EVENTS_LIMIT_BYTES)
        self._beaten = 0.0
        with self._on_disk():
            self.path.mkdir(parents=True, exist_ok=True)
            if not (self.path / "lab.json").exists():
                replace_file(self.path / "lab.json", to_json(_document(info), indent=1), sync=True)
            self._mend()
        self.beat("running")

    def __enter__(self) -> LabLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def planned(self, trial: Trial) -> None:
        """Note a trial that was not planned when the lab began."""
        self._add("planned", trial=_trial_document(trial))

    def started(self, trial: Trial, *, attempt: int, run: str | None = None) -> None:
        """Note that an attempt at a trial begins, and into which run it records."""
        self._add("started", number=trial.number, attempt=attempt, run=run)

    def ended(self, state: TrialState) -> None:
        """Note how the attempt at a trial ended: finished, failed or stopped."""
        self._add("ended", **_state_document(state))

    def note(self, event: str, **facts: Any) -> None:
        """Note something else, such as how the lab was started; readers pass over events that they do not know."""
        self._add(event, **facts)

    def beat(self, status: str = "running") -> None:
        """Say that this process lives; call it at least every few seconds, most calls cost nothing."""
        now = time.time()
        if status == "running" and now - self._beaten < BEAT_SECS:
            return
        self._beaten = now
        with self._on_disk():
            replace_file(
                self.path / "runner.json", to_json({"status": status, "heartbeat": now, **identity()}, indent=1)
            )

    def close(self) -> None:
        """End the writing; trials that are running now count as stopped."""
        self._lines.close()
        with contextlib.suppress(StorageFullError):
            self.beat("ended")

    def _add(self, event: str, **facts: Any) -> None:
        with self._on_disk():
            self._lines.write([{"t": time.time(), "event": event, **facts}])
        self.beat()

    def _mend(self) -> None:
        """End a line that an earlier process left torn, so that the next one is whole."""
        path = self.path / "events.jsonl"
        with contextlib.suppress(FileNotFoundError), path.open("rb+") as file:
            size = file.seek(0, os.SEEK_END)
            if size and (file.seek(size - 1), file.read(1))[1] != b"\n":
                file.write(b"\n")

    @contextlib.contextmanager
    def _on_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageFullError(
                f"The lab cannot be written to {self.path}: {error.strerror or error}",
                hint="free some space there, and go on with --resume",
            ) from error


def _states(trials: list[Trial], events: list[dict[str, Any]], *, running: bool) -> list[TrialState]:
    states = {trial.number: TrialState(trial=trial) for trial in trials}
    for event in events:
        with contextlib.suppress(*_GARBLED):
            if (state := states.get(event.get("number", -1))) is not None:
                states[state.trial.number] = _after(state, event)
    if not running:
        for number, state in states.items():
            if state.status == "running":
                states[number] = replace(state, status="stopped", error=_INTERRUPTED, resumable=True)
    return [states[trial.number] for trial in sorted(trials, key=lambda trial: trial.number)]


def _after(state: TrialState, event: Mapping[str, Any]) -> TrialState:
    """How a trial stands after an event; as before, where the event says nothing of that."""
    if event.get("event") == "started":
        attempt = int(event.get("attempt") or 1)
        return TrialState(trial=state.trial, status="running", run=event.get("run"), attempt=attempt)
    if event.get("event") == "ended" and event.get("status") in _STATUSES:
        return _state(state.trial, event)
    return state


def _state_document(state: TrialState) -> dict[str, Any]:
    names = ("attempt", "run", "status", "error", "traceback", "seconds", "resumable")
    found = {"number": state.trial.number, **{name: getattr(state, name) for name in names}}
    return {**found, "metrics": dict(state.metrics)}


def _state(trial: Trial, given: Mapping[str, Any]) -> TrialState:
    seconds = given.get("seconds")
    return TrialState(
        trial=trial,
        status=_STATUSES[given["status"]],
        run=given.get("run"),
        attempt=int(given.get("attempt") or 1),
        error=given.get("error"),
        traceback=given.get("traceback"),
        seconds=None if seconds is None else float(seconds),
        metrics={str(k): from_json_number(v) for k, v in (given.get("metrics") or {}).items()},
        resumable=given.get("resumable") is True,
    )


def outcome_document(state: TrialState) -> dict[str, Any]:
    """How an attempt ended, as plain values that `outcome_of` reads."""
    return _state_document(state)


def outcome_of(trial: Trial, document: Mapping[str, Any]) -> TrialState | None:
    """How an attempt ended, by such a document; None where it does not say."""
    return _state(trial, document) if document.get("status") in _STATUSES else None


def write_outcome(lab: str | os.PathLike[str], state: TrialState) -> None:
    """Leave word of how an attempt ended, for the process that runs the lab. Called in the process of the trial."""
    path = _outcome(lab, state.trial.number, state.attempt)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, to_json(_state_document(state)), sync=True)


def take_outcome(lab: str | os.PathLike[str], trial: Trial, attempt: int) -> TrialState | None:
    """How an attempt ended, by its own word; None where it left none."""
    try:
        found = read_json(_outcome(lab, trial.number, attempt))
    except (FileNotFoundError, DamagedError):
        return None
    return outcome_of(trial, found)


def drop_outcome(lab: str | os.PathLike[str], number: int, attempt: int) -> None:
    """Take that word away once it stands in the events."""
    _outcome(lab, number, attempt).unlink(missing_ok=True)


def _outcome(lab: str | os.PathLike[str], number: int, attempt: int) -> Path:
    return Path(lab) / "outcomes" / f"{number:06d}-{attempt}.json"


def _folders(root: Path) -> list[Path]:
    found = []
    with contextlib.suppress(OSError):
        for project in sorted(root.iterdir()):
            if not project.name.startswith(".") and (project / LABS_NAME).is_dir():
                found += [path for path in (project / LABS_NAME).iterdir() if (path / "lab.json").is_file()]
    return found


def _find(root: Path, name: str) -> Path:
    folders = sorted(_folders(root), key=lambda path: path.name, reverse=True)
    if not folders:
        raise NotFoundError(f"There are no labs in {root}", hint="run one: epochal lab run lab.toml")
    project, _, rest = name.rpartition("/")
    pool = [path for path in folders if path.parent.parent.name == project] if project else folders
    if exact := [path for path in pool if path.name == rest]:
        return exact[0]
    named = {info.path: info.name for info in labs(root)}  # the newest first
    newest = [path for known in named for path in pool if str(path) == known]
    if found := [path for path in newest if rest in ("latest", named[str(path)])]:
        return found[0]
    if found := [path for path in pool if rest and path.name.startswith(rest)]:
        if len(found) > 1:
            listed = ", ".join(f"{path.parent.parent.name}/{path.name}" for path in found[:4])
            raise UsageError(f"{len(found)} labs begin with {name!r}", hint=f"say which: {listed}")
        return found[0]
    near = difflib.get_close_matches(rest, [*named.values(), *(path.name for path in pool)], n=3, cutoff=0.4)
    listed = ", ".join(dict.fromkeys(near or list(named.values())[:3]))
    raise NotFoundError(f"There is no lab {name!r} in {root}", hint=f"near: {listed}" if listed else "")


def _document(info: LabInfo) -> dict[str, Any]:
    facts = ("id", "name", "project", "created", "model", "data", "train", "objective", "mode", "repeats")
    return {
        "format_version": LAB_FORMAT_VERSION,
        **{name: getattr(info, name) for name in facts},
        "space": dict(info.space),
        "settings": dict(info.settings),
        "source": info.source,
        "trials": [_trial_document(trial) for trial in info.trials],
    }


def _trial_document(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "configuration": trial.configuration,
        "repeat": trial.repeat,
        "seed": trial.seed,
        "parameters": dict(trial.parameters),
    }


def _read_info(path: Path) -> LabInfo:
    found = read_json(path / "lab.json")
    version = found.get("format_version")
    if not isinstance(version, int) or version > LAB_FORMAT_VERSION:
        raise FormatVersionError(
            f"The lab at {path} has format version {version!r}, this Epochal reads up to {LAB_FORMAT_VERSION}",
            hint="upgrade it: pip install --upgrade epochal",
        )
    try:
        return LabInfo(
            id=str(found["id"]),
            name=str(found["name"]),
            project=str(found["project"]),
            created=float(found["created"]),
            model=found.get("model"),
            data=found.get("data"),
            objective=str(found.get("objective") or "val_accuracy"),
            mode="min" if found.get("mode") == "min" else "max",
            repeats=int(found.get("repeats") or 1),
            source=str(found.get("source") or ""),
            trials=tuple(trial for given in found.get("trials") or () if (trial := _trial(given))),
            train=found.get("train"),
            space=_mapping(found.get("space")),
            settings=_mapping(found.get("settings")),
            path=str(path),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DamagedError(f"{path / 'lab.json'} lacks or garbles {error}") from error


def _trial(given: object) -> Trial | None:
    if not isinstance(given, Mapping) or not isinstance(given.get("number"), int):
        return None
    return Trial(
        number=given["number"],
        configuration=int(given.get("configuration") or 0),
        repeat=int(given.get("repeat") or 0),
        seed=int(given.get("seed") or 0),
        parameters=_mapping(given.get("parameters")),
    )


def _mapping(given: object) -> dict[str, Any]:
    return dict(given) if isinstance(given, Mapping) else {}
