"""Load the IP-Adapters of jobs with their image encoder, and keep those of the last one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

# The processor that does not depend on whether torchvision is installed: it rounds in another way.
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

from sdcli.checkpoints.adapters.image_encoder import COMPONENT, read_image_encoder
from sdcli.checkpoints.adapters.ip_adapter_file import IpAdapterFile, read_ip_adapter
from sdcli.checkpoints.weight_source import SourceTensor
from sdcli.engine.loading.components import load_component
from sdcli.engine.loading.placement import Placement
from sdcli.engine.loading.planned_files import check_unchanged
from sdcli.engine.loading.source_tensors import to_torch
from sdcli.engine.runtime import memory
from sdcli.engine.runtime.diffusers_internals import build_ip_adapters, takes_hidden_states
from sdcli.errors import CorruptError
from sdcli.job import Job
from sdcli.listed_files import SEPARATOR, split_files
from sdcli.pipeline_spec import PipelineSpec

Embeds = tuple[torch.Tensor, torch.Tensor]
"""The embeddings of an image, and those of none: (1, width) or (1, tokens, width) each."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BuiltIpAdapters:
    """The attention processors of a UNet with IP-Adapters, and their image projections."""

    processors: Mapping[str, Any]
    projection: Any


@dataclass(kw_only=True, eq=False)
class LoadedIpAdapters:
    """The IP-Adapters and the image encoder of the last job that had any."""

    spec: PipelineSpec
    placement: Placement
    dtype: torch.dtype
    _built: dict[tuple[str, ...], BuiltIpAdapters] = field(default_factory=dict)
    _encoders: dict[str, Any] = field(default_factory=dict)
    _embeds: dict[tuple[str, str, bool], Embeds] = field(default_factory=dict)

    def build(self, job: Job, wanted: Sequence[bool], unet: Any) -> BuiltIpAdapters:
        """Return the wanted IP-Adapters of a job, one for each image, for a UNet.

        Others are forgotten. Raises CorruptError, DeviceError, and ModelError for a file that has
        changed since the job was planned.
        """
        uses = [use for use, want in zip(_uses(job, len(wanted)), wanted, strict=True) if want]
        key = tuple(digest for _, digest in uses)
        if key not in self._built:
            self._built.clear()
            states = {digest: self._read(name, digest) for name, digest in dict.fromkeys(uses)}
            with (
                memory.out_of_memory_as_device_error("ip_adapter"),
                _misfits_as_corrupt_errors([state.path for state in states.values()]),
            ):
                built = build_ip_adapters(unet, [states[digest].tensors for digest in key])
            self._built[key] = BuiltIpAdapters(processors=built[0], projection=built[1])
        return self._built[key]

    def encode(
        self, job: Job, images: Sequence[tuple[str, NDArray[np.uint8]]], built: BuiltIpAdapters
    ) -> list[Embeds]:
        """Return the embeddings of images, given with their hashes, one for each IP-Adapter."""
        kinds = takes_hidden_states(built.projection)
        encoder, own = self._encoder(job)
        found = []
        for (digest, pixels), is_hidden in zip(images, kinds, strict=True):
            key = own, digest, is_hidden
            if key not in self._embeds:
                # A batch of thousands of images would keep thousands of embeddings.
                if len(self._embeds) >= _MOST_EMBEDS:
                    self._embeds.clear()
                self._embeds[key] = _encode(
                    encoder, pixels, self.placement.device, is_hidden=is_hidden
                )
            found.append(self._embeds[key])
        return found

    @property
    def models(self) -> list[Any]:
        """The loaded models, to count their memory."""
        built = (
            module
            for one in self._built.values()
            for module in (*one.processors.values(), one.projection)
        )
        return [*self._encoders.values(), *(m for m in built if isinstance(m, torch.nn.Module))]

    def _read(self, name: str, digest: str) -> _StateDict:
        file = read_ip_adapter(name, self.spec)
        check_unchanged("ip_adapter", file.path, file.sha256, digest)
        parts = {"image_proj": file.image, "ip_adapter": file.layers}
        tensors = {part: _read_tensors(file, part, found) for part, found in parts.items()}
        return _StateDict(path=file.path, tensors=tensors)

    def _encoder(self, job: Job) -> tuple[Any, str]:
        """Return the image encoder of a job, and what tells it from others."""
        assert job.ip_encoder is not None
        found = read_image_encoder(job.ip_encoder, offline=self.spec.offline)
        check_unchanged("ip_encoder", found.path, found.sha256, job.ip_encoder_sha256)
        # With another configuration, the same weights make other embeddings.
        key = json.dumps([found.sha256, found.config], sort_keys=True)
        if key not in self._encoders:
            for encoder in self._encoders.values():
                self.placement.drop(encoder)
            self._encoders.clear()
            with memory.out_of_memory_as_device_error(f"ip_encoder: {found.path}"):
                self._encoders[key] = load_component(
                    COMPONENT,
                    CLIPVisionModelWithProjection,
                    found.config_file,
                    found.config,
                    found.files,
                    self.dtype,
                )
        self.placement.place(self._encoders[key])
        return self._encoders[key], key


_MOST_EMBEDS = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class _StateDict:
    path: Path
    tensors: Mapping[str, Mapping[str, torch.Tensor]]


def _uses(job: Job, images: int) -> list[tuple[str, str]]:
    """Return the name and the hash of the IP-Adapter of each image."""
    names, digests = split_files(job.ip_adapter), job.ip_adapter_sha256.split(SEPARATOR)
    uses = list(zip(names, digests, strict=True))
    return uses * images if len(uses) == 1 else uses


def _read_tensors(
    file: IpAdapterFile, part: str, tensors: Mapping[str, SourceTensor]
) -> dict[str, torch.Tensor]:
    found = {}
    for name, tensor in tensors.items():
        found[name] = to_torch(tensor)
        # A single NaN would spread to the whole image, without any error.
        if not torch.isfinite(found[name]).all():
            raise CorruptError(
                f"ip_adapter: {file.path}: {name} of {part} has values that are not finite",
                code="model.corrupt",
                hint="download the file again",
            )
    return found


@contextmanager
def _misfits_as_corrupt_errors(paths: Sequence[Path]) -> Iterator[None]:
    """Translate what Diffusers raises for tensors that do not fit together."""
    try:
        yield
    except (RuntimeError, KeyError, IndexError, ValueError) as error:
        # Too little memory is no fault of the file.
        if isinstance(error, RuntimeError) and memory.is_out_of_memory(error):
            raise
        raise CorruptError(
            f"ip_adapter: {', '.join(map(str, paths))}: the tensors that read an image do not fit "
            "together",
            code="model.corrupt",
            hint="download the file again",
        ) from error


@torch.no_grad()
def _encode(
    encoder: Any, pixels: NDArray[np.uint8], device: torch.device, *, is_hidden: bool
) -> Embeds:
    """Return what Diffusers' `encode_image` makes of an image, and of no image."""
    side = encoder.config.image_size
    values = CLIPImageProcessorPil(size=side, crop_size=side)(pixels, return_tensors="pt")
    image = values.pixel_values.to(device, encoder.dtype)
    if is_hidden:
        shown, empty = (_hidden_states(encoder, one) for one in (image, torch.zeros_like(image)))
    else:
        shown = encoder(image).image_embeds
        empty = torch.zeros_like(shown)
    if not torch.isfinite(shown).all():
        raise CorruptError(
            "ip_encoder: the embeddings of the image are not finite",
            code="model.defective",
            hint="download the image encoder again, or use --dtype float32",
        )
    return shown, empty


def _hidden_states(encoder: Any, image: torch.Tensor) -> torch.Tensor:
    states: torch.Tensor = encoder(image, output_hidden_states=True).hidden_states[-2]
    return states
