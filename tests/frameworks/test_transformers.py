"""The callback of Hugging Face's `Trainer` on real trainings of tiny networks with random weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers", reason="Hugging Face Transformers is not installed")

import torch
import transformers
from torch import Tensor, nn

import epochal
from epochal.errors import UsageError
from epochal.frameworks.transformers import Callback
from epochal.store import StoredRun

pytestmark = [
    pytest.mark.transformers,
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.filterwarnings("error::epochal.errors.RecordingWarning"),
]
EVERY_STEP = {"snapshots": 1, "budget": None}
QUIET: dict[str, Any] = {"strict": True, "system": False, "console": False, "code": False}
Rows = list[dict[str, Tensor]]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    yield
    transformers.logging.set_verbosity(before)


def rows(count: int = 16, length: int = 8) -> Rows:
    made = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 30, (count, length), generator=made)
    return [{"input_ids": t, "attention_mask": torch.ones_like(t), "labels": t[0] % 2} for t in tokens]


def bert() -> nn.Module:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=30,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
        pad_token_id=0,
    )
    model: nn.Module = transformers.BertForSequenceClassification(config)
    return model


def gpt2() -> nn.Module:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=30, n_positions=16, n_embd=8, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=2
    )
    model: nn.Module = transformers.GPT2LMHeadModel(config)
    return model


def texts() -> Rows:
    return [{"input_ids": row["input_ids"], "labels": row["input_ids"]} for row in rows()]


def trainer(tmp_path: Path, callbacks: list[Any], *, model: nn.Module | None = None, **options: Any) -> Any:
    data = options.pop("data", None) or rows()
    defaults: dict[str, Any] = {
        "output_dir": str(tmp_path / "out"),
        "per_device_train_batch_size": 4,
        "num_train_epochs": 2,
        "learning_rate": 0.01,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    settings = transformers.TrainingArguments(**{**defaults, **options})
    return transformers.Trainer(
        model or bert(), settings, train_dataset=data, eval_dataset=data[:8], callbacks=callbacks
    )


def recorder(tmp_path: Path, **options: Any) -> Callback:
    return Callback("hf", dir=tmp_path / "runs", **{**QUIET, **options})


def stored(callback: Callback) -> StoredRun:
    assert callback.run is not None
    assert callback.run.path is not None
    return StoredRun(callback.run.path)


def points(run: StoredRun, name: str) -> list[tuple[int, float]]:
    series = run.scalars([name])[name]
    return list(zip(series.steps.tolist(), series.v.tolist(), strict=True))


class Keeper(transformers.TrainerCallback):  # type: ignore[misc]
    """Keeps what the optimizer gets, and parameters after each update, read by itself."""

    def __init__(self) -> None:
        self.gradients: dict[int, dict[str, Tensor]] = {}
        self.parameters: dict[int, dict[str, Tensor]] = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        found = {n: p.grad.detach().clone() for n, p in model.named_parameters() if p.grad is not None}
        self.gradients[state.global_step + 1] = found

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self.parameters[state.global_step] = {n: p.detach().clone() for n, p in model.named_parameters()}


def test_what_the_trainer_logs_is_recorded_exactly(tmp_path: Path) -> None:
    callback = recorder(tmp_path, tags=["tiny"])
    fit = trainer(tmp_path, [callback], eval_strategy="epoch", run_name="tiny bert", hub_token="hf_never_recorded")
    fit.train()
    run = stored(callback)
    logged: dict[str, list[tuple[int, float]]] = {}
    for entry in fit.state.log_history:
        for key, value in entry.items():
            if key not in ("step", "epoch"):
                name = f"eval/{key[5:]}" if key.startswith("eval_") else f"train/{key}"
                logged.setdefault(name, []).append((entry["step"], value))
    recorded = {name: points(run, name) for name in run.series_names()}
    epochs = recorded.pop("epoch")
    assert recorded == logged
    assert {"train/loss", "train/grad_norm", "train/learning_rate", "eval/loss", "train/train_loss"} <= set(recorded)
    assert epochs == [(k, k / 4) for k in range(1, 9)]
    info = run.info()
    assert (info.status, info.name, info.tags) == ("finished", "tiny bert", ("tiny",))
    assert info.config["learning_rate"] == 0.01
    assert info.config["model"]["hidden_size"] == 8
    assert info.config["model"]["pad_token_id"] == 0
    assert info.config["parameters"] == sum(p.numel() for p in fit.model.parameters())
    assert info.config["epochs"] == 2
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"hf_never" in path.read_bytes()]
    # The network before its first update, at the first, and at each epoch's end.
    assert run.snapshot_steps() == [0, 1, 4, 8]
    np.testing.assert_array_equal(
        run.snapshot(0)["classifier.weight"], bert().get_parameter("classifier.weight").detach()
    )
    graph = run.graph()
    assert graph is not None
    assert (graph.source, graph.note) == ("export", "")
    assert "labels" not in {layer.layer_id for layer in graph.layers}
    assert "act/bert.encoder.layer.0.attention.self.query" in run.statistics_series()


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (bert, {"gradient_accumulation_steps": 2, "max_grad_norm": 0.1}),
        (gpt2, {"optim": "adamw_torch", "data": texts()}),
        (bert, {"bf16": True, "max_grad_norm": 0.0}),
    ],
    ids=["accumulated and clipped", "tied weights", "bf16"],
)
def test_gradients_and_parameters_are_those_of_the_optimizer(
    tmp_path: Path, make: Any, options: dict[str, Any]
) -> None:
    kept, callback = Keeper(), recorder(tmp_path, watch=EVERY_STEP)
    fit = trainer(tmp_path, [kept, callback], model=make(), **options)
    fit.train()
    run = stored(callback)
    steps = sorted(kept.parameters)
    assert run.snapshot_steps() == [0, *steps]
    assert len(steps) == (4 if "gradient_accumulation_steps" in options else 8)
    for name in kept.gradients[1]:
        table = run.statistics(f"grad/{name}")
        assert table.steps.tolist() == steps
        for row, step in enumerate(steps):
            expected = kept.gradients[step][name].double().numpy()
            np.testing.assert_allclose(table.columns["norm"][row], np.linalg.norm(expected), rtol=1e-5, atol=1e-12)
            np.testing.assert_allclose(table.columns["max"][row], expected.max(), rtol=1e-6)
            np.testing.assert_array_equal(run.snapshot(step)[name], kept.parameters[step][name].numpy())
    graph = run.graph()
    assert graph is not None
    assert graph.source == "export"


def test_looks_at_epoch_ends_are_of_that_update(tmp_path: Path) -> None:
    kept, callback = Keeper(), recorder(tmp_path, watch={"every": 1000})
    trainer(tmp_path, [kept, callback], num_train_epochs=3).train()
    table = stored(callback).statistics("grad/classifier.weight")
    assert table.steps.tolist() == [1, 4, 8, 12]
    for row, step in enumerate(table.steps.tolist()):
        expected = np.linalg.norm(kept.gradients[step]["classifier.weight"].double().numpy())
        np.testing.assert_allclose(table.columns["norm"][row], expected, rtol=1e-5)


def test_evaluations_and_predictions_go_on_with_the_run(tmp_path: Path) -> None:
    callback = recorder(tmp_path)
    fit = trainer(tmp_path, [callback], max_steps=3)
    fit.train()
    first = callback.run
    assert first is not None
    assert first.ended
    metrics = fit.evaluate()
    predicted = fit.predict(rows(4))
    assert callback.run is not first
    run = stored(callback)
    assert run.run_id == first.id
    assert points(run, "eval/loss") == [(3, metrics["eval_loss"])]
    assert points(run, "test/loss") == [(3, predicted.metrics["test_loss"])]
    assert run.info().status == "finished"


def test_evaluation_alone_makes_a_run(tmp_path: Path) -> None:
    callback = recorder(tmp_path)
    metrics = trainer(tmp_path, [callback]).evaluate()
    assert points(stored(callback), "eval/loss") == [(0, metrics["eval_loss"])]
    assert stored(callback).info().status == "finished"


def test_training_goes_on_from_a_checkpoint_and_the_best_one_is_known(tmp_path: Path) -> None:
    whole = recorder(tmp_path)
    options: dict[str, Any] = {
        "save_strategy": "steps",
        "save_steps": 4,
        "eval_strategy": "steps",
        "eval_steps": 4,
        "load_best_model_at_end": True,
        "metric_for_best_model": "loss",
    }
    fit = trainer(tmp_path, [whole], **options)
    kept = Keeper()
    fit.add_callback(kept)
    fit.train()
    run = stored(whole)
    # The trainer has put its best checkpoint into the model by now: what was recorded is what was trained.
    np.testing.assert_array_equal(run.snapshot(8)["classifier.weight"], kept.parameters[8]["classifier.weight"].numpy())
    reader = epochal.open(tmp_path / "runs").run(run.run_id)
    assert reader.summary["eval/loss"].better == "min"
    assert [item.step for item in reader.media("checkpoints")] == [4, 8]
    again = recorder(tmp_path)
    trainer(tmp_path, [again], **options).train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-4"))
    assert [step for step, _ in points(stored(again), "train/loss")] == [5, 6, 7, 8]
    assert stored(again).snapshot_steps()[0] == 4
    np.testing.assert_array_equal(
        stored(again).snapshot(4)["classifier.weight"], kept.parameters[4]["classifier.weight"].numpy()
    )


def test_each_training_has_a_run(tmp_path: Path) -> None:
    callback = recorder(tmp_path)
    fit = trainer(tmp_path, [callback], max_steps=2)
    fit.train()
    first = stored(callback).run_id
    fit.train()
    assert stored(callback).run_id != first
    assert {r.info.status for r in epochal.open(tmp_path / "runs").runs()} == {"finished"}


def test_each_trial_of_a_search_has_a_run(tmp_path: Path) -> None:
    callback = recorder(tmp_path)
    fit = trainer(tmp_path, [callback], max_steps=2, run_name="search")
    for rate in (0.1, 0.2):
        state = transformers.TrainerState(
            is_hyper_param_search=True, trial_name=f"rate {rate}", trial_params={"rate": rate}, max_steps=2
        )
        callback.on_train_begin(fit.args, state, fit.control, model=fit.model)
        for step in (1, 2):
            state.global_step, state.epoch = step, step / 4
            callback.on_step_begin(fit.args, state, fit.control)
            callback.on_step_end(fit.args, state, fit.control)
            callback.on_log(fit.args, state, fit.control, logs={"loss": rate * step})
        callback.on_train_end(fit.args, state, fit.control)
    runs = epochal.open(tmp_path / "runs").runs()
    found = {(r.info.name, r.info.group, r.config["trial"]["rate"], r.summary["train/loss"].last) for r in runs}
    assert found == {("rate 0.1", "search", 0.1, 0.2), ("rate 0.2", "search", 0.2, 0.4)}
    assert {r.info.status for r in runs} == {"finished"}


class Failing(list[dict[str, Tensor]]):
    left = 9

    def __getitem__(self, index: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise OSError("the data is gone")
        return super().__getitem__(index)


def test_a_training_that_was_left_has_failed(tmp_path: Path) -> None:
    callback = recorder(tmp_path)
    fit = trainer(tmp_path, [callback])
    fit.train_dataset = Failing(rows())
    with pytest.raises(OSError, match="the data is gone"):
        fit.train()
    failed = stored(callback)
    assert failed.info().status == "running"
    fit.train_dataset = rows()
    fit.train()
    assert (failed.info().status, failed.info().error) == ("failed", "the training was left before its end")
    assert stored(callback).run_id != failed.run_id
    assert stored(callback).info().status == "finished"


def test_a_run_that_was_given_goes_on(tmp_path: Path) -> None:
    with epochal.init("own", dir=tmp_path / "runs", **QUIET) as run:
        callback = Callback(run=run, watch=False)
        trainer(tmp_path, [callback], max_steps=2).train()
        assert callback.run is run
        assert not run.ended
    assert stored(callback).snapshot_steps() == []
    assert len(points(stored(callback), "train/loss")) == 2
    with pytest.raises(UsageError, match="name cannot be given beside run="):
        Callback(run=run, name="x")


def test_other_reports_are_left_alone(tmp_path: Path) -> None:
    callback = recorder(tmp_path)
    fit = trainer(tmp_path, [callback])
    names = {type(one).__name__ for one in fit.callback_handler.callbacks}
    assert names == {"DefaultFlowCallback", "PrinterCallback", "Callback"}
    assert fit.args.report_to == []


class Quiet(nn.Module):
    """A module of one's own, which needs its labels and is no PreTrainedModel."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, input_ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.head(self.embed(input_ids).mean(1))
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def test_a_module_of_ones_own(tmp_path: Path) -> None:
    callback = recorder(tmp_path)
    trainer(tmp_path, [callback], model=Quiet()).train()
    graph = stored(callback).graph()
    assert graph is not None
    assert graph.source == "export"
    assert "labels" in {layer.layer_id for layer in graph.layers}
    assert math.isfinite(stored(callback).summaries()["train/loss"].last)
