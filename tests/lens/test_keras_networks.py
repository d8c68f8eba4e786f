"""The lens on Keras models: a process reads KERAS_BACKEND once, so the checks run in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [pytest.mark.keras, pytest.mark.torch]
pytest.importorskip("keras", reason="Keras is not installed: make test-frameworks installs it")
pytest.importorskip("torch", reason="PyTorch is not installed")

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_keras_on(backend: str) -> None:
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: make test-frameworks installs it")
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    # Warnings of Keras are its own.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "-W", "default",
         str(HERE / "keras_checks.py"), str(HERE / "keras_seeing.py")],
        cwd=HERE.parents[1], env=environment, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
