"""Networks from files that something else made: they answer as numpy does, and hostile files get clear errors."""

from __future__ import annotations

import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import epochal
from epochal.errors import DamagedError, EpochalError, NotFoundError, UntrustedNetworkError, UsageError
from epochal.store.safetensors import pack_tensors

Array = npt.NDArray[Any]


def arrays(*sizes: int, seed: int = 0) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        made[f"layers.{i}.weight"] = random.normal(size=(outputs, inputs)).astype(np.float32) / 10
        made[f"layers.{i}.bias"] = random.normal(size=outputs).astype(np.float32)
    return made


def answer(made: dict[str, Array], x: Array, hidden: Any, last: Any) -> Array:
    """The network in plain float64, written a second time."""
    flow = x.reshape(len(x), -1).astype(np.float64)
    depth = len(made) // 2
    for i in range(depth):
        flow = flow @ made[f"layers.{i}.weight"].astype(np.float64).T + made[f"layers.{i}.bias"]
        flow = hidden(flow) if i < depth - 1 else last(flow)
    return flow


FUNCTIONS: dict[str, Any] = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "none": lambda x: x,
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True),
    "log_softmax": lambda x: x - np.log(np.exp(x).sum(1, keepdims=True)),
}


@pytest.mark.parametrize(
    ("activation", "output"),
    [("sigmoid", "none"), ("relu", "softmax"), ("tanh", "log_softmax"), ("leaky_relu", "sigmoid"), ("none", "none")],
)
def test_a_file_of_weights_answers_as_numpy_does(tmp_path: Path, activation: str, output: str) -> None:
    made = arrays(784, 30, 16, 10)
    np.savez_compressed(tmp_path / "net.npz", **made)  # type: ignore[arg-type]
    network = epochal.Network.open(tmp_path / "net.npz", input_shape=(28, 28), activation=activation, output=output)
    assert network.input_shape == (28, 28)
    assert [layer.layer_id for layer in network.layers] == ["layers.0", "layers.1", "layers.2"]
    x = np.random.default_rng(1).normal(size=(7, 28, 28))
    expected = answer(made, x, FUNCTIONS[activation], FUNCTIONS[output])
    np.testing.assert_allclose(network(x), expected, atol=1e-5)
    np.testing.assert_allclose(network(x.reshape(7, 784)), expected, atol=1e-5)
    for name, value in made.items():
        np.testing.assert_array_equal(network.state()[name], value)


def test_all_kinds_of_files_are_the_same_network(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
    made = arrays(8, 5, 3)
    np.savez(tmp_path / "net.npz", **made)  # type: ignore[arg-type]
    (tmp_path / "net.safetensors").write_bytes(pack_tensors(made))
    torch.save({name: torch.from_numpy(value) for name, value in made.items()}, tmp_path / "net.pt")
    torch.save({"state_dict": {name: torch.from_numpy(value) for name, value in made.items()}}, tmp_path / "net.pth")
    x = np.ones((2, 8))
    answers = [epochal.Network.open(path, activation="tanh")(x) for path in sorted(tmp_path.iterdir())]
    assert len(answers) == 4
    for other in answers[1:]:
        np.testing.assert_array_equal(other, answers[0])
    reference = torch.nn.Sequential(torch.nn.Linear(8, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    reference.load_state_dict(
        {f"{2 * i}.{p}": torch.from_numpy(made[f"layers.{i}.{p}"]) for i in (0, 1) for p in ("weight", "bias")}
    )
    np.testing.assert_allclose(answers[0], reference(torch.ones(2, 8)).detach().numpy(), atol=1e-6)


def test_an_exported_program_opens_too(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(2 * 36, 3)).eval()
    x = torch.randn(2, 1, 8, 8)
    torch.export.save(torch.export.export(net, (x,), strict=False), tmp_path / "net.pt2")
    network = epochal.Network.open(tmp_path / "net.pt2")
    assert network.input_shape == (1, 8, 8)
    np.testing.assert_allclose(network(x), net(x).detach().numpy(), atol=1e-5)


def test_layers_go_by_their_numbers_and_may_lack_biases(tmp_path: Path) -> None:
    made = {f"layers.{i}.weight": np.eye(4, dtype=np.float32) * (i + 1) for i in (10, 9, 2)}
    np.savez(tmp_path / "net.npz", **made)  # type: ignore[arg-type]
    network = epochal.Network.open(tmp_path / "net.npz", activation="none")
    assert [layer.layer_id for layer in network.layers] == ["layers.2", "layers.9", "layers.10"]
    np.testing.assert_allclose(network(np.ones((1, 4))), np.full((1, 4), 3 * 10 * 11))


class Evil:
    def __reduce__(self) -> Any:
        return exec, ("import pathlib; pathlib.Path('evil').touch()",)


def npz(path: Path, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(f"{name}.npy", data)
    return path


def npy(shape: tuple[int, ...], descr: str, data: bytes) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def test_pickles_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    payload = pickle.dumps(Evil())
    npz(tmp_path / "a.npz", **{"layers.0.weight": npy((1,), "|O", payload)})
    (tmp_path / "b.pt").write_bytes(payload)
    with pytest.raises(UntrustedNetworkError, match="pickled objects"):
        epochal.Network.open("a.npz")
    pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
    import torch

    torch.save({"layers.0.weight": Evil()}, "c.pt")
    for name in ("b.pt", "c.pt"):
        with pytest.raises(EpochalError, match=r"not opened|cannot be read"):
            epochal.Network.open(name)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("entries", "error", "why"),
    [
        ({"layers.0.weight": npy((1 << 20, 1 << 20), "<f4", b"")}, DamagedError, "but has 0 bytes"),
        ({"layers.0.weight": npy((2, 3), "<f4", bytes(20))}, DamagedError, "but has 20 bytes"),
        ({"layers.0.weight": npy((2, 3), "<U4", bytes(96))}, UsageError, "not numbers"),
        ({"layers.0.weight": b"nothing"}, DamagedError, "cannot be read"),
        ({"weights": npy((2, 3), "<f4", bytes(24))}, UsageError, "No weights were found"),
        ({"layers.0.weight": npy((2, 3, 3, 3), "<f4", bytes(216))}, UsageError, "only linear layers"),
        (
            {"a.0.weight": npy((2, 3), "<f4", bytes(24)), "a.1.weight": npy((2, 3), "<f4", bytes(24))},
            UsageError,
            "a.0 puts out 2 numbers, a.1 takes 3",
        ),
        (
            {"a.weight": npy((2, 3), "<f4", bytes(24)), "a.bias": npy((3,), "<f4", bytes(12))},
            UsageError,
            "a.weight has 2 outputs",
        ),
        (
            {"a.weight": npy((2, 3), "<f4", bytes(24)), "a.running_mean": npy((2,), "<f4", bytes(8))},
            UsageError,
            "belongs to no linear layer",
        ),
    ],
)
def test_odd_archives_get_clear_errors(
    tmp_path: Path, entries: dict[str, bytes], error: type[EpochalError], why: str
) -> None:
    with pytest.raises(error, match=why):
        epochal.Network.open(npz(tmp_path / "net.npz", **entries))


def test_other_files_get_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file"):
        epochal.Network.open(tmp_path / "none.npz")
    (tmp_path / "net.h5").touch()
    with pytest.raises(UsageError, match=r"net\.h5 is no network"):
        epochal.Network.open(tmp_path / "net.h5")
    (tmp_path / "net.npz").write_bytes(b"PK nothing")
    with pytest.raises(DamagedError):
        epochal.Network.open(tmp_path / "net.npz")
    head = json.dumps(
        {f"{i}.weight": {"dtype": "F32", "shape": [64, 64], "data_offsets": [0, 1 << 14]} for i in range(50)}
    )
    (tmp_path / "net.safetensors").write_bytes(struct.pack("<Q", len(head)) + head.encode() + bytes(1 << 14))
    with pytest.raises(DamagedError, match="over one another"):
        epochal.Network.open(tmp_path / "net.safetensors")


def test_settings_that_cannot_be_are_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", **arrays(784, 3, 2))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"\[28, 27\] has 756 numbers; the first layer takes 784"):
        epochal.Network.open(tmp_path / "net.npz", input_shape=(28, 27))
    with pytest.raises(UsageError, match="no activation 'sin'"):
        epochal.Network.open(tmp_path / "net.npz", activation="sin")
    with pytest.raises(UsageError, match=r"must have the shape \[any, 28, 28\]; it has \[1, 5\]"):
        epochal.Network.open(tmp_path / "net.npz", input_shape=(28, 28))(np.ones((1, 5)))


def test_no_framework_is_needed(tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", **arrays(4, 3, 2))  # type: ignore[arg-type]
    (tmp_path / "net.safetensors").write_bytes(pack_tensors(arrays(4, 3, 2)))
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "import epochal\n"
        "for name in ('net.npz', 'net.safetensors'):\n"
        "    network = epochal.Network.open(name)\n"
        "    print(network([[1, 2, 3, 4]]).shape, epochal.lens.class_images(network).array.shape)\n"
        "    print(len(network.units('layers.0')))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[:2] == ["(1, 2) (2, 4)", "3"], done.stderr


def test_units_say_what_leads_to_and_from_them(tmp_path: Path) -> None:
    made = arrays(6, 4, 3)
    np.savez(tmp_path / "net.npz", **made)  # type: ignore[arg-type]
    network = epochal.Network.open(tmp_path / "net.npz")
    units = network.units("layers.0")
    assert [unit.index for unit in units] == [0, 1, 2, 3]
    for j, unit in enumerate(units):
        np.testing.assert_array_equal(unit.incoming, made["layers.0.weight"][j])
        assert unit.bias == made["layers.0.bias"][j]
        assert unit.influence == pytest.approx(sum(abs(float(w)) for w in made["layers.0.weight"][j]) / 6)
        assert list(unit.outgoing) == ["layers.1"]
        np.testing.assert_array_equal(unit.outgoing["layers.1"], made["layers.1.weight"][:, j])
    assert network.units("layers.1")[0].outgoing == {}
    with pytest.raises(NotFoundError, match=r"no layer 'layers\.2'"):
        network.units("layers.2")


@pytest.mark.torch
def test_units_of_convolutions_and_of_what_follows_them(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
    nn = torch.nn
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten(), nn.Linear(2 * 16, 5)
    )
    with epochal.init(project="test", dir=tmp_path, strict=True) as run:
        run.watch(net, inputs=(torch.zeros(2, 3, 8, 8),))
        run.log({"loss": 0.0}, step=0)
    network = epochal.open(tmp_path).run("latest").network()
    first, second = network.units("0"), network.units("3")
    weights = {name: value.detach().numpy() for name, value in net.state_dict().items()}
    np.testing.assert_array_equal(first[2].incoming, weights["0.weight"][2])
    np.testing.assert_array_equal(first[2].outgoing["3"], weights["3.weight"][:, 2])
    # Flattened channel by channel: 16 places of the first channel come first.
    np.testing.assert_array_equal(second[1].outgoing["5"], weights["5.weight"][:, 16:])


def test_a_network_in_numpy_has_no_module(tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", **arrays(4, 3, 2))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="calculated in numpy"):
        _ = epochal.Network.open(tmp_path / "net.npz").module
