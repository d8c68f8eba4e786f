"""Questions to the lens: a queue before one process that looks, which can be stopped at any time."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

import numpy as np

from epochal.errors import EpochalError, NetworkMissingError, NotFoundError, UsageError
from epochal.server.asking import BusyError
from epochal.store.reader import StoredRun
from epochal.wire.asking import askable
from epochal.wire.frames import encode
from epochal.wire.schema_lens import LensQuestion

__all__ = ["Looking"]

_WAITING_AT_MOST = 8
_JOBS_KEPT = 48
_BYTES_KEPT = 96 << 20
_PICTURES_KEPT = 24
_STOP_SECS = 0.6
_TICK_SECS = 0.05
_ENDED = ("done", "failed", "cancelled")


@dataclass(slots=True, eq=False)
class _Job:
    """One question, and what was found so far."""

    job_id: str
    run_id: str
    step: int
    methods: list[str]
    header: dict[str, Any]
    arrays: dict[str, Any]
    threads: int = 1
    state: str = "waiting"
    version: int = 0
    stop: bool = False
    begun: float = 0.0
    seconds: float = 0.0
    input: dict[str, Any] | None = None
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, str] | None = None
    maps: dict[str, bytes] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of what was found."""
        return sum(map(len, self.maps.values())) + sum(map(len, self.pictures.values()))

    def end(self, state: str, error: dict[str, str] | None = None) -> None:
        """No more comes."""
        self.state, self.error = state, error
        self.seconds = time.monotonic() - self.begun if self.begun else 0.0
        self.version += 1


class Looking:
    """Takes questions and lets one process answer them, one at a time.

    `training` says whether a run is being recorded: then a question gets one processor. A question that takes longer
    than `most_secs` is stopped, and the process is let go when nothing was asked for `idle_secs`.
    """

    def __init__(self, training: Callable[[], bool], *, most_secs: float = 180.0, idle_secs: float = 180.0) -> None:
        self._training = training
        self._most_secs = most_secs
        self._idle_secs = idle_secs
        self._lock = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._jobs: OrderedDict[str, _Job] = OrderedDict()
        self._pictures: OrderedDict[str, bytes] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._worker: _Worker | None = None
        self._closed = False

    def ask(self, run: StoredRun, question: LensQuestion) -> dict[str, Any]:
        """Put a question into the queue; its LensJob. Raises what is wrong with it, BusyError for one too many."""
        from epochal.wire.looking import checked_methods, checked_options

        known = askable(run)
        if known is None:
            raise NetworkMissingError(
                f"Run {run.info().name!r} has no network that can be looked into.",
                hint="run.watch(model, inputs=one_batch) records one, with a snapshot at each epoch.",
            )
        methods = checked_methods(run, question.methods)
        steps = run.snapshot_steps()
        step = max((s for s in steps if question.step is None or s <= question.step), default=steps[0])
        header: dict[str, Any] = {
            "path": str(run.path),
            "step": step,
            "stamp": run.snapshot_path(step).stat().st_mtime_ns,
            "methods": methods,
            "options": checked_options(methods, question.options),
            "target": question.target,
            "layer": question.layer,
            "channel": question.channel,
            "theme": question.theme,
            "photo": question.photo,
            "series": question.series,
            "example": question.example,
            "at": None,
        }
        arrays = self._input(run, question, header, step)
        job = _Job(uuid.uuid4().hex, f"{run.project}/{run.run_id}", step, methods, header, arrays)
        with self._lock:
            if len(self._waiting) >= _WAITING_AT_MOST:
                raise BusyError("Too many questions wait for the lens.", hint="try again in a while")
            self._jobs[job.job_id] = job
            self._waiting.append(job)
            self._forget()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="epochal-lens", daemon=True)
                self._thread.start()
            self._lock.notify_all()
            return self._document(job)

    def keep(self, picture: bytes) -> str:
        """Keep an uploaded picture for a while; the name to ask for it. It is first read by the process that looks."""
        if not picture:
            raise UsageError("The picture is empty.")
        name = sha256(picture).hexdigest()[:32]
        with self._lock:
            self._pictures.pop(name, None)
            self._pictures[name] = picture
            while len(self._pictures) > _PICTURES_KEPT:
                self._pictures.popitem(last=False)
        return name

    def document(self, job_id: str) -> dict[str, Any]:
        """How a question stands, a LensJob."""
        with self._lock:
            return self._document(self._job(job_id))

    def maps(self, job_id: str, method: str) -> bytes:
        """The numbers of what a method found, or with an empty name the input; an EPF1 container."""
        return self._part(job_id, method, "maps")

    def picture(self, job_id: str, method: str) -> bytes:
        """What a method found as a PNG picture."""
        return self._part(job_id, method, "pictures")

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Stop a question; what was found stays."""
        with self._lock:
            job = self._job(job_id)
            job.stop = True
            if job.state == "waiting":
                self._waiting.remove(job)
                job.end("cancelled")
            return self._document(job)

    def close(self) -> None:
        """Stop everything."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            if self._worker is not None:
                self._worker.kill()
            self._lock.notify_all()

    def _job(self, job_id: str) -> _Job:
        job = self._jobs.get(job_id)
        if job is None:
            raise NotFoundError("There is no such question to the lens.", hint="only the last ones are kept: ask again")
        return job

    def _part(self, job_id: str, method: str, what: str) -> bytes:
        with self._lock:
            found: bytes | None = getattr(self._job(job_id), what).get(method)
        if not found:
            raise NotFoundError(f"{method or 'The input'} is not there.", hint="it may not have been found yet")
        return found

    def _input(self, run: StoredRun, question: LensQuestion, header: dict[str, Any], step: int) -> dict[str, Any]:
        """Check which input is meant; the arrays that go with the question."""
        given = [n for n in ("example", "photo", "picture") if getattr(question, n) is not None]
        if len(given) != 1:
            raise UsageError("Name one input: an example with its series, a photo, or a picture.")
        if given == ["example"]:
            from epochal.views.predictions import last_items

            items = last_items(run, question.series or "predictions")
            # Examples may be others later on: those of the step that is looked at are meant.
            header["at"] = max((i.step for i in items if i.step <= step), default=items[0].step)
            header["series"] = question.series or "predictions"
            return {}
        if given == ["photo"]:
            from epochal.lens.photos import SAMPLES

            if question.photo not in SAMPLES:
                raise NotFoundError(
                    f"There is no sample photo {question.photo!r}.", hint=f"There are: {', '.join(SAMPLES)}."
                )
            return {}
        with self._lock:
            picture = self._pictures.get(question.picture or "")
        if picture is None:
            raise NotFoundError("This picture is no longer kept.", hint="Choose it again.")
        return {"picture": np.frombuffer(picture, np.uint8)}

    def _document(self, job: _Job) -> dict[str, Any]:
        running = 1 if any(j.state == "running" for j in self._jobs.values()) else 0
        ahead = self._waiting.index(job) + running if job in self._waiting else 0
        seconds = job.seconds if job.state in _ENDED else time.monotonic() - job.begun if job.begun else 0.0
        return {
            "id": job.job_id, "run": job.run_id, "step": job.step, "state": job.state, "ahead": ahead,
            "version": job.version, "methods": job.methods, "input": job.input,
            "results": [job.results[name] for name in job.methods if name in job.results],
            "failures": list(job.failures), "error": job.error, "threads": job.threads, "seconds": round(seconds, 3),
        }  # fmt: skip

    def _forget(self) -> None:
        """Let go of the oldest questions that have ended."""
        size = sum(job.nbytes for job in self._jobs.values())
        for job_id, job in list(self._jobs.items()):
            if len(self._jobs) <= _JOBS_KEPT and size <= _BYTES_KEPT:
                return
            if job.state in _ENDED:
                size -= job.nbytes
                del self._jobs[job_id]

    def _work(self) -> None:
        """The thread that hands questions to the process."""
        while True:
            with self._lock:
                if not self._waiting and not self._closed:
                    self._lock.wait(self._idle_secs)
                if not self._waiting or self._closed:
                    worker, self._worker, self._thread = self._worker, None, None
                    break
                job = self._waiting.popleft()
                job.state, job.begun = "running", time.monotonic()
                job.version += 1
            try:
                self._one(job)
            except (OSError, ValueError) as error:  # the process is gone
                self._drop_worker()
                with self._lock:
                    job.end("failed", {"code": "worker", "message": f"The lens stopped: {error}", "hint": "Ask again."})
        if worker is not None:
            worker.kill()

    def _one(self, job: _Job) -> None:
        try:
            training = self._training()
        except (EpochalError, OSError):
            training = True
        with self._lock:
            job.threads = 1 if training else max(1, (os.cpu_count() or 1) - 1)
            if self._worker is None or not self._worker.alive:
                self._worker = _Worker()
            worker = self._worker
        worker.send({**job.header, "job": job.job_id, "threads": job.threads}, job.arrays)
        stopped = 0.0
        while True:
            try:
                message = worker.said.get(timeout=_TICK_SECS)
            except Empty:
                now = time.monotonic()
                if self._closed:
                    return
                if job.stop and not stopped:
                    stopped = now
                    worker.send({"stop": job.job_id}, {})
                if now - job.begun > self._most_secs or (stopped and now - stopped > _STOP_SECS):
                    self._drop_worker()
                    with self._lock:
                        job.end(*(("cancelled", None) if job.stop else ("failed", _too_long(self._most_secs))))
                    return
                continue
            if message is None:
                self._drop_worker()
                with self._lock:
                    job.end(*(("cancelled", None) if job.stop else ("failed", _GONE)))
                return
            if message[0].get("job") == job.job_id and self._hear(job, *message):
                return

    def _hear(self, job: _Job, said: dict[str, Any], arrays: dict[str, Any]) -> bool:
        """Take in what the process says; True where that was all."""
        with self._lock:
            job.version += 1
            match said["say"]:
                case "input":
                    job.input = said["input"]
                    if "pixels" in arrays:
                        header = {"method": "", "channels": [], "total": 1}
                        job.maps[""] = encode(header, {"pixels": arrays["pixels"][None]})
                case "result":
                    name = said["result"]["method"]
                    job.results[name] = said["result"]
                    job.maps[name] = arrays["maps"].tobytes()
                    if "picture" in arrays:
                        job.pictures[name] = arrays["picture"].tobytes()
                case "failed":
                    job.failures.append({"method": said["method"], "error": said["error"]})
                case "error":
                    job.end("failed", said["error"])
                    return True
                case _:
                    job.end("cancelled" if job.stop else "done")
                    return True
            return False

    def _drop_worker(self) -> None:
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()


_GONE = {"code": "worker", "message": "The lens stopped while it looked: it may have run out of memory.", "hint": ""}


def _too_long(seconds: float) -> dict[str, str]:
    return {
        "code": "timeout",
        "message": f"It took longer than {seconds:g} seconds and was stopped.",
        "hint": "Choose fewer methods or smaller settings; epochal lens in a terminal has no limit.",
    }


# Not `-m`: that would look for modules in the folder where the server was started, which may be anybody's.
_BEGIN = "import sys; sys.path.append(sys.argv[1]); from epochal.server.lens_worker import main; main()"


class _Worker:
    """The process, and a thread that hears it."""

    def __init__(self) -> None:
        threads = str(max(1, (os.cpu_count() or 1) - 1))
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            environment.setdefault(name, threads)
        self._process = subprocess.Popen(  # noqa: S603 - this Python, with our own module
            [sys.executable, "-P", "-c", _BEGIN, str(Path(__file__).parents[2])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self.said: SimpleQueue[tuple[dict[str, Any], dict[str, Any]] | None] = SimpleQueue()
        assert self._process.stdin is not None  # noqa: S101 - they were asked for
        assert self._process.stdout is not None  # noqa: S101
        self._in: IO[bytes] = self._process.stdin
        self._out: IO[bytes] = self._process.stdout
        threading.Thread(target=self._listen, name="epochal-lens-hears", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self._process.poll() is None

    def send(self, header: dict[str, Any], arrays: dict[str, Any]) -> None:
        """Ask it."""
        body = encode(header, arrays)
        self._in.write(len(body).to_bytes(8, "little") + body)
        self._in.flush()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._in.close()

    def _listen(self) -> None:
        from epochal.server.lens_worker import read_message

        with contextlib.suppress(EpochalError, OSError, ValueError):
            while (message := read_message(self._out)) is not None:  # type: ignore[arg-type]
                self.said.put(message)
        with contextlib.suppress(OSError):
            self._out.close()
        self.said.put(None)
