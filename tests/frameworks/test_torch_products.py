"""Multiply-adds of products that are not layers: PyTorch's own count of the same call says the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs PyTorch")

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from epochal.facts.products import chain_products, einsum_products
from epochal.frameworks.torch_graph import export_network

pytestmark = pytest.mark.torch
BATCH = 2


class Calling(nn.Module):
    """A network that is one function of its input and three matrices."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.a, self.b = nn.Parameter(torch.randn(5, 4)), nn.Parameter(torch.randn(4, 3))
        self.c = nn.Parameter(torch.randn(3, 5))

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x, self.a, self.b, self.c)


CASES: dict[str, Callable[..., Any]] = {
    "tensordot": lambda x, a, b, c: torch.tensordot(x, a, dims=([2], [0])),
    "tensordot over two": lambda x, a, b, c: torch.tensordot(
        x, torch.outer(c[:, 0], a[:, 0])[..., None], ([1, 2], [0, 1])
    ),
    "multi_dot": lambda x, a, b, c: torch.linalg.multi_dot([x[:, 0], a, b, c]),
    "multi_dot from the right": lambda x, a, b, c: torch.linalg.multi_dot([x[:, 0], a, b, c[:, 0]]),
    "einsum": lambda x, a, b, c: torch.einsum("btk,kn->btn", x, a),
    "einsum of one": lambda x, a, b, c: torch.einsum("btk->bkt", x),
    "linalg.matmul": lambda x, a, b, c: torch.linalg.matmul(x, a),
}


@pytest.mark.parametrize("name", CASES)
def test_products_are_counted_as_pytorch_counts_them(name: str) -> None:
    torch.manual_seed(0)
    network, x = Calling(CASES[name]).eval(), torch.randn(BATCH, 3, 5)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x)
    graph = export_network(network, (x,))[1]
    assert None not in [layer.multiply_adds for layer in graph.layers]
    assert graph.multiply_adds == counter.get_total_flops() // 2 // BATCH


def test_a_sum_of_products_counts_each_of_them() -> None:
    network = Calling(lambda x, a, b, c: torch.addbmm(torch.zeros(3, 3), x, x.transpose(1, 2))[None] + x[:, :3, :3])
    assert export_network(network.eval(), (torch.randn(BATCH, 3, 5),))[1].multiply_adds == 3 * 5 * 3


def test_a_chain_is_counted_in_its_best_order() -> None:
    def costs(sizes: tuple[int, ...]) -> int:
        """By trying every order."""
        if len(sizes) < 3:
            return 0
        inner = range(1, len(sizes) - 1)
        return min(costs((*sizes[:k], *sizes[k + 1 :])) + sizes[k - 1] * sizes[k] * sizes[k + 1] for k in inner)

    for sizes in itertools.permutations((2, 3, 7, 11, 13)):
        assert chain_products([(a, b) for a, b in itertools.pairwise(sizes)]) == costs(sizes)
    assert chain_products([(4,), (4, 3), (3,)]) == 4 * 3 + 3
    with pytest.raises(ValueError, match="two factors"):
        chain_products([(2, 3)])


def test_einstein_sums_of_more_than_two_are_not_guessed() -> None:
    assert einsum_products("i,ij,j->", [(2,), (2, 3), (3,)]) is None
    assert einsum_products("ij->ji", [(2, 3)]) == 0
