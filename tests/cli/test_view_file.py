"""`epochal view net.npz`: a network from elsewhere in the Studio, without training."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epochal
from epochal.store.safetensors import pack_tensors
from tests.cli.command import environment, going
from tests.cli.command import epochal as command


def saved(path: Path) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    random = np.random.default_rng(0)
    shapes = {"layers.0.weight": (5, 16), "layers.0.bias": (5,), "layers.1.weight": (3, 5), "layers.1.bias": (3,)}
    arrays = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return arrays


def test_a_network_from_a_file_is_served_as_a_run_of_one_step(tmp_path: Path) -> None:
    arrays = saved(tmp_path / "net.npz")
    words = ("view", tmp_path / "net.npz", "--input-shape", "4", "4", "--activation", "sigmoid", "--output", "softmax")
    with going(*words, "--dir", tmp_path / "runs", "--no-open", "--port", "0") as view:
        base, _, place = view.wait_for("Studio").split()[-1].partition("#")
        run_id = place.partition("run=")[2].partition("&")[0]
        with urllib.request.urlopen(f"{base}api/v1/runs/{run_id}", timeout=20) as answer:
            detail = json.load(answer)
        assert detail["snapshots"] == [0]
        assert [layer["layer"] for layer in detail["layers"]] == ["layers.0", "layers.1"]
        assert view.interrupt() == 0
    run = epochal.open(tmp_path / "runs").run(run_id)
    for name, value in arrays.items():
        np.testing.assert_array_equal(run.parameters()[name], value)
    network = run.network()
    assert network.input_shape == (4, 4)
    np.testing.assert_allclose(network(np.ones((2, 4, 4))).sum(axis=1), 1, atol=1e-6)


def test_arrays_that_make_no_chain_are_shown_as_weights(tmp_path: Path) -> None:
    kernels = np.zeros((2, 3, 3, 3), np.float32)
    (tmp_path / "conv.safetensors").write_bytes(pack_tensors({"conv.weight": kernels}))
    with going("view", tmp_path / "conv.safetensors", "--no-open", "--port", "0") as view:
        assert "cannot be asked" in view.wait_for("Only the weights")
        view.wait_for("Studio")
        assert view.interrupt() == 0
    assert not any("Traceback" in line for line in view.said)


def test_files_and_options_that_cannot_be_are_said(tmp_path: Path) -> None:
    saved(tmp_path / "net.npz")
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    for words, why in (
        (("net.npz", "--input-shape", "5", "5"), "the first layer takes 16"),
        (("bad.npz",), "cannot be read"),
        (("none.npz",), "There is no file"),
        ((".", "--activation", "relu"), "Name the file"),
    ):
        done = command("view", *words, "--no-open", cwd=tmp_path, env=environment())
        assert done.returncode in (1, 2)
        assert why in done.stderr
        assert "Traceback" not in done.stderr


_FACTORY = """
import torch
from torch import nn

def build():
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU6(), nn.Flatten(), nn.Linear(256, 2)).eval()
"""


@pytest.mark.torch
def test_programs_and_code_become_runs_that_can_be_looked_into(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
    (tmp_path / "models.py").write_text(_FACTORY)
    held: dict[str, Any] = {}
    exec(_FACTORY, held)
    own, x = held["build"](), torch.rand(3, 3, 8, 8)
    torch.export.save(torch.export.export(own, (x[:1],), strict=False), tmp_path / "net.pt2")
    for words in (("net.pt2",), ("models:build", "--input-shape", "3", "8", "8")):
        with going("view", *words, "--dir", tmp_path / "runs", "--no-open", "--port", "0", cwd=tmp_path) as view:
            base, _, place = view.wait_for("Studio").split()[-1].partition("#")
            assert place.startswith("/lens")
            run_id = place.partition("run=")[2]
            with urllib.request.urlopen(f"{base}api/v1/runs/{run_id}/lens", timeout=20) as answer:
                lens = json.load(answer)
            assert view.interrupt() == 0
        assert lens["picture"] == [8, 8, 3]
        assert [(layer["name"], layer["kind"]) for layer in lens["layers"]] == [
            ("0", "Conv2d"), ("1", "ReLU6"), ("2", "Flatten"), ("3", "Linear")]  # fmt: skip
        assert "grad_cam" in {method["name"] for method in lens["methods"] if not method["reason"]}
        reader = epochal.open(tmp_path / "runs").run(run_id)
        np.testing.assert_allclose(reader.network()(x[:1].numpy()), own(x[:1]).detach(), atol=1e-6)


def test_a_network_without_the_shape_of_its_input_is_not_guessed(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
    (tmp_path / "models.py").write_text(_FACTORY)
    done = command("view", "models:build", "--no-open", "--port", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert "--input-shape" in done.stderr
