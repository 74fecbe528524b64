"""Define the options that several `vae` commands share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_dtype

Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", help="Model the latents belong to. Default: recorded in the file."
    ),
]
Tensor = Annotated[
    str | None,
    typer.Option("--tensor", help="Tensor to decode. Default: final, or the only one."),
]


@dataclass(frozen=True, kw_only=True)
class OverrideFlags:
    """What is loaded, where it differs from what the file of latents records."""

    model: Model = None
    force_vae: flags.ForceVae = False
    variant: flags.Variant = None
    dtype: flags.Dtype = None
    device: flags.Device = "auto"
    backend: flags.Backend = None
    offline: flags.Offline = False

    def overrides(self) -> dict[str, Any]:
        """The fields of a PipelineSpec. Raises UsageError for an unknown dtype."""
        return {**asdict(self), "dtype": parse_dtype(self.dtype)}


@dataclass(frozen=True, kw_only=True)
class DecoderFlags(OverrideFlags):
    """What is loaded, with another VAE if one is named."""

    vae: flags.Vae = None
