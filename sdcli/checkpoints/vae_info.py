"""Read the properties of a VAE from its files, and check whether it fits a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sdcli.catalog.known_vaes import (
    SD_SCALING_FACTOR,
    VAE_CLASSES,
)
from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.config_sizes import check_sizes
from sdcli.checkpoints.json_files import shorten
from sdcli.checkpoints.safetensors_header import TensorInfo
from sdcli.checkpoints.single_file.parts import sort_parts
from sdcli.checkpoints.single_file.tensor_map import map_component
from sdcli.checkpoints.vae_config import infer_vae_config, vae_tensors
from sdcli.checkpoints.weight_files import WeightFiles
from sdcli.checkpoints.weights import check_weights, read_headers
from sdcli.errors import CorruptError, ModelError


@dataclass(frozen=True, kw_only=True)
class VaeInfo:
    """The properties of a VAE, read from its files without loading it.

    Attributes:
        path: its folder, or its file if it consists of a single one.
        weights: the files with the tensors.
        config: configuration of the Diffusers class.
        scaling_factor: factor between the VAE's latents and those of the UNet.
        vae_scale_factor: pixels of the image for each latent, in each direction.
        assumptions: sentences about what the files do not contain.
    """

    path: Path
    weights: WeightFiles
    class_name: str
    config: Mapping[str, Any]
    latent_channels: int
    scaling_factor: float
    vae_scale_factor: int
    parameters: int
    bytes: int
    dtypes: tuple[str, ...]
    assumptions: tuple[str, ...] = ()

    @property
    def is_single_file(self) -> bool:
        """Whether it is a single file without a configuration."""
        return self.path == self.weights.path


def read_vae(
    path: Path,
    weights: WeightFiles,
    model_vae_config: Mapping[str, Any],
    class_name: str | None = None,
) -> VaeInfo:
    """Read the VAE in the folder `path`, or in the file `path` if it is the only one of `weights`.

    `class_name` is the class to load it with, by default the one in its configuration.

    `model_vae_config` is the configuration of the model's own VAE, which supplies what a single
    file does not contain. Raises ModelError for a class that is not supported, and CorruptError
    for broken files.
    """
    assumptions: tuple[str, ...] = ()
    if path == weights.path:
        file = read_headers("vae", weights)[path.name]
        config, assumptions = infer_vae_config(path, file, model_vae_config)
        part = sort_parts(file.tensors)[0]["vae"]
        weights = replace(weights, sources=map_component("vae", config, part, path))
        tensors: Mapping[str, TensorInfo] = vae_tensors(file)
        check_weights("vae", weights)
    else:
        config = read_config(path / "config.json", "vae")
        header = check_weights("vae", weights)
        tensors = header.tensors
    if class_name:
        config = {**config, "_class_name": class_name}
    _check_class(path, config)
    # The other classes have parts of other sizes: a tiny decoder, a whole diffusion model.
    if path != weights.path and config.get("_class_name", "AutoencoderKL") == "AutoencoderKL":
        check_sizes("vae", path / "config.json", header)
    _check_moments(path, config)
    return VaeInfo(
        path=path,
        weights=weights,
        class_name=str(config["_class_name"]),
        config=config,
        latent_channels=config.get("latent_channels", 4),
        scaling_factor=scaling_factor(config),
        vae_scale_factor=_scale_factor(config),
        parameters=sum(math.prod(tensor.shape) for tensor in tensors.values()),
        bytes=sum(tensor.end - tensor.begin for tensor in tensors.values()),
        dtypes=tuple(sorted({tensor.dtype for tensor in tensors.values()})),
        assumptions=assumptions,
    )


def scaling_factor(config: Mapping[str, Any]) -> float:
    """Return the factor that the VAE's latents are multiplied by for the UNet."""
    default = 1.0 if config.get("_class_name") == "AutoencoderTiny" else SD_SCALING_FACTOR
    value = config.get("scaling_factor", default)
    return default if value is None else float(value)


def _check_class(path: Path, config: Mapping[str, Any]) -> None:
    class_name = config.get("_class_name")
    if class_name not in VAE_CLASSES:
        name = class_name if isinstance(class_name, str) else shorten(class_name)
        raise ModelError(
            f"VAE: {path} is a {name}",
            code="model.vae",
            hint=f"it must be one of {', '.join(VAE_CLASSES)}",
        )


def _check_moments(path: Path, config: Mapping[str, Any]) -> None:
    channels = config.get("latent_channels", 4)
    for key in ("latents_mean", "latents_std"):
        values = config.get(key)
        if values is not None and len(values) != channels:
            raise CorruptError(
                f"vae: {path}: {key} has {len(values)} numbers for {channels} latent channels",
                code="model.corrupt",
                hint="download the file again",
            )


def _scale_factor(config: Mapping[str, Any]) -> int:
    # The encoder halves the size once between two levels; four levels are the default.
    # ConsistencyDecoderVAE names the levels of its encoder and decoder apart.
    levels = (
        config.get("encoder_block_out_channels") or config.get("block_out_channels") or (0,) * 4
    )
    return int(2 ** (len(levels) - 1))
