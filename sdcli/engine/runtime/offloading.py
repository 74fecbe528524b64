"""Keep networks in main memory, and move them to the GPU when they run, in three ways.

Accelerate moves whole networks (`cpu_offload_with_hook`) or single layers (`cpu_offload`), and
Diffusers moves layers while others run (`apply_group_offloading`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Protocol

import torch
from accelerate import cpu_offload, cpu_offload_with_hook
from accelerate.hooks import AlignDevicesHook, add_hook_to_module, remove_hook_from_module
from diffusers.hooks import apply_group_offloading

from sdcli.engine.runtime.diffusers_internals import remove_group_offloading

HOST: Final = torch.device("cpu")


class Offloaded(Protocol):
    """A network that is in main memory while it does not run."""

    def rest(self) -> None:
        """Leave the GPU; the next call moves the network there again."""

    def end(self) -> None:
        """Stop moving the network, and leave it in main memory."""


class OffloadedNetwork:
    """Moves a whole network, which stays on the GPU until `rest`, or until `after` runs."""

    def __init__(
        self, network: Any, device: torch.device, before: OffloadedNetwork | None = None
    ) -> None:
        """Begin with the network in main memory. When it runs, the one `before` it leaves."""
        previous = before.hook if before else None
        self.hook: Any
        _, self.hook = cpu_offload_with_hook(network, device, previous)

    def rest(self) -> None:
        """Move the network to main memory."""
        self.hook.offload()

    def end(self) -> None:
        """Stop moving the network."""
        self.hook.remove()
        self.hook.model.to(HOST)


class OffloadedGroups:
    """Moves each layer; with `streams` the next one is on its way while a layer runs."""

    def __init__(self, network: Any, device: torch.device, *, streams: bool) -> None:
        self._network = network
        network.to(HOST)
        try:
            for part in _called_parts(network):
                apply_group_offloading(
                    part, device, HOST, offload_type="leaf_level", use_stream=streams
                )
        except BaseException:
            self.end()
            raise

    def rest(self) -> None:
        """Do nothing: a layer leaves the GPU as soon as it has run."""

    def end(self) -> None:
        """Stop moving the layers."""
        remove_group_offloading(self._network)
        self._network.to(HOST)


def _called_parts(network: Any) -> Iterator[Any]:
    """Yield the modules that the network itself calls.

    With streams, Diffusers replaces the `forward` of what it is given once more after its first
    call. That of a UNet may be patched by then, and the patch would be lost.
    """
    for child in network.children():
        yield from child if isinstance(child, torch.nn.ModuleList) else [child]


class OffloadedLayers:
    """Moves each layer just before it runs, and nothing in advance."""

    def __init__(self, network: Any, device: torch.device) -> None:
        self._network = network
        network.to(HOST)
        # As in Diffusers: the buffers of a network with tensors of its own are moved, too.
        own = any(True for _ in network.parameters(recurse=False))
        try:
            cpu_offload(network, device, offload_buffers=own)
        except BaseException:
            self.end()
            raise

    def rest(self) -> None:
        """Do nothing: a layer leaves the GPU as soon as it has run."""

    def end(self) -> None:
        """Stop moving the layers. Their parameters are other objects than before."""
        remove_hook_from_module(self._network, recurse=True)
        self._network.to(HOST)


class ResidentNetwork:
    """Leaves a network on the GPU, and tells the pipelines that this is where they run."""

    def __init__(self, network: Any, device: torch.device) -> None:
        self._network = network.to(device)
        add_hook_to_module(network, AlignDevicesHook(execution_device=device))

    def rest(self) -> None:
        """Do nothing: the network stays."""

    def end(self) -> None:
        """Remove the mark for the pipelines."""
        remove_hook_from_module(self._network)
