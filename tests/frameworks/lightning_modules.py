"""Small Lightning modules and trainers for the tests; import this only where Lightning is there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as L  # noqa: N812 - its usual name
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.utils.data import DataLoader, TensorDataset

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

State = dict[str, Tensor]


def loader(seed: int = 0, rows: int = 24, batch: int = 8) -> DataLoader[tuple[Tensor, ...]]:
    made = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 4, generator=made)
    return DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), batch_size=batch)


class Net(L.LightningModule):  # type: ignore[misc]
    """A classifier that logs in all the ways that Lightning has."""

    def __init__(self, lr: float = 0.1, width: int = 6, extra: Any = None) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 2))
        self.lr = lr

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss)
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        out = self(batch[0])
        self.log("val_loss", F.cross_entropy(out, batch[1]), on_step=True, on_epoch=True)
        self.log("val/accuracy", (out.argmax(1) == batch[1]).float().mean())

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("test_loss", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.5)


class Keeper(L.Callback):  # type: ignore[misc]
    """Keeps what the optimizer got and made, read by itself: gradients before each step, parameters after each batch.

    Gradients are those after clipping: they are read from the optimizer's own hook.
    """

    def __init__(self) -> None:
        self.gradients: list[State] = []
        self.parameters: list[State] = []

    def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
        named = {id(p): n for n, p in pl_module.named_parameters()}
        self.now: State = {}

        def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            for group in optimizer.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        self.now[named[id(p)]] = p.grad.detach().clone()

        # With Lightning's closures gradients come to be inside the step, and stay there.
        self.handles = [o.register_step_post_hook(note) for o in trainer.optimizers]

    def on_train_batch_end(self, trainer: Any, pl_module: nn.Module, *_: Any) -> None:
        self.gradients.append(dict(self.now))
        self.parameters.append({n: t.detach().clone() for n, t in pl_module.state_dict().items()})

    def on_train_end(self, trainer: Any, pl_module: nn.Module) -> None:
        for handle in self.handles:
            handle.remove()


class Listener(L.loggers.Logger):  # type: ignore[misc]
    """A logger that keeps what Lightning gives its loggers."""

    name = "listener"
    version = "0"

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[str, list[tuple[int, float]]] = {}

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        for name, value in metrics.items():
            self.heard.setdefault(name, []).append((-1 if step is None else step, float(value)))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        pass


def trainer(tmp_path: Path, logger: Any, **options: Any) -> Any:
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 2,
        "log_every_n_steps": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "default_root_dir": str(tmp_path / "lightning"),
    }
    return L.Trainer(logger=logger, **{**defaults, **options})
