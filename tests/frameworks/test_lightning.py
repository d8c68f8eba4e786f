"""The Lightning logger and callback on real trainings: what Lightning logs, what its optimizers got, how runs end."""

from __future__ import annotations

import pickle
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lightning", reason="Lightning is not installed")

import lightning.pytorch as L  # noqa: N812 - its usual name
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import epochal
from epochal.errors import UsageError
from epochal.frameworks.lightning import Callback, Logger
from epochal.store import StoredRun
from tests.frameworks.lightning_modules import Keeper, Listener, Net, loader, trainer

pytestmark = [
    pytest.mark.lightning,
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.filterwarnings("error::epochal.errors.RecordingWarning"),
]
QUIET: dict[str, Any] = {"strict": True, "system": False, "console": False, "code": False}
EVERY_STEP = {"snapshots": 1, "budget": None}


def logger(tmp_path: Path, **options: Any) -> Logger:
    return Logger("lit", dir=tmp_path, **{**QUIET, **options})


def stored(kept: Logger) -> StoredRun:
    assert kept.log_dir is not None
    return StoredRun(kept.log_dir)


def points(run: StoredRun, name: str) -> list[tuple[int, float]]:
    series = run.scalars([name])[name]
    return list(zip(series.steps.tolist(), series.v.tolist(), strict=True))


def check_gradients(run: StoredRun, kept: Keeper, steps: list[int]) -> None:
    """Statistics at `steps` are those of the gradients that the optimizer got."""
    for name in kept.gradients[-1]:
        table = run.statistics(f"grad/{name}")
        assert table.steps.tolist() == steps
        for row, step in enumerate(steps):
            expected = kept.gradients[step][name].double().numpy()
            np.testing.assert_allclose(table.columns["norm"][row], np.linalg.norm(expected), rtol=1e-6)
            np.testing.assert_allclose(table.columns["min"][row], expected.min(), rtol=1e-6)
            np.testing.assert_allclose(table.columns["mean"][row], expected.mean(), rtol=1e-5, atol=1e-9)


def check_parameters(run: StoredRun, kept: Keeper, steps: list[int]) -> None:
    for step in steps:
        found = run.snapshot(step)
        for name, tensor in kept.parameters[step].items():
            np.testing.assert_array_equal(found[name], tensor.numpy())


def test_the_logger_alone_records_all(tmp_path: Path) -> None:
    log, heard = logger(tmp_path), Listener()
    module = Net(extra={"act": nn.ReLU(), "sizes": (1, 2), "name": Namespace(a=1)})
    before = {n: t.clone() for n, t in module.state_dict().items()}
    assert log.name == "lit"
    fit = trainer(tmp_path, [log, heard])
    fit.fit(module, loader(), loader(1))
    run = stored(log)
    info = run.info()
    assert info.status == "finished"
    assert info.run_id == log.version
    assert info.config == {
        "lr": 0.1,
        "width": 6,
        "extra": {"act": "ReLU()", "sizes": [1, 2], "name": {"a": 1}},
        "epochs": 2,
    }
    assert info.recorder["looks"] >= 3
    # Every number that Lightning gave its loggers, at the step it gave; epochs where they end.
    recorded = {name: points(run, name) for name in run.series_names()}
    assert recorded.pop("epoch") == [(2, 0.0), (5, 1.0)]
    heard.heard.pop("epoch")
    assert recorded == heard.heard
    assert {"train_loss", "loss_step", "loss_epoch", "val_loss_epoch", "val/accuracy"} <= recorded.keys()
    # The network: before its first update, and at each epoch's end.
    steps = run.snapshot_steps()
    assert {0, 2, 5} <= set(steps)
    for name, tensor in before.items():
        np.testing.assert_array_equal(run.snapshot(0)[name], tensor.numpy())
    graph = run.graph()
    assert graph is not None
    assert graph.source == "export"
    assert [layer.kind for layer in graph.layers if layer.role == "module"] == ["Linear", "Tanh", "Linear"]
    assert {"param/net.0.weight", "grad/net.2.bias", "act/net.1"} <= set(run.statistics_series())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate_grad_batches": 2, "max_epochs": 4},
        {"gradient_clip_val": 0.01},
        {"precision": "bf16-mixed"},
    ],
    ids=["plain", "accumulated", "clipped", "bf16"],
)
def test_gradients_and_parameters_are_those_of_the_optimizer(tmp_path: Path, options: dict[str, Any]) -> None:
    log, kept = logger(tmp_path, watch=EVERY_STEP), Keeper()
    fit = trainer(tmp_path, log, callbacks=[kept], **options)
    fit.fit(Net(), loader(rows=32))
    run = stored(log)
    if "accumulate_grad_batches" in options:  # 4 batches an epoch, 2 updates
        kept.gradients, kept.parameters = kept.gradients[1::2], kept.parameters[1::2]
    steps = list(range(1, 8))
    assert run.snapshot_steps() == [0, *steps]
    check_parameters(run, kept, steps)
    check_gradients(run, kept, steps)


def test_gradients_are_unscaled(tmp_path: Path) -> None:
    from lightning.pytorch.plugins.precision import MixedPrecision

    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    plugin = MixedPrecision("16-mixed", "cpu", scaler=scaler)
    log, kept = logger(tmp_path, watch=EVERY_STEP), Keeper()
    fit = trainer(tmp_path, log, callbacks=[kept], plugins=[plugin])
    fit.fit(Net(), loader())
    check_gradients(stored(log), kept, list(range(1, 6)))
    check_parameters(stored(log), kept, list(range(1, 6)))
    assert kept.gradients[-1]["net.2.bias"].abs().max() < 1


class Gan(L.LightningModule):  # type: ignore[misc]
    """Two optimizers, stepped by hand; the generator's loss leaves gradients in the discriminator too."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Linear(4, 4)
        self.discriminator = nn.Linear(4, 1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> None:
        first, second = self.optimizers()
        real = batch[0]
        fake = self.generator(torch.randn_like(real))
        loss = -self.discriminator(fake).mean()
        first.zero_grad()
        self.manual_backward(loss)
        first.step()
        second.zero_grad()
        other = F.softplus(-self.discriminator(real)).mean() + F.softplus(self.discriminator(fake.detach())).mean()
        self.manual_backward(other)
        second.step()
        self.generator.zero_grad()
        self.log_dict({"g": loss, "d": other})

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.Adam(m.parameters(), lr=0.01) for m in (self.generator, self.discriminator)]


def test_several_optimizers_stepped_by_hand(tmp_path: Path) -> None:
    log, kept = logger(tmp_path, watch=EVERY_STEP), Keeper()
    fit = trainer(tmp_path, log, callbacks=[kept])
    fit.fit(Gan(), loader())
    run = stored(log)
    assert [step for step, _ in points(run, "g")] == list(range(6))
    check_parameters(run, kept, list(range(1, 6)))
    check_gradients(run, kept, list(range(1, 6)))


class Inner(Net):
    """A module that has no forward of its own use: training calls the network inside."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1])


def test_the_network_is_found_where_the_module_itself_is_not_called(tmp_path: Path) -> None:
    log = logger(tmp_path)
    trainer(tmp_path, log).fit(Inner(), loader())
    graph = stored(log).graph()
    assert graph is not None
    assert graph.source == "export"
    names = [p.name for layer in graph.layers for p in layer.parameters]
    assert names == ["net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"]
    assert {"act/net.0", "act/net.2"} <= set(stored(log).statistics_series())
    path = stored(log).network_path()
    assert path is not None
    program = torch.export.load(path).module()
    assert set(program.state_dict()) == set(names)


def test_example_inputs_are_used(tmp_path: Path) -> None:
    module = Inner()
    module.example_input_array = torch.zeros(2, 4)
    log = logger(tmp_path)
    trainer(tmp_path, log, max_epochs=1).fit(module, loader())
    graph = stored(log).graph()
    assert graph is not None
    assert graph.source == "export"
    assert graph.model == "Inner"


class Silent(Net):
    """`self.log` cannot be compiled."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch[0]), batch[1])


@pytest.mark.slow
def test_a_module_that_is_compiled_as_a_whole(tmp_path: Path) -> None:
    log, kept, module = logger(tmp_path, watch=EVERY_STEP), Keeper(), Silent()
    module.example_input_array = torch.zeros(2, 4)
    fit = trainer(tmp_path, log, callbacks=[kept])
    with pytest.warns(epochal.RecordingWarning, match="compile the network inside it instead"):
        fit.fit(torch.compile(module), loader())
    run = stored(log)
    check_gradients(run, kept, list(range(1, 6)))
    check_parameters(run, kept, list(range(1, 6)))
    assert not [name for name in run.statistics_series() if name.startswith("act/")]
    graph = run.graph()
    assert graph is not None
    assert graph.source == "export"


class Sanity(Net):
    """Logs in validation around `self.log`."""

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        self.logger.log_metrics({"own": 1.0})


def test_the_sanity_check_is_no_part_of_the_curves_and_tests_go_on_with_the_run(tmp_path: Path) -> None:
    log = logger(tmp_path)
    fit = trainer(tmp_path, log, num_sanity_val_steps=2)
    fit.fit(Sanity(), loader(), loader(1))
    first = log.experiment
    assert first.ended
    fit.test(fit.lightning_module, loader(2), verbose=False)
    run = stored(log)
    assert [step for step, _ in points(run, "own")] == [2, 2, 2, 5, 5, 5]
    assert len(points(run, "sanity/own")) == 2
    assert [step for step, _ in points(run, "val_loss_epoch")] == [2, 5]
    assert [step for step, _ in points(run, "test_loss")] == [6]
    assert run.info().status == "finished"
    assert log.experiment is not first
    assert log.experiment.id == first.id == log.version


def test_training_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    saved = tmp_path / "half.ckpt"
    log = logger(tmp_path)
    fit = trainer(tmp_path, log, max_epochs=1)
    fit.fit(Net(), loader())
    fit.save_checkpoint(saved)
    again = logger(tmp_path, version=log.version, resume="must")
    kept = Keeper()
    trainer(tmp_path, again, max_epochs=2, callbacks=[kept]).fit(Net(), loader(), ckpt_path=saved)
    assert again.version == log.version
    run = stored(again)
    assert [step for step, _ in points(run, "train_loss")] == list(range(6))
    assert points(run, "epoch") == [(2, 0.0), (5, 1.0)]
    assert {0, 2, 5} <= set(run.snapshot_steps())
    new = logger(tmp_path)
    module = Net()
    trainer(tmp_path, new, max_epochs=2).fit(module, loader(), ckpt_path=saved)
    assert [step for step, _ in points(stored(new), "train_loss")] == [3, 4, 5]
    steps = stored(new).snapshot_steps()
    assert (steps[0], steps[-1]) == (2, 5)
    half = torch.load(saved, weights_only=True)["state_dict"]
    np.testing.assert_array_equal(stored(new).snapshot(2)["net.0.weight"], half["net.0.weight"].numpy())
    np.testing.assert_array_equal(stored(new).snapshot(5)["net.0.weight"], kept.parameters[-1]["net.0.weight"].numpy())


def test_a_second_training_from_the_start_has_a_run_of_its_own(tmp_path: Path) -> None:
    log = logger(tmp_path)
    trainer(tmp_path, log).fit(Net(lr=0.1), loader())
    first = log.version
    trainer(tmp_path, log).fit(Net(lr=0.2), loader())
    assert log.version != first
    runs = {run.info.run_id: run for run in epochal.open(tmp_path).runs()}
    assert runs.keys() == {first, log.version}
    assert [runs[i].config["lr"] for i in (first, log.version)] == [0.1, 0.2]
    assert {r.info.status for r in runs.values()} == {"finished"}


class Breaking(Net):
    problem: BaseException = RuntimeError("the data ran out")

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        if self.global_step == 4:
            raise self.problem
        return super().training_step(batch, batch_idx)


def test_a_training_that_fails_says_why(tmp_path: Path) -> None:
    log = logger(tmp_path)
    with pytest.raises(RuntimeError, match="the data ran out"):
        trainer(tmp_path, log).fit(Breaking(), loader())
    info = stored(log).info()
    assert (info.status, info.error) == ("failed", "RuntimeError: the data ran out")
    assert stored(log).snapshot_steps()[-1] == 3


def test_a_training_that_the_user_stops_is_stopped(tmp_path: Path) -> None:
    import signal

    before = signal.getsignal(signal.SIGINT)
    log, module = logger(tmp_path), Breaking()
    module.problem = KeyboardInterrupt()
    try:
        with pytest.raises(SystemExit):
            trainer(tmp_path, log).fit(module, loader())
    finally:
        signal.signal(signal.SIGINT, before)
    assert stored(log).info().status == "stopped"


def test_nothing_is_recorded_of_a_fast_dev_run(tmp_path: Path) -> None:
    trainer(tmp_path, logger(tmp_path), fast_dev_run=2).fit(Net(), loader(), loader(1))
    callback = Callback(project="lit", dir=tmp_path, **QUIET)
    trainer(tmp_path, False, callbacks=[callback], fast_dev_run=True).fit(Net(), loader(), loader(1))
    assert not (tmp_path / "lit").exists()


@pytest.mark.parametrize("own", ["none", "other", "epochal"])
def test_the_callback_records_beside_any_logger(tmp_path: Path, own: str) -> None:
    heard = Listener()
    loggers = {"none": False, "other": heard, "epochal": [log := logger(tmp_path), heard]}[own]
    callback = Callback() if own == "epochal" else Callback(project="lit", dir=tmp_path, **QUIET)
    fit = trainer(tmp_path, loggers, callbacks=[callback], limit_train_batches=2)
    fit.fit(Net(), loader(), loader(1))
    (reader,) = epochal.open(tmp_path).runs()
    run = StoredRun(reader.info.path)
    assert reader.info.status == "finished"
    assert reader.config["lr"] == 0.1
    assert {0, 1, 3} <= set(run.snapshot_steps())
    if own != "none":
        assert points(run, "train_loss") == heard.heard["train_loss"]
    assert [step for step, _ in points(run, "val_loss_epoch")] == [1, 3]
    if own == "epochal":
        assert reader.info.run_id == log.version
    fit.test(fit.lightning_module, loader(2), verbose=False)
    assert len(points(StoredRun(reader.info.path), "test_loss")) == 1


def test_a_run_that_was_given_goes_on(tmp_path: Path) -> None:
    with epochal.init("own", dir=tmp_path, **QUIET) as run:
        log = Logger(run=run)
        trainer(tmp_path, log).fit(Net(), loader())
        assert log.experiment is run
        assert (log.name, log.version, log.log_dir) == ("own", run.id, str(run.path))
        assert not run.ended
        run.log({"after": 1.0})
    assert stored(log).info().status == "finished"
    assert stored(log).snapshot_steps()[-1] == 5
    with pytest.raises(UsageError, match="project cannot be given beside run="):
        Logger("x", run=run)


def test_checkpoints_are_told_of(tmp_path: Path) -> None:
    log = logger(tmp_path, log_model=True)
    keep = ModelCheckpoint(monitor="val_loss", mode="min", save_top_k=1, save_last=True, dirpath=tmp_path / "models")
    fit = trainer(tmp_path, log, callbacks=[keep], enable_checkpointing=True, max_epochs=3)
    fit.fit(Net(), loader(), loader(1))
    reader = epochal.open(tmp_path).run("latest")
    last = reader.media("checkpoints")[-1]
    assert last.kind == "table"
    kept = sorted(path.name for path in Path(reader.info.path).glob("w/*/files/checkpoints/*"))
    assert kept == sorted({Path(keep.best_model_path).name, "last.ckpt"})
    assert reader.summary["val_loss_epoch"].better == "min"


def test_checkpoints_lie_in_the_run(tmp_path: Path) -> None:
    log = logger(tmp_path)
    fit = trainer(tmp_path, log, enable_checkpointing=True)
    fit.fit(Net(), loader())
    assert log.log_dir is not None
    assert Path(fit.checkpoint_callback.best_model_path).parent == Path(log.log_dir) / "checkpoints"


def test_values_are_logged_as_with_other_loggers(tmp_path: Path) -> None:
    log = logger(tmp_path, prefix="mine")
    log.log_metrics({"loss": 1.0}, step=3)
    log.log_image("pictures", [np.zeros((4, 4)), np.ones((4, 4))], step=3, caption=["black", "white"])
    log.log_table("rows", columns=["a", "b"], data=[[1, "x"]], step=3)
    log.log_text("said", "**hello**", step=3)
    log.log_text("told", columns=["text"], data=[["x"]], step=3)
    log.log_audio("sound", [np.zeros(100, np.float32)], step=3, sample_rate=[8000])
    log.log_video("film", [np.zeros((2, 3, 4, 4), np.uint8)], step=3, fps=[2])
    log.log_hyperparams(Namespace(depth=2), {"score": 0.5})
    with pytest.raises(UsageError, match="caption has 1 entries for 2 items"):
        log.log_image("x", [np.zeros((4, 4))] * 2, caption=["one"])
    log.finalize("success")
    reader = epochal.open(tmp_path).run("latest")
    assert reader.config == {"depth": 2}
    assert reader.summary["mine/score"].last == 0.5
    pictures = reader.media("mine/pictures")
    assert [(p.kind, p.caption, p.step) for p in pictures] == [("image", "black", 3), ("image", "white", 3)]
    kinds = {name: reader.media(f"mine/{name}")[0].kind for name in ("rows", "said", "told", "sound", "film")}
    assert kinds == {"rows": "table", "said": "text", "told": "table", "sound": "audio", "film": "video"}


def test_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no option 'projet'"):
        Logger(projet="x")
    with pytest.raises(UsageError, match="two ids of one run"):
        Logger(version="a", id="b")
    with pytest.raises(UsageError, match="log_model is 'some'"):
        Logger(log_model="some")  # type: ignore[arg-type]
    off = Logger("x", mode="off")
    assert (off.save_dir, off.root_dir, off.log_dir) == (None, None, None)
    trainer(tmp_path, off).fit(Net(), loader())
    assert Logger("x", dir=tmp_path).root_dir == str(tmp_path / "x")


def test_a_logger_goes_to_other_processes(tmp_path: Path) -> None:
    log = logger(tmp_path)
    log.log_metrics({"loss": 1.0}, step=0)
    there = pickle.loads(pickle.dumps(log))
    assert there.version == log.version
    log.finalize("success")
    there.log_metrics({"loss": 0.5}, step=1)
    there.finalize("success")
    assert points(stored(log), "loss") == [(0, 1.0), (1, 0.5)]


def test_it_is_a_logger_of_lightning() -> None:
    assert isinstance(Logger("x", mode="off"), L.loggers.Logger)
    assert isinstance(Callback(mode="off"), L.Callback)
    assert "lightning.pytorch" in sys.modules
