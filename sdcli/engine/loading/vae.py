"""Load VAEs of every kind: folders and single files, checked against the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ConsistencyDecoderVAE
from diffusers.image_processor import VaeImageProcessor

from sdcli.checkpoints import weights
from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.hub import fetch_model
from sdcli.checkpoints.model_defaults import read_defaults
from sdcli.checkpoints.vae_info import VaeInfo
from sdcli.checkpoints.vae_selection import select_vae
from sdcli.engine.backends.chosen_backend import loading_dtype, use_backend
from sdcli.engine.loading.components import load_component
from sdcli.engine.runtime import devices, memory
from sdcli.engine.vae.memory_order import use_fast_order
from sdcli.pipeline_spec import PipelineSpec

_CLASSES: Mapping[str, Any] = {
    "AutoencoderKL": AutoencoderKL,
    "AutoencoderTiny": AutoencoderTiny,
    "ConsistencyDecoderVAE": ConsistencyDecoderVAE,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedVae:
    """A VAE on its device, without the rest of its model.

    It has the `vae` and `image_processor` that `decode_latents` needs. `is_xl` tells that it is to
    run as in Stable Diffusion XL. It computes in `dtype`, which with another backend than torch is
    not that of its weights. `notes` are sentences to show the user once.
    """

    spec: PipelineSpec
    facts: VaeInfo
    vae: Any
    image_processor: VaeImageProcessor
    device: torch.device
    dtype: torch.dtype
    hashes: weights.WeightHashes
    is_xl: bool = False
    notes: tuple[str, ...] = ()


def load_vae(spec: PipelineSpec) -> LoadedVae:
    """Load only the VAE that the spec names, checked against the spec's model.

    Raises ModelError, UnsafeError, CorruptError or DeviceError.
    """
    device = devices.device_of(spec)
    dtype = devices.resolve_dtype(spec.dtype, device)
    folder = fetch_model(spec)
    defaults = read_defaults(folder)  # raises ModelError without a supported model
    info, notes = select_vae(spec, folder)
    with memory.out_of_memory_as_device_error(f"VAE: {info.path}", device):
        vae = build_vae(info, folder, loading_dtype(spec, dtype), device).to(device)
    use_backend(spec, {"vae": vae}, {"vae": info.weights}, dtype)
    return LoadedVae(
        spec=spec,
        facts=info,
        vae=vae,
        image_processor=VaeImageProcessor(vae_scale_factor=info.vae_scale_factor),
        device=device,
        dtype=dtype,
        hashes=weights.WeightHashes({"vae": info.weights}),
        is_xl=defaults.xl is not None,
        notes=notes,
    )


def build_vae(info: VaeInfo, model_folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    """Build the Diffusers VAE of the described files on the CPU, for use on the device.

    Raises CorruptError.
    """
    cls = _CLASSES[info.class_name]
    config_file, config = info.path / "config.json", info.config
    if info.is_single_file:
        # The model's own serves as the base of everything that the file's tensors do not show.
        config_file = model_folder / "vae" / "config.json"
        config = {**read_config(config_file, "vae"), **info.config}
    vae = load_component("vae", cls, config_file, config, info.weights, dtype)
    use_fast_order(vae, device)
    return vae
