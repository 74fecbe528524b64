"""Copy tensors to the CPU without making the GPU wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


class HostCopier:
    """Copy named tensors to the CPU and pass them to `deliver`.

    On CUDA the copies of one step run while the GPU computes the next, and are delivered when the
    next `start` or `finish` is called. On other devices they are delivered immediately.
    """

    def __init__(self, deliver: Callable[[str, torch.Tensor], None]) -> None:
        self._deliver = deliver
        self._pending: list[tuple[str, torch.Tensor]] = []
        self._copied: Any = None

    def start(self, tensors: Sequence[tuple[str, torch.Tensor]]) -> None:
        """Start copying the tensors, after delivering those of the call before."""
        self.finish()
        self._pending = [(name, _to_host(tensor)) for name, tensor in tensors]
        if any(tensor.is_cuda for _, tensor in tensors):
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()
        else:
            self.finish()

    def finish(self) -> None:
        """Wait for the copies that were started, and deliver them."""
        if self._copied is not None:
            # Until the event, the host buffers hold arbitrary bytes.
            self._copied.synchronize()
            self._copied = None
        pending, self._pending = self._pending, []
        for name, tensor in pending:
            self._deliver(name, tensor)


def _to_host(tensor: torch.Tensor) -> torch.Tensor:
    # Always a copy: a scheduler may later write into the tensor that it returned.
    if not tensor.is_cuda:
        return tensor.detach().to("cpu", copy=True)
    # Only copies into pinned memory are asynchronous.
    pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return pinned.copy_(tensor.detach(), non_blocking=True)


def to_array(tensor: torch.Tensor) -> NDArray[Any]:
    """Return a CPU tensor as a contiguous numpy array; bfloat16 becomes float32."""
    # numpy has no bfloat16. float32 holds every bfloat16 exactly.
    widened = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return np.ascontiguousarray(widened.numpy())
