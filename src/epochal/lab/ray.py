"""Trials on a cluster of Ray that is there already: resources for each, and a new attempt where a machine was lost.

All machines must see the folder of runs under the same path, or the lab must have an object store: results are there,
not in what Ray passes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from epochal.errors import EpochalError, MissingExtraError, NotFoundError, UsageError
from epochal.facts.lab import TrialState
from epochal.lab.metrics import metrics_of
from epochal.lab.runner import Ended, Task
from epochal.store import RunFolder
from epochal.store.files import to_json
from epochal.store.labs import outcome_document, outcome_of, take_outcome

__all__ = ["RayRunner"]

CONNECT_SECS = 4.0
NODE_SECS = 10.0
"""How long a cluster may take to notice that a machine is gone."""
SETTLE_SECS = 0.25
RESOURCES_SECS = 1.0
_PORT = 6379
_SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""An empty frame of settings of HTTP/2, with which both sides begin; its fourth byte says what it is."""
_LOST = "the machine that trained it was lost"
_THREADS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR")


class RayRunner:
    """Runs trials as tasks of the cluster at `address` (`host:port`, `ray://host:port`, `auto`), each in a process.

    `jobs` bounds how many run at once; `cpus` is what each gets (1). `working_dir` is a folder of code that the cluster
    hands to its machines. `bring` takes what a trial has put into the lab's object store, where it has one, to the
    folder of the lab. Raises MissingExtraError without Ray, NotFoundError where no cluster answers.
    """

    def __init__(
        self,
        address: str,
        *,
        jobs: int | None = None,
        cpus: int | None = None,
        working_dir: str | None = None,
        bring: Callable[[Task], None] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._bring, self._say = bring or (lambda _: None), say
        self._ray = ray = _ray()
        self._jobs, self._cpus, self._working_dir = jobs, cpus or 1, working_dir
        self._mine = not ray.is_initialized()
        if self._mine:
            _probe(address)
            _connect(ray, address, self._surroundings())
        say(f"Ray at {address}: {_words(ray.cluster_resources(), sum(n['Alive'] for n in ray.nodes()))}")
        self._tasks: dict[Any, Task] = {}
        self._begun: dict[int, float] = {}
        self._killed: set[int] = set()
        self._doubtful: list[tuple[float, Task, TrialState]] = []
        self._known: tuple[float, dict[str, float]] = (-1e9, {})
        self._need: dict[str, float] = {"CPU": float(self._cpus)}

    @property
    def slots(self) -> int:
        """How many trials the machines that live now have room for."""
        now = time.monotonic()
        if now - self._known[0] > RESOURCES_SECS:
            self._known = (now, dict(self._ray.cluster_resources()))
        there = self._known[1]
        room = min(int(there.get(name, 0.0) / need + 1e-9) for name, need in self._need.items())
        return room if self._jobs is None else min(room, self._jobs)

    def start(self, task: Task) -> None:
        """Hand a task to the cluster."""
        task = replace(task, threads=self._cpus)
        self._need = {"CPU": float(self._cpus), **({"GPU": task.gpus} if task.gpus else {}), **task.resources}
        options: dict[str, Any] = {
            "num_cpus": self._cpus,
            "num_gpus": task.gpus,
            "max_retries": 0,  # the lab begins it again itself, and says so
            "name": f"{task.lab_name} {task.trial.number}",
        }
        if not self._mine:  # the job is somebody else's, and so are its surroundings
            options["runtime_env"] = self._surroundings()
        if task.memory:
            options["memory"] = task.memory
        if task.resources:
            options["resources"] = dict(task.resources)
        # A process takes one trial and ends.
        reference = self._ray.remote(max_calls=1)(_remote).options(**options).remote(task.to_json())
        self._tasks[reference] = task
        self._begun[task.trial.number] = time.monotonic()
        self._killed.discard(task.trial.number)

    def _surroundings(self) -> dict[str, Any]:
        environment = {f"{name}_NUM_THREADS": str(self._cpus) for name in _THREADS}
        found: dict[str, Any] = {"env_vars": {**environment, "PYTHONHASHSEED": "0"}}
        return {**found, "working_dir": self._working_dir} if self._working_dir else found

    def wait(self, seconds: float) -> list[Ended]:
        """What has ended; waits up to so many seconds for something to end."""
        found = self._settled()
        if not self._tasks:
            if not found:
                time.sleep(min(seconds, SETTLE_SECS) if self._doubtful else seconds)
            return found
        patience = 0.0 if found else min(seconds, SETTLE_SECS) if self._doubtful else seconds
        ready, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=patience)
        if ready and len(self._tasks) > 1:
            ready, _ = self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
        return found + [ended for reference in ready if (ended := self._ended(reference)) is not None]

    def kill(self, number: int) -> None:
        """End the attempt at a trial at once."""
        for reference, task in self._tasks.items():
            if task.trial.number == number and number not in self._killed:
                self._killed.add(number)
                with contextlib.suppress(self._ray.exceptions.RayError):
                    self._ray.cancel(reference, force=True)

    def close(self) -> None:
        """Kill what still runs, and leave the cluster."""
        for task in list(self._tasks.values()):
            self.kill(task.trial.number)
        self._tasks.clear()
        if self._mine:
            self._ray.shutdown()

    def _ended(self, reference: Any) -> Ended | None:
        task = self._tasks.pop(reference)
        try:
            said, trouble = json.loads(self._ray.get(reference)), None
        except self._ray.exceptions.RayError as error:
            said, trouble = {}, error
        self._bring(task)
        if said.get("left"):
            self._say(f"trial {task.trial.number}: not all of it is in the store; it lies on {said['left']}")
        # Its own word counts, even where the machine was lost a moment after: then it is not trained twice.
        if (state := _word(task, said)) is not None:
            return Ended(state=state)
        state = _as_recorded(
            task,
            TrialState(
                trial=task.trial,
                status="failed",
                attempt=task.attempt,
                seconds=time.monotonic() - self._begun[task.trial.number],
            ),
        )
        if trouble is None:
            return Ended(state=replace(state, error=said.get("error"), traceback=said.get("traceback")))
        return self._explained(task, state, trouble)

    def _explained(self, task: Task, state: TrialState, error: Exception) -> Ended | None:
        """How an attempt ended that left no word; None where it is not clear yet."""
        problems = self._ray.exceptions
        text = str(error).strip()
        if task.trial.number in self._killed:
            return Ended(state=replace(state, error="the process of the trial was ended", resumable=True))
        if isinstance(error, problems.OutOfMemoryError):
            return Ended(state=replace(state, error="ended by Ray for lack of memory", traceback=text, resumable=True))
        if isinstance(error, problems.RayTaskError):
            cause = error.cause
            hint = f" ({cause.hint})" if isinstance(cause, EpochalError) and cause.hint else ""
            said = f"{cause.message}{hint}" if isinstance(cause, EpochalError) else f"{type(cause).__name__}: {cause}"
            return Ended(state=replace(state, error=said, traceback=text))
        if isinstance(error, problems.RuntimeEnvSetupError):
            return Ended(state=replace(state, error=f"its surroundings could not be made: {_first(text)}"))
        if isinstance(error, (problems.NodeDiedError, problems.LocalRayletDiedError)):
            return Ended(state=replace(state, error=_LOST, traceback=text, resumable=True), lost=True)
        self._doubtful.append((time.monotonic() + NODE_SECS, task, replace(state, traceback=text, resumable=True)))
        return None

    def _settled(self) -> list[Ended]:
        """Of the trials whose process died for an unknown reason, those of which it is known now."""
        found: list[Ended] = []
        left = []
        for deadline, task, state in self._doubtful:
            # Read again: Ray tells of a death while the process is still dying, and what it left is still being put.
            self._bring(task)
            if (word := _word(task, {})) is not None:
                found.append(Ended(state=word))
            elif not self._node_lives(task, late=time.monotonic() > deadline):
                found.append(Ended(state=_as_recorded(task, replace(state, error=_LOST)), lost=True))
            elif time.monotonic() > deadline:
                why = f"the process of the trial died, not its machine: {_first(state.traceback or '')}"
                found.append(Ended(state=_as_recorded(task, replace(state, error=why))))
            else:
                left.append((deadline, task, state))
        self._doubtful = left
        return found

    def _node_lives(self, task: Task, *, late: bool) -> bool:
        """Whether the machine of a task is still there, as far as the cluster knows."""
        try:
            node = _node_file(task).read_text(encoding="ascii").strip()
        except OSError:  # it had not begun; where there is a store, word of it may still be on its way
            return task.store is not None and not late
        return any(facts["NodeID"] == node and facts["Alive"] for facts in self._ray.nodes())


def _word(task: Task, said: dict[str, Any]) -> TrialState | None:
    """How an attempt says that it ended: in the folder of the lab, or to Ray where it could not put it there."""
    found = take_outcome(task.lab_path, task.trial, task.attempt)
    return found or (outcome_of(task.trial, said["outcome"]) if "outcome" in said else None)


def _as_recorded(task: Task, state: TrialState) -> TrialState:
    """How an attempt ended, with what its run holds now; a trial that began none has none."""
    run = RunFolder.of(Path(task.root), task.project, task.run_id)
    if not run.run_json.is_file():
        return state
    return replace(state, run=task.run_id, metrics=metrics_of(run.path, objective=task.objective))


def _remote(text: str) -> str:
    """What a machine of the cluster does: one attempt at a trial."""
    import ray

    from epochal.lab.shared import at_store
    from epochal.lab.trial import run_trial

    task = Task.from_json(text)

    def train(task: Task) -> TrialState:
        with contextlib.suppress(OSError):
            _node_file(task).parent.mkdir(exist_ok=True)
            _node_file(task).write_text(ray.get_runtime_context().get_node_id(), encoding="ascii")
        state = run_trial(task)
        with contextlib.suppress(OSError):
            _node_file(task).unlink()
        return state

    if task.store is not None:
        state, left = at_store(task, train)
        where = f"{socket.gethostname()}: {left}" if left else ""
        return to_json({"outcome": outcome_document(state), "left": where}).decode("ascii")
    if not (Path(task.lab_path) / "lab.json").is_file():
        raise UsageError(
            f"the machine {socket.gethostname()} does not see the lab's folder {task.lab_path}",
            hint="all machines of the cluster must see the folder of runs under the same path, or name a store = s3://...",
        )
    state = train(task)
    return json.dumps({"status": state.status, "error": state.error, "traceback": state.traceback})


def _node_file(task: Task) -> Path:
    return Path(task.lab_path) / "outcomes" / f"{task.trial.number:06d}-{task.attempt}.node"


def _first(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text.splitlines()[0]) if text else "Ray does not say why"


def _words(resources: dict[str, float], nodes: int) -> str:
    named = {"CPU": "CPUs", "GPU": "GPUs"}
    said = [f"{resources[key]:g} {word}" for key, word in named.items() if resources.get(key)]
    return ", ".join([f"{nodes} machine{'s' * (nodes != 1)}", *said])


def _probe(address: str) -> None:
    """Say within seconds that nothing answers: Ray itself tries for half a minute and more."""
    if address in ("auto", "local"):
        return
    found = re.fullmatch(r"(?:ray://)?\[?([^\]/]+?)\]?(?::(\d+))?", address)
    if found is None or not found[1]:
        hint = "write host:6379, ray://host:10001 or auto"
        raise UsageError(f"The Ray address {address!r} cannot be read", hint=hint)
    port = int(found[2] or (10001 if address.startswith("ray://") else _PORT))
    try:
        if not 0 < port < 65536:
            raise UsageError(f"The Ray address {address!r} has no port {port}")
        with socket.create_connection((found[1], port), timeout=CONNECT_SECS) as line:
            if os.environ.get("RAY_USE_TLS", "0") != "1":
                _greet(line)
    except OSError as error:
        raise NotFoundError(
            f"No Ray cluster answers at {address}: {error.strerror or error}",
            hint="is it running (ray status), and is the address that of its head, such as host:6379?",
        ) from error


def _greet(line: socket.socket) -> None:
    """Greet as gRPC does, and raise OSError unless gRPC greets back: Ray would wait minutes for another server."""
    line.settimeout(CONNECT_SECS)
    line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS)
    said = b""
    while len(said) < len(_SETTINGS):
        some = line.recv(64)
        if not some:
            raise ConnectionError("what is there closed the connection and is no Ray")
        said += some
    if said[3] != _SETTINGS[3]:
        raise ConnectionError(f"what is there says {said[:16]!r} and is no Ray")


def _connect(ray: Any, address: str, surroundings: dict[str, Any]) -> None:
    try:
        ray.init(
            address=None if address == "local" else address,
            runtime_env=surroundings,
            log_to_driver=False,
            logging_level="ERROR",
            configure_logging=True,
        )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise NotFoundError(
            f"No Ray cluster answers at {address}: {_first(str(error).strip())}",
            hint="is it running (ray status), is it of this version of Ray and Python, and is the address its head's?",
        ) from error


def _ray() -> Any:
    # Ray reports its use to its makers and waits half a minute for what does not answer, unless told otherwise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_py_gcs_connect_timeout_s", "5")
    os.environ.setdefault("RAY_gcs_rpc_server_connect_timeout_s", "5")
    try:
        import ray
    except ImportError as error:
        hint = "pip install 'epochal[ray]'"
        raise MissingExtraError("Running trials on Ray needs the package ray.", hint=hint) from error
    return ray
