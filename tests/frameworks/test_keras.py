"""Keras on each backend: a process reads KERAS_BACKEND once, so each backend's checks run in one of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.keras
pytest.importorskip("keras", reason="Keras is not installed: make test-frameworks installs it")

HERE = Path(__file__).parent
BACKENDS = ["torch", "tensorflow", "jax"]
CHECKS = ["values", "fit", "graph"]


def run(backend: str, *arguments: str, timeout: int = 800) -> subprocess.CompletedProcess[str]:
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: make test-frameworks installs it")
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "EPOCHAL_STRICT": ""}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # they take longer than the tests
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=HERE.parents[1],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("checks", CHECKS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_keras_on(backend: str, checks: str) -> None:
    # Warnings of the frameworks are theirs; ours would be a failure of the training that we record.
    done = run(
        backend, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider",
        "-W", "default", "-W", "error::epochal.errors.RecordingWarning", str(HERE / f"keras_checks_{checks}.py"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


ALONE = """
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] in HIDDEN else find(name, *rest)

import keras, numpy, epochal
from epochal.frameworks.keras import Callback
model = keras.Sequential([keras.layers.Dense(4, activation="relu"), keras.layers.Dense(2)])
model.compile("adam", "mse")
x = numpy.ones((16, 3), "float32")
model.fit(x, x[:, :2], epochs=2, verbose=0, callbacks=[Callback(dir=sys.argv[1], strict=True)])
run = epochal.open(sys.argv[1]).run("latest")
assert run.steps("params") == [0, 1, 2], run.steps("params")
assert any(name.startswith("grad/") for name in run.stored.statistics_series())
assert not HIDDEN & set(sys.modules), HIDDEN & set(sys.modules)
"""


@pytest.mark.parametrize("backend", ["torch"])
def test_no_other_backend_is_needed(backend: str, tmp_path: Path) -> None:
    hidden = {"torch", "tensorflow", "jax", "jaxlib"} - {backend}
    done = run(backend, "-c", f"HIDDEN = {hidden!r}\n{ALONE}", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_models_framework_is_told_without_importing_any(tmp_path: Path) -> None:
    script = (
        "import sys, torch, types\n"
        "sys.modules['keras'] = types.ModuleType('keras')  # half imported, or an older one\n"
        "from epochal.record.probe import find_probe\n"
        "print(find_probe(torch.nn.Linear(2, 3)).framework)\n"
        "assert 'epochal.frameworks.keras_probe' not in sys.modules\n"
    )
    done = run("torch", "-c", script)
    assert done.stdout == "torch\n", done.stderr
