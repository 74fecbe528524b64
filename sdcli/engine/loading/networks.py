"""Find the networks of a pipeline, and count their weights from the headers of their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sdcli.checkpoints import weights
from sdcli.checkpoints.weight_files import WeightFiles
from sdcli.planning.offload import ModelSize, part_size

_TEXT_ENCODERS: Final = ("text_encoder", "text_encoder_2")


@dataclass(frozen=True, kw_only=True)
class Networks:
    """The networks of a pipeline. The UNets, that of the refiner last, run in every step."""

    text_encoders: Sequence[Any] = ()
    unets: Sequence[Any] = ()
    vae: Any = None


def find_networks(pipeline: Any, refiner: Any | None) -> Networks:
    """Return the networks of a pipeline, and of that of its refiner, if there is one."""
    pipelines = [pipeline] if refiner is None else [pipeline, refiner]
    encoders = [getattr(p, name, None) for p in pipelines for name in _TEXT_ENCODERS]
    return Networks(
        text_encoders=[encoder for encoder in encoders if encoder is not None],
        unets=[p.unet for p in pipelines],
        vae=pipeline.vae,
    )


def model_size(files: Mapping[str, WeightFiles], **number_bytes: int) -> ModelSize:
    """Count the weights in files, by the names of their components.

    `number_bytes` are those of the numbers in a ModelSize.
    """
    sizes = {
        name: part_size(weights.check_weights(name, found).tensors) for name, found in files.items()
    }
    return ModelSize(
        text_encoders=[size for name, size in sizes.items() if "text_encoder" in name],
        unets=[size for name, size in sizes.items() if name.endswith("unet")],
        vae=sizes["vae"],
        **number_bytes,
    )
