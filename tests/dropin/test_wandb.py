"""Scripts written for wandb record runs, with only the import changed."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import epochal
import epochal.dropin.wandb as wandb
from epochal import RunReader
from epochal.errors import NotFoundError, RecordingWarning, UsageError

SIGNATURES = json.loads((Path(__file__).parents[1] / "data" / "wandb_signatures.json").read_text())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder, as that of a script without any settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EPOCHAL_DIR", raising=False)
    for name in ("MODE", "PROJECT", "NAME", "RUN_ID", "RESUME", "TAGS"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    yield tmp_path
    while wandb.run is not None:
        wandb.finish()


def recorded() -> RunReader:
    (run,) = epochal.open("epochal-runs").runs()
    return run


def values(run: RunReader, name: str) -> list[float]:
    found: list[float] = run.scalars(name).to_pydict()["v"]
    return found


@pytest.mark.parametrize("name", sorted(SIGNATURES["functions"]))
def test_calls_have_wandbs_arguments_in_wandbs_order(name: str) -> None:
    ours = list(inspect.signature(getattr(wandb, name)).parameters)
    assert [p for p in ours if p in SIGNATURES["functions"][name]] == SIGNATURES["functions"][name]
    if name != "init":
        assert list(inspect.signature(getattr(wandb.Run, name)).parameters)[1 : len(ours) + 1] == ours


@pytest.mark.parametrize("name", sorted(SIGNATURES["values"]))
def test_values_have_wandbs_arguments(name: str) -> None:
    ours = list(inspect.signature(getattr(wandb, name).__init__).parameters)[1:]
    wanted = [p for p in SIGNATURES["values"][name] if p not in ("storage_region", "digest_algorithm")]
    assert [p for p in ours if p in wanted] == wanted


@pytest.mark.parametrize("name", sorted(SIGNATURES["plot"]))
def test_plots_have_wandbs_arguments(name: str) -> None:
    assert list(inspect.signature(getattr(wandb.plot, name)).parameters) == SIGNATURES["plot"][name]


def test_a_plain_script() -> None:
    run = wandb.init(project="cats", name="first", config={"lr": 0.02, "epochs": 3}, tags=["a"], notes="why")
    assert wandb.run is run
    assert wandb.config.lr == 0.02
    for epoch in range(wandb.config["epochs"]):
        wandb.log({"loss": 1 / (epoch + 1), "val": {"acc": 0.5 + epoch / 10}})
    wandb.summary["best"] = 0.7
    assert wandb.summary["loss"] == 1 / 3
    wandb.finish()
    assert not wandb.run
    read = recorded()
    assert read.info.status == "finished"
    assert (read.info.project, read.info.name, read.info.tags, read.info.notes) == ("cats", "first", ("a",), "why")
    assert values(read, "loss") == [1.0, 0.5, 1 / 3]
    assert read.scalars("loss").to_pydict()["step"] == [0, 1, 2]
    assert values(read, "val/acc") == [0.5, 0.6, 0.7]
    assert read.summary["best"].last == 0.7


def test_settings_may_come_late_and_change() -> None:
    with wandb.init(project="cats", config={"a": 1}) as run:
        run.config.update({"b": 2})
        run.config.a = 3
        run.config["c"] = {"d": 4}
        run.config.setdefaults({"a": 9, "e": 5})
        assert dict(run.config) == {"a": 3, "b": 2, "c": {"d": 4}, "e": 5}
    assert recorded().config == {"a": 3, "b": 2, "c": {"d": 4}, "e": 5}


def test_a_step_is_gathered_until_it_is_committed() -> None:
    with wandb.init(project="cats") as run:
        run.log({"a": 1.0}, commit=False)
        run.log({"b": 2.0})
        run.log({"a": 3.0})
        assert run.step == 2
        run.log({"a": 4.0}, step=10)
        run.log({"b": 5.0}, step=10)
        run.log({"a": 6.0}, step=11)
    read = recorded()
    assert read.scalars("a").to_pydict()["step"] == [0, 1, 10, 11]
    assert read.scalars("b").to_pydict()["step"] == [0, 10]


def test_a_step_that_goes_back_is_kept_and_told_of_once() -> None:
    with wandb.init(project="cats") as run:
        run.log({"a": 1.0}, step=5)
        with pytest.warns(RecordingWarning, match="step 3 was logged after step 5: it is recorded"):
            run.log({"a": 2.0}, step=3)
        run.log({"a": 3.0}, step=2)  # a second warning would be an error here
    assert sorted(values(recorded(), "a")) == [1.0, 2.0, 3.0]


def test_metrics_are_defined_by_name_and_pattern() -> None:
    with wandb.init(project="cats") as run:
        run.define_metric("epoch")
        run.define_metric("val/*", step_metric="epoch", summary="max")
        run.define_metric("loss", goal="minimize")
        for epoch, accuracy in enumerate((0.5, 0.9, 0.7)):
            run.log({"epoch": epoch, "val/acc": accuracy, "loss": 1 - accuracy})
        assert run.summary["val/acc"] == 0.9
        assert run.summary["loss"] == pytest.approx(0.3)
    summary = recorded().summary
    assert summary["val/acc"].better == "max"
    assert summary["loss"].better == "min"
    assert values(recorded(), "epoch") == [0.0, 1.0, 2.0]


def test_nothing_is_recorded_where_it_is_disabled(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with wandb.init(project="cats") as run:
        run.log({"a": 1.0, "b": wandb.Image(np.zeros((4, 4)))})
        run.summary["x"] = 1
        assert run.disabled
    assert list(here.iterdir()) == []


def test_an_open_run_is_returned_again_unless_another_is_asked_for() -> None:
    first = wandb.init(project="cats")
    assert wandb.init(project="cats") is first
    second = wandb.init(project="cats", reinit="create_new")
    assert wandb.run is second
    third = wandb.init(project="cats", reinit=True)
    assert first.epochal.ended
    assert second.epochal.ended
    assert wandb.run is third


def test_a_run_goes_on_under_its_id() -> None:
    with wandb.init(project="cats", id="abc", resume="allow") as run:
        run.log({"a": 1.0})
        assert not run.resumed
    with wandb.init(project="cats", id="abc", resume="must") as run:
        assert run.resumed
        run.log({"a": 2.0})
    assert recorded().scalars("a").to_pydict()["step"] == [0, 1]
    with pytest.raises(NotFoundError):
        wandb.init(project="cats", id="other", resume="must")


def test_a_run_is_taken_back_to_a_step_and_forked_from_one() -> None:
    with wandb.init(project="cats", id="abc") as run:
        for k in range(10):
            run.log({"a": float(k)})
    with wandb.init(project="cats", resume_from="abc?_step=4") as run:
        run.log({"a": 100.0})
    assert values(recorded(), "a") == [0.0, 1.0, 2.0, 3.0, 4.0, 100.0]
    with wandb.init(project="cats", id="child", fork_from="abc?_step=2") as run:
        run.log({"a": -1.0})
    child = epochal.open("epochal-runs").run("child")
    assert child.info.parent is not None
    assert "abc" in child.info.parent
    assert child.scalars("a").to_pydict()["step"] == [3]


def test_calls_before_init_say_so() -> None:
    for call in (lambda: wandb.log({"a": 1}), lambda: wandb.config.lr, lambda: wandb.summary["a"]):
        with pytest.raises(wandb.Error, match=r"must call wandb\.init"):
            call()


@pytest.mark.parametrize("call", [wandb.sweep, wandb.agent, wandb.controller])
def test_sweeps_point_to_the_lab(call: Any) -> None:
    with pytest.raises(UsageError) as caught:
        call({"method": "grid"})
    assert "epochal lab" in caught.value.hint


def test_an_exit_code_or_an_error_ends_a_run_as_failed() -> None:
    wandb.init(project="a").finish(exit_code=2)
    with pytest.raises(ZeroDivisionError), wandb.init(project="b"):
        raise ZeroDivisionError
    assert [r.info.status for r in epochal.open("epochal-runs").runs()] == ["failed", "failed"]


def test_files_are_saved_now_and_again_at_the_end(here: Path) -> None:
    (here / "out").mkdir()
    (here / "out" / "a.txt").write_text("early")
    with wandb.init(project="cats") as run:
        run.save("out/*.txt", base_path=".")
        with run.restore("out/a.txt") as file:
            assert file.read() == "early"
        (here / "out" / "a.txt").write_text("late")
    (kept,) = recorded().path.glob("w/*/files/out/a.txt")
    assert kept.read_text() == "late"


def test_artifacts_have_versions_and_aliases_and_are_found_by_other_runs(here: Path) -> None:
    (here / "model.bin").write_bytes(b"one")
    with wandb.init(project="cats") as run:
        for content in (b"one", b"two", b"two"):
            (here / "model.bin").write_bytes(content)
            artifact = wandb.Artifact("net", type="model", metadata={"acc": 0.5})
            artifact.add_file("model.bin")
            with artifact.new_file("notes.txt") as file:
                file.write("text")
            run.log_artifact(artifact, aliases=["best"] if content == b"one" else None)
        assert artifact.version == "v1"
        run.log_artifact("model.bin", name="alone", type="file")
    with wandb.init(project="cats") as run:
        assert Path(run.use_artifact("net:best").download("got"), "model.bin").read_bytes() == b"one"
        latest = run.use_artifact("someone/cats/net:latest", type="model")
        assert latest.version == "v1"
        assert latest.metadata == {"acc": 0.5}
        assert Path(latest.get_path("model.bin").download()).read_bytes() == b"two"
        assert Path(run.use_artifact("alone:v0").file()).read_bytes() == b"two"
        with pytest.raises(NotFoundError, match="no artifact 'dog:latest'"):
            run.use_artifact("dog:latest")
        with pytest.raises(UsageError, match="of type"):
            run.use_artifact("net", type="dataset")
    assert epochal.open("epochal-runs").run("latest").config["artifacts"]["used"] == ["net:v0", "net:v1", "alone:v0"]


def test_an_artifact_that_another_process_logs_meanwhile_becomes_the_next_version(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "model.bin").write_bytes(b"mine")
    home = here / "epochal-runs" / "cats" / ".artifacts" / "net"
    write = wandb.Artifact._write

    def late(self: wandb.Artifact, folder: Path) -> None:
        (home / "v0").mkdir()
        (home / "v0" / "model.bin").write_bytes(b"other")
        write(self, folder)

    monkeypatch.setattr(wandb.Artifact, "_write", late)
    with wandb.init(project="cats") as run:
        logged = run.log_artifact("model.bin", name="net", type="model")
        assert logged.version == "v1"
    assert [sorted(p.name for p in (home / v).iterdir()) for v in ("v0", "v1")] == [
        ["model.bin"], [".artifact.json", "model.bin"],
    ]  # fmt: skip


def test_an_artifact_that_cannot_be_written_stops_no_training(here: Path) -> None:
    (here / "model.bin").write_bytes(b"one")
    with wandb.init(project="cats") as run:
        artifact = wandb.Artifact("net", type="model")
        artifact.add_file("model.bin")
        (here / "model.bin").unlink()
        with pytest.warns(RecordingWarning, match=r"wandb.log_artifact\(\) failed, training goes on"):
            assert run.log_artifact(artifact) is artifact
        (here / "model.bin").write_bytes(b"two")
        assert run.log_artifact(artifact).version == "v0"
    home = here / "epochal-runs" / "cats" / ".artifacts" / "net"
    assert [p.name for p in home.iterdir()] == ["v0"]


@pytest.mark.torch
def test_numbers_on_a_device_are_not_waited_for(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from epochal.record import deferred

    monkeypatch.setattr(deferred, "_NEAR", frozenset({"meta"}))
    item, read = torch.Tensor.item, []

    def counted(self: Any) -> Any:
        read.append(self)
        return item(self)

    monkeypatch.setattr(torch.Tensor, "item", counted)
    with wandb.init(project="cats") as run:
        run.define_metric("loss", summary="min")
        for loss in (3.0, 1.0, 2.0):
            run.log({"loss": torch.tensor(loss), "acc": torch.tensor([loss])})
        assert not read
        assert (run.summary["loss"], dict(run.summary)) == (1.0, {"loss": 1.0, "acc": 2.0})
    assert values(recorded(), "loss") == [3.0, 1.0, 2.0]


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x"])
def test_an_artifacts_file_cannot_lie_outside(here: Path, name: str) -> None:
    (here / "a.txt").write_text("x")
    with pytest.raises(ValueError, match="no name for a file"):
        wandb.Artifact("net", type="model").add_file("a.txt", name=name)


def test_values_of_every_kind_come_back() -> None:
    chance = np.random.default_rng(0)
    floats = chance.random((8, 9, 3))
    with wandb.init(project="cats") as run:
        table = wandb.Table(columns=["id", "image", "guess"])
        table.add_data(0, wandb.Image(floats, caption="cell"), "cat")
        run.log(
            {
                "image": wandb.Image(floats, caption="one"),
                "images": [wandb.Image(chance.integers(0, 255, (8, 9)).astype("u1")) for _ in range(3)],
                "boxed": wandb.Image(
                    floats,
                    boxes={
                        "predictions": {
                            "box_data": [
                                {"position": {"minX": 0.0, "minY": 0.5, "maxX": 1.0, "maxY": 1.0}, "class_id": 1},
                                {
                                    "position": {"middle": [4, 4], "width": 2, "height": 4},
                                    "domain": "pixel",
                                    "box_caption": "dog",
                                    "scores": {"acc": 0.5},
                                },
                            ],
                            "class_labels": {1: "cat"},
                        }
                    },
                    masks={"truth": {"mask_data": np.zeros((8, 9), np.uint8), "class_labels": {0: "sky"}}},
                ),
                "histogram": wandb.Histogram(np_histogram=np.histogram(floats, bins=16)),
                "table": table,
                "video": wandb.Video(chance.integers(0, 255, (4, 3, 16, 16), dtype=np.uint8), fps=4),
                "audio": wandb.Audio(np.sin(np.arange(400) / 9), sample_rate=8000, caption="tone"),
                "html": wandb.Html("<b>bold</b>"),
                "cloud": wandb.Object3D(chance.random((10, 6)) * 255),
                "text": "plain",
                "list": [1, 2, 3],
                "array": floats,
                "flag": True,
            }
        )
    read = recorded()
    kinds = {name: read.media(name)[0].kind for name in read.stored.media_series()}
    assert kinds == {
        "image": "image", "images": "image", "boxed": "image", "table": "table", "video": "video", "audio": "audio",
        "html": "html", "cloud": "points", "text": "text", "list": "array", "array": "array",
    }  # fmt: skip
    np.testing.assert_array_equal(read.film("image").frames[0], (floats * 255).astype("u1"))
    assert read.media("image")[0].caption == "one"
    assert len(read.media("images")) == 3
    first, second = read.media("boxed")[0].meta["boxes"]["predictions"]
    assert first == {"box": [0, 4, 9, 8], "class": 1}
    assert second == {"box": [3, 2, 5, 6], "label": "dog", "score": 0.5}
    assert values(read, "flag") == [1.0]
    np.testing.assert_array_equal(read.film("hist/histogram").frames[0][:16], np.histogram(floats, bins=16)[0])


@pytest.mark.torch
def test_tensors_and_networks_are_taken() -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with wandb.init(project="cats") as run:
        run.watch(model, log="all", log_freq=1)
        for _ in range(5):
            optimizer.zero_grad()
            loss = model(torch.randn(6, 4)).square().mean()
            loss.backward()
            optimizer.step()
            run.log({"loss": loss, "batch": wandb.Image(torch.rand(9, 3, 5, 5))})
        run.unwatch(model)
    read = recorded()
    assert len(values(read, "loss")) == 5
    assert read.film("0.weight").frames.shape[1:] == (8, 4)
    assert {"grad/0.weight", "param/2.bias"} <= set(read.stored.statistics_series())
    assert read.film("batch").frames.shape[1:] == (2 * 7 + 2, 8 * 7 + 2, 3)


def test_tables_can_be_read_back() -> None:
    table = wandb.Table(columns=["a", "b"], data=[[1, "x"], [2, "y"]])
    table.add_column("c", [3.0, 4.0])
    table.add_computed_columns(lambda k, row: {"d": row["a"] + k})
    assert table.data == [[1, "x", 3.0, 1], [2, "y", 4.0, 3]]
    assert table.get_column("d") == [1, 3]
    assert table.get_dataframe()["b"].tolist() == ["x", "y"]
    assert [row[0] for _, row in table.iterrows()] == [1, 2]


def chart(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(value.encode().data)
    return found


def test_a_confusion_matrix_counts_as_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    chance = np.random.default_rng(0)
    truth, probs = chance.integers(0, 4, 200), chance.random((200, 4))
    rows = chart(wandb.plot.confusion_matrix(probs=probs, y_true=truth, class_names=list("abcd")))["rows"]
    wanted = metrics.confusion_matrix(truth, probs.argmax(1))
    assert [[a, p, wanted["abcd".index(a), "abcd".index(p)]] for a, p, _ in rows] == rows
    with pytest.raises(ValueError, match="negative"):
        wandb.plot.confusion_matrix(y_true=[0, -1], preds=[0, 1])
    named = wandb.plot.confusion_matrix(y_true=["x", "y", "x"], preds=["x", "x", "x"])
    assert chart(named)["rows"] == [["x", "x", 2], ["x", "y", 0], ["y", "x", 1], ["y", "y", 0]]


def test_curves_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    chance = np.random.default_rng(1)
    truth = chance.integers(0, 3, 300)
    probs = chance.dirichlet(np.ones(3), 300)
    roc = chart(wandb.plot.roc_curve(truth, probs, labels=["a", "b", "c"]))["rows"]
    for k, name in enumerate("abc"):
        fpr, tpr, _ = metrics.roc_curve(truth == k, probs[:, k], drop_intermediate=False)
        ours = np.array([row[1:] for row in roc if row[0] == name])
        np.testing.assert_allclose(ours, np.stack([fpr, tpr], 1))
    pr = chart(wandb.plot.pr_curve(truth, probs, labels=["a", "b", "c"]))["rows"]
    precision, recall, _ = metrics.precision_recall_curve(truth == 1, probs[:, 1])
    for name, p, r in pr:
        if name == "b":
            reached = np.flatnonzero(recall >= r - 1e-12)
            assert p == pytest.approx(precision[reached[-1]] if r > 0 else p)


def test_charts_are_made_of_tables_and_lists() -> None:
    table = wandb.Table(columns=["x", "y", "who"], data=[[1, 2, "a"], [2, 3, "b"]])
    assert chart(wandb.plot.line(table, "x", "y", stroke="who", title="t"))["chart"] == {
        "kind": "line", "title": "t", "x": "x", "y": "y", "series": "who",
    }  # fmt: skip
    assert chart(wandb.plot.bar(table, "who", "y"))["chart"]["kind"] == "bar"
    assert chart(wandb.plot.scatter(table, "x", "y"))["chart"]["kind"] == "scatter"
    assert chart(wandb.plot.histogram(table, "y"))["chart"] == {"kind": "histogram", "title": "", "x": "y"}
    lines = chart(wandb.plot.line_series(xs=[0, 1], ys=[[5, 6], [7, 8]], keys=["p", "q"], xname="epoch"))
    assert lines["rows"] == [[0, 5, "p"], [1, 6, "p"], [0, 7, "q"], [1, 8, "q"]]
    with wandb.init(project="cats") as run:
        run.log({"chart": wandb.plot.line(table, "x", "y")})
    assert recorded().media("chart")[0].kind == "chart"


def test_an_alert_is_kept() -> None:
    with wandb.init(project="cats") as run:
        run.alert(title="Low accuracy", text="below 0.1", level=wandb.AlertLevel.WARN, wait_duration=300)
        run.alert(title="Low accuracy", text="again", level="WARN", wait_duration=300)
        with pytest.raises(ValueError, match="level must be"):
            run.alert("a", "b", level="LOUD")
    alerts = recorded().alerts()
    assert [(a.title, a.text, a.level) for a in alerts] == [("Low accuracy", "below 0.1", "warning")]
