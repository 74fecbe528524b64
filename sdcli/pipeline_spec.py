"""Describe what must be loaded: PipelineSpec."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

from sdcli.catalog.hub_names import hub_id
from sdcli.field_metadata import setting
from sdcli.field_validation import check_choice, check_switch, check_text, value_error

EMBEDDED: Final = "embedded"
DTYPES: Final = ("float32", "float16", "bfloat16")
PREDICTION_TYPES: Final = ("epsilon", "v_prediction", "sample")
TORCH: Final = "torch"
OPENVINO: Final = "openvino"
BACKENDS: Final = (TORCH, OPENVINO)
WEIGHTS_DTYPES: Final = ("fp8",)
SHORT_DTYPES: Final = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}

_NEEDED_TEXTS: Final = ("model", "device", "backend")
_TEXTS: Final = (
    *_NEEDED_TEXTS, "vae", "refiner", "dtype", "variant", "model_config", "prediction_type",
    "text_encoder", "refiner_config",
)  # fmt: skip
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


@dataclass(frozen=True, kw_only=True)
class PipelineSpec:
    """What must be loaded. Equal specs share one pipeline.

    `model` and `vae` are a folder, a hub id, or an alias ("embedded"; "tiny" for the model's own
    small VAE); all may also be single files. `refiner` and `text_encoder` are further models.
    A `dtype` of None, or "auto", depends on the device and the model. `force_vae` allows a VAE for
    other latents. `backend` is the library that computes the networks. `model_config`,
    `refiner_config` and `prediction_type` say what single files leave out. Raises UsageError.
    """

    model: str = setting(
        EMBEDDED,
        "--model",
        "-m",
        metavar="MODEL",
        help="Hub id, folder or .safetensors file of a Stable Diffusion model.",
        aliases=("sd_model",),
        sweep=10,
    )
    vae: str | None = setting(
        None,
        "--vae",
        metavar="VAE",
        help="Another VAE: a name of `sdcli vae list`, a hub id, a folder or a .safetensors file.",
        sweep=20,
    )
    force_vae: bool = setting(
        False, "--force-vae", help="Use a VAE made for another model's latents.", sweep=5
    )
    refiner: str | None = setting(
        None,
        "--refiner",
        metavar="MODEL",
        help="SDXL: hub id, folder or .safetensors file of a model that draws the last part of the "
        "run.",
        sweep=25,
    )
    text_encoder: str | None = setting(
        None,
        "--text-encoder",
        metavar="MODEL",
        help="Another CLIP or OpenCLIP text encoder of the same width: a hub id, a folder or a "
        ".safetensors file. SDXL: in the place of the first one.",
        sweep=26,
    )
    variant: str | None = setting(
        None, "--variant", metavar="NAME", help="Weight variant to load, e.g. fp16.", sweep=30
    )
    dtype: str | None = setting(
        None,
        "--dtype",
        metavar="DTYPE",
        help="float32, float16, bfloat16 or auto: float16 on a GPU; on a CPU float32, or bfloat16 "
        "for a large model if the CPU has instructions for it. Default: auto.",
        sweep=40,
    )
    weights_dtype: str | None = setting(
        None,
        "--weights-dtype",
        help="Store the weights of the UNet in fewer bits than it computes with: fp8 takes half "
        "the memory of float16, and changes the image a little.",
        choices=WEIGHTS_DTYPES,
        sweep=41,
    )
    device: str = setting(
        "auto", "--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps."
    )
    backend: str = setting(
        TORCH,
        "--backend",
        metavar="NAME",
        help="Library that computes the networks: torch, or openvino, which is faster on many "
        "CPUs.",
        sweep=42,
    )
    model_config: str | None = setting(
        None,
        "--model-config",
        metavar="FOLDER",
        help="Folder in the Diffusers layout with the configuration of a model in a single file. "
        "Default: that of its family.",
    )
    refiner_config: str | None = setting(
        None,
        "--refiner-config",
        metavar="FOLDER",
        help="The same for a refiner in a single file.",
    )
    prediction_type: str | None = setting(
        None,
        "--prediction-type",
        metavar="TYPE",
        help="Prediction type of a model in a single file: epsilon, v_prediction or sample. "
        "Default: read from the file, or the usual one of its family.",
        choices=PREDICTION_TYPES,
    )
    offline: bool = setting(False, "--offline", help="Never access the network.")

    def __post_init__(self) -> None:
        for name in _TEXTS:
            check_text(name, getattr(self, name), optional=name not in _NEEDED_TEXTS)
        for name in ("offline", "force_vae"):
            check_switch(name, getattr(self, name))
        if self.dtype == "auto":
            object.__setattr__(self, "dtype", None)
        if self.dtype is not None and self.dtype not in DTYPES:
            raise value_error("dtype", self.dtype, f"is not one of auto, {', '.join(DTYPES)}")
        check_choice("backend", self.backend, BACKENDS)
        check_choice("prediction_type", self.prediction_type, PREDICTION_TYPES)
        check_choice("weights_dtype", self.weights_dtype, WEIGHTS_DTYPES)
        for name in ("model", "vae", "refiner", "text_encoder"):
            object.__setattr__(self, name, hub_id(getattr(self, name)))
        if not _DEVICE.fullmatch(self.device):
            raise value_error("device", self.device, "is not auto, cpu, cuda, cuda:N or mps")


def model_name(model: str) -> str:
    """The last part of a model's path or hub id: the folders above it are private."""
    return os.path.basename(os.path.abspath(model))
