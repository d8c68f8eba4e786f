"""Scripts written for TensorBoard's SummaryWriter record runs, with only the import changed."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epochal
from epochal import RunReader
from epochal.dropin.tensorboard import SummaryWriter
from epochal.dropin.tensorboard_curves import precision_recall, with_left_edge

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, as that of a script without any settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EPOCHAL_DIR", raising=False)
    monkeypatch.setenv("EPOCHAL_STRICT", "1")
    return tmp_path


def recorded() -> RunReader:
    (run,) = epochal.open("epochal-runs").runs()
    return run


def public(kind: type) -> dict[str, Any]:
    return {name: member for name, member in inspect.getmembers(kind, callable) if name[0] != "_"}


@pytest.mark.torch
def test_every_method_of_torchs_writer_is_there_with_its_signature_and_defaults() -> None:
    pytest.importorskip("tensorboard")
    board = pytest.importorskip("torch.utils.tensorboard")
    theirs = {**public(board.SummaryWriter), "__init__": board.SummaryWriter.__init__}
    assert len(theirs) > 20
    for name, method in theirs.items():
        wanted = inspect.signature(method).parameters
        ours = inspect.signature(getattr(SummaryWriter, name)).parameters
        positional = [p for p in ours.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert [(p.name, p.default) for p in positional] == [(p.name, p.default) for p in wanted.values()], name
    files = board.FileWriter
    assert set(public(files)) <= set(public(type(SummaryWriter(write_to_disk=False).file_writer)))


def test_every_method_of_tensorboardx_is_there() -> None:
    theirs = pytest.importorskip("tensorboardX").SummaryWriter
    assert set(public(theirs)) <= set(public(SummaryWriter))


def test_numbers_keep_tag_step_time_and_precision() -> None:
    writer = SummaryWriter("runs/first")
    for step in range(100):
        writer.add_scalar("Loss/train", 1 / (step + 1), step, walltime=1000.0 + step)
        writer.add_scalars("run_14h", {"sin": np.sin(step), "cos": np.float32(np.cos(step))}, step)
    writer.close()
    run = recorded()
    assert run.info.name == "first"
    assert run.info.status == "finished"
    table = run.scalars("Loss/train").to_pydict()
    assert table["v"] == [1 / (k + 1) for k in range(100)]
    assert table["step"] == list(range(100))
    assert table["t"] == [1000.0 + k for k in range(100)]
    assert run.scalars("run_14h/sin").to_pydict()["v"] == np.sin(np.arange(100)).tolist()
    assert run.scalars("run_14h/cos").to_pydict()["v"] == np.cos(np.arange(100)).astype("f4").astype("f8").tolist()


def test_calls_without_a_step_are_counted_for_each_tag() -> None:
    with SummaryWriter() as writer:
        for value in (3.0, 2.0, 1.0):
            writer.add_scalar("a", value)
            writer.add_scalar("b", -value)
        with writer.use_metadata(global_step=40, walltime=5.0):
            writer.add_scalar("a", 0.5)
    run = recorded()
    assert run.scalars("a").to_pydict()["step"] == [0, 1, 2, 40]
    assert run.scalars("a").to_pydict()["t"][-1] == 5.0
    assert run.scalars("b").to_pydict()["step"] == [0, 1, 2]


def test_the_folder_is_there_and_says_where_the_run_lies() -> None:
    with SummaryWriter(comment="-lr0.1") as writer:
        folder = Path(writer.get_logdir())
        writer.add_scalar("a", 1.0, 0)
    assert folder.is_dir()
    assert folder.parent.name == "runs"
    assert folder.name.endswith("-lr0.1")
    facts = json.loads((folder / "epochal-run.json").read_text())
    assert Path(facts["root"], facts["project"], facts["id"]) == recorded().path.absolute()


def test_adding_after_close_goes_on_with_the_same_run_and_closing_twice_is_nothing() -> None:
    writer = SummaryWriter("runs/x")
    writer.add_scalar("a", 1.0, 0)
    writer.close()
    writer.close()
    writer.add_scalar("a", 2.0, 1)
    writer.flush()
    writer.close()
    assert recorded().scalars("a").to_pydict()["v"] == [1.0, 2.0]


def test_purge_step_goes_on_with_the_run_of_the_folder_and_hides_what_it_had_from_there() -> None:
    with SummaryWriter("runs/x") as writer:
        for step in range(10):
            writer.add_scalar("a", float(step), step)
    with SummaryWriter("runs/x", purge_step=5) as writer:
        for step in range(5, 8):
            writer.add_scalar("a", -float(step), step)
    assert recorded().scalars("a").to_pydict()["v"] == [0.0, 1.0, 2.0, 3.0, 4.0, -5.0, -6.0, -7.0]


def test_two_writers_of_one_folder_are_two_runs() -> None:
    for value in (1.0, 2.0):
        with SummaryWriter("runs/x") as writer:
            writer.add_scalar("a", value, 0)
    assert sorted(r.summary["a"].last for r in epochal.open("epochal-runs").runs()) == [1.0, 2.0]


def test_hyper_parameters_stay_inside_the_run() -> None:
    with SummaryWriter() as writer:
        for k in range(3):
            writer.add_hparams({"lr": 0.1 * k, "bsize": k, "act": "relu"}, {"hparam/accuracy": 10 * k}, global_step=k)
    run = recorded()
    assert run.config["lr"] == 0.2
    assert run.config["act"] == "relu"
    assert run.scalars("hparam/accuracy").to_pydict()["v"] == [0.0, 10.0, 20.0]


def test_layouts_of_charts_are_kept() -> None:
    with SummaryWriter() as writer:
        writer.add_custom_scalars({"Taiwan": {"twse": ["Multiline", ["twse/0050", "twse/2330"]]}})
        writer.add_custom_scalars_marginchart(["dow/aaa", "dow/bbb", "dow/ccc"], category="USA", title="dow")
        writer.add_scalar("twse/0050", 1.0, 0)
    assert recorded().config["custom_scalars"] == {
        "Taiwan": {"twse": {"kind": "multiline", "series": ["twse/0050", "twse/2330"]}},
        "USA": {"dow": {"kind": "margin", "series": ["dow/aaa", "dow/bbb", "dow/ccc"]}},
    }


def test_numbers_are_exported_as_tensorboardx_does(here: Path) -> None:
    with SummaryWriter() as writer:
        writer.add_scalar("a", 1.5, 3, walltime=7.0)
        writer.export_scalars_to_json(here / "all.json")
    assert json.loads((here / "all.json").read_text())["a"] == [[7.0, 3, 1.5]]


def test_histograms_have_the_counts_of_numpy() -> None:
    values = np.random.default_rng(0).standard_normal(1000)
    with SummaryWriter() as writer:
        writer.add_histogram("w", values, 2)
        writer.add_histogram("edges", values, 2, bins=[-4.0, -2.0, 0.0, 2.0, 4.0])
        counts, limits = np.histogram(values, bins=20)
        writer.add_histogram_raw(
            "raw", values.min(), values.max(), 1000, values.sum(), (values**2).sum(), limits[1:], counts, 2
        )
    run = recorded()
    film = run.film("hist/w")
    assert film.frames[0].sum() == 1000
    np.testing.assert_array_equal(film.frames[0], np.histogram(values, 64, range=(values.min(), values.max()))[0])
    wide = run.film("hist/edges").frames[0]
    np.testing.assert_array_equal(wide[:4], np.histogram(values, [-4.0, -2.0, 0.0, 2.0, 4.0])[0])
    np.testing.assert_array_equal(run.film("hist/raw").frames[0][:20], counts)


def test_right_edges_become_edges() -> None:
    counts, edges = with_left_edge(-1.0, 5.0, [-10, 0, 1, 2, 1e308], [0, 2, 0, 3, 1])
    assert counts.tolist() == [2, 0, 3, 1]
    assert edges.tolist() == [-1, 0, 1, 2, 5]
    counts, edges = with_left_edge(0.0, 0.0, [0.0, 1.0], [4, 0])
    assert counts.tolist() == [4]
    assert edges[0] < edges[1] == 0.0


def test_precision_and_recall_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    chance = np.random.default_rng(1)
    truth, score = chance.integers(0, 2, 400), np.round(chance.random(400), 3)
    rows = precision_recall(truth, score, 1001)
    for k in (0, 1, 250, 500, 777, 1000):
        said = score * 1000 >= k - 1e-9
        assert rows[k, 1] == np.sum(said & (truth == 1))
        assert rows[k, 2] == np.sum(said & (truth == 0))
        assert rows[k, 5] == pytest.approx(metrics.precision_score(truth, said, zero_division=0))
        assert rows[k, 6] == pytest.approx(metrics.recall_score(truth, said))


@pytest.mark.parametrize("weighted", [False, True])
def test_precision_and_recall_are_those_of_tensorboard(weighted: bool) -> None:
    plugin = pytest.importorskip("tensorboard.plugins.pr_curve.summary")
    util = pytest.importorskip("tensorboard.util.tensor_util")
    chance = np.random.default_rng(2)
    truth, score = chance.integers(0, 2, 300), chance.random(300).astype("f4")
    weights = chance.random(300).astype("f4") if weighted else 1.0
    summary = plugin.pb("x", truth.astype(bool), score, num_thresholds=50, weights=weights)
    counted = util.make_ndarray(summary.value[0].tensor)
    ours = precision_recall(truth, score, 50, weights)[:, 1:].T
    np.testing.assert_allclose(ours, counted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("truth", "score"), [([1, 0], [0.5]), ([1], [1.5]), ([1], [float("nan")])])
def test_what_is_no_classification_is_refused(truth: list[int], score: list[float]) -> None:
    with pytest.raises(ValueError, match="predictions"):
        precision_recall(truth, score, 10)


def test_media_of_every_kind_come_back(here: Path) -> None:
    chance = np.random.default_rng(0)
    picture = chance.random((3, 8, 9)).astype("f4")
    with SummaryWriter() as writer:
        writer.add_image("image", picture, 1)
        writer.add_images("images", chance.random((5, 3, 8, 9)), 1)
        writer.add_image("hwc", picture.transpose(1, 2, 0), 1, dataformats="HWC")
        writer.add_image_with_boxes("boxes", picture, np.array([[0, 1, 4, 5]]), 1, labels=["cat"])
        writer.add_text("text", "| a | b |", 1)
        writer.add_audio("audio", np.sin(np.arange(400) / 5)[None], 1, sample_rate=8000)
        writer.add_video("video", chance.random((2, 4, 3, 16, 16)), 1, fps=8)
        writer.add_tensor("tensor", np.arange(6).reshape(2, 3), 1)
        writer.add_pr_curve("pr", chance.integers(0, 2, 50), chance.random(50), 1)
        writer.add_embedding(chance.random((4, 3)), metadata=["a", "b", "c", "d"], global_step=1)
        writer.add_embedding(
            chance.random((2, 3)),
            metadata=[["a", 1], ["b", 2]],
            metadata_header=["name", "number"],
            label_img=chance.random((2, 3, 8, 8)),
            tag="with pictures",
        )
        corners = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]]])
        writer.add_mesh("cloud", corners, colors=np.full((1, 4, 3), 200), global_step=1)
        writer.add_mesh("body", corners, faces=np.array([[[0, 1, 2], [0, 1, 3]]]), global_step=1)
    run = recorded()
    kinds = {name: run.media(name)[0].kind for name in run.stored.media_series()}
    assert kinds == {
        "image": "image", "images": "image", "hwc": "image", "boxes": "image", "text": "text", "audio": "audio",
        "video": "video", "tensor": "array", "pr": "chart", "default": "embedding", "with pictures": "embedding",
        "cloud": "points", "body": "object3d",
    }  # fmt: skip
    assert len(run.media("images")) == 5
    assert len(run.media("video")) == 2
    frame = run.film("image").frames[0]
    np.testing.assert_array_equal(frame, np.floor(picture.transpose(1, 2, 0) * 255 + 0.5))
    assert run.media("image")[0].sha256 == run.media("hwc")[0].sha256
    assert run.media("boxes")[0].meta["boxes"]
    curve = json.loads(run.stored.blob(run.media("pr")[0].sha256).read_bytes())
    assert len(curve["rows"]) == 127


def test_figures_are_recorded_and_closed() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    figure = pyplot.figure()
    figure.add_subplot().plot([1, 2, 3])
    with SummaryWriter() as writer:
        writer.add_figure("figure", figure, 0)
    assert not pyplot.get_fignums()
    assert recorded().media("figure")[0].kind == "figure"


@pytest.mark.torch
def test_tensors_and_graphs_are_taken() -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
    with SummaryWriter() as writer:
        writer.add_graph(model, torch.zeros(1, 4))
        writer.add_histogram("weight", model[0].weight, 0)
        writer.add_image("image", torch.rand(1, 5, 5, requires_grad=True), 0)
        writer.add_scalar("loss", torch.tensor(0.25, requires_grad=True), 0)
    run = recorded()
    graph = run.graph()
    assert graph is not None
    assert {"Linear", "ReLU"} <= {layer.kind for layer in graph.layers}
    assert run.film("hist/weight").frames.sum() == 12
    assert run.summary["loss"].last == 0.25


@pytest.mark.torch
def test_real_event_files_are_written_beside() -> None:
    pytest.importorskip("torch")
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with SummaryWriter("runs/both", tee="tensorboard") as writer:
        for step in range(5):
            writer.add_scalar("loss", 0.5 * step, step)
        writer.add_histogram("w", np.arange(10.0), 4)
        writer.add_image("image", np.zeros((1, 4, 4), np.uint8), 4)
    events = loader.EventAccumulator("runs/both", size_guidance={"scalars": 0}).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(k, 0.5 * k) for k in range(5)]
    assert events.Tags()["histograms"] == ["w"]
    assert events.Tags()["images"] == ["image"]
    assert recorded().scalars("loss").to_pydict()["v"] == [0.5 * k for k in range(5)]


def test_nothing_is_written_where_nothing_is_asked_for(here: Path) -> None:
    with SummaryWriter(write_to_disk=False) as writer:
        writer.add_scalar("a", 1.0, 0)
        writer.add_image("b", np.zeros((1, 4, 4), np.uint8), 0)
    assert list(here.iterdir()) == []


def test_an_error_in_the_block_ends_the_run_as_failed() -> None:
    with pytest.raises(ZeroDivisionError), SummaryWriter() as writer:  # noqa: PT012
        writer.add_scalar("a", 1.0, 0)
        raise ZeroDivisionError("by zero")
    assert recorded().info.status == "failed"
