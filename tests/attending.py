"""A small transformer, for tests of what is seen of attention; it needs PyTorch."""

from __future__ import annotations

from typing import Any

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
