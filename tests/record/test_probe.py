"""How the adapter of a model's framework is found."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from epochal.errors import UsageError
from epochal.record.probe import find_probe


def test_numpy_models_are_found_without_asking_for_torch() -> None:
    assert find_probe({"w": np.zeros(2)}).framework == "numpy"


def test_what_nobody_knows_is_told_with_what_was_asked() -> None:
    with pytest.raises(UsageError, match=r"watch\(\) got a builtins.object, which no adapter knows \(asked: .*numpy"):
        find_probe(object())


def test_an_adapter_of_another_package_is_asked_when_its_module_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Model:
        pass

    def adapter(model: object, **options: Any) -> object:
        return SimpleNamespace(framework="mine", options=options) if isinstance(model, Model) else None

    entries = [
        SimpleNamespace(name="a_module_that_nobody_imported", load=lambda: pytest.fail("must not be loaded")),
        SimpleNamespace(name="json", load=lambda: adapter),
    ]
    monkeypatch.setattr(metadata, "entry_points", lambda group: entries if group == "epochal.frameworks" else [])
    probe: Any = find_probe(Model(), gradients=False)
    assert (probe.framework, probe.options) == ("mine", {"gradients": False})


def test_torch_is_not_imported_to_find_out() -> None:
    code = (
        "import sys, numpy as np\nfrom epochal.record.probe import find_probe\n"
        "find_probe({'w': np.zeros(2)})\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
