"""Training scripts of Lightning and Transformers in processes of their own: several together, without, and left."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

import epochal
from epochal.store import StoredRun

needs_lightning = pytest.mark.skipif(find_spec("lightning") is None, reason="Lightning is not installed")
needs_transformers = pytest.mark.skipif(find_spec("transformers") is None, reason="Transformers is not installed")

LIGHTNING = """
    import logging, sys, warnings
    warnings.filterwarnings("ignore")
    import {package} as L
    import torch
    from torch import nn
    from torch.nn import functional as F
    from torch.utils.data import DataLoader, TensorDataset
    from epochal.frameworks.lightning import Callback, Logger

    class Net(L.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, batch_idx):
            loss = F.cross_entropy(self(batch[0]), batch[1])
            self.log("loss", loss, sync_dist=True)
            return loss

        def on_train_batch_end(self, *_):
            if self.global_rank == 0:
                print("GRADIENT", float(self.net[2].bias.grad.norm()), flush=True)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    torch.manual_seed(0)
    x = torch.randn(32, 4)
    loader = DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), batch_size=4)
    logger = Logger("script", watch={{"snapshots": 1, "budget": None}}, system=False)
    assert isinstance(logger, L.pytorch.loggers.Logger if hasattr(L, "pytorch") else L.loggers.Logger)
    trainer = L.Trainer(logger=logger, log_every_n_steps=1, enable_progress_bar=False, accelerator="cpu",
                        enable_model_summary=False, max_epochs=1, {options})
    trainer.fit(Net(), loader)
"""


def script(tmp_path: Path, text: str, *, fails: bool = False) -> str:
    file = tmp_path / "train.py"
    file.write_text(textwrap.dedent(text), encoding="utf-8")
    environment = {**os.environ, "EPOCHAL_DIR": str(tmp_path / "runs"), "EPOCHAL_STRICT": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(file)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def only_run(tmp_path: Path) -> StoredRun:
    (reader,) = epochal.open(tmp_path / "runs").runs()
    return StoredRun(reader.info.path)


@needs_lightning
@pytest.mark.lightning
@pytest.mark.distributed
@pytest.mark.slow
def test_two_processes_make_one_run(tmp_path: Path) -> None:
    told = script(tmp_path, LIGHTNING.format(package="lightning", options='devices=2, strategy="ddp"'))
    run = only_run(tmp_path)
    assert run.info().status == "finished"
    assert run.scalars(["loss"])["loss"].steps.tolist() == [0, 1, 2, 3]
    assert run.snapshot_steps() == [0, 1, 2, 3]
    # Gradients are those after the processes brought theirs together.
    wanted = [float(line.split()[1]) for line in told.splitlines() if line.startswith("GRADIENT")]
    norms = run.statistics("grad/net.2.bias").columns["norm"].tolist()
    assert norms == pytest.approx(wanted[1:], rel=1e-5)
    graph = run.graph()
    assert graph is not None
    assert graph.source == "export"
    assert [layer.kind for layer in graph.layers if layer.role == "module"] == ["Linear", "Tanh", "Linear"]


@needs_lightning
@pytest.mark.skipif(find_spec("pytorch_lightning") is None, reason="pytorch_lightning is not installed")
@pytest.mark.lightning
@pytest.mark.slow
def test_the_older_package_has_its_own_classes(tmp_path: Path) -> None:
    script(tmp_path, LIGHTNING.format(package="pytorch_lightning", options="devices=1"))
    run = only_run(tmp_path)
    assert run.info().status == "finished"
    assert run.snapshot_steps() == [0, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.torch
@pytest.mark.parametrize(
    ("module", "absent", "extra"),
    [
        ("lightning", ["lightning", "pytorch_lightning"], "lightning"),
        ("transformers", ["transformers"], "transformers"),
        ("accelerate", ["accelerate"], "transformers"),
    ],
)
def test_a_missing_package_is_named(tmp_path: Path, module: str, absent: list[str], extra: str) -> None:
    text = f"import sys\nsys.modules.update(dict.fromkeys({absent}))\nimport epochal.frameworks.{module}\n"
    told = script(tmp_path, text, fails=True)
    assert "MissingExtraError" in told
    assert f'pip install "epochal[{extra}]"' in told


TRANSFORMERS = """
    import torch
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
    from epochal.frameworks.transformers import Callback

    config = BertConfig(vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=16, max_position_embeddings=16)

    class Rows(torch.utils.data.Dataset):
        taken = 0

        def __len__(self):
            return 16

        def __getitem__(self, index):
            Rows.taken += 1
            if Rows.taken > 9:
                raise OSError("the data is gone")
            return {{"input_ids": torch.arange(8), "labels": torch.tensor(0)}}

    arguments = TrainingArguments("out", per_device_train_batch_size=4, report_to="none", use_cpu=True,
                                  disable_tqdm=True)
    trainer = Trainer(BertForSequenceClassification(config), arguments, train_dataset=Rows(),
                      callbacks=[Callback("script", watch=False, system=False)])
    {train}
"""


@needs_transformers
@pytest.mark.transformers
@pytest.mark.slow
@pytest.mark.parametrize(
    ("train", "error"),
    [
        ("trainer.train()", "OSError: the data is gone"),
        ("try:\n        trainer.train()\n    except OSError:\n        pass", "the training was left before its end"),
    ],
    ids=["ended by it", "caught"],
)
def test_an_error_in_the_training_is_in_the_run(tmp_path: Path, train: str, error: str) -> None:
    script(tmp_path, TRANSFORMERS.format(train=train), fails=error.startswith("OSError"))
    info = only_run(tmp_path).info()
    assert (info.status, info.error) == ("failed", error)
