"""Keep the networks of a pipeline on the GPU, or in main memory until they run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import torch

from sdcli.engine.loading.networks import Networks
from sdcli.engine.runtime import memory
from sdcli.fields.execution import ON_DEVICE, RUNGS, allowed_rungs, check_device
from sdcli.job import Job
from sdcli.planning import offload as estimate
from sdcli.planning.offload import GIBIBYTE, ImageSize, ModelSize

if TYPE_CHECKING:
    from sdcli.engine.runtime import offloading

_MEANINGS: Final = {
    "model": "the models are moved to the GPU one at a time",
    "group": "the models are moved to the GPU layer by layer, in advance",
    "sequential": "the models are moved to the GPU layer by layer",
}

_HAS_STREAMS: Final = "cuda"
_MAIN_MEMORY: Final = torch.device("cpu")


@dataclass(kw_only=True, eq=False)
class Placement:
    """Where the networks of a pipeline are, on one of RUNGS.

    The rung is chosen for each job, by an estimate, and goes down where the memory of the device
    runs out all the same. `has_own_memory` tells that the device does not share the main memory.
    Pipelines that share networks share their placement. The VAE is always on the device.
    """

    device: torch.device
    has_own_memory: bool
    free_bytes: Callable[[torch.device], int] = memory.free_bytes
    rung: str = ON_DEVICE
    needs_tiles: bool = False
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    _rungs: Sequence[str] = (ON_DEVICE,)
    _lowest: int = 0
    _free: int | None = None
    _streams: bool = True
    _networks: Networks = field(default_factory=Networks)
    _placed: dict[int, tuple[Any, offloading.Offloaded | None]] = field(default_factory=dict)

    @classmethod
    def on(cls, device: torch.device) -> Placement:
        """Return the placement of networks that are in main memory now, for a device."""
        return cls(device=device, has_own_memory=device.type == "cuda")

    def plan(self, job: Job, networks: Networks, size: Callable[[], ModelSize]) -> None:
        """Choose the rung for a job of a pipeline with these networks, which `size` counts.

        Raises UsageError for options without an effect.
        """
        if self._networks.vae is not networks.vae:
            self.drop(self._networks.vae)
        self._networks = networks
        if not self.has_own_memory:
            check_device(job.offload, job.vram, self.device.type)
            return
        memory.limit_bytes(self.device, int(job.vram * GIBIBYTE) if job.vram else None)
        self._rungs = allowed_rungs(job.offload)
        streams = job.feature_cache == 1
        rung = self._choose(job, size())
        if rung != self.rung or streams != self._streams:
            self._clear()
        self.rung, self._streams = rung, streams

    def _choose(self, job: Job, size: ModelSize) -> str:
        """Return the rung of an estimate, and note why it is not the first one."""
        budget = self._budget(job)
        width, height = job.final_size
        image = ImageSize(width=width, height=height, rows=2 if job.guidance_scale > 1 else 1)
        rung = estimate.choose_rung(size, image, budget, self._rungs)
        if RUNGS.index(rung) < self._lowest:
            rung = next((r for r in self._rungs if RUNGS.index(r) >= self._lowest), rung)
        self.needs_tiles = estimate.needs_tiles(size, image, budget, rung)
        self.notes = ()
        if rung not in (self._rungs[0], RUNGS[self._lowest]):
            needed = estimate.needed_bytes(size, image, self._rungs[0])
            self.notes = (
                f"{width}x{height} needs about {needed / GIBIBYTE:.1f} GiB of {self.device}, which "
                f"has {budget / GIBIBYTE:.1f} GiB: {_MEANINGS[rung]} (--offload {rung})",
            )
        return rung

    def _budget(self, job: Job) -> int:
        if job.vram:
            return int(job.vram * GIBIBYTE)
        if self._free is None:
            # What these networks hold already is theirs again.
            own: int = sum(
                tensor.nbytes
                for network, _ in self._placed.values()
                for tensor in network.parameters()
                if tensor.device.type == self.device.type
            )
            self._free = self.free_bytes(self.device) + own
        return self._free

    @property
    def can_go_down(self) -> bool:
        """Whether there is a rung that needs less memory."""
        return self.rung != self._rungs[-1]

    def go_down(self) -> None:
        """Take the next rung, keep to it, and note it."""
        self._clear()
        self.rung = self._rungs[self._rungs.index(self.rung) + 1]
        self._lowest = RUNGS.index(self.rung)
        memory.empty_cache()
        note = f"out of memory on {self.device}: {_MEANINGS[self.rung]} (--offload {self.rung})"
        self.notes = (*self.notes, note)

    def make_room(self) -> str | None:
        """Move all networks but the VAE to main memory; return a sentence, None if they are there.

        The rung goes down with that: they did not fit together.
        """
        if self.rung != ON_DEVICE or not self.can_go_down:
            return None
        self.go_down()
        return "with the other models moved to main memory (--offload model)"

    def forget(self) -> None:
        """Try the higher rungs again: another run may have more memory."""
        self._lowest, self._free, self.seconds = 0, None, 0.0

    def install(self) -> None:
        """Place all networks of the pipeline, as far as they are not in their places yet."""
        started, known = time.perf_counter(), len(self._placed)
        self._add(self._networks.vae, self._resident)
        for encoder in self._networks.text_encoders:
            self.place(encoder)
        before = None
        for unet in self._networks.unets:
            before = self.place(unet, runs_often=True, before=before)
        if len(self._placed) > known:
            self.seconds = self.seconds or time.perf_counter() - started

    def add_to(self, seconds: Mapping[str, float]) -> dict[str, float]:
        """Return the duration of phases, with the first move to the device as part of loading."""
        return {**seconds, "load": seconds["load"] + self.seconds}

    def place(
        self,
        network: Any,
        *,
        runs_often: bool = False,
        before: offloading.Offloaded | None = None,
    ) -> offloading.Offloaded | None:
        """Place one network. One that `runs_often` is not moved as a whole on the lower rungs.

        One that has just run `before` this one leaves the GPU for it.
        """

        def placed(network: Any, device: torch.device) -> offloading.Offloaded | None:
            if self.rung == ON_DEVICE:
                network.to(device)
                return None
            # Only imported here: most runs do without it.
            from sdcli.engine.runtime import offloading

            if self.rung == "sequential":
                return offloading.OffloadedLayers(network, device)
            if self.rung == "group" and runs_often:
                streams = self._streams and device.type == _HAS_STREAMS
                return offloading.OffloadedGroups(network, device, streams=streams)
            earlier = before if isinstance(before, offloading.OffloadedNetwork) else None
            return offloading.OffloadedNetwork(network, device, earlier)

        return self._add(network, placed)

    def _resident(self, network: Any, device: torch.device) -> offloading.Offloaded | None:
        if self.rung == ON_DEVICE:
            network.to(device)
            return None
        from sdcli.engine.runtime.offloading import ResidentNetwork

        return ResidentNetwork(network, device)

    def _add(
        self, network: Any, placed: Callable[[Any, torch.device], offloading.Offloaded | None]
    ) -> offloading.Offloaded | None:
        if id(network) not in self._placed:
            try:
                self._placed[id(network)] = network, placed(network, self.device)
            except BaseException:
                # The memory may have run out when part of it was on the device.
                network.to(_MAIN_MEMORY)
                raise
        return self._placed[id(network)][1]

    def drop(self, network: Any) -> None:
        """Forget a network that is no longer used."""
        _, mover = self._placed.pop(id(network), (None, None))
        if mover:
            mover.end()

    def rest(self) -> None:
        """Move to main memory what need not stay on the GPU until it runs again."""
        for _, mover in self._placed.values():
            if mover:
                mover.rest()

    def reset(self) -> None:
        """Leave plain networks in main memory, unless they are to stay on the device."""
        if self.rung == ON_DEVICE:
            return
        for _, mover in reversed(self._placed.values()):
            if mover:
                mover.end()
        self._placed.clear()

    def _clear(self) -> None:
        """Move all networks but the VAE to main memory, whatever the rung."""
        networks = [network for network, _ in self._placed.values()]
        self.reset()
        self._placed.clear()
        for network in networks:
            if network is not self._networks.vae:
                network.to(_MAIN_MEMORY)

    @contextmanager
    def changing(self, job: Job) -> Iterator[None]:
        """Let the weights and the layers of the networks be changed at the start of the block."""
        if self.rung == ON_DEVICE:
            self.install()
        elif _changes_networks(job):
            # What moves the weights keeps copies, which a change would not reach.
            self.reset()
        yield

    @contextmanager
    def running(self, job: Job) -> Iterator[None]:
        """Keep all networks in their places, for a run that may be interrupted anywhere."""
        self.install()
        try:
            yield
        except BaseException:
            # Half a call may have left layers on the GPU, and the order of layers unknown.
            self.reset()
            raise
        if _changes_networks(job):
            self.reset()
        else:
            self.rest()


def _changes_networks(job: Job) -> bool:
    return bool(job.lora or job.ip_adapter)
