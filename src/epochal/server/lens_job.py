"""One question to the lens, and what was found so far."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, final

from epochal.wire.frames import encode

__all__ = ["ENDED", "Job"]

ENDED = ("done", "failed", "cancelled")


@final
@dataclass(slots=True, eq=False)
class Job:
    """One question, and what was found so far."""

    job_id: str
    run_id: str
    step: int
    methods: list[str]
    header: dict[str, Any]
    arrays: dict[str, Any]
    threads: int = 1
    state: str = "waiting"
    doing: str = ""
    share: float | None = None
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
    file: tuple[str, bytes] | None = None
    most_secs: float | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of what was found."""
        file = 0 if self.file is None else len(self.file[1])
        return sum(map(len, self.maps.values())) + sum(map(len, self.pictures.values())) + file

    def begin(self) -> None:
        """It is its turn."""
        self.state, self.begun = "running", time.monotonic()
        self.version += 1

    def end(self, state: str, error: dict[str, str] | None = None) -> None:
        """No more comes."""
        self.state, self.error, self.doing, self.share = state, error, "", None
        self.seconds = time.monotonic() - self.begun if self.begun else 0.0
        self.version += 1

    def hear(self, said: dict[str, Any], arrays: dict[str, Any]) -> bool:
        """Take in what the process says of it; True where that was all."""
        self.version += 1
        match said["say"]:
            case "doing":
                self.doing, self.share = said["doing"], said.get("share")
            case "input":
                self.input = said["input"]
                if "pixels" in arrays:
                    header = {"method": "", "channels": [], "total": 1}
                    self.maps[""] = encode(header, {"pixels": arrays["pixels"][None]})
            case "result":
                name, self.share = said["result"]["method"], None
                self.results[name] = said["result"]
                self.maps[name] = arrays["maps"].tobytes()
                if "picture" in arrays:
                    self.pictures[name] = arrays["picture"].tobytes()
            case "file":
                self.file = (said["name"], arrays["file"].tobytes())
            case "failed":
                self.failures.append({"method": said["method"], "error": said["error"]})
            case "error":
                self.end("failed", said["error"])
                return True
            case _:
                self.end("cancelled" if self.stop else "done")
                return True
        return False

    def document(self, ahead: int, doing: str = "") -> dict[str, Any]:
        """A LensJob; `ahead` questions come before it, and `doing` is what is done for it before its turn."""
        seconds = self.seconds if self.state in ENDED else time.monotonic() - self.begun if self.begun else 0.0
        return {
            "id": self.job_id, "run": self.run_id, "step": self.step, "state": self.state, "ahead": ahead,
            "doing": self.doing or doing, "share": self.share, "version": self.version,
            "methods": self.methods, "input": self.input,
            "results": [self.results[name] for name in self.methods if name in self.results],
            "failures": list(self.failures), "error": self.error, "threads": self.threads,
            "seconds": round(seconds, 3), "file": None if self.file is None else self.file[0],
        }  # fmt: skip
