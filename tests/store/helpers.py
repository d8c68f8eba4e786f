"""What the tests of the store share."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from epochal.facts import HISTOGRAM_BINS, STATISTICS
from epochal.store import RunWriter, StoredRun

SRC = Path(__file__).parents[2] / "src"
EPOCH_START = 1_700_000_000.0


def begin(root: Path, **arguments: Any) -> RunWriter:
    """A writer in project `p` that fails the test when it has a problem nobody expected."""

    def unexpected(message: str) -> None:
        raise AssertionError(f"the writer said: {message}")

    arguments.setdefault("on_problem", unexpected)
    return RunWriter.create(root, project="p", **arguments)


def rows(run: StoredRun, name: str) -> list[tuple[int, float, bytes]]:
    """A series as rows whose values are compared bit for bit."""
    series = run.scalars([name])[name]
    return [
        (int(s), float(t), np.float64(v).tobytes()) for s, t, v in zip(series.steps, series.t, series.v, strict=True)
    ]


def statistics_columns(series: list[str], step: int, **changes: Any) -> dict[str, Any]:
    """Columns for `add_statistics` in which every number is different."""
    n = len(series)
    columns: dict[str, Any] = {"series": series, "step": step, "t": EPOCH_START + step}
    for place, name in enumerate(STATISTICS):
        columns[name] = np.arange(n) + 100 * place + step
    columns["lo"], columns["hi"] = np.full(n, -1.5), np.full(n, 2.5)
    columns["counts"] = np.arange(n * HISTOGRAM_BINS, dtype=np.uint32).reshape(n, -1) + step
    return columns | changes


class Child(subprocess.Popen[str]):
    """A process that does not outlive its `with`, whatever fails there."""

    def __exit__(self, *details: Any) -> None:
        self.kill()
        super().__exit__(*details)

    def line(self) -> str:
        """The next line that it prints."""
        assert self.stdout is not None
        return self.stdout.readline().strip()


def child(code: str, *arguments: object, **options: Any) -> Child:
    """A Python process that runs `code` with this package."""
    environment = {**os.environ, "PYTHONPATH": str(SRC), **options.pop("env", {})}
    return Child(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def run_child(code: str, *arguments: object, **options: Any) -> str:
    """The output of a Python process that ends well."""
    with child(code, *arguments, **options) as process:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out


def wait_until(happened: Callable[[], bool], *, secs: float = 10.0) -> None:
    """Wait for something, fail when it does not come."""
    deadline = time.monotonic() + secs
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def equal(a: Mapping[str, npt.NDArray[Any]], b: Mapping[str, npt.NDArray[Any]]) -> bool:
    """Whether two snapshots are the same, bit for bit."""
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and a[k].tobytes() == b[k].tobytes() for k in a
    )
