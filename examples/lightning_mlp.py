"""A Lightning training: the logger alone records metrics, hyper-parameters, and the network itself.

Needs: torch, lightning, sklearn
"""

import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from epochal.frameworks.lightning import Logger


class Mlp(L.LightningModule):
    def __init__(self, hidden=32, lr=3e-3):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(hidden, 10))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        out = self(x)
        self.log("val_loss", F.cross_entropy(out, y))
        self.log("val_accuracy", (out.argmax(1) == y).float().mean())

    def test_step(self, batch, batch_idx):
        x, y = batch
        self.log("test_accuracy", (self(x).argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


torch.set_num_threads(1)  # so small a network is quickest on one core
L.seed_everything(0)
digits = load_digits()
data = TensorDataset(torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target))
train, val, test = torch.utils.data.random_split(data, [1200, 300, 297])

trainer = L.Trainer(
    max_epochs=8,
    logger=Logger("digits", name="lightning"),
    log_every_n_steps=1,
    accelerator="cpu",
    enable_progress_bar=False,
)
model = Mlp()
trainer.fit(model, DataLoader(train, batch_size=50, shuffle=True), DataLoader(val, batch_size=300))
trainer.test(model, DataLoader(test, batch_size=297))
