"""Define the scripts that load a model from a single file, and make the file for them."""

from __future__ import annotations

from typing import Final

from sdcli.bench.peak_memory import PEAK_GB

SAVE_SINGLE_FILE: Final = """
import json, sys
import numpy as np
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel
from sdcli.checkpoints.single_file.configurations import component_configs
from sdcli.checkpoints.single_file.config_folder import family_folder
from sdcli.checkpoints.single_file.families import FAMILIES
from sdcli.checkpoints.single_file.training import Prediction
from sdcli.checkpoints.single_file.unet_names import unet_names
from sdcli.checkpoints.single_file.vae_names import ATTENTION, vae_names
args = json.loads(sys.argv[1])
family = FAMILIES["sd1"]
prediction = Prediction(type="epsilon", certainty="usual", reason="")
configs = component_configs(family, prediction, None)
with init_empty_weights():
    unet = UNet2DConditionModel.from_config(configs["unet"]).state_dict()
    vae = AutoencoderKL.from_config(configs["vae"]).state_dict()
    text = CLIPTextModel(CLIPTextConfig(**configs["text_encoder"])).state_dict()
names = unet_names(configs["unet"])
shapes = {f"model.diffusion_model.{old}": unet[new].shape for new, old in names}
for new, old in vae_names(configs["vae"]):
    one = (1, 1) if ATTENTION in new and new.endswith(".weight") else ()
    shapes[f"first_stage_model.{old}"] = (*vae[new].shape, *one)
for new, tensor in text.items():
    name = f"text_model.{new.removeprefix('text_model.')}"
    shapes[f"cond_stage_model.transformer.{name}"] = tensor.shape
header, end = {}, 0
for name, shape in shapes.items():
    begin, end = end, end + 2 * int(np.prod(shape))
    header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
text = json.dumps(header).encode()
block = (np.random.default_rng(0).standard_normal(1 << 23) * 0.02).astype(np.float16).tobytes()
with open(args["out"], "wb") as file:
    file.write(len(text).to_bytes(8, "little") + text)
    for begin in range(0, end, len(block)):
        file.write(block[: end - begin])
print(json.dumps({"config": str(family_folder(family, prediction, None))}))
"""
"""Write a file of the size of Stable Diffusion 1.5 with random weights (2.1 GB).

It prints the folder with the configuration that Diffusers needs.
"""

_REPORT: Final = """
print(json.dumps({
    "load": time.perf_counter() - started,
    "peak_gb": peak_gb(),
}))
"""
_START: Final = (
    PEAK_GB
    + """
import json, sys, time
args = json.loads(sys.argv[1])
import torch
import sdcli.engine
from sdcli.engine.loading.pipeline import load
from diffusers import StableDiffusionPipeline
from sdcli.pipeline_spec import PipelineSpec
started = time.perf_counter()
"""
)

LOAD_WITH_DIFFUSERS: Final = (
    _START
    + """
StableDiffusionPipeline.from_single_file(
    args["file"], config=args["config"], local_files_only=True, dtype=getattr(torch, args["dtype"])
)
"""
    + _REPORT
)
"""Load the file with Diffusers. Both scripts import the same libraries, and do not time that."""

LOAD_WITH_SDCLI: Final = (
    _START
    + """
load(PipelineSpec(model=args["file"], device="cpu", dtype=args["dtype"]))
"""
    + _REPORT
)
"""Load the file with sdcli, which finds the configuration by itself."""
