"""What a lens over a training costs beside its method alone."""

from __future__ import annotations

import tempfile
from time import process_time

import torch

import epochal
from bench.lens.seeing import small
from bench.table import Row
from epochal import lens
from epochal.network.recorded import open_recorded

__all__ = ["films"]


def films(*, quick: bool = False) -> list[Row]:
    """A film of a saliency map over the snapshots of a small network, in methods and loads."""
    torch.set_num_threads(1)
    count = 10 if quick else 50
    network, x = small(), torch.rand(1, 28, 28)
    with tempfile.TemporaryDirectory() as folder:
        with epochal.init("film", dir=folder) as run:
            run.watch(network, inputs=x[None].expand(2, -1, -1, -1))
            for step in range(1, count):
                with torch.no_grad():
                    network[0].weight.mul_(1.01)
                run.log({"loss": 1.0}, step=step)
                run.snapshot(step)
        reader = epochal.open(folder).run("latest")
        steps = reader.steps("params")
        lens.saliency(open_recorded(reader.stored, steps[-1]), x, target=3)
        alone = []
        for step in steps[-3:]:
            start = process_time()
            opened = open_recorded(reader.stored, step)
            lens.saliency(opened, x, target=3)
            alone.append(process_time() - start)
        start = process_time()
        film = lens.film(lens.saliency, reader, image=x, target=3)
        whole = process_time() - start
    share = whole / min(alone)
    return [Row(f"a film of {len(film)} snapshots, in loads with one method each", share, "x", float(len(film)))]
