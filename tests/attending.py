"""Small transformers, for tests of what is seen of attention; it needs PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Attending(nn.Module):
    """Patches of a picture that look at each other once."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 4, stride=4)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Any) -> Any:
        flow = self.patches(x).flatten(2).transpose(1, 2)
        flow = flow + self.attention(flow, flow, flow)[0]
        return self.head(flow.mean(dim=1))


class Windows(nn.Module):
    """The same, where patches look at each other only within windows of 2 by 2, as in a Swin."""

    def __init__(self, *, weights: bool = False) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 2, stride=2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 2)
        self.weights = weights

    def forward(self, x: Any) -> Any:
        flow = self.patches(x)
        n, c, h, w = flow.shape
        cut = flow.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, c)
        cut = cut + self.attention(cut, cut, cut, need_weights=self.weights)[0]
        return self.head(cut.reshape(n, -1, c).mean(dim=1))


class Letters(nn.Module):
    """Says which of five letters comes after four of them."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 8)
        self.places = nn.Parameter(torch.randn(4, 8) * 0.1)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        flow = self.words(x) + self.places
        return self.head((flow + self.attention(flow, flow, flow)[0])[:, -1])
