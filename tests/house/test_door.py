"""`import epochal` is cheap, does nothing, and names what it says it names."""

from __future__ import annotations

import json
import subprocess
import sys

import epochal

HEAVY = ("torch", "keras", "tensorflow", "jax", "sklearn", "pandas", "pyarrow", "fastapi", "starlette", "PIL", "rich")


def in_fresh_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def loaded_after(statement: str) -> set[str]:
    modules = in_fresh_process(f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))")
    return {name for name in json.loads(modules.splitlines()[-1]) if name in HEAVY}


def test_importing_pulls_in_no_framework_and_no_pyarrow() -> None:
    assert loaded_after("import epochal") == set()


def test_recording_pulls_in_no_framework_and_no_pyarrow() -> None:
    script = (
        "import epochal, tempfile, numpy as np\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    with epochal.init(project='door', dir=folder) as run:\n"
        "        run.watch({'layers.0.weight': np.ones((2, 3))})\n"
        "        run.log({'loss': 1.0}, step=1)\n"
    )
    assert loaded_after(script) == set()


def test_the_check_itself_sees_a_heavy_import() -> None:
    assert "pyarrow" in loaded_after("import pyarrow")


def test_importing_costs_at_most_50_ms_above_numpy() -> None:
    code = "import numpy, time; a = time.perf_counter(); import epochal; print(time.perf_counter() - a)"
    # The least of several: what the import costs, not what else the machine was doing.
    assert min(float(in_fresh_process(code)) for _ in range(7)) <= 0.050


def test_importing_starts_no_thread_and_writes_nothing() -> None:
    code = (
        "import threading, os, tempfile; os.chdir(tempfile.mkdtemp()); import epochal; "
        "print(threading.active_count(), os.listdir())"
    )
    assert in_fresh_process(code) == "1 []"


def test_public_names_are_sorted_and_there() -> None:
    assert list(epochal.__all__) == sorted(epochal.__all__)
    assert all(getattr(epochal, name) is not None for name in epochal.__all__)
    assert set(epochal.__all__) <= set(dir(epochal))


def test_the_contract_is_kept() -> None:
    assert {"init", "open", "Run", "Film", "Workspace", "RunReader", "__version__"} <= set(epochal.__all__)
