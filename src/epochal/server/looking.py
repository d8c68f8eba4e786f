"""Questions to the lens: a queue before one process that looks, which can be stopped at any time."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from queue import Empty
from typing import Any

from epochal.errors import EpochalError, NotFoundError, UsageError
from epochal.server.asking import BusyError
from epochal.server.lens_job import ENDED, Job
from epochal.server.lens_process import Process
from epochal.store.reader import StoredRun
from epochal.wire.schema_lens import ClassImagesQuestion, LensFilmQuestion, LensQuestion

__all__ = ["Looking"]

_WAITING_AT_MOST = 8
_JOBS_KEPT = 48
_BYTES_KEPT = 96 << 20
_PICTURES_KEPT = 24
_STOP_SECS = 0.6
_TICK_SECS = 0.05


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
        self._waiting: deque[Job] = deque()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._pictures: OrderedDict[str, bytes] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._worker: Process | None = None
        self._running: Job | None = None
        self._warm = ""
        self._closed = False

    def ask(self, run: StoredRun, question: LensQuestion) -> dict[str, Any]:
        """Put a question into the queue; its LensJob. Raises what is wrong with it, BusyError for one too many."""
        from epochal.server.lens_question import asked_of, step_of

        step = step_of(run, question.step)
        header, arrays = asked_of(run, question, step, self.kept(question.picture))
        return self.put(run, "look", step, header, arrays, header["methods"])

    def film(self, run: StoredRun, question: LensFilmQuestion) -> dict[str, Any]:
        """Ask for a film over a run's snapshots; a LensJob that has a file in the end."""
        from epochal.server.lens_film import MOST_SECS, film_header
        from epochal.server.lens_question import asked_of, step_of

        step = step_of(run, question.step)
        header, arrays = asked_of(run, question, step, self.kept(question.picture))
        header |= film_header(run, question, step, header["methods"])
        return self.put(run, "film", step, header, arrays, header["methods"], max(self._most_secs, MOST_SECS))

    def class_images(self, run: StoredRun, question: ClassImagesQuestion) -> dict[str, Any]:
        """Ask what each class looks like to the network, over its recorded examples; a LensJob of one method."""
        from epochal.server.lens_question import recorded_at, step_of

        step = step_of(run, question.step)
        series, at = recorded_at(run, question.series, step)
        return self.put(run, "class_images", step, {"series": series, "at": at}, methods=["class_images"])

    def put(
        self,
        run: StoredRun,
        task: str,
        step: int,
        header: Mapping[str, Any],
        arrays: Mapping[str, Any] | None = None,
        methods: Sequence[str] = (),
        most_secs: float | None = None,
    ) -> dict[str, Any]:
        """Put a task of `lens_worker.TASKS` about a run's network at a step into the queue; its LensJob.

        `header` and `arrays` are what the task is given, `methods` the names of what it will find; it may take
        `most_secs` where that is more than others may.
        """
        job = _new_job(run, task, step, header, arrays or {}, methods)
        job.most_secs = most_secs
        with self._lock:
            if len(self._waiting) >= _WAITING_AT_MOST:
                raise BusyError("Too many questions wait for the lens.", hint="try again in a while")
            self._jobs[job.job_id] = job
            self._forget()
            self._queue(job)
            return self._document(job)

    def warm(self, run: StoredRun) -> None:
        """Start the process and let it load a run's network, if nothing else is asked of it: somebody will ask soon."""
        from epochal.server.lens_question import step_of

        try:
            job = _new_job(run, "warm", step_of(run, None), {}, {}, ())
        except (EpochalError, OSError):
            return
        with self._lock:
            ready = self._warm == job.header["path"] and (self._worker is not None or self._running is not None)
            if self._closed or self._waiting or self._running is not None or ready:
                return
            self._queue(job)

    def _queue(self, job: Job) -> None:
        self._waiting.append(job)
        self._warm = job.header["path"]
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="epochal-lens", daemon=True)
            self._thread.start()
        self._lock.notify_all()

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

    def kept(self, name: str | None) -> bytes | None:
        """An uploaded picture by its name; None where it is not kept, or no longer."""
        with self._lock:
            return self._pictures.get(name or "")

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

    def _job(self, job_id: str) -> Job:
        job = self._jobs.get(job_id)
        if job is None:
            raise NotFoundError("There is no such question to the lens.", hint="only the last ones are kept: ask again")
        return job

    def file(self, job_id: str) -> tuple[str, bytes]:
        """Name and bytes of the file that was asked for."""
        with self._lock:
            found = self._job(job_id).file
        if found is None:
            raise NotFoundError("There is no file.", hint="it may not have been made yet")
        return found

    def _part(self, job_id: str, method: str, what: str) -> bytes:
        with self._lock:
            found: bytes | None = getattr(self._job(job_id), what).get(method)
        if not found:
            raise NotFoundError(f"{method or 'The input'} is not there.", hint="it may not have been found yet")
        return found

    def _document(self, job: Job) -> dict[str, Any]:
        waits = job in self._waiting
        first = self._running if waits else None
        # The process may be getting ready: nobody asked that before.
        asked = first is not None and first.header["task"] != "warm"
        ahead = self._waiting.index(job) + asked if waits else 0
        return job.document(ahead, "" if first is None or asked else first.doing)

    def _forget(self) -> None:
        """Let go of the oldest questions that have ended."""
        size = sum(job.nbytes for job in self._jobs.values())
        for job_id, job in list(self._jobs.items()):
            if len(self._jobs) <= _JOBS_KEPT and size <= _BYTES_KEPT:
                return
            if job.state in ENDED:
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
                self._running = job = self._waiting.popleft()
                job.begin()
            try:
                self._one(job)
            except (OSError, ValueError) as error:  # the process is gone
                self._drop_worker()
                with self._lock:
                    job.end("failed", {"code": "worker", "message": f"The lens stopped: {error}", "hint": "Ask again."})
            finally:
                with self._lock:
                    self._running = None
        if worker is not None:
            worker.kill()

    def _one(self, job: Job) -> None:
        try:
            training = self._training()
        except (EpochalError, OSError):
            training = True
        with self._lock:
            job.threads = 1 if training else max(1, (os.cpu_count() or 1) - 1)
            if self._worker is None or not self._worker.alive:
                self._worker = Process()
                job.doing = "starting"
                job.version += 1
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
                most = job.most_secs or self._most_secs
                if now - job.begun > most or (stopped and now - stopped > _STOP_SECS):
                    self._drop_worker()
                    with self._lock:
                        job.end(*(("cancelled", None) if job.stop else ("failed", _too_long(most))))
                    return
                continue
            if message is None:
                self._drop_worker()
                with self._lock:
                    job.end(*(("cancelled", None) if job.stop else ("failed", _GONE)))
                return
            with self._lock:
                if message[0].get("job") == job.job_id and job.hear(*message):
                    return

    def _drop_worker(self) -> None:
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()


def _new_job(
    run: StoredRun, task: str, step: int, header: Mapping[str, Any], arrays: Mapping[str, Any], methods: Sequence[str]
) -> Job:
    where = {"task": task, "path": str(run.path), "step": step, "stamp": run.snapshot_path(step).stat().st_mtime_ns}
    about = f"{run.project}/{run.run_id}"
    return Job(uuid.uuid4().hex, about, step, list(methods), {**where, **header}, dict(arrays))


_GONE = {"code": "worker", "message": "The lens stopped while it looked: it may have run out of memory.", "hint": ""}


def _too_long(seconds: float) -> dict[str, str]:
    return {
        "code": "timeout",
        "message": f"It took longer than {seconds:g} seconds and was stopped.",
        "hint": "Choose fewer methods or smaller settings; epochal lens in a terminal has no limit.",
    }
