"""Accelerate scripts: a tracker for `accelerator.log`, and the run behind it for the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("accelerate", reason="Hugging Face Accelerate is not installed")

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn

import epochal
from epochal.frameworks.accelerate import Tracker

pytestmark = [pytest.mark.transformers, pytest.mark.torch]
QUIET: dict[str, Any] = {"strict": True, "system": False, "console": False, "code": False}


@pytest.fixture(autouse=True)
def _fresh() -> Any:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_a_script_is_recorded_with_its_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    accelerator = Accelerator(
        log_with=Tracker("script", dir=tmp_path, tags=["acc"], **QUIET), cpu=True, gradient_accumulation_steps=2
    )
    accelerator.init_trackers("ignored", config={"lr": 0.1, "steps": 3})
    model, optimizer = nn.Linear(4, 2), None
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model, optimizer = accelerator.prepare(model, optimizer)
    run = accelerator.get_tracker("epochal", unwrap=True)
    assert isinstance(run, epochal.Run)
    run.watch(accelerator.unwrap_model(model), snapshots=1, budget=None)
    kept, norms = [], []
    for step in range(1, 7):
        with accelerator.accumulate(model):
            loss = model(torch.full((3, 4), float(step))).square().mean()
            accelerator.backward(loss)
            norm = float(model.weight.grad.norm())
            optimizer.step()
            optimizer.zero_grad()
        if accelerator.sync_gradients:
            accelerator.log({"loss": loss.item()}, step=step // 2, log_kwargs={"epochal": {"epoch": step // 2}})
            kept.append(model.weight.detach().clone().numpy())
            norms.append(norm)
    accelerator.get_tracker("epochal").log_images({"seen": np.zeros((2, 3, 8, 8), np.uint8)}, step=3)
    accelerator.get_tracker("epochal").log_table("rows", columns=["a"], data=[[1]], step=3)
    accelerator.end_training()
    reader = epochal.open(tmp_path).run("latest")
    assert (reader.info.project, reader.info.status, reader.info.tags) == ("script", "finished", ("acc",))
    assert reader.config == {"lr": 0.1, "steps": 3}
    assert reader.steps("params") == [0, 1, 2, 3]
    for step, weight in enumerate(kept, start=1):
        np.testing.assert_array_equal(reader.parameters(step)["weight"], weight)
    table = reader._stored.statistics("grad/weight")
    assert table.columns["norm"].tolist() == pytest.approx(norms, rel=1e-6)
    assert reader.summary["epoch"].last == 3
    assert len(reader.media("seen")) == 2
    assert reader.media("rows")[0].kind == "table"
