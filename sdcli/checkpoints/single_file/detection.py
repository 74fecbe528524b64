"""Recognise a single file from the names and shapes in its header, never from its own name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sdcli.checkpoints.safetensors_header import SafetensorsHeader
from sdcli.checkpoints.single_file.families import Family, find_family, measure_unet
from sdcli.checkpoints.single_file.other_kinds import OtherKind, find_other_kind
from sdcli.checkpoints.single_file.parts import Layout, Part, sort_parts
from sdcli.checkpoints.single_file.training import (
    Distillation,
    Prediction,
    find_distillation,
    find_prediction,
)

Kind = Literal["model", "ema", "vae", "text_encoder", "wrong_kind", "unknown"]

# The training of a VAE also keeps averages, under other names.
_EMA_UNET: Final = "model_ema.diffusion_model"


@dataclass(frozen=True, kw_only=True)
class Detection:
    """Everything that the header of a single file tells about it.

    Attributes:
        kind: "model" for any file with a UNet, even if other parts are missing, and "ema" for one
            with the EMA weights of a UNet only. A file with one other part is "vae" or
            "text_encoder"; "wrong_kind" is an add-on or a model of another
            architecture, described by `other`.
        family: None if the sizes are those of no known family.
        layout: the names of the UNet's tensors, None without a UNet.
        parts: "unet", "vae", "text_encoder", "text_encoder_2", "ema" -> their tensors.
        prediction, distillation: None without a UNet.
        reasons: sentences that say why the file is of that kind and family.
        other_names: tensors of no part.
    """

    kind: Kind
    family: Family | None
    layout: Layout | None
    parts: Mapping[str, Part]
    prediction: Prediction | None
    distillation: Distillation | None
    reasons: tuple[str, ...]
    other_names: tuple[str, ...]
    other: OtherKind | None = None


def detect(header: SafetensorsHeader, path: Path | None = None) -> Detection:
    """Recognise a file by its header.

    `path` is used for a FILE.yaml beside it, and for a hint about the prediction type in its name.
    """
    shapes = {name: tensor.shape for name, tensor in header.tensors.items()}
    parts, other_names = sort_parts(shapes)
    other = find_other_kind(shapes)
    if "unet" not in parts or other:
        return _describe_other(parts, other_names, other)
    unet = parts["unet"]
    measured = measure_unet({name.removeprefix(unet.prefix): shapes[name] for name in unet.names})
    family, reasons = find_family(measured)
    names = frozenset(shapes)
    distillation = find_distillation(names, header.metadata)
    return Detection(
        kind="model",
        family=family,
        layout=unet.layout,
        parts=parts,
        prediction=find_prediction(names, header.metadata, family, path, distillation),
        distillation=distillation,
        reasons=reasons,
        other_names=other_names,
    )


def _describe_other(
    parts: Mapping[str, Part], other_names: tuple[str, ...], other: tuple[OtherKind, str] | None
) -> Detection:
    kind: Kind = "unknown"
    reasons: tuple[str, ...] = ("no part of a Stable Diffusion model was found in it",)
    if other:
        kind, reasons = "wrong_kind", (f"it has the tensor {other[1]}",)
    elif "ema" in parts and any(name.startswith(_EMA_UNET) for name in parts["ema"].names):
        kind, reasons = "ema", ("its UNet has EMA weights only",)
    elif "vae" in parts:
        kind, reasons = "vae", ("it has the tensors of a VAE and no UNet",)
    elif parts.keys() & {"text_encoder", "text_encoder_2"}:
        kind, reasons = "text_encoder", ("it has the tensors of a text encoder and no UNet",)
    return Detection(
        kind=kind,
        family=None,
        layout=None,
        parts=parts,
        prediction=None,
        distillation=None,
        reasons=reasons,
        other_names=other_names,
        other=other[0] if other else None,
    )
