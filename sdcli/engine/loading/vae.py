"""VAEs of every kind: which files they are, whether they fit the model, and loading them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ConsistencyDecoderVAE
from diffusers.image_processor import VaeImageProcessor

from sdcli.checkpoints import weights
from sdcli.checkpoints.hub import fetch_model
from sdcli.checkpoints.model_defaults import read_defaults
from sdcli.checkpoints.vae_info import VaeInfo
from sdcli.checkpoints.vae_selection import select_vae
from sdcli.engine.loading.components import check_complete, corrupt_component_error, load_component
from sdcli.engine.runtime import devices, memory
from sdcli.errors import DeviceError
from sdcli.request import PipelineSpec

_CLASSES: Mapping[str, Any] = {
    "AutoencoderKL": AutoencoderKL,
    "AutoencoderTiny": AutoencoderTiny,
    "ConsistencyDecoderVAE": ConsistencyDecoderVAE,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedVae:
    """A VAE on its device without the rest of its model. `notes` are sentences to tell once."""

    spec: PipelineSpec
    facts: VaeInfo
    vae: Any
    image_processor: VaeImageProcessor
    device: torch.device
    dtype: torch.dtype
    hashes: weights.WeightHashes
    notes: tuple[str, ...] = ()


def load_vae(spec: PipelineSpec) -> LoadedVae:
    """Load only the VAE that the spec names, checked against the spec's model.

    Raises ModelError, UnsafeError, CorruptError and DeviceError.
    """
    device = devices.resolve(spec.device)
    dtype = devices.resolve_dtype(spec.dtype, device)
    folder = fetch_model(spec)
    read_defaults(folder)
    facts, notes = select_vae(spec, folder)
    try:
        vae = build_vae(facts, folder, dtype).to(device)
    except RuntimeError as error:
        if not memory.is_out_of_memory(error):
            raise
        raise DeviceError(
            f"VAE: {facts.path} does not fit into the memory of {device}",
            code="device.memory",
            hint="try --dtype float16 or --device cpu",
        ) from error
    return LoadedVae(
        spec=spec,
        facts=facts,
        vae=vae,
        image_processor=VaeImageProcessor(vae_scale_factor=facts.vae_scale_factor),
        device=device,
        dtype=dtype,
        hashes=weights.WeightHashes({"vae": facts.weights}),
        notes=notes,
    )


def build_vae(facts: VaeInfo, model_folder: Path, dtype: torch.dtype) -> Any:
    """The Diffusers object of those files, on the CPU. Raises CorruptError."""
    cls = _CLASSES[facts.class_name]
    if not facts.is_single_file:
        return load_component("vae", cls, facts.path, facts.weights, dtype)
    return _from_single_file(cls, facts, model_folder, dtype)


def _from_single_file(cls: Any, facts: VaeInfo, model_folder: Path, dtype: torch.dtype) -> Any:
    overrides = {key: value for key, value in facts.config.items() if not key.startswith("_")}
    try:
        vae = cls.from_single_file(
            str(facts.weights),
            # Without one, Diffusers asks the hub. This one is overridden wherever it could matter.
            config=str(model_folder / "vae"),
            local_files_only=True,
            dtype=dtype,
            **overrides,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise corrupt_component_error("vae", facts.weights, str(error).splitlines()[0]) from error
    except NotImplementedError as error:  # torch: "cannot copy out of meta tensor"
        raise corrupt_component_error(
            "vae", facts.weights, "lacks tensors of its layout"
        ) from error
    except RuntimeError as error:
        if memory.is_out_of_memory(error):
            raise
        raise corrupt_component_error("vae", facts.weights, str(error).splitlines()[0]) from error
    check_complete("vae", facts.weights, vae, [])
    return vae
