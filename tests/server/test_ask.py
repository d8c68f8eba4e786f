"""Asking the recorded network: it answers as numpy and PyTorch do, at a step, and says what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epochal
from epochal.server import make_app
from epochal.wire import frames
from tests.server.asking import Client


def client(root: Path) -> Client:
    return Client(make_app(root))


class Chain:
    """A network in numpy, as `run.watch` takes it."""

    def __init__(self, last: str = "softmax") -> None:
        random = np.random.default_rng(1)
        shapes = {"layers.0.weight": (6, 16), "layers.0.bias": (6,), "layers.1.weight": (3, 6), "layers.1.bias": (3,)}
        self.parameters = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        self._last = last

    def graph(self) -> Any:
        from epochal.network.elsewhere import chain_graph

        return chain_graph(self.parameters, input_shape=(4, 4), activation="tanh", output=self._last)


def scores(state: dict[str, Any], x: Any) -> Any:
    hidden = np.tanh(x @ state["layers.0.weight"].astype(np.float64).T + state["layers.0.bias"])
    return hidden @ state["layers.1.weight"].astype(np.float64).T + state["layers.1.bias"]


def record(root: Path, network: Any, *, steps: tuple[int, ...] = (0, 10, 20), **config: Any) -> str:
    with epochal.init(project="test", dir=root, strict=True, config=config) as run:
        run.watch(network, snapshots=None)
        for step in steps:
            run.log({"loss": 0.0}, step=step)
            run.snapshot(step=step)
            for value in network.parameters.values():
                value += 0.1
    return f"/api/v1/runs/test/{run.id}"


@pytest.mark.parametrize(
    ("last", "meaning"), [("none", "softmax"), ("softmax", "probabilities"), ("sigmoid", "independent")]
)
def test_it_answers_at_the_step_asked_for(tmp_path: Path, last: str, meaning: str) -> None:
    run = record(tmp_path, Chain(last), class_names=["cat", "dog", "fox"])
    reader = epochal.open(tmp_path).run("latest")
    x = np.random.default_rng(2).normal(size=16).astype(np.float32)
    ask = client(tmp_path)
    detail = ask.get(run).json()
    assert detail["ask"] == {"shape": [4, 4], "classes": ["cat", "dog", "fox"]}
    for asked, step in ((None, 20), (20, 20), (19, 10), (10, 10), (-5, 0), (99, 20)):
        answer = ask.post(f"{run}/ask", json={"values": x.tolist(), "step": asked})
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["step"] == step
        raw = scores(reader.parameters(step), x)
        soft = np.exp(raw) / np.exp(raw).sum()
        expected = {"softmax": soft, "probabilities": soft, "independent": 1 / (1 + np.exp(-raw))}[meaning]
        np.testing.assert_allclose(told["confidences"], expected, atol=1e-5)
        assert told["meaning"] == meaning
        assert told["classes"] == ["cat", "dog", "fox"]


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    run = record(tmp_path, Chain())
    ask = client(tmp_path)
    for body, status, why in (
        ({"values": [0.0] * 15}, 422, "takes 16 numbers of shape [4, 4]; it was given 15"),
        ({"values": []}, 422, "it was given 0"),
        ({"values": ["a"] * 16}, 422, "values.0"),
        ({"values": [1e300] * 16}, 422, "must be finite"),
        ({"values": [0.0] * 16, "step": "x"}, 422, "step"),
        ({"values": [0.0] * 16, "other": 1}, 422, "other"),
        ({"values": [0.0] * 200_705}, 422, "200704"),
    ):
        answer = ask.post(f"{run}/ask", json=body)
        assert answer.status_code == status, body
        assert why in answer.json()["error"]["message"]
    assert ask.post(f"{run}/ask", content=b"[" * 400_000).status_code in (400, 422)
    assert ask.post(f"{run}/ask", content=b"1" * 1_000_001).status_code == 413
    assert ask.post("/api/v1/runs/test/none/ask", json={"values": [0.0]}).status_code == 404
    elsewhere = ask.post(f"{run}/ask", json={"values": [0.0] * 16}, headers={"Origin": "http://elsewhere.example"})
    assert elsewhere.status_code == 403


def test_a_run_without_a_network_cannot_be_asked(tmp_path: Path) -> None:
    with epochal.init(project="test", dir=tmp_path, strict=True) as run:
        run.log({"loss": 0.0}, step=0)
    ask = client(tmp_path)
    assert ask.get(f"/api/v1/runs/test/{run.id}").json()["ask"] is None
    answer = ask.post(f"/api/v1/runs/test/{run.id}/ask", json={"values": [0.0]})
    assert answer.status_code == 404
    assert "run.watch(model" in answer.json()["error"]["hint"]


@pytest.mark.torch
def test_exported_programs_answer_behind_the_gate(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 4)
    )
    with epochal.init(project="test", dir=tmp_path, strict=True) as run:
        run.watch(net, inputs=(torch.zeros(2, 1, 8, 8),))
        run.log({"loss": 0.0}, step=0)
    x = torch.randn(1, 1, 8, 8)
    place = f"/api/v1/runs/test/{run.id}"
    ask = client(tmp_path)
    assert ask.get(place).json()["ask"] == {"shape": [1, 8, 8], "classes": []}
    told = ask.post(f"{place}/ask", json={"values": x.flatten().tolist()}).json()
    np.testing.assert_allclose(told["outputs"], net.eval()(x)[0].detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(sum(told["confidences"]), 1)
    assert run.path is not None
    (program,) = Path(run.path).glob("w/*/network/network.pt2")
    program.write_bytes(b"PK")
    ask = client(tmp_path)
    answer = ask.post(f"{place}/ask", json={"values": x.flatten().tolist()})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "network_missing"


def _two_inputs(torch: Any) -> Any:
    class Two(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(7, 5)
            self.look = torch.nn.Conv2d(1, 5, 3)
            self.head = torch.nn.Linear(5, 3)

        def forward(self, picture: Any, word: Any) -> Any:
            return self.head(torch.relu(self.look(picture)).mean((2, 3)) + self.table(word).sum(1))

    return Two()


@pytest.mark.torch
@pytest.mark.parametrize("batch", [1, 4])
def test_a_network_with_several_inputs_answers(tmp_path: Path, batch: int) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch (epochal[torch])")
    torch.manual_seed(0)
    net = _two_inputs(torch)
    with epochal.init(project="test", dir=tmp_path, strict=True, config={"classes": ["a", "b", "c"]}) as run:
        run.watch(net, inputs=(torch.zeros(batch, 1, 6, 6), torch.zeros(batch, 2, dtype=torch.long)))
        run.log({"loss": 0.0}, step=0)
    place, ask = f"/api/v1/runs/test/{run.id}", client(tmp_path)
    detail = ask.get(place).json()
    assert detail["ask"] is None
    assert detail["ask_reason"] == ""
    assert detail["ask_inputs"] == [{"name": "picture", "shape": [1, 6, 6]}, {"name": "word", "shape": [2]}]
    picture, word = torch.randn(1, 1, 6, 6), torch.tensor([[3, 6]])
    given = [picture.flatten().tolist(), [3.0, 6.0]]
    told = ask.post(f"{place}/ask", json={"inputs": given}).json()
    wanted = net.eval()(picture, word)[0].detach()
    np.testing.assert_allclose(told["outputs"], wanted.numpy(), atol=1e-5)
    np.testing.assert_allclose(told["confidences"], torch.softmax(wanted, 0).numpy(), atol=1e-5)
    assert told["classes"] == ["a", "b", "c"]
    for inputs, why in (
        (given[:1], "takes 2 inputs; it was given 1"),
        ([given[0], [1.0]], "word takes 2 numbers; it was given 1"),
        ([given[0], [0.5, 1.0]], "word takes whole numbers"),
        ([given[0], [1.0, 7.0]], "has no answer to this: "),
        ([given[0], [1e300, 1.0]], "must be finite"),
    ):
        answer = ask.post(f"{place}/ask", json={"inputs": inputs})
        assert answer.status_code == 422, inputs
        assert why in answer.json()["error"]["message"]


def test_why_several_inputs_cannot_be_asked_is_said(tmp_path: Path) -> None:
    from epochal.facts import Graph, Layer
    from epochal.wire.asking import SeveralInputs, _several

    def graph(*shapes: tuple[int, ...]) -> Graph:
        layers = [
            Layer(layer_id=f"x{i}", kind="input", module="", role="input", outputs=(shape,) if shape else ())
            for i, shape in enumerate(shapes)
        ]
        return Graph(model="m", framework="f", source="export", layers=tuple(layers), edges=())

    found = _several(graph((-1, 4), (3, 3)))
    assert isinstance(found, SeveralInputs)
    assert (found.shapes, found.whole, found.batch) == (((4,), (3, 3)), (False, True), 1)
    assert [one.shape for one in found.batches([[0.0] * 4, [0.0] * 9])] == [(1, 4), (3, 3)]
    fixed = _several(graph((8, 4), (8, 2)))
    assert isinstance(fixed, SeveralInputs)
    assert [one.shape for one in fixed.batches([[0.0] * 4, [0.0] * 2])] == [(8, 4), (8, 2)]
    assert "x1 may be of any size" in str(_several(graph((-1, 4), (-1, -1))))
    assert "different batches" in str(_several(graph((8, 4), (2, 4))))
    assert "too large" in str(_several(graph((-1, 4), (-1, 500_000))))
    assert _several(graph((-1, 4))) is None
    with epochal.init(project="test", dir=tmp_path, strict=True) as run:
        run.log({"loss": 0.0}, step=0)
    detail = client(tmp_path).get(f"/api/v1/runs/test/{run.id}").json()
    assert (detail["ask_inputs"], detail["ask_reason"]) == ([], "No network was watched.")


def test_class_images_are_a_film_of_the_wire(tmp_path: Path) -> None:
    run = record(tmp_path, Chain())
    reader = epochal.open(tmp_path).run("latest")
    ask = client(tmp_path)
    found = ask.get(run).json()["class_images"]
    assert found["shape"] == [3, 4, 4]
    assert found["frames"] == 3
    header, arrays = frames.decode(ask.get(f"{run}/frames", params={"series": found["series"]}).content)
    assert arrays["steps"].tolist() == [0, 10, 20]
    for step, frame in zip((0, 10, 20), arrays["frames"], strict=True):
        state = reader.parameters(step)
        expected = state["layers.1.weight"].astype(np.float64) @ state["layers.0.weight"]
        np.testing.assert_allclose(frame.reshape(3, 16), expected, atol=1e-6)
    assert header["limit"] == np.abs(arrays["frames"]).max()


def test_what_cannot_be_asked_here_says_why_and_where_it_can(tmp_path: Path) -> None:
    torch: Any = pytest.importorskip("torch", reason="needs PyTorch")

    ask = client(tmp_path)

    def reason(run: str) -> str:
        assert ask.get(run).json()["ask"] is None
        answer = ask.post(f"{run}/ask", json={"values": [0.0] * 4})
        assert answer.status_code == 409 or answer.status_code == 404
        return str(answer.json()["error"]["message"])

    student, teacher = torch.nn.Linear(4, 2), torch.nn.Linear(4, 3)
    with epochal.init(project="test", dir=tmp_path, strict=True, system=False) as run:
        run.watch(student, inputs=(torch.zeros(3, 4),), name="student")
        run.watch(teacher, inputs=(torch.zeros(3, 4),), name="teacher")
        run.snapshot(step=0)
    assert "several: student, teacher" in reason(f"/api/v1/runs/test/{run.id}")
    reader = epochal.open(tmp_path).run(run.id)
    shapes = {name: reader.network(0, model=name)(np.zeros((5, 4), np.float32)).shape for name in reader.models()}
    assert shapes == {"student": (5, 2), "teacher": (5, 3)}
    with epochal.init(project="test", dir=tmp_path, strict=True, system=False) as run:
        run.log({"loss": 1.0}, step=0)
    assert "No network was watched" in reason(f"/api/v1/runs/test/{run.id}")
