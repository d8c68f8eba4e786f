"""Two processes train one network with DistributedDataParallel, and all of it is one run.

Each process logs its own loss: the Studio shows rank 0's as `loss`, the other's as `rank1/loss`, and their mean as
`ranks/mean/loss`. With `torchrun` nothing changes: `epochal.init` finds out which process it is in.

Needs: torch, sklearn
"""

import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.datasets import load_digits
from torch.nn.parallel import DistributedDataParallel

import epochal


def train(rank: int, world_size: int, meeting_point: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=world_size)
    torch.set_num_threads(1)
    digits = load_digits()
    x = torch.tensor(digits.data / 16, dtype=torch.float32)[rank::world_size]  # each process has its own part
    y = torch.tensor(digits.target)[rank::world_size]

    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    ddp = DistributedDataParallel(model)
    optimizer = torch.optim.Adam(ddp.parameters(), lr=1e-2)

    with epochal.init(project="digits", name="two processes", config={"lr": 1e-2, "world_size": world_size}) as run:
        run.watch(ddp, inputs=x[:32])
        for epoch in range(20):
            for batch in torch.randperm(len(x)).split(64):
                loss = torch.nn.functional.cross_entropy(ddp(x[batch]), y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            with torch.no_grad():
                accuracy = (model(x).argmax(1) == y).float().mean()
            run.log({"loss": loss, "accuracy": accuracy}, step=epoch, epoch=epoch)
    dist.destroy_process_group()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(train, args=(2, f"{folder}/meeting-point"), nprocs=2)
