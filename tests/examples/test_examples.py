"""Every example runs to its end as a user would run it, and leaves a finished run with numbers.

The first line of an example's docstring says what it shows; a line `Needs: torch, keras` names the modules without
which it is skipped.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import epochal

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


def needs(example: Path) -> list[str]:
    found = re.search(r"^Needs: (.+?)\.?$", example.read_text(encoding="utf-8"), re.MULTILINE)
    return re.split(r",\s*", found.group(1)) if found else []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_leaves_a_finished_run(example: Path, tmp_path: Path) -> None:
    missing = [module for module in needs(example) if find_spec(module) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed: make test-frameworks installs it")
    # One thread: several that spin on a busy machine wait for each other ten times as long as they work.
    quiet = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment = {**os.environ, **quiet, "EPOCHAL_DIR": str(tmp_path / "runs"), "EPOCHAL_STRICT": "1"}
    done = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = epochal.open(tmp_path / "runs").runs()
    assert runs, "the example recorded no run"
    for run in runs:
        assert run.info.status == "finished"
        assert run.summary
