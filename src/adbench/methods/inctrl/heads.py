"""The learnable parts of InCTRL, under the names of the authors' checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Adapter(nn.Module):
    """Two linear layers without bias, a ReLU behind each: adapted features are not negative. No skip connection."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(width, width // reduction, bias=False),
            nn.ReLU(),
            nn.Linear(width // reduction, width, bias=False),
            nn.ReLU(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(..., width) -> (..., width)."""
        adapted: Tensor = self.fc(features)
        return adapted


class Head(nn.Module):
    """Scores residuals: three linear layers, batch normalisation *after* each ReLU, a sigmoid at the end.

    `bn1` is in the authors' checkpoints but never called; it stays as it is loaded.
    """

    def __init__(self, n_in: int, hidden: Sequence[int], *, eps: float, momentum: float) -> None:
        super().__init__()
        first, second = hidden
        self.projection1 = nn.Linear(n_in, first)
        self.projection2 = nn.Linear(first, second)
        self.projection3 = nn.Linear(second, 1)
        self.bn1 = nn.BatchNorm1d(n_in, eps=eps, momentum=momentum).requires_grad_(False)
        self.bn2 = nn.BatchNorm1d(first, eps=eps, momentum=momentum)
        self.bn3 = nn.BatchNorm1d(second, eps=eps, momentum=momentum)

    def forward(self, residuals: Tensor) -> Tensor:
        """(B, n_in) -> (B,) in (0, 1)."""
        hidden = self.bn2(torch.relu(self.projection1(residuals)))
        hidden = self.bn3(torch.relu(self.projection2(hidden)))
        return torch.sigmoid(self.projection3(hidden)[:, 0])
