"""Train a LoRA: low-rank changes of a network's weights (Hu et al., 2021)."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

ATTENTION = (
    r"attentions\.\d+\.(proj_in|proj_out|.*(to_[qkv]|to_out\.0|ff\.net\.0\.proj|ff\.net\.2))$"
)
"""The layers of a UNet that most LoRAs change."""


class LowRankChange(nn.Module):
    """Add ``up @ down`` to a weight. The change begins at zero."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        """Make the factors for ``weight``, (out, in, ...)."""
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, weight[0].numel()) / rank)
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank))
        self.kernel_dimensions = weight.ndim - 2
        self.is_on = True

    def forward(self, weight: Tensor) -> Tensor:
        """Return the changed weight, or the original while the change is off."""
        return weight + (self.up @ self.down).view_as(weight) if self.is_on else weight


class LowRankChanges:
    """The changes of all layers of a network whose names match a pattern."""

    def __init__(self, network: nn.Module, rank: int, pattern: str = ATTENTION) -> None:
        """Freeze ``network`` and add a change to each layer that matches."""
        network.requires_grad_(False)
        layers = [(n, m) for n, m in network.named_modules() if re.search(pattern, n)]
        self.rank, self.changes = rank, dict[str, LowRankChange]()
        for name, layer in layers:
            assert isinstance(layer.weight, Tensor)
            self.changes[name] = LowRankChange(layer.weight, rank)
            parametrize.register_parametrization(layer, "weight", self.changes[name])

    def switch(self, *, is_on: bool) -> None:
        """Turn all changes on or off."""
        for change in self.changes.values():
            change.is_on = is_on

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield the factors of all layers."""
        for change in self.changes.values():
            yield from change.parameters()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the factors by the names that kohya's sd-scripts give them, in half precision."""
        state: dict[str, Tensor] = {}
        for name, change in self.changes.items():
            key = "lora_unet_" + name.replace(".", "_")
            down, up = change.down.detach().half(), change.up.detach().half()
            # A 1x1 convolution has factors of the same number of dimensions as its weight.
            ones = (1,) * change.kernel_dimensions
            state[f"{key}.lora_down.weight"] = down.view(*down.shape, *ones)
            state[f"{key}.lora_up.weight"] = up.view(*up.shape, *ones)
            state[f"{key}.alpha"] = torch.tensor(float(self.rank)).half()
        return state


class LowRankRun:
    """A training of low-rank changes in a fixed number of steps, with a checkpoint in a file."""

    def __init__(
        self, changes: LowRankChanges, file: Path, learning_rate: float, steps: int
    ) -> None:
        """Prepare the optimizer, and resume from the checkpoint if there is one."""
        self.changes, self.file, self.step = changes, file, 0
        self._learning_rate, self._steps = learning_rate, steps
        self._optimizer = torch.optim.AdamW(
            list(changes.parameters()), learning_rate, weight_decay=0.01
        )
        if file.exists():
            self._resume(torch.load(file, weights_only=True))

    def _resume(self, saved: dict[str, Any]) -> None:
        self.step = saved["step"]
        self._optimizer.load_state_dict(saved["optimizer"])
        with torch.no_grad():
            for parameter, value in zip(
                self.changes.parameters(), saved["parameters"], strict=True
            ):
                parameter.copy_(value)

    def save(self) -> None:
        """Replace the checkpoint atomically."""
        state = {
            "step": self.step,
            "optimizer": self._optimizer.state_dict(),
            "parameters": [parameter.detach() for parameter in self.changes.parameters()],
        }
        temporary = self.file.with_suffix(".part")
        torch.save(state, temporary)
        os.replace(temporary, self.file)

    def minimize(self, loss: Tensor) -> None:
        """Do one step; the learning rate rises for 20 steps, and falls to zero at the last."""
        rate = self._learning_rate * min(1, (self.step + 1) / 20) * (1 - self.step / self._steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self.step += 1
